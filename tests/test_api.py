"""The Python functions: what they accept, and that they do what the tasks do."""

import inspect
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import recam
from recam.api import as_mask, as_picture, as_video
from recam.apps import cli
from recam.apps.cli import main
from recam.completers import FlowPropagation
from recam.configs import CompleteConfig, EditConfig, InputConfig
from recam.media import read_video, write_image, write_video
from recam.types import RecamError, Video
from task_clips import moving_thing, thing_region


def test_every_listed_name_is_there() -> None:
    for name in recam.__all__:
        assert callable(getattr(recam, name)) and name in dir(recam)
    with pytest.raises(AttributeError, match="reshot"):
        _ = recam.reshot


def test_paths_are_the_command_lines() -> None:
    assert recam.orbit(yaw_deg=20).path == "orbit" and recam.orbit(yaw_deg=20).yaw == 20
    assert recam.dolly_zoom(1.2).path == "dolly-zoom"
    assert recam.freeze(at_frame=3).at_frame == 3


def _options(command: type) -> set[str]:
    """A command's options, those of its config beside its own."""
    found = {f.name: f for f in fields(command)}
    config = found.pop("config", None)
    own = set() if config is None else {f.name for f in fields(config.default_factory)}
    return set(found) | own


# Options of a command under the names that its functions have for them. What is written and said
# is save's and progress's.
ELSEWHERE = {"out", "quiet", "film", "exr", "export", "cameras_out", "cameras_out_format"}
FUNCTIONS = {
    "reshoot": ((recam.reshoot,), {}),
    "reconstruct": ((recam.open_scene,), {}),
    "render": ((recam.render_path,), {}),
    "stereo": ((recam.stereo,), {}),
    "image": ((recam.image,), {"max_side": "input"}),
    "interpolate": ((recam.interpolate,), {}),
    "edit": ((recam.edit, recam.remove),
             {"edited_frame": "edited", "at_frame": "frame", "remove": "mask"}),
    "complete": ((recam.complete,), {"complete": "config"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_the_command_takes(name: str) -> None:
    functions, renamed = FUNCTIONS[name]
    wanted = {renamed.get(o, o) for o in _options(cli.COMMANDS[name]) - ELSEWHERE}
    taken: set[str] = set()
    for function in functions:
        taken |= set(inspect.signature(function).parameters)
    assert wanted <= taken, f"recam.{name} lacks {sorted(wanted - taken)}"
    # Arrays have no times of their own, and one picture's number no option of its own.
    assert taken - wanted <= {"progress", "fps", "frame"}, f"recam {name} lacks an option"


def test_removing_takes_what_editing_takes_but_for_what_the_edited_frame_says() -> None:
    lacking = set(inspect.signature(recam.edit).parameters)
    lacking -= set(inspect.signature(recam.remove).parameters)
    assert lacking == {"edited", "content"}


def test_defaults_are_the_commands() -> None:
    """Where a function has a config's field as an argument of its own."""
    for name in FUNCTIONS:
        config = {f.name: f for f in fields(cli.COMMANDS[name])}.get("config")
        if config is None or name == "complete":
            continue
        values = config.default_factory()
        for function in FUNCTIONS[name][0]:
            for argument, parameter in inspect.signature(function).parameters.items():
                if hasattr(values, argument) and argument != "path":
                    assert parameter.default == getattr(values, argument), (name, argument)


def test_weights_of_others_reach_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[EditConfig] = []

    def note(*given: object) -> Video:
        seen.extend(g for g in given if isinstance(g, EditConfig))
        return moving_thing(1)

    monkeypatch.setattr("recam.tasks.edit.edit", note)
    monkeypatch.setattr("recam.tasks.edit.remove", note)
    video = moving_thing(2)
    recam.edit(video, video.frames[0], mask_weights="a", track_weights=Path("b"), content="surface")
    recam.remove(video, thing_region(0), mask_weights=Path("a"), track_weights="b")
    assert [(c.mask_weights, c.track_weights) for c in seen] == [("a", "b")] * 2


def test_arrays_tensors_and_files_are_the_same_video(tmp_path: Path) -> None:
    video = moving_thing(3)
    write_video(video, tmp_path / "frames")  # PNG: exact
    last = video.frames.permute(0, 2, 3, 1)
    for source in (
        video, video.frames, last, last.numpy(), video.frames.numpy(), last.float() / 255,
        tmp_path / "frames", str(tmp_path / "frames"),
    ):  # fmt: skip
        assert torch.equal(as_video(source).frames, video.frames)
    assert torch.equal(as_picture(last[0].numpy()), video.frames[0])


def test_masks(tmp_path: Path) -> None:
    where = thing_region(0)
    write_image(where.to(torch.uint8).mul(255).expand(3, -1, -1), tmp_path / "m.png")
    for mask in (where, where.numpy(), where.float(), tmp_path / "m.png", where[None]):
        assert torch.equal(as_mask(mask, 5, *where.shape), where.float()[None])
    with pytest.raises(ValueError, match="2 masks for 5 frames"):
        as_mask(where.expand(2, -1, -1), 5, *where.shape)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 5, 6), np.uint8), "shape"), (np.zeros((2, 8, 9, 3), np.int32), "uint8"),
        (np.full((2, 8, 9, 3), 200.0), "200"), (np.zeros((2, 8, 9, 4), np.uint8), "shape"),
    ],
)  # fmt: skip
def test_arrays_of_other_kinds(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_video(values)


def test_a_rate_that_is_none() -> None:
    with pytest.raises(ValueError, match="fps is 0"):
        as_video(moving_thing(2).frames, fps=0)


def test_missing_file() -> None:
    with pytest.raises(RecamError, match=r"nowhere\.mp4"):
        recam.edit("nowhere.mp4", np.zeros((8, 8, 3), np.uint8))


def test_complete_keeps_what_is_known(tmp_path: Path) -> None:
    video = moving_thing(4)
    known = ~torch.stack([thing_region(i) for i in range(4)])
    result = recam.complete(video, known)
    kept = known[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(result.video.frames[kept], video.frames[kept])
    assert result.video.times_s[1] == video.times_s[1]
    out = recam.save(result, tmp_path / "a.mp4")
    assert len(read_video(out)) == 4


def test_a_mask_says_what_was_edited() -> None:
    video = moving_thing(3)
    edited = 255 - video.frames[0]
    out = recam.edit(video, edited, mask=thing_region(0)).video.frames
    there = thing_region(0)
    assert torch.equal(out[0][:, there], edited[:, there])
    assert torch.equal(out[0, :, :, :16], video.frames[0, :, :, :16])


def test_files_of_the_whole_source_fit_the_part_that_is_used(tmp_path: Path) -> None:
    """Masks of all frames at full size, for every second frame at half the size; as the command."""
    video = moving_thing(8)
    write_video(video, tmp_path / "frames")
    region = torch.stack([thing_region(i) for i in range(8)])
    where = region.to(torch.uint8).mul(255)[:, None].expand(-1, 3, -1, -1)
    write_video(Video(where.contiguous(), video.times_s), tmp_path / "masks")
    input = InputConfig(start=2, stride=2, max_side=80)
    film = as_video(tmp_path / "frames", input)
    quick = CompleteConfig("propagate")
    result = recam.remove(tmp_path / "frames", tmp_path / "masks", input=input, complete=quick)
    small = torch.nn.functional.max_pool2d(region[2::2].float(), 2) > 0
    hole = result.partial.known == 0
    assert bool(hole[small].all()) and float(hole.float().mean()) < 3 * float(small.float().mean())
    options = ["--start", "2", "--stride", "2", "--max-side", "80", "--model", "propagate"]
    main(["edit", str(tmp_path / "frames"), "--remove", str(tmp_path / "masks"), *options, "-o",
          str(tmp_path / "out"), "--quiet"])  # fmt: skip
    assert len(read_video(tmp_path / "out" / "result.mp4")) == 3
    # The edited frame and its mask, too, may be the source's own size.
    picture = video.frames[2].clone()
    picture[:, thing_region(2)] = 255 - picture[:, thing_region(2)]
    write_image(picture, tmp_path / "edited.png")
    write_image(where[2], tmp_path / "mask.png")
    for mask in (None, tmp_path / "mask.png"):
        out = recam.edit(
            tmp_path / "frames", tmp_path / "edited.png", mask=mask, input=input, complete=quick
        )
        changed = (out.video.frames != film.frames).any(1)
        assert float(changed[small].float().mean()) > 0.9


def test_complete_takes_a_part_of_a_file_and_adapts_to_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = moving_thing(6)
    write_video(video, tmp_path / "frames")
    known = (~thing_region(0)).to(torch.uint8).mul(255).expand(3, -1, -1)
    write_image(known, tmp_path / "known.png")
    input, quick = InputConfig(start=1, num_frames=4), CompleteConfig("propagate")
    result = recam.complete(tmp_path / "frames", tmp_path / "known.png", input=input, config=quick)
    assert torch.equal(result.video.frames[:, 0, :20], video.frames[1:5, 0, :20])
    assert len(result.video) == 4 and result.weights_sha256 is None
    asked: list[tuple] = []
    monkeypatch.setattr(
        FlowPropagation, "adapt", lambda self, _, what, *__: asked.append(what) or self
    )
    recam.complete(tmp_path / "frames", tmp_path / "known.png", input=input, config=quick)
    recam.complete(video, ~thing_region(0), config=quick)  # an array is not adapted to
    assert asked == [(tmp_path / "frames", tmp_path / "known.png", input)]

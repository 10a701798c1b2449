"""Edits of one frame carried through clips whose true edited version is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import fails, left_behind
from recam.apps.cli import main
from recam.configs import EditConfig
from recam.evaluation.metrics import psnr
from recam.media import read_image, read_video, write_image, write_video
from recam.tasks.edit import changed_region, edit, remove
from recam.types import Video, video_from_frames
from task_clips import HEIGHT, WIDTH, moving_thing, texture, thing_region

NUM = 8


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))


def _inside(num: int = NUM, margin: int = 0) -> torch.Tensor:
    """[t, h, w] in {0, 1}: where the thing is, grown by a margin."""
    where = torch.stack([thing_region(i) for i in range(num)]).float()[:, None]
    if margin:
        where = torch.nn.functional.max_pool2d(where, 2 * margin + 1, 1, margin)
    return where[:, 0]


@pytest.mark.parametrize("frame", [0, 4])
def test_a_new_texture_moves_with_the_thing(frame: int) -> None:
    video, truth = moving_thing(NUM), moving_thing(NUM, thing_seed=5)
    result = edit(video, truth.frames[frame], frame)
    out = result.video.frames
    inside = _inside()
    assert psnr(out, truth.frames, inside) > 24
    assert psnr(video.frames, truth.frames, inside) < 16  # so that the test can fail
    still = psnr(truth.frames[frame : frame + 1].expand_as(out), truth.frames, inside)
    assert psnr(out, truth.frames, inside) > still + 6  # pasting the frame as it is
    changed = (out != video.frames).any(1)
    outside = _inside(margin=3) == 0
    assert float((changed & outside).sum()) < 0.03 * float(outside.sum())
    assert not bool((changed & (_inside(margin=30) == 0)).any())
    there = thing_region(frame)
    assert torch.equal(out[frame][:, there], truth.frames[frame][:, there])


def test_a_recoloured_frame_is_kept_and_an_exposure_change_followed() -> None:
    video = moving_thing(NUM)
    edited = video.frames[0].clone()
    where = thing_region(0)
    edited[0][where] = 255 - edited[0][where]
    darker = video.frames.clone()
    darker[4:] = (darker[4:].float() * 0.8).round().to(torch.uint8)
    truth = darker.clone()
    for i in range(NUM):
        gain = 1.0 if i < 4 else 0.8
        red = edited[0][where].view(-1).float() * gain
        truth[i, 0][thing_region(i)] = red.round().to(torch.uint8)
    changed = edit(type(video)(darker, video.times_s), edited).video.frames
    assert psnr(changed, truth, _inside()) > 24


def test_removal_shows_the_background() -> None:
    video, truth = moving_thing(12), moving_thing(12, thing_seed=None)
    for result in (
        remove(video, thing_region(0)),
        remove(video, _inside(12) > 0),
        edit(video, truth.frames[0], config=EditConfig(content="background")),
    ):
        out = result.video.frames
        unedited = psnr(video.frames, truth.frames, _inside(12))
        assert psnr(out, truth.frames, _inside(12)) > max(17, unedited + 5)
        changed = (out != video.frames).any(1)
        outside = _inside(12, margin=6) == 0
        assert float((changed & outside).sum()) < 0.06 * float(outside.sum())


def test_small_differences_are_noise() -> None:
    frame = moving_thing(1).frames[0].permute(1, 2, 0).numpy()
    noise = np.random.default_rng(0).integers(-4, 5, frame.shape)
    noisy = np.clip(frame + noise, 0, 255).astype(np.uint8)
    noisy[20:50, 30:70] = 255 - noisy[20:50, 30:70]
    found = changed_region(frame, noisy)
    true = np.zeros(frame.shape[:2], bool)
    true[20:50, 30:70] = True
    assert (found & true).sum() / (found | true).sum() > 0.85


def test_command(tmp_path: Path) -> None:
    video, truth = moving_thing(4), moving_thing(4, thing_seed=5)
    write_video(video, Path("input.mp4"), crf=4)
    write_image(truth.frames[0], Path("input.png"))
    write_image(thing_region(0).float().mul(255).to(torch.uint8).expand(3, -1, -1), Path("m.png"))
    main(["edit", "input.mp4", "--edited-frame", "0", "input.png", "--mask", "m.png", "-o", "a",
          "--quiet"])  # fmt: skip
    assert psnr(read_video(Path("a/result.mp4")).frames, truth.frames, _inside(4)) > 20
    names = {"result.mp4", "preview.mp4", "known.mp4", "contact_sheet.png", "config.json"}
    assert {p.name for p in Path("a").iterdir()} >= names
    main(["edit", "input.mp4", "--remove", "m.png", "-o", "b", "--quiet"])
    assert len(read_video(Path("b/result.mp4"))) == 4


def test_bad_input_ends_in_one_line(tmp_path: Path) -> None:
    video = moving_thing(3)
    write_video(video, Path("input"))
    write_image(video.frames[0], Path("input-same.png"))
    write_image(video.frames[0, :, :40], Path("input-small.png"))
    for name, value in (("empty", 0), ("full", 255)):
        picture = torch.full((3, HEIGHT, WIDTH), value, dtype=torch.uint8)
        write_image(picture, Path(f"input-{name}.png"))
    run = ("edit", "input", "-o", "out")
    assert "not differ" in fails(*run, "--edited-frame", "0", "input-same.png")
    assert "160×96" in fails(*run, "--edited-frame", "0", "input-small.png")
    assert "everywhere" in fails(*run, "--edited-frame", "0", "input-full.png")
    assert "0…2" in fails(*run, "--edited-frame", "3", "input-same.png")
    assert "input-none.png" in fails(*run, "--edited-frame", "0", "input-none.png")
    assert "white" in fails(*run, "--remove", "input-empty.png")
    assert "everything" in fails(*run, "--remove", "input-full.png")
    changed = ("--edited-frame", "0", "input-same.png", "--mask")
    assert "white" in fails(*run, *changed, "input-empty.png")
    assert "everything" in fails(*run, *changed, "input-full.png")
    part = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    part[:, :20] = 255
    write_image(part, Path("input-part.png"))
    half = torch.zeros(3, 40, WIDTH, dtype=torch.uint8)
    half[:, :20] = 255
    write_image(half, Path("input-low.png"))
    assert "input-low.png is 160×40" in fails(*run, *changed, "input-low.png")
    assert "there is no" in fails(*run, *changed, "input-none.png")
    assert "160×40" in fails(*run, "--remove", "input-low.png")
    assert "0…2" in fails(*run, "--edited-frame", "-1", "input-same.png")
    assert "0…2" in fails(*run, "--remove", "input-part.png", "--at-frame", "3")
    masks = part.expand(3, -1, -1, -1).contiguous()
    write_video(video_from_frames(masks[:2]), Path("input-masks.mp4"))
    assert "3 frames" in fails(*run, "--remove", "input-masks.mp4")
    write_video(video_from_frames(masks), Path("input-all"))
    assert "leave it out" in fails(*run, "--remove", "input-all", "--at-frame", "1")
    assert "nothing is followed" in fails(*run, "--remove", "input-all", "--mask-weights", "none")
    assert "--content" in fails(*run, "--remove", "input-part.png", "--content", "background")
    assert "--at-frame" in fails(*run, *changed[:3], "--at-frame", "1")
    assert "of its own" in fails(*run, "--remove", "input-part.png", "--mask", "input-same.png")
    assert "either" in fails(*run, *changed[:3], "--remove", "input-same.png")
    assert "--remove" in fails(*run)
    assert left_behind(tmp_path) == [] and not Path("out").exists()


def test_a_real_pair(shared_data: Path) -> None:
    """The kitten becomes a dog in all frames, and the room stays as it is."""
    folder = shared_data / "edit" / "anyv2v_kitten"
    video = read_video(folder / "input.mp4", num_frames=4, max_side=256)
    (picture,) = (folder / "frames_and_edits" / "edited_first_frame").glob("*.png")
    edited = torch.nn.functional.interpolate(
        read_image(picture)[None].float(), (video.height, video.width), mode="area"
    )[0].round().to(torch.uint8)  # fmt: skip
    out = edit(video, edited).video.frames
    changed = (out != video.frames).any(1)
    assert 0.15 < float(changed.float().mean()) < 0.6
    assert psnr(out[1:2], edited[None]) > psnr(video.frames[1:2], edited[None]) + 4


def test_shading_that_passes_over_falls_on_the_edit_too() -> None:
    video, truth = moving_thing(NUM), moving_thing(NUM, thing_seed=5)
    across = torch.linspace(0, 1, WIDTH)
    # A soft shadow that moves to the left over everything, while the thing moves to the right.
    away = torch.stack([across - 1 + i / 10 for i in range(NUM)])
    shadow = 1 - 0.6 * torch.exp(-(away**2) / 0.03)
    dark = [(v.frames * shadow[:, None, None]).round().to(torch.uint8) for v in (video, truth)]
    shaded = Video(dark[0], video.times_s)
    out = edit(shaded, dark[1][0], region=thing_region(0)).video.frames
    assert psnr(out, dark[1], _inside()) > 23  # 21.7 without


def test_what_was_hidden_in_the_edited_frame_is_told_by_its_colours() -> None:
    """Half of the thing comes into the picture later; the edit is the same for the whole of it."""
    video = moving_thing(NUM)
    truth = video.frames.clone()
    for i in range(NUM):
        where = thing_region(i)
        truth[i][:, where] = 255 - video.frames[i][:, where]
    cover = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    cover[:, 42:64] = True
    plain = [torch.where(cover & (torch.tensor(i) == 0), 128, v).to(torch.uint8)
             for i, v in enumerate(video.frames)]  # fmt: skip
    edited = torch.where(cover, plain[0], truth[0])
    out = edit(Video(torch.stack(plain), video.times_s), edited).video.frames
    seen = out[1:] != video.frames[1:]
    assert psnr(out[1:], truth[1:], seen.any(1).float() * _inside()[1:]) > 22


def test_what_is_put_on_a_surface_goes_behind_what_passes() -> None:
    """A patch inserted in the background, which the thing covers later."""
    video = moving_thing(NUM)
    truth, covered = video.frames.clone(), []
    patch = texture(24, 24, 9)
    for i in range(NUM):
        there = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
        there[34:58, 70 - i : 94 - i] = True  # as the background moves
        whole = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
        whole[:, there] = torch.from_numpy(patch).permute(2, 0, 1).flatten(1)
        covered.append(there & thing_region(i))
        there &= ~thing_region(i)
        truth[i][:, there] = whole[:, there]
    assert int(covered[-1].sum()) > 200 and not bool(covered[0].any())
    out = edit(video, truth[0]).video.frames
    inside = (truth != video.frames).any(1).float()
    assert psnr(out, truth, inside) > 22 > psnr(video.frames, truth, inside)
    hidden = torch.stack(covered)
    assert float((out != video.frames).any(1)[hidden].float().mean()) < 0.3  # 2 px fade out there

"""The Python functions: what they accept, and that they do what the tasks do."""

from pathlib import Path

import numpy as np
import pytest
import torch

import recam
from recam.api import as_mask, as_picture, as_video
from recam.media import read_video, write_image, write_video
from recam.types import RecamError
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

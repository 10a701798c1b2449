"""Cameras of a fisheye or a whole sphere given with --cameras: the run goes on with a pinhole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from input_cameras import N, transforms, world_from_cam, write_json
from media_samples import moving_frames
from recam.configs import ReconstructConfig
from recam.reconstruct.checkpoint import Checkpoint
from recam.reconstruct.report import Report
from recam.reconstruct.user_inputs import Clip, given_cameras
from recam.types import SourcePart, no_progress, video_from_frames


@pytest.mark.parametrize("model", ["OPENCV_FISHEYE", "EQUIRECTANGULAR"])
def test_frames_are_straightened_to_the_view_asked_for(tmp_path: Path, model: str) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    path = write_json(tmp_path / "t.json", transforms(names, camera_model=model, k1=0.01))
    video = video_from_frames(torch.from_numpy(moving_frames(N, 48, 64)))
    config = ReconstructConfig(cameras=str(path), fov=80.0)
    part = SourcePart("x", tuple(names))
    border = np.zeros((24, 32), bool)
    clip = Clip(video, config, 24, 32, no_progress, part, Checkpoint(), border)
    report = Report()
    found = given_cameras(clip, None, report)
    cameras = found.cameras
    assert cameras is not None and found.seen is not None and found.seen.shape == (N, 48, 64)
    assert not torch.equal(found.clip.video.frames, video.frames)
    focal = 16 / np.tan(np.deg2rad(40))  # of pictures 32 px wide
    np.testing.assert_allclose(cameras.intrinsics[0], [[focal, 0, 16], [0, focal, 12], [0, 0, 1]])
    np.testing.assert_allclose(cameras.world_from_cam, world_from_cam(), atol=1e-9)
    assert any("straightened to a pinhole of 80°" in note for note in report.notes)
    masked = replace(clip, config=replace(config, masks="m.png"))
    with pytest.raises(ValueError, match="straightened first"):
        given_cameras(masked, None, report)

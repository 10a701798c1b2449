"""Regions that are followed, with SAM 2's outlines: tiny random checkpoints and known answers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_checkpoints import save_sam2
from recam.configs import CompleteConfig, EditConfig
from recam.reconstruct.external import sam2
from recam.tasks.edit import edit, remove
from recam.tasks.edit_tracking import outlined, track
from recam.types import RecamError, no_progress
from task_clips import moving_thing, thing_region

pytest.importorskip("transformers")


def test_a_video_checkpoint_is_asked_in_every_task(tmp_path: Path) -> None:
    video = moving_thing(3)
    edited = video.frames[0].clone()
    edited[0][thing_region(0)] = 255
    config = EditConfig(
        mask_weights=str(save_sam2(tmp_path, True)), complete=CompleteConfig("propagate")
    )
    assert edit(video, edited, config=config).video.frames.shape == video.frames.shape
    assert remove(video, thing_region(0), config=config).video.frames.shape == video.frames.shape


def test_answers_replace_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(rgb: np.ndarray, inside: np.ndarray, weights: str) -> tuple[np.ndarray, float]:
        asked.append((len(rgb), weights))
        return ~inside, 1.0

    monkeypatch.setattr(sam2, "outlined_by_sam2", answer)
    monkeypatch.setattr("recam.tasks.edit_tracking.OUTLINED_TOGETHER", 3)
    video, region = moving_thing(6), thing_region(2).numpy()
    plain = list(track(video, 2, region, no_progress))
    other = list(outlined(track(video, 2, region, no_progress), video, "somewhere"))
    assert asked == [(3, "somewhere"), (2, "somewhere")]
    assert [t.frame for t in plain] == [t.frame for t in other]
    assert all((a.inside != b.inside).all() for a, b in zip(plain, other))


def test_missing_weights_are_said() -> None:
    video = moving_thing(2)
    with pytest.raises(RecamError):
        remove(video, thing_region(0), config=EditConfig(mask_weights="no/such-folder"))
    assert torch.equal(video.frames, moving_thing(2).frames)

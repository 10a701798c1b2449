"""SAM 2 on tiny random checkpoints: what is asked of it, and what is made of its answers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_checkpoints import save_depth_anything, save_sam2
from recam.reconstruct.external import sam2
from recam.reconstruct.external.sam2 import outlined_by_sam2
from recam.types import RecamError

pytest.importorskip("transformers")


@pytest.fixture
def found() -> np.ndarray:
    dynamic = np.zeros((2, 48, 80), bool)
    dynamic[:, 10:30, 20:40] = True
    dynamic[1, 35:45, 60:75] = True
    dynamic[1, 0, 0] = True  # a speck, about which nothing is asked
    return dynamic


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (2, 48, 80, 3), np.uint8)


@pytest.mark.parametrize("video", [False, True])
def test_checkpoints_of_both_kinds_answer(
    video: bool, tmp_path: Path, rgb: np.ndarray, found: np.ndarray
) -> None:
    out, known = outlined_by_sam2(rgb, found, str(save_sam2(tmp_path, video)))
    assert out.shape == found.shape and out.dtype == bool and 0 <= known <= 1
    assert out[1, 0, 0]  # what was not asked about stays


class _Answers:
    """A model that answers each box with its left half, all of the picture, and the box itself."""

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []

    def __call__(
        self, pixel_values: torch.Tensor, input_boxes: torch.Tensor, **_: object
    ) -> "_Answers":
        assert pixel_values.shape == (1, 3, 128, 128)
        self.boxes.append(input_boxes[0].numpy())
        masks = torch.full((1, input_boxes.shape[1], 3, 128, 128), -9.0)
        for k, (x0, y0, x1, y1) in enumerate(input_boxes[0].round().int().tolist()):
            masks[0, k, 0, y0:y1, x0 : (x0 + x1) // 2] = 9
            masks[0, k, 1] = 9
            masks[0, k, 2, y0:y1, x0:x1] = 9
        self.pred_masks = masks
        return self

    def parameters(self):
        return iter([torch.zeros(1)])

    def to(self, device: torch.device) -> "_Answers":
        return self


def test_the_answer_most_like_the_region_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rgb: np.ndarray, found: np.ndarray
) -> None:
    folder = save_sam2(tmp_path)
    real = sam2.load_whole
    answers = _Answers()
    answers.config = real(__import__("transformers").Sam2Model, folder).config  # type: ignore[attr-defined]
    monkeypatch.setattr(sam2, "load_whole", lambda *a, **k: answers)
    out, known = outlined_by_sam2(rgb, found, str(folder))
    assert known == 1
    # Boxes are the regions', widened by 5 %, in the model's own pixels.
    assert np.allclose(answers.boxes[0], [[19 * 1.6, 9 * 128 / 48, 41 * 1.6, 31 * 128 / 48]])
    box = np.zeros((48, 80), bool)
    box[9:31, 19:41] = True
    assert (out[0] ^ box).sum() <= 90  # a pixel of rounding around it


def test_an_answer_about_something_else_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rgb: np.ndarray, found: np.ndarray
) -> None:
    folder = save_sam2(tmp_path)
    nothing = np.zeros((48, 80), bool)
    nothing[40:, :10] = True
    monkeypatch.setattr(sam2, "_asked", lambda m, p, regions, r: [nothing] * len(regions))
    out, known = outlined_by_sam2(rgb, found, str(folder))
    assert known == 0 and np.array_equal(out, found)


def test_other_models_are_refused(tmp_path: Path, rgb: np.ndarray, found: np.ndarray) -> None:
    folder = save_depth_anything(tmp_path)
    with pytest.raises(RecamError, match="depth_anything model; expected sam2"):
        outlined_by_sam2(rgb, found, str(folder))

"""Predictions in the layout of CogNVS's released results, scored by its protocol."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from recam.evaluation import cognvs
from recam.evaluation.cognvs import cognvs_pairs, read_pair, score_pairs
from recam.media import write_video
from recam.types import RecamError, video_from_frames


def flat(levels: list[int], height: int = 32, width: int = 48) -> torch.Tensor:
    """Frames of one grey each: what H.264 keeps to within a level."""
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, height, width)


def write(path: Path, frames: torch.Tensor) -> None:
    write_video(video_from_frames(frames.contiguous()), path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"kubric_4d": (32, 48), "pardom_4d": (32, 48), "dycheck": (48, 32)}
    monkeypatch.setattr(cognvs, "SIZES", sizes)


def test_kubric_layout_by_hand(tmp_path: Path, small: None) -> None:
    root = tmp_path / "kubric_4d"
    for scene, offset in (("scn02900", 20), ("scn02901", 40)):
        write(root / "target_gt" / f"kubric_{scene}_gt.mp4", flat([60, 80, 100]))
        write(root / "mine" / f"x_{scene}_mine.mp4", flat([60 + offset, 80 + offset, 100 + offset]))
    write(root / "target_gt" / "kubric_scn02902_gt.mp4", flat([60, 80, 100]))  # no prediction
    pairs = cognvs_pairs(tmp_path, "kubric_4d", "mine")
    assert [p.name for p in pairs] == ["kubric_scn02900_gt", "kubric_scn02901_gt"]
    scores = score_pairs(pairs, "kubric_4d")
    expected = (20 * math.log10(255 / 20) + 20 * math.log10(255 / 40)) / 2
    assert scores["psnr"] == pytest.approx(expected, abs=0.5)
    c1 = (0.01 * 255) ** 2
    ssims = [
        (2 * a * b + c1) / (a * a + b * b + c1)
        for offset in (20, 40)
        for a in (60, 80, 100)
        for b in [a + offset]
    ]
    assert scores["ssim"] == pytest.approx(np.mean(ssims), abs=0.01)
    assert scores["num_frames"] == 6
    with pytest.raises(RecamError, match="holds no …_theirs"):
        cognvs_pairs(tmp_path, "kubric_4d", "theirs")
    with pytest.raises(RecamError, match="holds no true videos"):
        cognvs_pairs(tmp_path, "pardom_4d", "mine")


def test_dycheck_layout_picks_the_moments_that_were_filmed(tmp_path: Path, small: None) -> None:
    root = tmp_path / "dycheck"
    source = [40, 70, 100, 130, 160]
    write(root / "target_gt_1x" / "dycheck_paper-windmill_gt_cam1.mp4", flat([70, 130], 48, 32))
    write(root / "target_gt_1x" / "dycheck_paper-windmill_gt_cam2.mp4", flat([160], 48, 32))
    for camera in (1, 2):
        # Made for every source frame, at half the size.
        name = f"dycheck_paper-windmill_megasam_render_stack_cam{camera}.mp4"
        write(root / "megasam_render" / name, flat(source, 24, 16))
    lines = ["0_00000.png", "0_00001.png", "1_00001.png", "1_00003.png", "2_00004.png", ""]
    (root / "dycheck_paper-windmill_source_target_correspondence.txt").write_text("\n".join(lines))
    first, second = cognvs_pairs(tmp_path, "dycheck", "megasam_render")
    assert first.frames == (1, 3) and second.frames == (4,)
    predicted, truth = read_pair(first, 48, 32)
    assert predicted.shape == truth.shape == (2, 3, 48, 32)
    assert int((predicted.int() - truth.int()).abs().max()) <= 2
    assert score_pairs([first, second], "dycheck")["psnr"] > 40
    # A method that renders only those moments.
    write(root / "som" / "dycheck_paper-windmill_som_cam1.mp4", flat([70, 130], 48, 32))
    (only,) = cognvs_pairs(tmp_path, "dycheck", "som")
    assert score_pairs([only], "dycheck")["psnr"] > 40
    write(root / "som" / "dycheck_paper-windmill_som_cam1.mp4", flat([70, 130, 1], 48, 32))
    with pytest.raises(ValueError, match="has 3 frames, but frame 3"):
        read_pair(only, 48, 32)

"""Scoring videos in the layout of CogNVS's released results, by CogNVS's own protocol.

    kubric_4d/<method>/…<scene>_<method>.mp4            kubric_4d/target_gt/…<scene>_gt.mp4
    pardom_4d/ alike
    dycheck/<method>/…<scene>_<method>_cam1.mp4         dycheck/target_gt_1x/…<scene>_gt_cam1.mp4
                                                        (target_gt at 480 × 360: dycheck-360p)
    dycheck/dycheck_<scene>_source_target_correspondence.txt    lines 0_00012.png and 1_00012.png

Every frame's PSNR, SSIM and LPIPS over all pixels (no masks, on DyCheck too), mean over all frames
of all videos together; FID and KID of all frames together; frames of another size are resized
(bilinear) to the protocol's. PSNR and SSIM are scikit-image's (``ssim_uniform``), LPIPS is lpips'
with AlexNet, FID and KID are clean-fid's. What differs: films are decoded with interpolated colour
where the published script takes OpenCV's decoder, which repeats it and reads 1–1.5 levels darker
(predictions and truth alike), and scenes are those that are there, not a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.evaluation.configs import Perceptual
from recam.evaluation.metrics import psnr_per_frame, ssim_uniform
from recam.evaluation.scores import SET_METRICS, perceptual_scores, set_features, set_scores
from recam.media import read_video
from recam.runtime.files import read_text
from recam.types import Progress, RecamError, no_progress

CogNVSDataset = Literal["kubric_4d", "pardom_4d", "dycheck", "dycheck-360p"]
SIZES: dict[CogNVSDataset, tuple[int, int]] = {
    "kubric_4d": (384, 576),
    "pardom_4d": (384, 576),
    "dycheck": (960, 720),
    "dycheck-360p": (480, 360),
}
"""(height, width) that each data set's frames are compared at."""


@dataclass(frozen=True)
class VideoPair:
    """A predicted video and the true one.

    frames: which frames of the prediction belong to the true ones, in order; None = all.
    """

    name: str
    prediction: Path
    truth: Path
    frames: tuple[int, ...] | None = None


def cognvs_pairs(folder: Path, dataset: CogNVSDataset, method: str) -> list[VideoPair]:
    """The pairs of a method, by the names of the true videos; only scenes with both count.

    Raises RecamError when there is no true video, or none that the method has a prediction for.
    """
    root = folder / dataset.removesuffix("-360p")
    truth_folder = root / ("target_gt_1x" if dataset == "dycheck" else "target_gt")
    truths = sorted(truth_folder.glob("*_gt*.mp4"))
    if not truths:
        raise RecamError(f"{truth_folder} holds no true videos …_gt….mp4")
    pairs = []
    for truth in truths:
        start, end = truth.stem.rsplit("_gt", 1)
        # MegaSAM's renders are named …_stack_cam1; the true videos' prefix may be another one.
        scene = _scene_of(start)
        pattern = re.compile(rf".*{re.escape(scene)}_{re.escape(method)}(_stack)?{re.escape(end)}")
        found = [f for f in sorted((root / method).glob("*.mp4")) if pattern.fullmatch(f.stem)]
        if found:
            frames = _correspondence(root, scene, end) if root.name == "dycheck" else None
            pairs.append(VideoPair(truth.stem, found[0], truth, frames))
    if not pairs:
        raise RecamError(
            f"{root / method} holds no …_{method}….mp4 for any of {len(truths)} scenes"
        )
    return pairs


def _scene_of(start: str) -> str:
    """The scene's own name: scn02900, scene_000048, paper-windmill."""
    known = re.search(r"(scn\d+|scene_\d+)$", start)
    return known.group(1) if known else start.rsplit("_", 1)[-1]


def _correspondence(root: Path, scene: str, end: str) -> tuple[int, ...] | None:
    """Source frames that the true frames of a camera ("_cam1") show, as the scene's file lists."""
    path = root / f"dycheck_{scene}_source_target_correspondence.txt"
    camera = end.removeprefix("_cam")
    if not path.is_file():
        return None
    words = (line.strip().removesuffix(".png").split("_") for line in read_text(path).splitlines())
    return tuple(int(w[1]) for w in words if len(w) == 2 and w[0] == camera)


def read_pair(pair: VideoPair, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Predicted and true frames uint8 [t, 3, height, width].

    A prediction with as many frames as the truth is taken as it is (methods that only render the
    evaluated moments). Raises ValueError when the numbers of frames do not fit.
    """
    videos = [read_video(path).frames for path in (pair.prediction, pair.truth)]
    predicted, truth = videos
    if len(predicted) != len(truth) and pair.frames is not None:
        if max(pair.frames, default=-1) >= len(predicted):
            raise ValueError(
                f"{pair.prediction} has {len(predicted)} frames, but frame {max(pair.frames)} "
                "is to be compared"
            )
        predicted = predicted[torch.tensor(pair.frames)]
    if len(predicted) != len(truth):
        raise ValueError(
            f"{pair.prediction} gives {len(predicted)} frames for {len(truth)} of {pair.truth}"
        )
    return _resized(predicted, height, width), _resized(truth, height, width)


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    if frames.shape[2:] == (height, width):
        return frames
    # Not area-filtered: the protocol's numbers are made this way.
    pictures = [
        cv2.resize(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), (width, height))
        for frame in frames
    ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def score_pairs(
    pairs: Sequence[VideoPair],
    dataset: CogNVSDataset,
    perceptual: Sequence[Perceptual] = (),
    progress: Progress = no_progress,
) -> dict[str, float]:
    """PSNR and SSIM by CogNVS's protocol over all pairs, with the number of frames.

    perceptual: also lpips, fid, kid (its protocol has these) or others; the mean of what is made
    frame by frame is over all frames, too.
    """
    sums: dict[str, float] = {}
    num_frames, features = 0, []
    for i, pair in enumerate(pairs):
        predicted, truth = read_pair(pair, *SIZES[dataset])
        found = {
            "psnr": float(psnr_per_frame(predicted, truth).mean()),
            "ssim": ssim_uniform(predicted, truth),
            **perceptual_scores(predicted, truth, perceptual, progress=progress),
        }
        for name, mean in found.items():
            sums[name] = sums.get(name, 0.0) + mean * len(truth)
        num_frames += len(truth)
        if any(name in SET_METRICS for name in perceptual):
            features.append(set_features(predicted, truth, perceptual, progress))
        progress("scoring", i + 1, len(pairs))
    means = {name: total / num_frames for name, total in sums.items()}
    return means | set_scores(features, perceptual) | {"num_frames": float(num_frames)}

"""A film's shots, and what tells whether a part of one is worth learning from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.configs import PairsConfig
from recam.flow.dense import compute_flows
from recam.media import read_video
from recam.trajectories import focus_depth
from recam.types import RecamError, Scene, Video

LOOK_SIDE = 160
"""Longer side, pixels, that cuts and motion are found at."""
SHARP_SIDE = 320
"""Likewise sharpness and text."""
NUM_LOOKED_AT = 6
"""Frames of a part, evenly apart, that sharpness and text are measured in."""
STROKE_CONTRAST = 80
"""Grey levels between a letter and what is around it, at least."""
TEXT_HEIGHT = (0.02, 0.15)
"""Of a line of text, in picture heights."""


def find_shots(path: Path) -> list[tuple[int, int]]:
    """First frame and frame after the last of every shot of a film, in order.

    By PySceneDetect's AdaptiveDetector, which looks for a change of colour far above that of the
    frames around. Raises RecamError when it is not installed, or for what is no film.
    """
    try:
        from scenedetect import AdaptiveDetector, FrameTimecode
    except ImportError as error:
        raise RecamError("shots are found by scenedetect: pip install 'recam[scale]'") from error
    video = read_video(path, max_side=LOOK_SIDE)
    detector = AdaptiveDetector()
    cuts = []
    for i, frame in enumerate(video.frames):
        picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy()[:, :, ::-1])
        cuts += detector.process_frame(FrameTimecode(i, 24.0), picture)
    cuts += detector.post_process(FrameTimecode(len(video) - 1, 24.0))
    edges = sorted({0, len(video), *(cut.frame_num for cut in cuts)})
    return list(pairwise(edges))


def parts_of(shot: tuple[int, int], config: PairsConfig) -> list[int]:
    """First frames of the parts of a shot, each config.shot_frames long (a shorter shot is one part
    of its own), at most config.parts_per_shot and evenly apart."""
    begin, end = shot
    spare = end - begin - config.shot_frames
    if spare < 0:
        return [begin]
    num = min(config.parts_per_shot, 1 + spare // config.shot_frames)
    return [begin + round(spare * k / max(num - 1, 1)) for k in range(num)]


def measure(video: Video) -> dict[str, float]:
    """What a part shows, before anything is reconstructed.

    motion, activity: see ``flow_lengths``. sharpness: see there. text: share of the picture that
    lines of writing take which stand still.
    """
    motion, activity = flow_lengths(video)
    looked = torch.linspace(0, len(video) - 1, min(NUM_LOOKED_AT, len(video))).round().long()
    grays = [_gray(video.frames[i]) for i in looked]
    return {
        "motion": motion,
        "activity": activity,
        "sharpness": float(np.median([sharpness(gray) for gray in grays])),
        "text": text_share(grays),
    }


def flow_lengths(video: Video) -> tuple[float, float]:
    """Length of the flow from frame to frame in picture widths: of the median pixel, and of one in
    twenty that moves at least as much; both medians over the frames."""
    scale = LOOK_SIDE / max(video.height, video.width)
    height, width = round(video.height * scale), round(video.width * scale)
    if len(video) < 2:
        return 0.0, 0.0
    flows = compute_flows(video, height, width, offsets=(1,))
    lengths = [flows.get(i, i + 1)[0].norm(dim=-1).numpy() for i in range(len(video) - 1)]
    usual, most = np.median([np.percentile(length, (50, 95)) for length in lengths], axis=0)
    return float(usual) / width, float(most) / width


def sharpness(gray: np.ndarray) -> float:
    """Share of a picture's contrast (uint8 [h, w]) that is in its finest detail, 0 to about 1: the
    spread of what a small blur takes away against the spread of the picture."""
    picture = gray.astype(np.float32)
    fine = picture - cv2.GaussianBlur(picture, (0, 0), 1.0)
    return float(fine.std() / max(float(picture.std()), 1.0))


def text_share(grays: list[np.ndarray]) -> float:
    """Share of a picture (frames uint8 [h, w]) in lines of writing that stand still: subtitles,
    captions and marks. Lettering in the world moves with it, and is no text here.

    A line is a wide box, as high as a line is, filled with strokes of strong contrast that every
    frame has at the same place.
    """
    cross = np.ones((3, 3), np.uint8)
    strokes = np.min([cv2.morphologyEx(g, cv2.MORPH_GRADIENT, cross) for g in grays], axis=0)
    strong = (strokes > STROKE_CONTRAST).astype(np.uint8)
    height, width = strong.shape
    joined = cv2.morphologyEx(strong, cv2.MORPH_CLOSE, np.ones((1, max(width // 32, 3)), np.uint8))
    found = np.zeros(strong.shape, bool)
    for x, y, w, h, _ in cv2.connectedComponentsWithStats(joined)[2][1:]:
        box = strong[y : y + h, x : x + w]
        # Letters have edges all along; the outline of a thing has two.
        along = (np.diff(box, axis=1) != 0).sum(1).mean() / max(w / h, 1.0)
        is_line = TEXT_HEIGHT[0] * height <= h <= TEXT_HEIGHT[1] * height and w > 3 * h
        if is_line and box.mean() > 0.3 and along > 1.0:
            found[y : y + h, x : x + w] = True
    return float(found.mean())


def parallax(scene: Scene) -> float:
    """How far the camera got from its mean place, in focus depths."""
    pose = scene.cameras.cam_from_world
    centres = -(pose[:, :3, :3].transpose(1, 2) @ pose[:, :3, 3:])[..., 0]
    return float((centres - centres.mean(0)).norm(dim=1).max()) / focus_depth(scene)


def dropped_by(measures: dict[str, float], config: PairsConfig) -> str | None:
    """The first gate that a part or a pair does not pass, or None; of what was measured."""
    gates = {
        "static": ("activity", config.min_activity, None),
        "motion": ("motion", None, config.max_motion),
        "blur": ("sharpness", config.min_sharpness, None),
        "text": ("text", None, config.max_text),
        "parallax": ("parallax", config.min_parallax, None),
        "holes": ("holes", config.min_holes, config.max_holes),
    }
    for name, (what, low, high) in gates.items():
        value = measures.get(what)
        if value is None:
            continue
        if (low is not None and value < low) or (high is not None and value > high):
            return name
    return None


def _gray(frame: Tensor) -> np.ndarray:
    """uint8 [h, w] of a frame uint8 [3, h, w], SHARP_SIDE long."""
    picture = frame.permute(1, 2, 0).numpy()
    gray = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    scale = SHARP_SIDE / max(gray.shape)
    if scale >= 1:  # nothing is made finer than it is
        return gray
    return cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

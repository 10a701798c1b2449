"""Lenses that bend: told from tracks, undone in a video; and what is straight left alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recam.configs import ReconstructConfig
from recam.geometry import distort
from recam.media import write_image
from recam.reconstruct import reconstruct
from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    Freedom,
    adjust,
    rotation_exp,
)
from recam.reconstruct.cameras.radial_distortion import find_bend, straightened
from recam.reconstruct.checkpoint import NO_CHECKPOINT, Checkpoint
from recam.reconstruct.matching.tracks import Tracks
from recam.reconstruct.user_inputs import Clip, undistort_clip
from recam.types import Scene, Video, no_progress, video_from_frames
from reconstruct_scene import make_cameras, render_world

FOCAL, RADIUS = 300.0, 250.0


def as_lens_sees(uv: NDArray[np.float64], k1: float, focal: float = FOCAL) -> NDArray[np.float64]:
    lens = torch.tensor([k1, 0, 0, 0, 0], dtype=torch.float64)
    return focal * distort(torch.from_numpy(uv / focal), lens).numpy()


def some_tracks(k1: float, moves: bool, noise_px: float) -> tuple[Bundle, Tracks]:
    """What a camera sees that turns, and moves or not, and a bundle fitted for a pinhole."""
    rng, num = np.random.default_rng(3), 12
    rotation = rotation_exp(np.linspace(0, 1, num)[:, None] * [0.06, 0.4, 0.08])
    center = np.linspace(0, 1, num)[:, None] * [0.8, 0.1, 0.2] * moves
    uv, frames, length = [], [], []
    for _ in range(500):
        ray = np.append(rng.uniform(-0.9, 0.9, 2), 1.0) * rng.uniform(2, 6)
        point = rotation[num // 2].T @ ray
        y = np.einsum("tij,tj->ti", rotation, point - center)
        at = as_lens_sees(FOCAL * y[:, :2] / y[:, 2:], k1)
        seen = np.flatnonzero((np.abs(at) < [210, 135]).all(1) & (np.abs(y[:, 0]) < y[:, 2]))
        if len(seen) >= 4:
            uv.append(at[seen] + noise_px * rng.standard_normal((len(seen), 2)))
            frames.append(seen)
            length.append(len(seen))
    tracks = Tracks(
        np.concatenate(uv), np.concatenate(frames), np.concatenate([[0], np.cumsum(length)])
    )
    first = tracks.frame[tracks.start[:-1]]
    bundle = Bundle(
        rotation, center, FOCAL, tracks.uv_px[tracks.start[:-1]] / FOCAL,
        np.full(len(tracks), 0.3), np.ascontiguousarray(rotation[first].transpose(0, 2, 1)),
        center[first].copy(),
    )  # fmt: skip
    freedom = Freedom(center=moves, depth=moves, sigma_px=1.0, redescending=False)
    return adjust(bundle, tracks, freedom, 15)[0], tracks


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("k1", [-0.15, 0.05])
def test_the_bend_of_tracks_is_found(k1: float, moves: bool) -> None:
    bundle, tracks = some_tracks(k1, moves, 0.05)
    found = find_bend(bundle, tracks, "moving" if moves else "rotating", RADIUS, True)
    assert found is not None
    assert abs(found.k1 - k1) < 0.003 and abs(found.focal_px / FOCAL - 1) < 0.02
    assert abs(found.shift_px / (abs(k1) * RADIUS**3 / FOCAL**2) - 1) < 0.06


@pytest.mark.parametrize("moves", [True, False])
def test_a_pinhole_is_left_alone(moves: bool) -> None:
    bundle, tracks = some_tracks(0.0, moves, 0.2)
    assert find_bend(bundle, tracks, "moving" if moves else "rotating", RADIUS, True) is None


def test_points_go_back_to_where_a_pinhole_sees_them() -> None:
    uv = np.random.default_rng(0).uniform(-150, 150, (50, 2))
    for k1 in (-0.3, 0.2):
        back = straightened(as_lens_sees(uv, k1), k1 * (RADIUS / FOCAL) ** 2, RADIUS)
        assert np.allclose(back, uv, atol=1e-6)


def bent_video(video: Video, k1: float, focal: float) -> Video:
    """What the lens would have made of it, cut out where it knows."""
    h, w = video.height, video.width
    y, x = np.mgrid[0:h, 0:w] + 0.5
    at = np.stack([x - w / 2, y - h / 2], -1).reshape(-1, 2)
    back = straightened(at, k1 * (RADIUS / focal) ** 2, RADIUS).reshape(h, w, 2)
    grid = (back + np.array([w / 2 - 0.5, h / 2 - 0.5])).astype(np.float32)
    frames = [
        cv2.remap(
            np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), grid[..., 0], grid[..., 1],
            cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
        )
        for frame in video.frames
    ]  # fmt: skip
    stack = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    inset = slice(h // 8, h - h // 8), slice(w // 8, w - w // 8)
    return video_from_frames(stack[..., inset[0], inset[1]].contiguous())


@pytest.fixture(scope="module")
def clip() -> tuple[Video, float]:
    cameras = make_cameras(12, 152, 240, 0.06, 0.012)
    return render_world(12, 152, 240, cameras=cameras).video, float(cameras.intrinsics[0, 0, 0])


@pytest.fixture(scope="module")
def undone(clip: tuple[Video, float]) -> tuple[Video, Scene]:
    bent = bent_video(clip[0], -0.12, clip[1])
    return bent, reconstruct(bent, ReconstructConfig(refine_minutes=0))


@pytest.fixture(scope="module")
def straight(clip: tuple[Video, float]) -> Scene:
    return reconstruct(clip[0], ReconstructConfig(refine_minutes=0))


def test_a_bent_video_is_straightened(
    clip: tuple[Video, float], undone: tuple[Video, Scene], straight: Scene, tmp_path: Path
) -> None:
    (video, focal), (bent, scene) = clip, undone
    lens = scene.report["cameras"]["distortion"]
    assert abs(lens["k1"] / -0.12 - 1) < 0.15
    assert any("bends straight lines" in note for note in scene.report["notes"])
    assert scene.video is not bent and not torch.equal(scene.video.frames, bent.frames)
    # The picture is as the pinhole had it, but for what two interpolations cost.
    inset = video.frames[..., 19:-19, 30:-30].float()
    off, before = ((v.frames - inset)[..., 8:-8, 8:-8].abs().mean() for v in (scene.video, bent))
    assert off < 0.5 * before
    # Its focal length is what the pinhole's own video tells, as well as that does.
    found, told = (float(s.cameras.intrinsics[0, 0, 0]) for s in (scene, straight))
    assert abs(told / focal - 1) < 0.1 and abs(found / told - 1) < 0.1
    # Masks are of the picture as it is.
    for i in range(len(bent)):
        write_image(torch.zeros(bent.height, bent.width, dtype=torch.bool), tmp_path / f"{i}.png")
    masked = reconstruct(bent, ReconstructConfig(refine_minutes=0, masks=str(tmp_path)))
    assert masked.video is bent and "distortion" not in masked.report["cameras"]


def test_a_killed_run_goes_on_with_the_same_lens(clip: tuple[Video, float], tmp_path: Path) -> None:
    bent = bent_video(clip[0], -0.12, clip[1])
    config, kept = ReconstructConfig(refine_minutes=0), Checkpoint(tmp_path / "kept")
    whole = reconstruct(bent, config)

    def killed(what: str, done: int, total: int) -> None:
        if what == "triangulating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(bent, config, killed, kept=kept)
    assert kept.has("cameras") and kept.has("straight cameras")
    again = reconstruct(bent, config, kept=kept)
    assert torch.equal(again.depth, whole.depth)
    assert torch.equal(again.video.frames, whole.video.frames)
    assert again.report["cameras"] == whole.report["cameras"]


def test_a_straight_video_stays(clip: tuple[Video, float], straight: Scene) -> None:
    auto = straight
    pinhole = reconstruct(clip[0], ReconstructConfig(refine_minutes=0, lens="pinhole"))
    assert auto.video is clip[0] and "distortion" not in auto.report["cameras"]
    assert torch.equal(auto.depth, pinhole.depth)
    assert torch.equal(auto.cameras.cam_from_world, pinhole.cameras.cam_from_world)


def test_what_the_lens_never_saw_and_a_border_are_left_out() -> None:
    video = video_from_frames(torch.full((2, 3, 90, 160), 100, dtype=torch.uint8))
    for k1, straight in ((0.3, False), (-0.3, True)):
        border = np.zeros((45, 80), bool)
        border[:4] = True
        bent = Clip(video, ReconstructConfig(), 45, 80, no_progress, None, NO_CHECKPOINT, border)
        border = undistort_clip(bent, k1, 60.0).border
        assert border[:2, 40].all() and not border[20:25, 20:60].any()
        assert border[22, 0] == (not straight) and border[-1, 0] == (not straight)
        # The border's lower edge, straight before, is further from the middle at its ends, or less.
        deep = (border & (np.arange(45) < 22)[:, None]).sum(0)
        assert (deep[10] < deep[40]) == straight

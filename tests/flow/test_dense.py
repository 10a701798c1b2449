import cv2
import numpy as np
import pytest
import torch

from recam.flow.dense import compute_flows, flows_to_frame, sample_bilinear
from recam.types import RecamError, video_from_frames


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip(128 + smooth * 200, 0, 255).astype(np.uint8)


def shifted_video(shifts: list[tuple[float, float]], height: int = 120, width: int = 160):
    """Frames that show the same texture moved right and down by ``shifts`` px."""
    base = texture(height, width)
    frames = []
    for dx, dy in shifts:
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
        gray = cv2.warpAffine(base, move, (width, height), flags=cv2.INTER_CUBIC)
        frames.append(np.repeat(gray[None], 3, 0))
    return video_from_frames(torch.from_numpy(np.stack(frames)))


def test_flow_of_a_shift():
    video = shifted_video([(2.5 * i, -1.25 * i) for i in range(6)])
    flows = compute_flows(video, 120, 160, offsets=(1, 2, 4))
    for i, j in flows.pairs():
        flow, confidence = flows.get(i, j)
        expected = torch.tensor([2.5, -1.25]) * (j - i)
        inner = (slice(20, -20), slice(20, -20))
        assert (flow - expected)[inner].abs().median() < 0.1, (i, j)
        assert confidence[inner].median() > 0.9, (i, j)


def test_size_given_is_the_size_worked_at():
    video = shifted_video([(0, 0), (4, 0)])
    flows = compute_flows(video, 60, 80, offsets=(1,))
    flow, _ = flows.get(0, 1)
    assert flow.shape == (60, 80, 2)
    assert (flow[15:-15, 15:-15, 0].median() - 2.0).abs() < 0.1


def test_pixels_that_leave_the_picture_or_are_uncovered_have_no_confidence():
    video = shifted_video([(0, 0), (12, 0)])
    _, confidence = compute_flows(video, 120, 160, offsets=(1,)).get(0, 1)
    assert confidence[:, -10:].max() == 0
    assert confidence[20:-20, 20:-30].mean() > 0.9


def test_chained_start_follows_far_motion():
    video = shifted_video([(9.0 * i, 0) for i in range(9)], width=240)
    far, sure = compute_flows(video, 120, 240, offsets=(1, 2, 4, 8)).get(0, 8)
    covered = far[20:-20, 20:140, 0]
    assert ((covered - 72).abs() < 1).float().mean() > 0.9
    assert sure[20:-20, 20:140].mean() > 0.8


def test_number_of_threads_does_not_matter():
    video = shifted_video([(1.5 * i, 0.5 * i) for i in range(4)])
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = compute_flows(video, 120, 160, offsets=(1, 2))
        cv2.setNumThreads(3)
        three = compute_flows(video, 120, 160, offsets=(1, 2))
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    for pair in one.pairs():
        assert torch.equal(one.steps[pair], three.steps[pair])
        assert torch.equal(one.confidence_u8[pair], three.confidence_u8[pair])


def test_offsets_longer_than_the_video_are_left_out():
    flows = compute_flows(shifted_video([(0, 0), (1, 0)]), 120, 160, offsets=(1, 2, 8))
    assert flows.offsets == (1,)
    assert not flows.has(0, 2)
    with pytest.raises(ValueError, match="not stored"):
        flows.get(0, 2)
    single = compute_flows(shifted_video([(0, 0)]), 120, 160)
    assert len(single) == 1 and single.pairs() == []


def test_errors():
    video = shifted_video([(0, 0), (1, 0)])
    with pytest.raises(RecamError, match="too small"):
        compute_flows(video, 16, 16)
    with pytest.raises(ValueError, match="offsets"):
        compute_flows(video, 120, 160, offsets=(0, 1))


def test_sample_bilinear_reads_pixel_centres():
    field = np.arange(12, dtype=np.float32).reshape(3, 4)
    uv_px = np.array([[0.5, 0.5], [1.0, 0.5], [3.5, 2.5], [2.0, 1.0]])
    np.testing.assert_allclose(sample_bilinear(field, uv_px), [0, 0.5, 11, 3.5])
    many = np.full((40000, 2), 1.5)
    assert sample_bilinear(field, many).shape == (40000,)


def test_flow_to_a_frame_long_left_stays_finite() -> None:
    """A wall passes by, three pixels a frame: the sums of steps grew until they broke."""
    generator = torch.Generator().manual_seed(0)
    wall = torch.rand(1, 3, 8, 120, generator=generator)
    wall = torch.nn.functional.interpolate(wall, size=(32, 480), mode="bilinear")[0]
    frames = torch.stack([wall[:, :, 3 * i : 3 * i + 48] for i in range(140)])
    video = video_from_frames((frames * 255).to(torch.uint8))
    for found in flows_to_frame(video, 0, 32, 48):
        assert float(np.abs(found.to_anchor).max()) < 3 * 48
    assert found.frame == 139

"""One step of the bundle against a dense solve with numerical derivatives; memory of long ones."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    Freedom,
    _free_parameters,
    _moved,
    _stepped,
    adjust,
    rotation_exp,
)
from recam.reconstruct.cameras.normal_equations import band_width, solve_arrow
from recam.reconstruct.matching.tracks import Tracks, cut_tracks

FOCAL = 120.0


def small_world(num_frames: int, span: int, num: int, noise_px: float) -> tuple[Bundle, Tracks]:
    """Points in front of a camera that wanders; each is seen in some of ``span`` frames."""
    rng = np.random.default_rng(4)
    rotation = rotation_exp(np.cumsum(0.02 * rng.standard_normal((num_frames, 3)), 0))
    center = np.cumsum(0.05 * rng.standard_normal((num_frames, 3)), 0)
    uv, frames, length = [], [], []
    for k in range(num):
        first = k * (num_frames - span + 1) // num
        seen = first + np.sort(rng.permutation(span)[: max(3, span - 2)])
        middle = seen[len(seen) // 2]
        ray = np.append(rng.uniform(-0.4, 0.4, 2), 1.0) * rng.uniform(2, 5)
        point = center[middle] + rotation[middle].T @ ray
        y = np.einsum("kij,kj->ki", rotation[seen], point - center[seen])
        uv.append(FOCAL * y[:, :2] / y[:, 2:] + noise_px * rng.standard_normal((len(seen), 2)))
        frames.append(seen)
        length.append(len(seen))
    start = np.concatenate([[0], np.cumsum(length)])
    tracks = Tracks(np.concatenate(uv), np.concatenate(frames), start)
    first = tracks.frame[start[:-1]]
    bundle = Bundle(
        rotation, center, FOCAL * 1.05, tracks.uv_px[start[:-1]] / FOCAL, np.full(num, 0.3),
        np.ascontiguousarray(rotation[first].transpose(0, 2, 1)), center[first].copy(),
    )  # fmt: skip
    return bundle, tracks


def dense_step(
    bundle: Bundle, tracks: Tracks, freedom: Freedom, damping: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The damped Gauss–Newton step from a numerical Jacobian of everything at once."""
    num = len(_free_parameters(bundle, freedom))
    free = np.append(_free_parameters(bundle, freedom), np.ones(3 * len(tracks), bool))
    if not freedom.depth:
        free[num + 2 :: 3] = False

    def residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
        at = _moved(bundle, x[:num], x[num:].reshape(-1, 3))
        own = tracks.track
        ray = np.concatenate([at.bearing, np.ones((len(at.bearing), 1))], 1)
        v = np.einsum("nij,nj->ni", at.axes, ray)[own]
        v += at.inverse_depth[own, None] * (at.origin[own] - at.center[tracks.frame])
        y = np.einsum("mij,mj->mi", at.rotation[tracks.frame], v)
        return at.focal * y[:, :2] / y[:, 2:] - tracks.uv_px

    zero = np.zeros(num + 3 * len(tracks))
    e = residuals(zero)
    columns = np.flatnonzero(free)
    jacobian = np.empty((e.size, len(columns)))
    for n, column in enumerate(columns):
        h = np.zeros_like(zero)
        h[column] = 1e-6
        jacobian[:, n] = ((residuals(h) - residuals(-h)) / 2e-6).ravel()
    ratio = (e**2).sum(1) / freedom.sigma_px**2
    weight = np.repeat(1 / (1 + ratio) ** (2 if freedom.redescending else 1), 2)
    hessian = (jacobian * weight[:, None]).T @ jacobian
    gradient = jacobian.T @ (weight * e.ravel())
    rho = columns >= num
    rho &= (columns - num) % 3 == 2
    hessian[rho, rho] += freedom.depth_prior_px**2
    gradient[rho] += freedom.depth_prior_px**2 * (bundle.inverse_depth - 1)[: rho.sum()]
    if freedom.focal_prior is not None and freedom.focal:
        mean, std = freedom.focal_prior
        at = np.flatnonzero(columns == num - 1)
        hessian[at, at] += 1 / std**2
        gradient[at] += (np.log(bundle.focal) - mean) / std**2
    hessian[np.diag_indices(len(columns))] *= 1 + damping
    step = zero.copy()
    step[columns] = -np.linalg.solve(hessian, gradient)
    return step[:num], step[num:].reshape(-1, 3)


@pytest.mark.parametrize(
    "freedom",
    [
        Freedom(focal_prior=(4.8, 0.1)),
        Freedom(center=False, depth=False, redescending=False),
        Freedom(focal=False, frames=np.arange(7) % 2 == 1),
        Freedom(rotation=False, center=False),
    ],
)
def test_a_step_is_that_of_a_dense_solve(freedom: Freedom) -> None:
    bundle, tracks = small_world(7, 4, 20, 0.3)
    wanted = _moved(bundle, *dense_step(bundle, tracks, freedom, 0.1))
    free = _free_parameters(bundle, freedom)
    found = _stepped(bundle, tracks, np.ones(len(tracks.frame)), freedom, free, 0.1)
    assert found is not None
    for name in ("rotation", "center", "focal", "bearing", "inverse_depth"):
        a, b, before = (getattr(x, name) for x in (found, wanted, bundle))
        assert np.allclose(a, b, rtol=0, atol=1e-5 * max(np.abs(b - before).max(), 1e-6)), name


def test_a_matrix_like_an_arrow_is_solved_where_it_is_free() -> None:
    rng = np.random.default_rng(0)
    n, width = 24, 7
    near = np.abs(np.arange(n)[:, None] - np.arange(n)) < width
    square = np.where(near, rng.standard_normal((n, n)), 0)
    square = square + square.T + 20 * np.eye(n)
    column = rng.standard_normal(n + 1)
    column[-1] = 9.0
    whole = np.block([[square, column[:-1, None]], [column[None]]])
    band = np.zeros((n, width))
    for m in range(n):
        band[m, : n - m] = square[m, m : m + width]
    right = rng.standard_normal(n + 1)
    for free in (np.ones(n + 1, bool), np.arange(n + 1) % 3 > 0, np.arange(n + 1) == n):
        x = solve_arrow(band.copy(), column, right, free)
        assert x is not None and not x[~free].any()
        assert np.allclose(whole[np.ix_(free, free)] @ x[free], right[free])
    assert solve_arrow(-band, column, right, np.ones(n + 1, bool)) is None


def test_memory_is_that_of_the_band() -> None:
    """Four times the frames with tracks as long take four times the memory, not sixteen."""
    most = []
    for num_frames in (100, 400):
        bundle, tracks = small_world(num_frames, 10, 3 * num_frames, 0.3)
        adjust(bundle, tracks, Freedom(), 1)
        tracemalloc.start()
        adjust(bundle, tracks, Freedom(), 2)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert band_width(tracks.start, tracks.frame) == 60
    assert most[1] < 5 * most[0]
    assert most[1] < 400 * 6 * 400 * 6 * 8 / 4


def test_long_tracks_are_cut_and_never_all_at_once() -> None:
    frames = np.concatenate([np.arange(100), np.arange(100), np.arange(30, 50), np.arange(100)])
    start = np.array([0, 100, 200, 220, 320])
    tracks = Tracks(np.stack([frames, frames], 1).astype(np.float64), frames, start)
    cut = cut_tracks(tracks, 20)
    assert np.array_equal(cut.frame, tracks.frame) and np.isin(start, cut.start).all()
    span = cut.frame[cut.start[1:] - 1] - cut.frame[cut.start[:-1]]
    assert span.max() < 20 and len(cut) > 3 * 5
    assert ((cut.frame[cut.start[:-1]] == 30) & (span == 19)).any()  # the short one is whole
    begins = np.bincount(cut.frame[cut.start[:-1]], minlength=100)
    assert begins[1:].max() < 3
    assert cut_tracks(tracks, 100).start.tolist() == start.tolist()

"""The one projection against the slow reference, and the name that a kernel is kept by."""

import numpy as np
import torch

from recam.geometry import project as project_points
from recam.geometry import unproject
from recam.reconstruct.warping import far_point, inverse_depth_warps, project, project_reference
from recam.runtime import jit
from recam.runtime.jit import kernel
from reconstruct_scene import make_cameras

H, W = 24, 40


@kernel
def _project_all(a, b, k, rho, out):
    for y in range(rho.shape[0]):
        for x in range(rho.shape[1]):
            u, v, z = project(a, b, k, x + 0.5, y + 0.5, rho[y, x])
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = u, v, z


def test_the_compiled_projection_is_the_reference() -> None:
    cameras = make_cameras(4, H, W, 0.3, 0.05)
    rho = np.random.default_rng(0).uniform(0.05, 0.8, (H, W)).astype(np.float32)
    x, y = (g.astype(np.float32) + 0.5 for g in np.meshgrid(np.arange(W), np.arange(H)))
    a, b = inverse_depth_warps(cameras, 1, [0, 2, 3])
    for k in range(3):
        out = np.zeros((H, W, 3))
        _project_all(a, b, k, rho, out)
        expected = np.stack(project_reference(a[k], b[k], x, y, rho), -1)
        assert np.allclose(out, expected, rtol=1e-5, atol=1e-4)


def test_it_projects_as_the_cameras_do() -> None:
    cameras = make_cameras(3, H, W, 0.3, 0.05)
    depth = torch.full((1, H, W), 3.0, dtype=torch.float64)
    points = unproject(depth, cameras[0:1]).reshape(1, -1, 3)
    uv, z = project_points(points, cameras[2:3])
    a, b = inverse_depth_warps(cameras, 0, [2])
    out = np.zeros((H, W, 3))
    _project_all(a, b, 0, np.full((H, W), 1 / 3, np.float32), out)
    assert np.allclose(out[..., :2].reshape(-1, 2), uv[0].numpy(), atol=1e-3)
    assert np.allclose(3 * out[..., 2].ravel(), z[0].numpy(), atol=1e-4)


def test_a_kernel_is_kept_by_what_is_pasted_into_it() -> None:
    def other(a, b, k, rho, out):
        out[0, 0, 0] = project(a, b, k, 0.5, 0.5, rho[0, 0])[0]

    def plain(a):
        return a

    sources = "".join(jit._inlined_sources(other, set()))
    assert "def project" in sources and "def far_point" in sources  # also what is pasted into it
    assert far_point.recam_inlined
    assert _project_all.py_func.__qualname__.startswith("_project_all_")
    assert kernel(plain).py_func.__qualname__.endswith("plain")

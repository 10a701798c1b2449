"""The fast renderer of training pictures against the renderer of record."""

import numpy as np
import torch

from recam.synthetic import cast_synthetic, sample_cameras, sample_scene
from recam.synthetic.fast_render import Bank, fast_render
from recam.synthetic.fast_shading import TEXELS

BANK = Bank(np.full((2, TEXELS, 3), 150, np.uint8), ("plaster", "photo"))


def test_depth_is_that_of_the_ray_caster() -> None:
    for seed, kind in ((3, "room"), (4, "street"), (5, "park")):
        scene = sample_scene(seed, kind)  # type: ignore[arg-type]
        cameras = sample_cameras(scene, seed, "orbit", 2, 48, 72)
        times_s = torch.tensor([0.0, 0.5], dtype=torch.float64)
        frames, depth = fast_render(scene, cameras, times_s, BANK, np.random.default_rng(0))
        true, _, _, _ = cast_synthetic(scene, cameras, times_s)
        apart = (torch.from_numpy(depth).log() - true.log()).abs()
        assert float((apart < 1e-3).float().mean()) > 0.995
        assert frames.shape == (2, 3, 48, 72) and frames.std() > 5


def test_same_seed_same_picture() -> None:
    scene = sample_scene(4, "street")
    cameras = sample_cameras(scene, 4, "tripod", 1, 48, 72)
    times_s = torch.zeros(1, dtype=torch.float64)
    one, two = (
        fast_render(scene, cameras, times_s, BANK, np.random.default_rng(7))[0] for _ in range(2)
    )
    assert np.array_equal(one, two)

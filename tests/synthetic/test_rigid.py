"""Baked rigid-body motions, and surfaces that look photographed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recam.media import write_image
from recam.synthetic import render_synthetic, sample_cameras, sample_scene
from recam.synthetic.natural import with_natural_textures
from recam.synthetic.rigid import RATE_HZ, REACH_M, RIGID_KINDS, add_rigid, rigid_clips
from recam.synthetic.textures import TextureSpec, texture
from recam.types import RecamError


def corners(size: torch.Tensor) -> torch.Tensor:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    return signs * size


def test_bodies_move_rigidly_above_the_ground() -> None:
    clips = rigid_clips()
    assert {c.kind for c in clips} == set(RIGID_KINDS)
    for clip in clips:
        rotation, position = clip.world_from_body[..., :3, :3], clip.world_from_body[..., :3, 3]
        eye = torch.eye(3, dtype=torch.float64).expand_as(rotation)
        torch.testing.assert_close(rotation @ rotation.transpose(-1, -2), eye, atol=1e-6, rtol=0)
        for i, shape in enumerate(clip.shapes):
            if shape == "box":  # up is −y: at an impact a corner may sink in a little
                world = corners(clip.sizes[i]) @ rotation[:, i].transpose(-1, -2)
                lowest = (world + position[:, i, None])[..., 1].max()
            elif shape == "ellipsoid":
                lowest = (position[:, i, 1] + clip.sizes[i, 1]).max()
            else:
                continue
            assert float(lowest) < 0.03
        moved = (position[-1] - position[0]).norm(dim=-1)
        assert float(moved.max()) > 0.1
        seen = position[: int(2 * RATE_HZ)]
        assert float(seen[..., [0, 2]].norm(dim=-1).max()) < REACH_M


def test_falling_bodies_fall_as_gravity_has_it() -> None:
    clip = next(c for c in rigid_clips() if c.kind == "drop")
    top = int(clip.world_from_body[0, :, 1, 3].argmin())  # the highest falls freely for longest
    y = clip.world_from_body[:8, top, 1, 3]
    acceleration = (y[2:] - 2 * y[1:-1] + y[:-2]) * RATE_HZ**2
    torch.testing.assert_close(acceleration, torch.full_like(acceleration, 9.81), atol=0.05, rtol=0)


def test_simulating_again_gives_the_same_start() -> None:
    pytest.importorskip("mujoco")
    from recam.synthetic.simulate import simulate

    clip = next(c for c in rigid_clips() if c.kind == "dominoes")
    again = simulate("dominoes", 0)
    # Contacts amplify differences between versions of the engine: only the start is compared.
    start = torch.from_numpy(again["position"][:10]).double()
    torch.testing.assert_close(start, clip.world_from_body[:10, :, :3, 3], atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="expected one of drop"):
        simulate("avalanche", 0)


def test_scene_with_rigid_bodies_shows_them_as_moving() -> None:
    scene = sample_scene(40, "room")
    clip = rigid_clips()[0]
    more = add_rigid(scene, clip, 0)
    assert len(more.parts) == len(scene.parts) + len(clip.shapes)
    assert set(more.moving_objects()) > set(scene.moving_objects())
    assert scene.parts == more.parts[: len(scene.parts)]
    cameras = sample_cameras(more, 40, "orbit", 2, 48, 72)
    ids = render_synthetic(more, cameras, torch.tensor([0.0, 1.0])).object_ids
    assert int(ids.max()) > len(scene.object_names)


def test_textures_repeat_without_a_seam(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 320)[None, None].repeat(3, 0).repeat(280, 1)
    write_image(
        torch.from_numpy((0.9 * ramp + rng.uniform(0, 20, (3, 280, 320))).astype(np.uint8)),
        tmp_path / "photo.png",
    )
    for spec in (
        TextureSpec("deadleaves", 1),
        TextureSpec("plaster", 0, str(tmp_path / "photo.png")),
    ):
        picture = texture(spec)
        inner = (picture[..., 1:] - picture[..., :-1]).abs().mean()
        seam = (picture[..., 0] - picture[..., -1]).abs().mean()
        assert float(seam) < 2.5 * float(inner)


def test_photographs_of_the_user(tmp_path: Path) -> None:
    scene = sample_scene(5, "hall")
    with pytest.raises(RecamError, match="holds no photographs"):
        with_natural_textures(scene, 0, textures=tmp_path)
    write_image(torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8), tmp_path / "a.png")
    painted = with_natural_textures(scene, 0, 1.0, tmp_path)
    assert {m.texture.photo for m in painted.materials} >= {str(tmp_path / "a.png")}
    assert with_natural_textures(scene, 0) == with_natural_textures(scene, 0)
    assert with_natural_textures(scene, 0, 0.0) == scene

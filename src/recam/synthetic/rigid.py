"""Rigid bodies that fall, tumble and knock each other over: simulated once, played from a file.

MuJoCo (``pip install 'recam[physics]'``) makes the motions; their samples lie beside this file, so
that scenes with them are the same everywhere, need no physics engine, and do not change with its
version. ``python -m recam.synthetic.simulate`` makes the file anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from recam.geometry import rotation_from_quaternion, se3
from recam.synthetic.motion import Keyed
from recam.synthetic.props import choose, material
from recam.synthetic.scene import Body, Part, Shape, SyntheticScene, world_from_parts
from recam.synthetic.textures import TextureKind

BAKED = Path(__file__).with_name("rigid.npz")
RIGID_KINDS = ("drop", "dominoes", "bowling")
RATE_HZ = 48.0
REACH_M = 0.75
"""Nothing of a clip is farther than this from its middle while it runs, and nothing is higher than
twice this above the ground."""
_FREE_TRIES = 200
_TEXTURES: tuple[TextureKind, ...] = (
    "wood", "pattern", "stripes", "planks", "metal", "fabric", "marble", "picture",
)  # fmt: skip


@dataclass(frozen=True)
class RigidClip:
    """n rigid bodies in motion above the ground y = 0, about the origin.

    kind: of RIGID_KINDS. shapes: n of box, ellipsoid, frustum. sizes: half extents float64 [n, 3].
    times_s: float64 [k]. world_from_body: float64 [k, n, 4, 4], axes as in SyntheticScene.
    """

    kind: str
    shapes: tuple[Shape, ...]
    sizes: torch.Tensor
    times_s: torch.Tensor
    world_from_body: torch.Tensor


@lru_cache(maxsize=1)
def rigid_clips() -> tuple[RigidClip, ...]:
    """The clips that come with recam."""
    clips = []
    with np.load(BAKED, allow_pickle=False) as file:
        for i in range(int(file["num_clips"])):
            position = torch.from_numpy(file[f"position_{i}"]).double()
            turn = torch.from_numpy(file[f"quaternion_{i}"]).double()
            rotation = rotation_from_quaternion(turn / turn.norm(dim=-1, keepdim=True))
            times_s = torch.arange(len(position), dtype=torch.float64) / RATE_HZ
            shapes = tuple(str(s) for s in file[f"shape_{i}"])
            sizes = torch.from_numpy(file[f"size_{i}"]).double()
            clips.append(
                RigidClip(str(file[f"kind_{i}"]), shapes, sizes, times_s, se3(rotation, position))  # type: ignore[arg-type]
            )
    return tuple(clips)


def add_rigid(scene: SyntheticScene, clip: RigidClip, seed: int) -> SyntheticScene:
    """The scene with the clip's bodies, near the middle of its stage where nothing is or comes by.

    Raises ValueError when no free place is found: take another scene.
    """
    rng = np.random.default_rng([17, seed])
    x, z = _free_place(scene, rng)
    yaw = float(rng.uniform(0, 2 * np.pi))
    c, s = np.cos(yaw), np.sin(yaw)
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    world_from_clip = se3(turn, torch.tensor([x, 0.0, z], dtype=torch.float64))
    parts, bodies = list(scene.parts), list(scene.bodies)
    materials, names = list(scene.materials), list(scene.object_names)
    for i, shape in enumerate(clip.shapes):
        repeat = 0.0 if shape == "box" else 0.5
        materials.append(material(rng, choose(rng, *_TEXTURES), repeat, (0.8, 1.2)))
        names.append({"box": "block", "ellipsoid": "ball"}.get(shape, "can"))
        bodies.append(
            Body(Keyed(clip.times_s, world_from_clip @ clip.world_from_body[:, i]), len(names))
        )
        sx, sy, sz = clip.sizes[i].tolist()
        radius = 1.0 if shape == "frustum" else 0.0
        eye = torch.eye(4, dtype=torch.float64)
        parts.append(Part(shape, (sx, sy, sz), radius, len(bodies) - 1, eye, len(materials) - 1))
    return replace(
        scene, parts=tuple(parts), bodies=tuple(bodies), materials=tuple(materials),
        object_names=tuple(names),
    )  # fmt: skip


def _free_place(scene: SyntheticScene, rng: np.random.Generator) -> tuple[float, float]:
    """(x, z) around which a ball of REACH_M above the ground is free for four seconds."""
    times = torch.linspace(0, 4, 17, dtype=torch.float64)
    poses = world_from_parts(scene, times)
    size = torch.tensor([p.size for p in scene.parts], dtype=torch.float64)
    cx, _, cz = scene.stage.center
    for i in range(_FREE_TRIES):
        out = scene.stage.radius * 1.5 * np.sqrt((i + 1) / _FREE_TRIES)
        angle = float(rng.uniform(0, 2 * np.pi))
        x, z = cx + out * float(np.sin(angle)), cz + out * float(np.cos(angle))
        center = torch.tensor([x, -REACH_M - 0.02, z], dtype=torch.float64)
        local = poses[..., :3, :3].transpose(-1, -2) @ (center - poses[..., :3, 3])[..., None]
        gap = (local[..., 0].abs() - size).clamp(min=0).norm(dim=-1)
        if float(gap.min()) >= REACH_M:
            return x, z
    raise ValueError(f"scene {scene.seed} ({scene.kind}) has no free place for falling bodies")

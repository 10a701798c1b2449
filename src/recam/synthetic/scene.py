"""What a synthetic scene is made of: a description, without any pixels.

World axes: +x right, +y down, +z away, metres; the ground is y = 0 and up is −y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from recam.synthetic.motion import Motion, Still, is_moving, world_from_body
from recam.synthetic.textures import TextureSpec

Shape = Literal["box", "rounded", "ellipsoid", "frustum", "foliage"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
SceneKind = Literal["room", "hall", "street", "park"]
SCENE_KINDS: tuple[SceneKind, ...] = get_args(SceneKind)

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """How a surface looks: linear albedo = texture · tint.

    repeat_m: metres that one repeat of the texture covers; 0 stretches it once over each face of a
        box. gloss: strength of the highlight. emission: light of its own, as a factor on albedo.
    """

    texture: TextureSpec
    repeat_m: float
    tint: Color = (1.0, 1.0, 1.0)
    gloss: float = 0.0
    emission: float = 0.0


@dataclass(frozen=True)
class Part:
    """One convex primitive (or leafy shell), rigidly fixed to a body.

    size: half extents in metres along the part's axes.
    box: as said. rounded: a box of that size, core and rounding together, its edges rounded by
    ``radius`` (a capsule or sphere when the core vanishes). ellipsoid: semi-axes. frustum: an
    upright (elliptical) cylinder, its top scaled by ``radius`` (1 = cylinder, 0 = cone). foliage:
    the shell of an ellipsoid with gaps of about ``radius`` metres.
    body_from_part: float64 [4, 4]. material: index into SyntheticScene.materials.
    """

    shape: Shape
    size: tuple[float, float, float]
    radius: float
    body: int
    body_from_part: Tensor
    material: int
    casts_shadow: bool = True


@dataclass(frozen=True)
class Body:
    """Parts that move together. Bodies with the same object_id (≥ 1) are limbs of one object."""

    motion: Motion
    object_id: int


@dataclass(frozen=True)
class Lighting:
    """One far light with shadows, light from all around, and how the picture is exposed.

    to_light: unit vector in the world. sun, ambient_up, ambient_down: linear colours (the ambient
    ones for surfaces that face up and down). blur_m: width of the shadow's soft edge.
    falloff_center, falloff_m: light fades with distance from there (a lamp); inf = not at all.
    indoor_low, indoor_high: corners of the box in which it does; outside is day.
    """

    to_light: tuple[float, float, float]
    sun: Color
    ambient_up: Color
    ambient_down: Color
    blur_m: float
    falloff_center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    falloff_m: float = float("inf")
    indoor_low: tuple[float, float, float] = (0.0, 0.0, 0.0)
    indoor_high: tuple[float, float, float] = (0.0, 0.0, 0.0)
    exposure: float = 1.0


@dataclass(frozen=True)
class Sky:
    """What rays that hit nothing see, and the haze before it.

    haze_m: distance over which haze takes over (1/e); inf = none. clouds: 0 to 1.
    """

    zenith: Color
    horizon: Color
    clouds: float
    texture: TextureSpec
    haze_m: float = float("inf")


@dataclass(frozen=True)
class Stage:
    """Where the action is and where a camera may be, for sampling cameras.

    center: the middle of the moving objects. radius: metres about it that they use. low, high:
    corners of the box that camera centres keep to.
    """

    center: tuple[float, float, float]
    radius: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class SyntheticScene:
    """A procedural dynamic scene; rendering it needs nothing else.

    object_names: name of every object; object ids start at 1, 0 is the sky.
    """

    kind: SceneKind
    seed: int
    parts: tuple[Part, ...]
    bodies: tuple[Body, ...]
    materials: tuple[Material, ...]
    object_names: tuple[str, ...]
    lighting: Lighting
    sky: Sky
    stage: Stage

    def moving_objects(self) -> tuple[int, ...]:
        """Ids of the objects of which some body moves."""
        return tuple(sorted({b.object_id for b in self.bodies if is_moving(b.motion)}))


def part_object_ids(scene: SyntheticScene) -> Tensor:
    """int32 [parts]: the object that each part belongs to."""
    return torch.tensor([scene.bodies[p.body].object_id for p in scene.parts], dtype=torch.int32)


def part_is_dynamic(scene: SyntheticScene) -> Tensor:
    """bool [parts]: whether the part's body moves."""
    return torch.tensor([is_moving(scene.bodies[p.body].motion) for p in scene.parts])


def world_from_parts(scene: SyntheticScene, times_s: Tensor) -> Tensor:
    """Poses float64 [t, parts, 4, 4] of all parts at times_s [t]."""
    eye = torch.eye(4, dtype=torch.float64)
    still = [b.motion.world_from_body if isinstance(b.motion, Still) else eye for b in scene.bodies]
    bodies = torch.stack(still).repeat(len(times_s), 1, 1, 1)
    for i, body in enumerate(scene.bodies):
        if is_moving(body.motion):
            bodies[:, i] = world_from_body(body.motion, times_s)
    index = torch.tensor([p.body for p in scene.parts])
    local = torch.stack([p.body_from_part for p in scene.parts])
    return bodies[:, index] @ local


class SceneBuilder:
    """Collects parts, bodies and materials while a layout is being made."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.bodies: list[Body] = []
        self.materials: list[Material] = []
        self.object_names: list[str] = []
        self.level = 0.0  # height of the floor that props stand on

    def object(self, name: str) -> int:
        """A new object's id."""
        self.object_names.append(name)
        return len(self.object_names)

    def body(self, motion: Motion, object_id: int) -> int:
        """A new body's index."""
        self.bodies.append(Body(motion, object_id))
        return len(self.bodies) - 1

    def still(self, name: str, world_from_body: Tensor) -> int:
        """Body index of a new object that stands still."""
        return self.body(Still(world_from_body), self.object(name))

    def material(self, material: Material) -> int:
        """Index of a material, the old one when it is known already."""
        if material not in self.materials:
            self.materials.append(material)
        return self.materials.index(material)

    def part(
        self,
        shape: Shape,
        size: tuple[float, float, float],
        body: int,
        at: tuple[float, float, float] | Tensor,
        material: Material,
        radius: float = 0.0,
        casts_shadow: bool = True,
    ) -> None:
        """Add a primitive; ``at``: its centre in the body [3], or its pose float64 [4, 4]."""
        if isinstance(at, Tensor):
            pose = at
        else:
            pose = torch.eye(4, dtype=torch.float64)
            pose[:3, 3] = torch.tensor(at, dtype=torch.float64)
        index = self.material(material)
        self.parts.append(Part(shape, size, radius, body, pose, index, casts_shadow))

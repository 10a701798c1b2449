"""Things that scenes are furnished with, each built of a few convex parts.

Every function adds one object to a builder and returns nothing or its body. x, z: where it stands;
yaw: which way it faces (0 = +z). Heights are above the ground, so y = −height.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from recam.geometry import se3, so3_exp
from recam.synthetic.motion import place
from recam.synthetic.scene import Material, SceneBuilder
from recam.synthetic.textures import TextureKind, TextureSpec

VARIANTS = 16  # seeds of a texture kind in use, so that a long run finds them in the cache


def material(
    rng: np.random.Generator,
    kind: TextureKind,
    repeat_m: float = 1.0,
    bright: tuple[float, float] = (0.8, 1.1),
    gloss: float = 0.0,
    emission: float = 0.0,
) -> Material:
    """A material with some variant of a texture and a slight tint."""
    spec = TextureSpec(kind, int(rng.integers(VARIANTS)))
    tint = rng.uniform(*bright) * rng.uniform(0.92, 1.08, 3)
    color = (float(tint[0]), float(tint[1]), float(tint[2]))
    return Material(spec, repeat_m, color, gloss, emission)


def choose(rng: np.random.Generator, *kinds: TextureKind) -> TextureKind:
    """One of the kinds, all alike likely; name one twice to draw it twice as often."""
    return kinds[int(rng.integers(len(kinds)))]


def turned(
    x: float, y: float, z: float, rx: float = 0.0, ry: float = 0.0, rz: float = 0.0
) -> Tensor:
    """Part pose float64 [4, 4] at (x, y, z), turned by a rotation vector."""
    rotation = so3_exp(torch.tensor([rx, ry, rz], dtype=torch.float64))
    return se3(rotation, torch.tensor([x, y, z], dtype=torch.float64))


ON_SIDE = math.pi / 2  # turns a frustum's axis from y to x (about z) or to z (about x)


def _still(b: SceneBuilder, name: str, x: float, z: float, yaw: float, height: float = 0.0) -> int:
    return b.still(name, place(x, -height - b.level, z, yaw))


def table(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A table with things on it."""
    body = _still(b, "table", x, z, yaw)
    wood = material(rng, choose(rng, "wood", "wood", "planks", "marble"), 1.1, gloss=0.1)
    w, d, h = rng.uniform(0.45, 0.9), rng.uniform(0.35, 0.5), rng.uniform(0.68, 0.78)
    if rng.random() < 0.3:
        d = w
        b.part("frustum", (w, 0.02, d), body, (0, -h, 0), wood, 1.0)
        b.part("frustum", (0.05, h / 2, 0.05), body, (0, -h / 2, 0), wood, 1.0)
        b.part("frustum", (0.3, 0.02, 0.3), body, (0, -0.02, 0), wood, 0.6)
        w, d = 0.7 * w, 0.7 * d
    else:
        b.part("box", (w, 0.02, d), body, (0, -h, 0), wood)
        for sx in (-1, 1):
            for sz in (-1, 1):
                at = (sx * (w - 0.05), -(h - 0.02) / 2, sz * (d - 0.05))
                b.part("box", (0.027, (h - 0.02) / 2, 0.027), body, at, wood)
    for _ in range(int(rng.integers(2, 6))):
        small_thing(b, rng, body, rng.uniform(-0.8, 0.8) * w, h + 0.02, rng.uniform(-0.8, 0.8) * d)


def small_thing(
    b: SceneBuilder, rng: np.random.Generator, body: int, x: float, height: float, z: float
) -> None:
    """Something that stands on furniture: books, a vase, a bowl, a box, a ball, a cup."""
    y = -height
    match int(rng.integers(6)):
        case 0:
            for _ in range(int(rng.integers(1, 4))):
                book = material(rng, choose(rng, "fabric", "page", "pattern"), 0.0, (0.6, 1.0))
                pose = turned(x, y - 0.018, z, ry=rng.uniform(-0.6, 0.6))
                b.part("box", (0.07, 0.018, 0.1), body, pose, book)
                y -= 0.036
        case 1:
            clay = material(rng, choose(rng, "marble", "stripes", "pattern"), 0.3, gloss=0.25)
            r = rng.uniform(0.05, 0.1)
            b.part("ellipsoid", (r, 1.3 * r, r), body, (x, y - 1.2 * r, z), clay)
            b.part("frustum", (0.5 * r, 0.6 * r, 0.5 * r), body, (x, y - 2.6 * r, z), clay, 1.3)
        case 2:
            clay = material(rng, choose(rng, "plaster", "marble", "wood"), 0.3, gloss=0.2)
            b.part("frustum", (0.08, 0.04, 0.08), body, (x, y - 0.04, z), clay, 1.7)
        case 3:
            s = rng.uniform(0.05, 0.12)
            paper = material(rng, choose(rng, "page", "picture", "fabric", "stripes"), 0.0)
            pose = turned(x, y - s, z, ry=rng.uniform(0, 3))
            b.part("box", (s, s, 0.7 * s), body, pose, paper)
        case 4:
            r = rng.uniform(0.05, 0.1)
            toy = material(rng, choose(rng, "stripes", "pattern", "leaves"), 0.3, gloss=0.15)
            b.part("ellipsoid", (r, r, r), body, (x, y - r, z), toy)
        case _:
            cup = material(rng, choose(rng, "plaster", "stripes", "metal"), 0.2, gloss=0.2)
            b.part("frustum", (0.035, 0.05, 0.035), body, (x, y - 0.05, z), cup, 1.15)


def chair(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A chair with four legs and a back."""
    body = _still(b, "chair", x, z, yaw)
    wood = material(rng, choose(rng, "wood", "metal"), 0.8)
    seat = material(rng, choose(rng, "fabric", "wood", "pattern"), 0.4)
    h, s = 0.45, 0.21
    b.part("rounded", (s, 0.03, s), body, (0, -h, 0), seat, 0.02)
    for sx in (-1, 1):
        for sz in (-1, 1):
            tall = 0.46 if sz < 0 else (h - 0.03) / 2
            b.part("box", (0.02, tall, 0.02), body, (sx * (s - 0.02), -tall, sz * (s - 0.02)), wood)
    b.part("rounded", (s, 0.12, 0.02), body, (0, -0.78, -s + 0.02), seat, 0.015)


def sofa(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """An armchair or a sofa for two, with pillows."""
    body = _still(b, "sofa", x, z, yaw)
    cloth = material(rng, "fabric", rng.uniform(0.4, 1.0))
    w = rng.uniform(0.5, 1.1)
    b.part("rounded", (w + 0.2, 0.17, 0.42), body, (0, -0.2, 0), cloth, 0.05)
    b.part("rounded", (w + 0.2, 0.3, 0.12), body, (0, -0.6, -0.32), cloth, 0.09)
    for side in (-1, 1):
        b.part("rounded", (0.12, 0.28, 0.42), body, (side * (w + 0.1), -0.33, 0), cloth, 0.09)
    count = 1 if w < 0.65 else 2
    for i in range(count):
        at = ((i - (count - 1) / 2) * 2 * w / count, -0.43, 0.06)
        b.part("rounded", (w / count - 0.01, 0.08, 0.34), body, at, cloth, 0.06)
    for _ in range(int(rng.integers(1, 3))):
        pillow = material(rng, choose(rng, "pattern", "fabric", "stripes", "rug"), 0.5)
        pose = turned(rng.uniform(-0.7, 0.7) * w, -0.66, -0.12, -0.4, rng.uniform(-0.4, 0.4))
        b.part("rounded", (0.2, 0.18, 0.07), body, pose, pillow, 0.065)


def shelf(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A bookcase: books behind, boards and things before them."""
    body = _still(b, "shelf", x, z, yaw)
    wood = material(rng, choose(rng, "wood", "wood", "plaster"), 0.9)
    books = material(rng, "books", 0.9)
    w, h, d = rng.uniform(0.4, 0.8), rng.uniform(0.9, 2.1), 0.16
    for side in (-1, 1):
        b.part("box", (0.015, h / 2, d), body, (side * w, -h / 2, 0), wood)
    b.part("box", (w, h / 2, 0.01), body, (0, -h / 2, -d + 0.01), wood)
    num = max(2, round(h / 0.34))
    for i in range(num + 1):
        level = 0.05 + i * (h - 0.07) / num
        b.part("box", (w, 0.012, d), body, (0, -level, 0), wood)
        if i == num:
            continue
        gap = (h - 0.07) / num
        if rng.random() < 0.75:
            fill, tall = rng.uniform(0.5, 0.97), 0.82 * gap
            at = (-(1 - fill) * w + 0.01, -level - tall / 2 - 0.01, -0.03)
            b.part("box", (fill * w - 0.02, tall / 2, 0.1), body, at, books)
        else:
            small_thing(b, rng, body, rng.uniform(-0.6, 0.6) * w, level + 0.012, 0.0)
    small_thing(b, rng, body, rng.uniform(-0.6, 0.6) * w, h, 0.0)


def cabinet(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A sideboard with two doors and things on it."""
    body = _still(b, "cabinet", x, z, yaw)
    front = material(rng, choose(rng, "wood", "planks", "panels", "metal"), 0.9, gloss=0.08)
    w, h, d = rng.uniform(0.35, 0.8), rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.28)
    b.part("box", (w, h, d), body, (0, -h - 0.05, 0), front)
    b.part("box", (w - 0.05, 0.03, d - 0.04), body, (0, -0.03, 0), front)
    door = material(rng, choose(rng, "wood", "panels", "plaster"), 0.7)
    for side in (-1, 1):
        b.part("box", (w / 2 - 0.02, h - 0.04, 0.01), body, (side * w / 2, -h - 0.05, d), door)
        knob = (side * 0.05, -h - 0.05, d + 0.02)
        b.part("ellipsoid", (0.015, 0.015, 0.015), body, knob, front)
    for _ in range(int(rng.integers(1, 4))):
        small_thing(b, rng, body, rng.uniform(-0.8, 0.8) * w, 2 * h + 0.05, rng.uniform(-0.1, 0.1))


def plant(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A pot with a stem and leaves all round."""
    body = _still(b, "plant", x, z, yaw)
    pot = material(rng, choose(rng, "brick", "plaster", "concrete", "stripes"), 0.5)
    leaf = material(rng, "leaves", rng.uniform(0.5, 0.8))
    r = rng.uniform(0.14, 0.22)
    b.part("frustum", (0.75 * r, r, 0.75 * r), body, (0, -r, 0), pot, 1.33)
    tall = rng.uniform(0.4, 1.0)
    b.part(
        "frustum",
        (0.025, tall / 2, 0.025),
        body,
        (0, -2 * r - tall / 2, 0),
        material(rng, "bark", 0.4),
        0.7,
    )
    for _ in range(int(rng.integers(6, 12))):
        angle, up = rng.uniform(0, 6.28), rng.uniform(0.25, 1.1) * tall
        out = rng.uniform(0.08, 0.3)
        tilt = turned(
            out * math.sin(angle), -2 * r - up, out * math.cos(angle),
            rng.uniform(-0.8, 0.8), angle, rng.uniform(-0.8, 0.8),
        )  # fmt: skip
        size = (rng.uniform(0.05, 0.12), rng.uniform(0.02, 0.05), rng.uniform(0.12, 0.26))
        b.part("ellipsoid", size, body, tilt, leaf)


def lamp(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A floor lamp with a glowing shade."""
    body = _still(b, "lamp", x, z, yaw)
    metal = material(rng, "metal", 0.5, gloss=0.3)
    shade = material(rng, choose(rng, "fabric", "plaster"), 0.4, emission=1.2)
    h = rng.uniform(1.3, 1.7)
    b.part("frustum", (0.16, 0.015, 0.16), body, (0, -0.015, 0), metal, 0.9)
    b.part("frustum", (0.013, h / 2, 0.013), body, (0, -h / 2, 0), metal, 1.0)
    b.part("frustum", (0.22, 0.14, 0.22), body, (0, -h, 0), shade, 0.6)


def crate(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """One box or a small stack."""
    body = _still(b, "crate", x, z, yaw)
    s, y = rng.uniform(0.2, 0.42), 0.0
    for _ in range(int(rng.integers(1, 4))):
        kind = choose(rng, "planks", "wood", "page", "metal", "fabric")
        skin = material(rng, kind, 0.0 if kind in ("page", "planks") else 0.7)
        size = (s * rng.uniform(0.8, 1.3), s * rng.uniform(0.6, 1.1), s)
        b.part("box", size, body, turned(0, y - size[1], 0, ry=rng.uniform(-0.3, 0.3)), skin)
        y -= 2 * size[1]
        s *= rng.uniform(0.6, 0.9)


def column(
    b: SceneBuilder, rng: np.random.Generator, x: float, z: float, height: float, stone: Material
) -> None:
    """A column with a square foot and a square top."""
    body = _still(b, "column", x, z, 0.0)
    r = rng.uniform(0.16, 0.3)
    b.part("box", (1.4 * r, 0.12, 1.4 * r), body, (0, -0.12, 0), stone)
    b.part("frustum", (r, height / 2 - 0.2, r), body, (0, -height / 2, 0), stone, 0.88)
    b.part("box", (1.35 * r, 0.1, 1.35 * r), body, (0, 0.1 - height, 0), stone)


def rug(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A rug, nearly flat."""
    body = _still(b, "rug", x, z, yaw)
    size = (rng.uniform(0.7, 1.4), 0.008, rng.uniform(0.6, 1.1))
    skin = material(rng, choose(rng, "rug", "rug", "pattern", "fabric"), 0.0)
    b.part("box", size, body, (0, -0.008, 0), skin)


def picture(
    b: SceneBuilder, rng: np.random.Generator, x: float, height: float, z: float, yaw: float
) -> None:
    """Hangs with its face towards yaw."""
    body = _still(b, "picture", x, z, yaw, height)
    w = rng.uniform(0.22, 0.6)
    size = (w, w * rng.uniform(0.6, 1.4), 0.015)
    b.part(
        "box", size, body, (0, 0, 0), material(rng, choose(rng, "picture", "picture", "page"), 0.0)
    )


def tree(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A broad tree with a crown of leaf clouds on limbs, or (a quarter of them) a fir of cones."""
    body = _still(b, "tree", x, z, yaw)
    bark = material(rng, "bark", 0.8)
    leaf = material(rng, "leaves", rng.uniform(0.9, 1.6), (0.7, 1.1))
    h, r = rng.uniform(1.6, 3.0), rng.uniform(0.1, 0.22)
    b.part("frustum", (r, h / 2, r), body, (0, -h / 2, 0), bark, 0.65)
    if rng.random() < 0.25:
        for i in range(4):
            wide = (1.5 - 0.3 * i) * rng.uniform(0.8, 1.0)
            at = (0, -h * 0.55 - 0.75 * i - 0.6, 0)
            b.part("frustum", (wide, 0.7, wide), body, at, leaf, 0.05)
        return
    crown = rng.uniform(0.9, 1.6)
    for i in range(int(rng.integers(7, 13))):
        angle, out = 2.4 * i, crown * rng.uniform(0.15, 0.75)
        up = h + crown * rng.uniform(-0.25, 0.9)
        x1, z1 = out * math.sin(angle), out * math.cos(angle)
        s = crown * rng.uniform(0.3, 0.55)
        size = (s * rng.uniform(0.8, 1.2), s * rng.uniform(0.6, 0.9), s * rng.uniform(0.8, 1.2))
        b.part("foliage", size, body, turned(x1, -up, z1, ry=angle), leaf, rng.uniform(0.13, 0.2))
        if i < 4:
            limb(b, body, (0.0, -0.75 * h, 0.0), (0.8 * x1, -up + 0.2, 0.8 * z1), 0.4 * r, bark)


def limb(
    b: SceneBuilder,
    body: int,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius: float,
    skin: Material,
) -> None:
    """A capsule between two points of a body."""
    a, c = (torch.tensor(p, dtype=torch.float64) for p in (start, end))
    axis = c - a
    length = float(axis.norm())
    down = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    turn = torch.linalg.cross(down, axis / length)
    sine = float(turn.norm())
    angle = math.atan2(sine, float(axis[1]) / length)
    rotvec = turn / sine * angle if sine > 1e-9 else torch.zeros(3, dtype=torch.float64)
    pose = se3(so3_exp(rotvec), (a + c) / 2)
    b.part("rounded", (radius, length / 2 + radius, radius), body, pose, skin, radius)


def bush(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A few leaf clouds, each round a solid core so that it does not show through."""
    body = _still(b, "bush", x, z, yaw)
    leaf = material(rng, "leaves", rng.uniform(0.6, 1.1), (0.7, 1.1))
    for _ in range(int(rng.integers(2, 6))):
        s = rng.uniform(0.2, 0.55)
        at = (rng.uniform(-0.5, 0.5), -0.6 * s, rng.uniform(-0.5, 0.5))
        size = (s * rng.uniform(0.9, 1.3), 0.9 * s, s)
        b.part("foliage", size, body, at, leaf, 0.1)
        b.part("ellipsoid", (0.75 * size[0], 0.7 * s, 0.75 * s), body, at, leaf)


def stone(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A boulder or a few, round or with worn edges."""
    body = _still(b, "stone", x, z, yaw)
    skin = material(rng, "rock", rng.uniform(0.6, 1.2))
    for _ in range(int(rng.integers(1, 4))):
        s = rng.uniform(0.12, 0.5)
        pose = turned(
            rng.uniform(-0.4, 0.4), -0.3 * s, rng.uniform(-0.4, 0.4), *rng.uniform(-0.4, 0.4, 3)
        )
        if rng.random() < 0.5:
            b.part("ellipsoid", (s * rng.uniform(0.8, 1.4), 0.8 * s, s), body, pose, skin)
        else:
            b.part("rounded", (s * rng.uniform(0.8, 1.4), 0.7 * s, s), body, pose, skin, 0.3 * s)


def bench(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A park bench of slats on two stands."""
    body = _still(b, "bench", x, z, yaw)
    wood = material(rng, choose(rng, "planks", "wood"), 0.8)
    iron = material(rng, choose(rng, "metal", "concrete"), 0.5)
    w = rng.uniform(0.6, 0.9)
    for i in range(3):
        b.part("box", (w, 0.018, 0.06), body, (0, -0.44, 0.14 * i - 0.14), wood)
        b.part("box", (w, 0.05, 0.014), body, (0, -0.58 - 0.14 * i, -0.24 - 0.02 * i), wood)
    for side in (-0.8, 0.8):
        b.part("box", (0.03, 0.21, 0.2), body, (side * w, -0.21, 0), iron)
        pose = turned(side * w, -0.62, -0.27, rx=0.14)
        b.part("box", (0.03, 0.3, 0.02), body, pose, iron)


def fence(
    b: SceneBuilder, rng: np.random.Generator, x0: float, z0: float, x1: float, z1: float
) -> None:
    """Posts and rails in a straight line between two points."""
    length = math.hypot(x1 - x0, z1 - z0)
    body = _still(b, "fence", x0, z0, math.atan2(x1 - x0, z1 - z0))
    wood = material(rng, choose(rng, "wood", "planks", "metal", "plaster"), 0.8)
    step, h = rng.uniform(0.9, 2.0), rng.uniform(0.7, 1.2)
    for i in range(int(length / step) + 1):
        b.part("box", (0.04, h / 2, 0.04), body, (0, -h / 2, i * step), wood)
    for level in (0.35, 0.8):
        b.part("box", (0.018, 0.05, length / 2), body, (0, -level * h, length / 2), wood)


def street_lamp(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float) -> None:
    """A mast with an arm over the street."""
    body = _still(b, "street lamp", x, z, yaw)
    iron = material(rng, "metal", 0.6, (0.4, 0.9))
    h = rng.uniform(3.2, 5.0)
    b.part("frustum", (0.09, h / 2, 0.09), body, (0, -h / 2, 0), iron, 0.6)
    limb(b, body, (0, -h, 0), (0, -h - 0.15, 0.9), 0.035, iron)
    b.part("rounded", (0.12, 0.06, 0.25), body, (0, -h - 0.12, 1.0), iron, 0.05)


def bin_or_bollard(
    b: SceneBuilder, rng: np.random.Generator, x: float, z: float, yaw: float
) -> None:
    """A litter bin with a lid, or a bollard."""
    body = _still(b, "bin", x, z, yaw)
    skin = material(rng, choose(rng, "metal", "stripes", "concrete", "planks"), 0.6)
    if rng.random() < 0.5:
        b.part("frustum", (0.24, 0.42, 0.24), body, (0, -0.42, 0), skin, 1.1)
        b.part("ellipsoid", (0.26, 0.1, 0.26), body, (0, -0.84, 0), skin)
    else:
        b.part("rounded", (0.09, 0.45, 0.09), body, (0, -0.45, 0), skin, 0.08)


def house(
    b: SceneBuilder,
    rng: np.random.Generator,
    x: float,
    z: float,
    yaw: float,
    width: float,
    depth: float,
    storeys: int,
) -> None:
    """A building of whole storeys: textured front, plinth, cornice, door, roof, balconies.

    The front faces yaw, its foot's middle is at (x, z).
    """
    body = _still(b, "house", x, z, yaw)
    storey = rng.uniform(2.8, 3.4)
    front = material(rng, "facade", 2 * storey, (0.75, 1.1))
    trim = material(rng, choose(rng, "concrete", "plaster", "marble"), 1.5)
    h, w, d = storeys * storey + 0.4, width / 2, depth / 2
    # The texture repeats every two storeys.
    b.part("box", (w, h / 2, d), body, (0, -h / 2, -d), front)
    b.part("box", (w + 0.06, 0.3, d + 0.06), body, (0, -0.3, -d), trim)
    b.part("box", (w + 0.15, 0.15, d + 0.15), body, (0, -h, -d), trim)
    door = material(rng, choose(rng, "wood", "planks", "metal"), 0.0, (0.5, 1.0))
    dx = rng.uniform(-0.6, 0.6) * w
    b.part("box", (0.55, 1.1, 0.06), body, (dx, -1.1, 0.02), door)
    b.part("box", (0.75, 0.06, 0.4), body, (dx, -2.4, 0.4), trim)
    if rng.random() < 0.5:
        tiles = material(rng, "shingles", 1.6)
        slope = rng.uniform(0.4, 0.7)
        run = (d + 0.3) / math.cos(slope) / 2
        for side in (-1, 1):
            rise = h + 0.1 + run * math.sin(slope)
            pose = turned(0, -rise, -d + side * run * math.cos(slope), rx=-side * slope)
            b.part("box", (w + 0.25, 0.08, run), body, pose, tiles)
        gable = material(rng, "plaster", 2.0)
        b.part(
            "box",
            (w - 0.1, run * math.sin(slope) * 0.5, 0.6 * d),
            body,
            (0, -h - run * math.sin(slope) * 0.5, -d),
            gable,
        )
    for _ in range(int(rng.integers(0, 4))):
        level = storey * int(rng.integers(1, max(storeys, 2)))
        bx = rng.uniform(-0.7, 0.7) * w
        b.part("box", (0.9, 0.07, 0.45), body, (bx, -level - 0.3, 0.4), trim)
        b.part("box", (0.9, 0.35, 0.025), body, (bx, -level - 0.7, 0.82), door)

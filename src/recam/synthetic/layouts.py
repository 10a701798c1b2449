"""Sampling of whole scenes: rooms, halls, streets and parks with things that move in them."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from recam.synthetic import figures, props
from recam.synthetic.motion import Still, Swing, place
from recam.synthetic.movers import Ground, add_movers, add_traffic
from recam.synthetic.props import choose, material
from recam.synthetic.scene import (
    Lighting,
    Material,
    SceneBuilder,
    SceneKind,
    Sky,
    Stage,
    SyntheticScene,
)
from recam.synthetic.shading import tint_of
from recam.synthetic.textures import TextureSpec


def sample_scene(seed: int, kind: SceneKind | None = None) -> SyntheticScene:
    """A scene drawn from a seed: the same seed gives the same scene, always.

    kind: the layout; drawn too when left out. Raises ValueError for an unknown one.
    """
    kinds: tuple[SceneKind, ...] = get_args(SceneKind)
    if kind is not None and kind not in kinds:
        raise ValueError(f"sample_scene got kind {kind!r}; expected one of {', '.join(kinds)}")
    rng = np.random.default_rng([7, seed])
    drawn = kinds[int(rng.integers(len(kinds)))]
    kind = drawn if kind is None else kind
    rng = np.random.default_rng([11, seed, kinds.index(kind)])
    b = SceneBuilder()
    match kind:
        case "room":
            stage, lighting, sky = _room(b, rng)
        case "hall":
            stage, lighting, sky = _hall(b, rng)
        case "street":
            stage, lighting, sky = _street(b, rng)
        case "park":
            stage, lighting, sky = _park(b, rng)
    return SyntheticScene(
        kind=kind,
        seed=seed,
        parts=tuple(b.parts),
        bodies=tuple(b.bodies),
        materials=tuple(b.materials),
        object_names=tuple(b.object_names),
        lighting=lighting,
        sky=sky,
        stage=stage,
    )


def _room(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    w, d, h = rng.uniform(2.7, 4.2), rng.uniform(2.7, 4.2), rng.uniform(2.4, 3.2)
    solid = _shell(b, rng, w, d, h, windows=int(rng.integers(1, 3)))
    ground = Ground(rng)
    arena = rng.uniform(1.2, 1.5)
    cx, cz = rng.uniform(-0.3, 0.3, 2) * (np.array([w, d]) - arena - 0.8)
    ground.taken.append((cx, cz, arena))
    if rng.random() < 0.7:
        props.rug(b, rng, cx, cz, rng.uniform(-0.4, 0.4))
    _along_walls(b, rng, ground, w, d)
    for maker, radius in ((props.table, 0.85), (props.chair, 0.35), (props.crate, 0.45)):
        spot = ground.find((-w + 0.9, -d + 0.9), (w - 0.9, d - 0.9), radius)
        if spot:
            maker(b, rng, *spot, rng.uniform(0, 6.28))
    _hang_pictures(b, rng, w, d, solid, int(rng.integers(3, 8)))
    if rng.random() < 0.8:
        _ceiling_lamp(b, rng, cx + rng.uniform(-1, 1), h, cz + rng.uniform(-1, 1))
    ground.taken.remove((cx, cz, arena))
    add_movers(b, ground, (cx, cz, arena), (-w + 0.1, -d + 0.1, w - 0.1, d - 0.1), indoor=True)
    stage = Stage(
        (cx, -0.7, cz),
        arena,
        (-w + 0.35, -min(2.2, h - 0.3), -d + 0.35),
        (w - 0.35, -0.7, d - 0.35),
    )
    warm = tint_of(rng.uniform(3200, 6500))
    light = _direction(rng.uniform(0, 6.28), rng.uniform(0.85, 1.35))
    sun, ambient = rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.8)
    lighting = Lighting(
        to_light=light,
        sun=_scaled(warm, sun),
        ambient_up=_scaled(tint_of(rng.uniform(5000, 8000)), ambient),
        ambient_down=_scaled(warm, 0.75 * ambient),
        blur_m=rng.uniform(0.05, 0.12),
        falloff_center=(cx, -h, cz),
        falloff_m=rng.uniform(3.5, 7.0),
        indoor_low=(-w - 0.1, -h - 0.5, -d - 0.1),
        indoor_high=(w + 0.1, 0.2, d + 0.1),
        exposure=rng.uniform(0.75, 1.15),
    )
    return stage, lighting, _sky(rng, haze_m=math.inf)


def _shell(
    b: SceneBuilder, rng: np.random.Generator, w: float, d: float, h: float, windows: int
) -> list[int]:
    """Floor, ceiling, four walls with skirting, window openings and the ground outside.

    Returns the sides (0 to 3) without a window, on which things can hang.
    """
    floor = material(
        rng, choose(rng, "planks", "planks", "tiles", "wood", "concrete", "fabric"), 1.6
    )
    walls = [
        material(rng, choose(rng, "plaster", "plaster", "panels", "brick", "concrete"), 2.2)
        for _ in range(2)
    ]
    walls[1] = walls[0] if rng.random() < 0.6 else walls[1]
    paint = material(rng, "plaster", 2.5, (0.9, 1.1))
    trim = material(rng, choose(rng, "wood", "plaster", "marble"), 1.0)
    body = b.still("floor", place(0, 0, 0))
    b.part("box", (w, 0.1, d), body, (0, 0.1, 0), floor)
    body = b.still("ceiling", place(0, 0, 0))
    b.part("box", (w + 0.2, 0.1, d + 0.2), body, (0, -h - 0.1, 0), paint, casts_shadow=False)
    opened = set(rng.permutation(4)[:windows].tolist())
    for side in range(4):
        half = w if side % 2 == 0 else d
        out = d if side % 2 == 0 else w
        yaw = side * math.pi / 2
        wall = b.still("wall", place(-out * math.sin(yaw), 0, -out * math.cos(yaw), yaw))
        skin = walls[side % 2]
        if side in opened:
            _window_wall(b, rng, wall, half, h, skin, trim)
        else:
            b.part(
                "box", (half + 0.2, h / 2, 0.1), wall, (0, -h / 2, -0.1), skin, casts_shadow=False
            )
            if rng.random() < 0.35:
                door = material(rng, choose(rng, "wood", "panels", "planks"), 0.0)
                x = rng.uniform(-0.6, 0.6) * half
                b.part("box", (0.52, 1.06, 0.03), wall, (x, -1.06, 0), trim, casts_shadow=False)
                b.part("box", (0.45, 1.0, 0.045), wall, (x, -1.0, 0), door, casts_shadow=False)
        b.part("box", (half, 0.045, 0.012), wall, (0, -0.045, 0.012), trim, casts_shadow=False)
    if opened:
        _outside(b, rng, max(w, d))
    return [side for side in range(4) if side not in opened]


def _window_wall(
    b: SceneBuilder,
    rng: np.random.Generator,
    wall: int,
    half: float,
    h: float,
    skin: Material,
    trim: Material,
) -> None:
    """Four boxes around an opening, with frame and glazing bars."""
    x, wide = rng.uniform(-0.3, 0.3) * half, rng.uniform(0.5, 1.0)
    low, high = rng.uniform(0.5, 1.0), h - rng.uniform(0.25, 0.5)
    left, right = x - wide + half + 0.2, half + 0.2 - x - wide
    middle, tall = -(low + high) / 2, (high - low) / 2
    for (half_x, half_y), (at_x, at_y) in (
        ((half + 0.2, low / 2), (0.0, -low / 2)),
        ((half + 0.2, (h - high) / 2), (0.0, -(h + high) / 2)),
        ((left / 2, tall), (-half - 0.2 + left / 2, middle)),
        ((right / 2, tall), (half + 0.2 - right / 2, middle)),
    ):
        b.part("box", (half_x, half_y, 0.1), wall, (at_x, at_y, -0.1), skin, casts_shadow=False)
    for bar in (-1.0, 0.0, 1.0):
        at = (x + bar * (wide - 0.02), middle, -0.1)
        b.part("box", (0.025, tall, 0.04), wall, at, trim, casts_shadow=False)
    for level in (low + 0.02, (low + high) / 2 + 0.15, high - 0.02):
        b.part("box", (wide, 0.025, 0.04), wall, (x, -level, -0.1), trim, casts_shadow=False)
    b.part("box", (wide + 0.08, 0.02, 0.14), wall, (x, -low, 0.0), trim, casts_shadow=False)


def _outside(b: SceneBuilder, rng: np.random.Generator, reach: float) -> None:
    """What a window shows: ground, trees, houses."""
    ground = material(rng, choose(rng, "grass", "asphalt", "dirt"), 3.0)
    body = b.still("ground", place(0, 0, 0))
    b.part("box", (150, 0.5, 150), body, (0, 0.9, 0), ground, casts_shadow=False)
    for i in range(10):
        angle, far = 0.63 * i + rng.uniform(-0.2, 0.2), reach + rng.uniform(7, 16)
        x, z = far * math.sin(angle), far * math.cos(angle)
        if rng.random() < 0.55:
            props.tree(b, rng, x, z, angle)
        else:
            props.house(b, rng, 1.4 * x, 1.4 * z, angle + math.pi, rng.uniform(7, 11), 8.0, 3)


def _along_walls(
    b: SceneBuilder, rng: np.random.Generator, ground: Ground, w: float, d: float
) -> None:
    makers = (
        (props.shelf, 0.75, 0.2), (props.sofa, 1.15, 0.5), (props.cabinet, 0.75, 0.3),
        (props.plant, 0.4, 0.4), (props.lamp, 0.3, 0.3), (props.crate, 0.5, 0.5),
        (props.shelf, 0.75, 0.2), (props.plant, 0.4, 0.4), (props.cabinet, 0.75, 0.3),
        (props.sofa, 1.15, 0.5), (props.chair, 0.35, 0.35),
    )  # fmt: skip
    for number in rng.permutation(len(makers)):
        maker, radius, back = makers[number]
        for _ in range(8):
            side = int(rng.integers(4))
            half = w if side % 2 == 0 else d
            out = (d if side % 2 == 0 else w) - back - 0.02
            yaw = side * math.pi / 2
            along = rng.uniform(-1, 1) * max(half - radius - 0.1, 0.0)
            x = along * math.cos(yaw) - out * math.sin(yaw)
            z = -along * math.sin(yaw) - out * math.cos(yaw)
            if ground.take(x, z, radius):
                maker(b, rng, x, z, yaw)
                break


def _hang_pictures(
    b: SceneBuilder, rng: np.random.Generator, w: float, d: float, sides: list[int], num: int
) -> None:
    """Up to num pictures side by side on the given walls."""
    walls = Ground(rng)
    for _ in range(num):
        side = sides[int(rng.integers(len(sides)))]
        half, out = (w, d) if side % 2 == 0 else (d, w)
        yaw = side * math.pi / 2
        along = rng.uniform(-0.8, 0.8) * half
        if not walls.take(along, 100.0 * side, 0.65):
            continue
        x = along * math.cos(yaw) - out * math.sin(yaw)
        z = -along * math.sin(yaw) - out * math.cos(yaw)
        props.picture(b, rng, x, rng.uniform(1.3, 1.8), z, yaw)


def _ceiling_lamp(b: SceneBuilder, rng: np.random.Generator, x: float, h: float, z: float) -> None:
    """Hangs still, or swings."""
    name = b.object("ceiling lamp")
    drop = rng.uniform(0.4, 0.8)
    pivot = place(x, -h, z, rng.uniform(0, 3.1))
    swing = Swing(pivot, rng.uniform(0.08, 0.3), drop, rng.uniform(0, 6.28))
    body = b.body(swing if rng.random() < 0.4 else Still(pivot), name)
    wire = material(rng, "metal", 0.4, (0.2, 0.6))
    shade = material(rng, choose(rng, "fabric", "plaster", "metal"), 0.5, emission=1.5)
    b.part("frustum", (0.012, drop / 2, 0.012), body, (0, drop / 2, 0), wire, 1.0, False)
    if rng.random() < 0.5:
        b.part("ellipsoid", (0.17, 0.15, 0.17), body, (0, drop, 0), shade, casts_shadow=False)
    else:
        b.part("frustum", (0.22, 0.12, 0.22), body, (0, drop, 0), shade, 0.4, False)


def _hall(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    w, d, h = rng.uniform(6, 9), rng.uniform(6, 9), rng.uniform(3.8, 5.5)
    solid = _shell(b, rng, w, d, h, windows=int(rng.integers(1, 4)))
    ground = Ground(rng)
    arena = rng.uniform(2.0, 2.8)
    cx, cz = rng.uniform(-1, 1, 2)
    ground.taken.append((cx, cz, arena))
    skin = material(rng, choose(rng, "marble", "concrete", "brick", "plaster"), 1.2)
    step = rng.uniform(3.0, 4.2)
    for i in range(-2, 3):
        for j in range(-2, 3):
            x, z = (i + 0.5) * step, (j + 0.5) * step
            if abs(x) < w - 0.6 and abs(z) < d - 0.6 and ground.take(x, z, 0.4):
                props.column(b, rng, x, z, h, skin)
    _along_walls(b, rng, ground, w, d)
    makers = (
        (props.crate, 0.6), (props.bench, 1.0), (props.plant, 0.45), (props.table, 0.9),
        (props.crate, 0.6), (props.sofa, 1.2), (props.shelf, 0.8), (props.crate, 0.5),
    )  # fmt: skip
    for maker, radius in makers:
        spot = ground.find((-w + 1, -d + 1), (w - 1, d - 1), radius)
        if spot:
            maker(b, rng, *spot, rng.uniform(0, 6.28))
    _hang_pictures(b, rng, w, d, solid, 8)
    ground.taken.remove((cx, cz, arena))
    add_movers(b, ground, (cx, cz, arena), (-w + 0.1, -d + 0.1, w - 0.1, d - 0.1), indoor=True)
    stage = Stage((cx, -0.8, cz), arena, (-w + 0.5, -2.6, -d + 0.5), (w - 0.5, -0.8, d - 0.5))
    tone = tint_of(rng.uniform(4200, 7500))
    ambient = rng.uniform(0.45, 0.75)
    lighting = Lighting(
        to_light=_direction(rng.uniform(0, 6.28), rng.uniform(0.7, 1.2)),
        sun=_scaled(tone, rng.uniform(0.7, 1.4)),
        ambient_up=_scaled(tone, ambient),
        ambient_down=_scaled(tone, 0.7 * ambient),
        blur_m=rng.uniform(0.07, 0.15),
        falloff_center=(cx, -h, cz),
        falloff_m=rng.uniform(7, 14),
        indoor_low=(-w - 0.1, -h - 0.5, -d - 0.1),
        indoor_high=(w + 0.1, 0.2, d + 0.1),
        exposure=rng.uniform(0.75, 1.15),
    )
    return stage, lighting, _sky(rng, haze_m=math.inf)


def _street(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    """A road along z with pavements and houses on both sides, closed by a house or hills."""
    road, walk = rng.uniform(2.8, 5.0), rng.uniform(1.8, 3.2)
    _ground(b, rng, choose(rng, "asphalt", "asphalt", "cobble", "concrete"), 2.4)
    pave = material(rng, choose(rng, "tiles", "cobble", "concrete", "brick"), 1.8)
    body = b.still("pavement", place(0, 0, 0))
    for side in (-1, 1):
        at = (side * (road + walk / 2 + 2), -0.05, 10)
        b.part("box", (walk / 2 + 2, 0.07, 60), body, at, pave)
    line = material(rng, "plaster", 1.0, (1.1, 1.3))
    if rng.random() < 0.7:
        for i in range(12):
            dash = (0.0, -0.002, -12 + 3.2 * i)
            b.part("box", (0.06, 0.004, 0.9), body, dash, line, casts_shadow=False)
    for side in (-1, 1):
        z = -22.0
        while z < 42:
            width = rng.uniform(6, 11)
            x = side * (road + walk + rng.uniform(0, 0.8))
            props.house(
                b, rng, x, z + width / 2, -side * math.pi / 2, width, 8, int(rng.integers(2, 6))
            )
            z += width + (rng.uniform(0.0, 3.0) if rng.random() < 0.3 else 0.05)
    if rng.random() < 0.6:
        props.house(b, rng, 0, rng.uniform(30, 42), math.pi, 14, 8, int(rng.integers(3, 6)))
    _hills(b, rng)
    ground = Ground(rng)
    arena = min(road - 0.3, 3.2)
    ground.taken.append((0.0, 4.0, arena))
    _beside_road(b, ground, road, walk)
    ground.taken.remove((0.0, 4.0, arena))
    if rng.random() < 0.7:
        add_traffic(b, ground, min(0.5 * road, 1.45), 4.0)
    bounds = (-road, -6.0, road, 16.0)
    add_movers(b, ground, (0.0, 4.0, arena), bounds, indoor=False)
    stage = Stage(
        (0.0, -0.8, 4.0), arena, (-road - walk + 0.7, -3.0, -7.0), (road + walk - 0.7, -1.0, 13.0)
    )
    return stage, *_daylight(rng, along_z=True)


_STREET_PROPS = (
    props.tree, props.street_lamp, props.bench, props.bin_or_bollard, props.plant, props.crate,
)  # fmt: skip


def _beside_road(b: SceneBuilder, ground: Ground, road: float, walk: float) -> None:
    """Things on both pavements, and parked cars where the road is wide enough."""
    rng = ground.rng
    for side in (-1, 1):
        b.level = 0.12  # the pavement's
        low, high = sorted((side * (road + 0.3), side * (road + walk - 0.5)))
        for _ in range(12):
            spot = ground.find((low, -9), (high, 22), 0.5)
            if spot:
                maker = _STREET_PROPS[int(rng.integers(len(_STREET_PROPS)))]
                maker(b, rng, *spot, -side * math.pi / 2)
        b.level = 0.0
        for _ in range(4 if road > 4.2 else 0):
            x, z = side * (road - 0.95), rng.uniform(-8, 24)
            if ground.take(x, z - 1.2, 1.0) and ground.take(x, z + 1.2, 1.0):
                yaw = float(rng.choice([0.0, math.pi]))
                figures.car(b, rng, Still(place(x, 0, z, yaw)))


def _park(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    """Open ground with paths, trees, fences, hills and houses far off."""
    _ground(b, rng, choose(rng, "grass", "grass", "grass", "dirt"), 3.0)
    path = material(rng, choose(rng, "dirt", "cobble", "asphalt", "tiles"), 1.6)
    body = b.still("path", place(rng.uniform(-2, 2), 0, rng.uniform(2, 8), rng.uniform(-0.9, 0.9)))
    b.part("box", (rng.uniform(0.7, 1.5), 0.01, 45), body, (0, 0, 0), path, casts_shadow=False)
    ground = Ground(rng)
    arena = rng.uniform(2.2, 3.2)
    ground.taken.append((0.0, 4.0, arena))
    makers = (
        (props.tree, 1.6), (props.bush, 0.8), (props.bench, 0.9), (props.stone, 0.6),
        (props.tree, 1.6), (props.crate, 0.5), (props.bin_or_bollard, 0.4), (props.table, 0.9),
    )  # fmt: skip
    for _ in range(int(rng.integers(14, 24))):
        maker, radius = makers[int(rng.integers(len(makers)))]
        spot = ground.find((-11, -7), (11, 22), radius)
        if spot:
            maker(b, rng, *spot, rng.uniform(0, 6.28))
    for _ in range(int(rng.integers(8, 18))):
        angle, far = rng.uniform(0, 6.28), rng.uniform(18, 45)
        props.tree(b, rng, far * math.sin(angle), 4 + far * math.cos(angle), angle)
    for _ in range(int(rng.integers(1, 3))):
        x, z, angle = rng.uniform(-9, 2), rng.uniform(9, 15), rng.uniform(1.2, 1.9)
        length = rng.uniform(5, 14)
        props.fence(b, rng, x, z, x + length * math.sin(angle), z + length * math.cos(angle))
    for _ in range(int(rng.integers(2, 6))):
        angle, far = rng.uniform(0, 6.28), rng.uniform(24, 50)
        x, z = far * math.sin(angle), 4 + far * math.cos(angle)
        width, storeys = rng.uniform(7, 13), int(rng.integers(1, 4))
        props.house(b, rng, x, z, angle + math.pi + rng.uniform(-0.5, 0.5), width, 8, storeys)
    _hills(b, rng)
    ground.taken.remove((0.0, 4.0, arena))
    add_movers(b, ground, (0.0, 4.0, arena), (-9.0, -5.0, 9.0, 16.0), indoor=False)
    stage = Stage((0.0, -0.8, 4.0), arena, (-8.0, -3.0, -6.0), (8.0, -0.9, 13.0))
    return stage, *_daylight(rng)


def _ground(
    b: SceneBuilder, rng: np.random.Generator, kind: props.TextureKind, repeat: float
) -> None:
    body = b.still("ground", place(0, 0, 0))
    skin = material(rng, kind, repeat)
    b.part("box", (600, 0.5, 600), body, (0, 0.5, 0), skin, casts_shadow=False)


def _hills(b: SceneBuilder, rng: np.random.Generator) -> None:
    skins = [
        material(rng, choose(rng, "leaves", "grass", "rock"), 40.0, (0.6, 1.0)) for _ in range(2)
    ]
    for i in range(int(rng.integers(3, 9))):
        angle, far = rng.uniform(0, 6.28), rng.uniform(150, 320)
        body = b.still("hill", place(far * math.sin(angle), 0, far * math.cos(angle), angle))
        size = (rng.uniform(50, 130), rng.uniform(10, 50), rng.uniform(30, 70))
        b.part("ellipsoid", size, body, (0, 4.0, 0), skins[i % 2], casts_shadow=False)


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector to a light at an azimuth (0 = +z) and an elevation, radians."""
    flat = math.cos(elevation)
    return (flat * math.sin(azimuth), -math.sin(elevation), flat * math.cos(azimuth))


def _scaled(color: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _daylight(rng: np.random.Generator, along_z: bool = False) -> tuple[Lighting, Sky]:
    """Sun or overcast; along_z: the sun stands over the ends of a street, not behind its houses."""
    azimuth = rng.uniform(0, 6.28)
    if along_z:
        azimuth = rng.choice([0.0, math.pi]) + rng.uniform(-0.6, 0.6)
    elevation = rng.uniform(0.35, 1.2)
    overcast = rng.random() < 0.3
    warm = tint_of(3600 + 2400 * min(elevation, 1.0) + rng.uniform(-300, 300))
    sun = rng.uniform(0.15, 0.45) if overcast else rng.uniform(1.1, 1.9)
    ambient = rng.uniform(0.7, 1.0) if overcast else rng.uniform(0.35, 0.6)
    blue = tint_of(7000 if overcast else 9500)
    lighting = Lighting(
        to_light=_direction(azimuth, elevation),
        sun=_scaled(warm, sun),
        ambient_up=_scaled(blue, ambient),
        ambient_down=_scaled(warm, 0.5 * ambient),
        blur_m=0.14 if overcast else rng.uniform(0.04, 0.08),
        exposure=rng.uniform(0.7, 1.05),
    )
    return lighting, _sky(rng, rng.uniform(400, 1600), overcast)


def _sky(rng: np.random.Generator, haze_m: float, overcast: bool = False) -> Sky:
    bright = rng.uniform(0.8, 1.3)
    if overcast:
        zenith, horizon = (0.62, 0.66, 0.72), (0.85, 0.86, 0.88)
    else:
        deep = rng.uniform(0.6, 1.2)
        zenith, horizon = (0.12 * deep, 0.27 * deep, 0.62 * deep), (0.62, 0.74, 0.88)
        if rng.random() < 0.25:
            horizon = (0.95, 0.72, 0.52)
    texture = TextureSpec("clouds", int(rng.integers(props.VARIANTS)))
    clouds = float(rng.uniform(0.2, 1.0))
    return Sky(_scaled(zenith, bright), _scaled(horizon, bright), clouds, texture, haze_m)

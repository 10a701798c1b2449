"""Sampling of whole scenes: rooms, halls, streets and parks with things that move in them."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import torch

from recam.synthetic import props
from recam.synthetic.motion import Bounce, Follow, Hover, Route, Spin, Still, Swing, place
from recam.synthetic.props import choose, material, turned
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


class _Places:
    """Circles on the ground that are taken."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.taken: list[tuple[float, float, float]] = []

    def take(self, x: float, z: float, radius: float) -> bool:
        """Take a place when it is free."""
        for ox, oz, other in self.taken:
            if math.hypot(x - ox, z - oz) < radius + other:
                return False
        self.taken.append((x, z, radius))
        return True

    def find(
        self, low: tuple[float, float], high: tuple[float, float], radius: float
    ) -> tuple[float, float] | None:
        """A free place (x, z) in a rectangle, or None after 30 tries."""
        for _ in range(30):
            x, z = self.rng.uniform(low[0], high[0]), self.rng.uniform(low[1], high[1])
            if self.take(x, z, radius):
                return x, z
        return None


def _room(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    w, d, h = rng.uniform(2.7, 4.2), rng.uniform(2.7, 4.2), rng.uniform(2.4, 3.2)
    _shell(b, rng, w, d, h, windows=int(rng.integers(1, 3)))
    places = _Places(rng)
    arena = rng.uniform(1.2, 1.5)
    cx, cz = rng.uniform(-0.3, 0.3, 2) * (np.array([w, d]) - arena - 0.8)
    places.take(cx, cz, arena)
    if rng.random() < 0.7:
        props.rug(b, rng, cx, cz, rng.uniform(-0.4, 0.4))
    _along_walls(b, rng, places, w, d)
    for maker, radius in ((props.table, 0.85), (props.chair, 0.35), (props.crate, 0.45)):
        spot = places.find((-w + 0.9, -d + 0.9), (w - 0.9, d - 0.9), radius)
        if spot:
            maker(b, rng, *spot, rng.uniform(0, 6.28))
    for _ in range(int(rng.integers(3, 8))):
        _hang_picture(b, rng, w, d)
    if rng.random() < 0.8:
        _ceiling_lamp(b, rng, cx + rng.uniform(-1, 1), h, cz + rng.uniform(-1, 1))
    _movers(b, rng, cx, cz, arena, indoor=True)
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
        exposure=rng.uniform(0.75, 1.15),
    )
    return stage, lighting, _sky(rng, haze_m=math.inf)


def _shell(
    b: SceneBuilder, rng: np.random.Generator, w: float, d: float, h: float, windows: int
) -> None:
    """Floor, ceiling, four walls with skirting, window openings and the ground outside."""
    floor = material(rng, choose(rng, "planks", "planks", "tiles", "wood", "concrete", "rug"), 1.6)
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
    b: SceneBuilder, rng: np.random.Generator, places: _Places, w: float, d: float
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
            if places.take(x, z, radius):
                maker(b, rng, x, z, yaw)
                break


def _hang_picture(b: SceneBuilder, rng: np.random.Generator, w: float, d: float) -> None:
    side = int(rng.integers(4))
    half, out = (w, d) if side % 2 == 0 else (d, w)
    yaw = side * math.pi / 2
    along = rng.uniform(-0.8, 0.8) * half
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
    _shell(b, rng, w, d, h, windows=int(rng.integers(1, 4)))
    places = _Places(rng)
    arena = rng.uniform(2.0, 2.8)
    cx, cz = rng.uniform(-1, 1, 2)
    places.take(cx, cz, arena)
    skin = material(rng, choose(rng, "marble", "concrete", "brick", "plaster"), 1.2)
    step = rng.uniform(3.0, 4.2)
    for i in range(-2, 3):
        for j in range(-2, 3):
            x, z = (i + 0.5) * step, (j + 0.5) * step
            if abs(x) < w - 0.6 and abs(z) < d - 0.6 and places.take(x, z, 0.4):
                props.column(b, rng, x, z, h, skin)
    _along_walls(b, rng, places, w, d)
    makers = (
        (props.crate, 0.6), (props.bench, 1.0), (props.plant, 0.45), (props.table, 0.9),
        (props.crate, 0.6), (props.sofa, 1.2), (props.shelf, 0.8), (props.crate, 0.5),
    )  # fmt: skip
    for maker, radius in makers:
        spot = places.find((-w + 1, -d + 1), (w - 1, d - 1), radius)
        if spot:
            maker(b, rng, *spot, rng.uniform(0, 6.28))
    for _ in range(8):
        _hang_picture(b, rng, w, d)
    _movers(b, rng, cx, cz, arena, indoor=True)
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
        exposure=rng.uniform(0.75, 1.15),
    )
    return stage, lighting, _sky(rng, haze_m=math.inf)


def _street(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    """A road along z with pavements and houses on both sides, closed by a house or hills."""
    road, walk = rng.uniform(2.6, 4.0), rng.uniform(1.8, 3.2)
    _ground(b, rng, choose(rng, "asphalt", "asphalt", "cobble", "concrete"), 2.4)
    pave = material(rng, choose(rng, "tiles", "cobble", "concrete", "brick"), 1.8)
    body = b.still("pavement", place(0, 0, 0))
    for side in (-1, 1):
        at = (side * (road + walk / 2 + 2), -0.05, 10)
        b.part("box", (walk / 2 + 2, 0.07, 60), body, at, pave)
    line = material(rng, "plaster", 1.0, (1.1, 1.3))
    if rng.random() < 0.7:
        for i in range(12):
            b.part(
                "box",
                (0.06, 0.004, 0.9),
                body,
                (0, -0.002, -12 + 3.2 * i),
                line,
                casts_shadow=False,
            )
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
    places = _Places(rng)
    arena = min(road + 0.4, 3.4)
    places.take(0, 4, 1.2)
    for side in (-1, 1):
        inner, outer = road + 0.3, road + walk - 0.5
        for _ in range(12):
            spot = places.find((inner, -9), (outer, 22), 0.5)
            if not spot:
                continue
            maker = (
                props.tree,
                props.street_lamp,
                props.bench,
                props.bin_or_bollard,
                props.plant,
                props.crate,
            )[int(rng.integers(6))]
            maker(b, rng, side * spot[0], spot[1], -side * math.pi / 2)
        for _ in range(3):
            z = rng.uniform(-8, 24)
            x = side * (road - 1.0)
            if abs(z - 4) > arena + 2 and places.take(x, z, 2.0):
                yaw = rng.choice([0.0, math.pi])
                props.car(b, rng, Still(place(x, 0, z, float(yaw))))
    _movers(b, rng, 0.0, 4.0, arena, indoor=False)
    if rng.random() < 0.7:
        lane = 0.5 * road if rng.random() < 0.5 else -0.5 * road
        speed = rng.uniform(1.5, 4.5)
        heading = 0.0 if lane < 0 else math.pi
        z = 4 + arena + rng.uniform(3, 8) if lane > 0 else -rng.uniform(0, 4)
        route = Route(lane, z, heading, speed)
        props.car(b, rng, Follow(route, turned(0, 0, 0)))
    stage = Stage(
        (0.0, -0.8, 4.0), arena, (-road - walk + 0.7, -3.0, -7.0), (road + walk - 0.7, -1.0, 13.0)
    )
    return stage, *_daylight(rng)


def _park(b: SceneBuilder, rng: np.random.Generator) -> tuple[Stage, Lighting, Sky]:
    """Open ground with paths, trees, fences, hills and houses far off."""
    _ground(b, rng, choose(rng, "grass", "grass", "grass", "dirt"), 3.0)
    path = material(rng, choose(rng, "dirt", "cobble", "asphalt", "tiles"), 1.6)
    body = b.still("path", place(rng.uniform(-2, 2), 0, rng.uniform(2, 8), rng.uniform(-0.9, 0.9)))
    b.part("box", (rng.uniform(0.7, 1.5), 0.01, 45), body, (0, 0, 0), path, casts_shadow=False)
    places = _Places(rng)
    arena = rng.uniform(2.2, 3.2)
    places.take(0, 4, arena)
    makers = (
        (props.tree, 1.6), (props.bush, 0.8), (props.bench, 0.9), (props.stone, 0.6),
        (props.tree, 1.6), (props.crate, 0.5), (props.bin_or_bollard, 0.4), (props.table, 0.9),
    )  # fmt: skip
    for _ in range(int(rng.integers(14, 24))):
        maker, radius = makers[int(rng.integers(len(makers)))]
        spot = places.find((-11, -7), (11, 22), radius)
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
    _movers(b, rng, 0.0, 4.0, arena, indoor=False)
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


def _movers(
    b: SceneBuilder, rng: np.random.Generator, cx: float, cz: float, arena: float, indoor: bool
) -> None:
    """Two to four moving objects that share the arena."""
    num = int(rng.integers(2, 5))
    kinds = ["person", *rng.permutation(["bounce", "roll", "toy", "hover", "spin", "person"])[:num]]
    if rng.random() < 0.25:
        kinds = kinds[1:]
    for i, kind in enumerate(kinds):
        # Each on a ring of its own, so that none runs into another.
        ring = arena * (0.35 + 0.5 * (i + 0.5) / len(kinds))
        angle = rng.uniform(0, 6.28)
        turn = 1.0 if rng.random() < 0.5 else -1.0
        _mover(b, rng, str(kind), cx, cz, ring, angle, turn, indoor)


def _circle(cx: float, cz: float, ring: float, angle: float, turn: float, speed: float) -> Route:
    """Around (cx, cz) at a distance: to the right (turn = 1) or to the left."""
    x, z = cx + ring * math.sin(angle), cz + ring * math.cos(angle)
    return Route(x, z, angle + turn * math.pi / 2, speed, turn / ring)


def _mover(
    b: SceneBuilder,
    rng: np.random.Generator,
    kind: str,
    cx: float,
    cz: float,
    ring: float,
    angle: float,
    turn: float,
    indoor: bool,
) -> None:
    skin = material(rng, choose(rng, "stripes", "pattern", "leaves", "picture"), 0.5, gloss=0.15)
    match kind:
        case "person":
            props.person(b, rng, _circle(cx, cz, ring, angle, turn, rng.uniform(0.7, 1.3)))
        case "bounce":
            r = rng.uniform(0.1, 0.24)
            route = _circle(cx, cz, ring, angle, turn, rng.uniform(0.4, 1.2))
            rotation = torch.eye(3, dtype=torch.float64)
            apex = rng.uniform(0.5, 1.3 if indoor else 2.2)
            spin = route.speed / r
            motion = Bounce(route, r, apex, rng.uniform(0.75, 0.95), spin, rotation)
            b.part("ellipsoid", (r, r, r), b.body(motion, b.object("ball")), (0, 0, 0), skin)
        case "roll":
            r = rng.uniform(0.12, 0.35)
            route = _circle(cx, cz, ring, angle, turn, rng.uniform(0.5, 1.5))
            body = b.body(Follow(route, turned(0, -r, 0), r), b.object("ball"))
            b.part("ellipsoid", (r, r, r), body, (0, 0, 0), skin)
        case "toy":
            route = _circle(cx, cz, ring, angle, turn, rng.uniform(0.6, 1.6))
            props.car(b, rng, Follow(route, turned(0, 0, 0)), rng.uniform(0.14, 0.24))
        case "hover":
            _hoverer(b, rng, cx + ring * math.sin(angle), cz + ring * math.cos(angle), skin)
        case "spin":
            _spinner(b, rng, cx + ring * math.sin(angle), cz + ring * math.cos(angle), skin)


def _hoverer(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, skin: Material) -> None:
    """A balloon on a string, or a drone."""
    pose = place(x, -rng.uniform(1.2, 1.8), z, rng.uniform(0, 6.28))
    motion = Hover(
        pose,
        torch.tensor(rng.uniform(0.1, 0.35, 3)),
        torch.tensor(rng.uniform(0.8, 2.2, 3)),
        torch.tensor(rng.uniform(0, 6.28, 3)),
        rng.uniform(0.05, 0.25),
    )
    if rng.random() < 0.5:
        body = b.body(motion, b.object("balloon"))
        b.part("ellipsoid", (0.19, 0.23, 0.19), body, (0, 0, 0), skin)
        b.part("frustum", (0.005, 0.3, 0.005), body, (0, 0.52, 0), skin, 1.0)
        return
    body = b.body(motion, b.object("drone"))
    metal = material(rng, "metal", 0.3, (0.3, 0.9))
    b.part("rounded", (0.1, 0.04, 0.13), body, (0, 0, 0), skin, 0.035)
    for sx in (-1, 1):
        for sz in (-1, 1):
            props.limb(b, body, (0, 0, 0), (0.2 * sx, -0.02, 0.2 * sz), 0.013, metal)
            b.part("frustum", (0.11, 0.006, 0.11), body, (0.2 * sx, -0.045, 0.2 * sz), metal, 1.0)


def _spinner(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, skin: Material) -> None:
    """A turning display: things on a disc on a post."""
    name = b.object("carousel")
    rate = torch.tensor([0.0, float(rng.uniform(0.6, 2.5) * rng.choice([-1, 1])), 0.0])
    base = b.body(Still(place(x, 0, z)), name)
    stone = material(rng, choose(rng, "marble", "concrete", "wood"), 0.8)
    h = rng.uniform(0.3, 0.8)
    b.part("frustum", (0.16, h / 2, 0.16), base, (0, -h / 2, 0), stone, 0.8)
    body = b.body(Spin(place(x, -h, z), rate.double()), name)
    b.part("frustum", (0.3, 0.025, 0.3), body, (0, -0.025, 0), stone, 1.0)
    s = rng.uniform(0.12, 0.2)
    if rng.random() < 0.5:
        b.part("box", (s, s, 0.6 * s), body, turned(0, -0.05 - s, 0, ry=0.3), skin)
        b.part("ellipsoid", (0.6 * s, 0.6 * s, 0.6 * s), body, (0, -0.05 - 2.6 * s, 0), skin)
    else:
        b.part("frustum", (s, 1.5 * s, s), body, (0, -0.05 - 1.5 * s, 0), skin, 0.4)
        b.part("ellipsoid", (0.55 * s, 0.55 * s, 0.55 * s), body, (0, -0.05 - 3.3 * s, 0), stone)
        props.limb(b, body, (0, -0.05 - 1.8 * s, 0), (2.0 * s, -0.05 - 2.6 * s, 0), 0.3 * s, skin)


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector to a light at an azimuth (0 = +z) and an elevation, radians."""
    flat = math.cos(elevation)
    return (flat * math.sin(azimuth), -math.sin(elevation), flat * math.cos(azimuth))


def _scaled(color: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _daylight(rng: np.random.Generator) -> tuple[Lighting, Sky]:
    elevation = rng.uniform(0.35, 1.2)
    overcast = rng.random() < 0.3
    warm = tint_of(3600 + 2400 * min(elevation, 1.0) + rng.uniform(-300, 300))
    sun = rng.uniform(0.15, 0.45) if overcast else rng.uniform(1.1, 1.9)
    ambient = rng.uniform(0.7, 1.0) if overcast else rng.uniform(0.35, 0.6)
    blue = tint_of(7000 if overcast else 9500)
    lighting = Lighting(
        to_light=_direction(rng.uniform(0, 6.28), elevation),
        sun=_scaled(warm, sun),
        ambient_up=_scaled(blue, ambient),
        ambient_down=_scaled(warm, 0.5 * ambient),
        blur_m=0.14 if overcast else rng.uniform(0.04, 0.08),
        exposure=rng.uniform(0.7, 1.05),
    )
    return lighting, _sky(rng, rng.uniform(150, 700), overcast)


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

"""Moving objects of a scene, on routes that meet neither furniture nor each other."""

from __future__ import annotations

import math

import numpy as np
import torch

from recam.synthetic import figures, props
from recam.synthetic.motion import (
    Bounce,
    Follow,
    Hover,
    Motion,
    Route,
    Spin,
    Still,
    place,
    world_from_body,
)
from recam.synthetic.props import choose, material, turned
from recam.synthetic.scene import Material, SceneBuilder

CLEAR_S = 4.0
"""Routes are free of collisions from time 0 up to this one."""
_TIMES = torch.linspace(0, CLEAR_S, 41, dtype=torch.float64)
_TRIES = 60


class Ground:
    """The ground plan: circles that stand there, and circles that move."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.taken: list[tuple[float, float, float]] = []
        self.tracks: list[tuple[np.ndarray, float]] = []  # [times, 2] and radius

    def take(self, x: float, z: float, radius: float) -> bool:
        """Take a place when it is free."""
        if any(math.hypot(x - ox, z - oz) < radius + other for ox, oz, other in self.taken):
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

    def take_track(self, track: np.ndarray, radius: float) -> bool:
        """Take a moving circle's way [times, 2] when nothing is ever in it."""
        for x, z, other in self.taken:
            if np.hypot(track[:, 0] - x, track[:, 1] - z).min() < radius + other:
                return False
        for theirs, other in self.tracks:
            if np.hypot(*(track - theirs).T).min() < radius + other:
                return False
        self.tracks.append((track, radius))
        return True


def track_of(motion: Motion) -> np.ndarray:
    """(x, z) over the checked time, [times, 2]."""
    return world_from_body(motion, _TIMES)[:, [0, 2], 3].numpy()


def add_movers(
    b: SceneBuilder,
    ground: Ground,
    arena: tuple[float, float, float],
    bounds: tuple[float, float, float, float],
    indoor: bool,
) -> None:
    """Two to five moving objects in and about the arena (x, z, radius), which must be free.

    bounds: least x, least z, greatest x, greatest z that they keep to.
    """
    rng = ground.rng
    kinds = ["person", *rng.permutation(["bounce", "roll", "toy", "hover", "spin", "person"])]
    if rng.random() < 0.25:
        kinds = kinds[1:]
    count = int(rng.integers(2, 5)) + 1
    for kind in kinds:
        count -= _add_mover(b, ground, str(kind), arena, bounds, indoor)
        if count == 0:
            break


def _free_route(
    ground: Ground,
    arena: tuple[float, float, float],
    bounds: tuple[float, float, float, float],
    radius: float,
    speeds: tuple[float, float],
) -> Route | None:
    """A straight line or a circle through the arena on which nothing is met, or None."""
    rng = ground.rng
    for _ in range(_TRIES):
        angle, out = rng.uniform(0, 2 * math.pi), arena[2] * math.sqrt(rng.uniform(0.02, 0.95))
        x, z = arena[0] + out * math.sin(angle), arena[1] + out * math.cos(angle)
        speed = float(rng.uniform(*speeds))
        if rng.random() < 0.5:
            # Through the neighbourhood of the centre: starts half a clip before it.
            heading = rng.uniform(0, 2 * math.pi)
            back = speed * rng.uniform(0.2, 0.6) * CLEAR_S / 2
            route = Route(
                x - back * math.sin(heading), z - back * math.cos(heading), heading, speed
            )
        else:
            turn = float(rng.choice([-1.0, 1.0]))
            ring = max(out, 0.4)
            x, z = arena[0] + ring * math.sin(angle), arena[1] + ring * math.cos(angle)
            route = Route(x, z, angle + turn * math.pi / 2, speed, turn / ring)
        track = track_of(Follow(route, torch.eye(4, dtype=torch.float64)))
        low, high = track.min(0) - radius, track.max(0) + radius
        outside = (
            low[0] < bounds[0] or low[1] < bounds[1] or high[0] > bounds[2] or high[1] > bounds[3]
        )
        if not outside and ground.take_track(track, radius):
            return route
    return None


def _free_spot(
    ground: Ground, arena: tuple[float, float, float], radius: float
) -> tuple[float, float] | None:
    """A place in the arena where nothing comes by, or None."""
    for _ in range(_TRIES):
        angle = ground.rng.uniform(0, 2 * math.pi)
        out = arena[2] * math.sqrt(ground.rng.uniform(0.05, 0.8))
        spot = (arena[0] + out * math.sin(angle), arena[1] + out * math.cos(angle))
        if ground.take_track(np.tile(np.array(spot), (len(_TIMES), 1)), radius):
            return spot
    return None


def _add_mover(
    b: SceneBuilder,
    ground: Ground,
    kind: str,
    arena: tuple[float, float, float],
    bounds: tuple[float, float, float, float],
    indoor: bool,
) -> bool:
    """Add one moving object of a kind; False when no free way was found for it."""
    rng = ground.rng
    skin = material(rng, choose(rng, "stripes", "pattern", "leaves", "picture"), 0.5, gloss=0.15)
    if kind in ("hover", "spin"):
        spot = _free_spot(ground, arena, 0.35)
        if spot:
            (_hoverer if kind == "hover" else _spinner)(b, rng, *spot, skin)
        return spot is not None
    r = rng.uniform(0.1, 0.24) if kind == "bounce" else rng.uniform(0.12, 0.33)
    radius, speeds = {
        "person": (0.36, (0.7, 1.3)),
        "bounce": (r, (0.4, 1.2)),
        "roll": (r, (0.5, 1.5)),
        "toy": (0.45, (0.5, 1.5)),
    }[kind]
    route = _free_route(ground, arena, bounds, radius, speeds)
    if route is None:
        return False
    match kind:
        case "person":
            figures.person(b, rng, route)
        case "bounce":
            motion = Bounce(
                route,
                r,
                apex=rng.uniform(0.5, 1.3 if indoor else 2.2),
                restitution=rng.uniform(0.75, 0.95),
                spin=route.speed / r,
                body_rotation=torch.eye(3, dtype=torch.float64),
            )
            b.part("ellipsoid", (r, r, r), b.body(motion, b.object("ball")), (0, 0, 0), skin)
        case "roll":
            body = b.body(Follow(route, turned(0, -r, 0), r), b.object("ball"))
            b.part("ellipsoid", (r, r, r), body, (0, 0, 0), skin)
        case _:
            figures.car(b, rng, Follow(route, turned(0, 0, 0)), rng.uniform(0.14, 0.2))
    return True


def add_traffic(b: SceneBuilder, ground: Ground, lane: float, middle_z: float) -> None:
    """A car that drives past while the clip runs, in the right lane: ``lane`` off the middle."""
    rng = ground.rng
    side = 1.0 if rng.random() < 0.5 else -1.0
    speed = rng.uniform(1.5, 5.0)
    # With −y up and +z ahead, the lane at +x is on the right.
    heading = 0.0 if side > 0 else math.pi
    start = middle_z - side * (speed * 1.0 + rng.uniform(0, 3))
    route = Route(side * lane, start, heading, speed)
    tracks = [track_of(Follow(route, place(0, 0, offset))) for offset in (-1.6, -0.5, 0.5, 1.6)]
    kept = len(ground.tracks)
    if all(ground.take_track(track, 1.0 - 0.6 * (i > 0)) for i, track in enumerate(tracks)):
        figures.car(b, rng, Follow(route, turned(0, 0, 0)))
        ground.tracks[kept:] = [(track, 1.1) for track in tracks]
    else:
        del ground.tracks[kept:]


def _hoverer(b: SceneBuilder, rng: np.random.Generator, x: float, z: float, skin: Material) -> None:
    """A balloon on a string, or a drone."""
    motion = Hover(
        place(x, -rng.uniform(1.2, 1.8), z, rng.uniform(0, 6.28)),
        amplitude=torch.tensor(rng.uniform(0.1, 0.3, 3)),
        frequency=torch.tensor(rng.uniform(0.8, 2.2, 3)),
        phase=torch.tensor(rng.uniform(0, 6.28, 3)),
        tilt=rng.uniform(0.05, 0.25),
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
        top = (0, -0.05 - 2.6 * s, 0)
        b.part("ellipsoid", (0.6 * s, 0.6 * s, 0.6 * s), body, top, skin)
    else:
        b.part("frustum", (s, 1.5 * s, s), body, (0, -0.05 - 1.5 * s, 0), skin, 0.4)
        top = (0, -0.05 - 3.3 * s, 0)
        b.part("ellipsoid", (0.55 * s, 0.55 * s, 0.55 * s), body, top, stone)
        props.limb(b, body, (0, -0.05 - 1.8 * s, 0), (2.0 * s, -0.05 - 2.6 * s, 0), 0.3 * s, skin)

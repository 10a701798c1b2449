"""Figures that move on their own: people of capsules, cars with wheels that turn."""

from __future__ import annotations

import numpy as np

from recam.synthetic import props
from recam.synthetic.motion import Follow, Gait, Limb, Motion, Route, Still, Walk
from recam.synthetic.props import ON_SIDE, choose, material, turned
from recam.synthetic.scene import Color, Material, SceneBuilder
from recam.synthetic.textures import TextureSpec


def person(b: SceneBuilder, rng: np.random.Generator, route: Route) -> int:
    """A walking figure; returns its object id."""
    person_id = b.object("person")
    tall = rng.uniform(1.5, 1.9) / 1.75
    gait = Gait(
        thigh=0.43 * tall, shin=0.42 * tall, foot=0.07 * tall, torso=0.52 * tall,
        shoulder_width=0.4 * tall, hip_width=0.19 * tall, upper_arm=0.29 * tall,
        stride=rng.uniform(1.15, 1.45) * tall, hip_swing=rng.uniform(0.4, 0.55),
        knee_bend=rng.uniform(0.8, 1.1), arm_swing=rng.uniform(0.3, 0.6),
        lean=rng.uniform(-0.1, 0.0), phase=rng.uniform(0, 6.28),
    )  # fmt: skip
    shirt = material(rng, choose(rng, "fabric", "fabric", "stripes", "pattern"), 0.5)
    trousers = material(rng, choose(rng, "fabric", "fabric", "asphalt"), 0.6, (0.35, 1.0))
    skin = Material(TextureSpec("plaster", 3), 0.4, _skin_color(rng))
    hair = material(rng, "bark", 0.25, (0.2, 0.9))
    shoe = material(rng, choose(rng, "fabric", "asphalt", "wood"), 0.3, (0.4, 1.0))
    k, g = tall, gait

    def body(limb_name: Limb) -> int:
        return b.body(Walk(route, gait, limb_name), person_id)

    torso = body("torso")
    b.part("rounded", (0.16 * k, 0.12 * k, 0.11 * k), torso, (0, -0.03 * k, 0), trousers, 0.09 * k)
    b.part("rounded", (0.19 * k, 0.27 * k, 0.115 * k), torso, (0, -0.3 * k, 0), shirt, 0.1 * k)
    head = body("head")
    b.part("rounded", (0.055 * k, 0.09 * k, 0.055 * k), head, (0, -0.03 * k, 0), skin, 0.054 * k)
    b.part("ellipsoid", (0.085 * k, 0.115 * k, 0.1 * k), head, (0, -0.17 * k, 0.01), skin)
    b.part("ellipsoid", (0.093 * k, 0.1 * k, 0.1 * k), head, (0, -0.205 * k, -0.018), hair)
    b.part("ellipsoid", (0.018 * k, 0.02 * k, 0.03 * k), head, (0, -0.16 * k, 0.11 * k), skin)
    sleeve = shirt if rng.random() < 0.6 else skin
    for side in ("l", "r"):
        thigh, shin = body(f"thigh_{side}"), body(f"shin_{side}")  # type: ignore[arg-type]
        arm, fore = body(f"arm_{side}"), body(f"forearm_{side}")  # type: ignore[arg-type]
        props.limb(b, thigh, (0, 0, 0), (0, g.thigh, 0), 0.075 * k, trousers)
        props.limb(b, shin, (0, 0, 0), (0, g.shin, 0), 0.055 * k, trousers)
        at = (0, g.shin + 0.03 * k, 0.06 * k)
        b.part("rounded", (0.045 * k, 0.04 * k, 0.13 * k), shin, at, shoe, 0.035 * k)
        props.limb(b, arm, (0, 0, 0), (0, g.upper_arm, 0), 0.05 * k, shirt)
        props.limb(b, fore, (0, 0, 0), (0, 0.25 * k, 0), 0.04 * k, sleeve)
        b.part("ellipsoid", (0.035 * k, 0.075 * k, 0.045 * k), fore, (0, 0.32 * k, 0), skin)
    return person_id


def _skin_color(rng: np.random.Generator) -> Color:
    tone = rng.uniform(0.25, 1.0)
    return (float(1.0 * tone), float(0.72 * tone), float(0.56 * tone))


def car(b: SceneBuilder, rng: np.random.Generator, motion: Motion, scale: float = 1.0) -> int:
    """A car (or a toy one): rides along a Follow route with turning wheels, or stands Still."""
    car_id = b.object("car")
    paint = material(
        rng, choose(rng, "metal", "metal", "plaster", "stripes"), 2.0 * scale, (0.6, 1.1), 0.4
    )
    glass = Material(TextureSpec("clouds", 1), 2.0, (0.1, 0.13, 0.16), 0.8)
    rubber = Material(TextureSpec("asphalt", 2), 0.4, (0.25, 0.25, 0.25))
    hub = material(rng, "metal", 0.4, (0.9, 1.2), 0.4)
    light = Material(TextureSpec("plaster", 1), 0.5, (1.0, 0.95, 0.8), 0.5, 0.5)
    red = Material(TextureSpec("plaster", 1), 0.5, (0.6, 0.05, 0.04), 0.5, 0.3)
    k = scale
    w, length, h = rng.uniform(0.8, 0.92) * k, rng.uniform(1.8, 2.2) * k, rng.uniform(0.3, 0.4) * k
    r = 0.31 * k
    van = rng.random() < 0.3
    chassis = b.body(motion, car_id)
    b.part("rounded", (w, h, length), chassis, (0, -r - h + 0.1 * k, 0), paint, 0.14 * k)
    roof = -r - 2 * h + 0.1 * k
    cabin, back = (0.62 * length, -0.25 * length) if van else (0.5 * length, -0.12 * length)
    tall = (0.42 if van else 0.28) * k
    b.part(
        "rounded", (0.88 * w, tall, cabin), chassis, (0, roof - 0.5 * tall, back), glass, 0.12 * k
    )
    b.part(
        "rounded",
        (0.8 * w, 0.05 * k, 0.85 * cabin),
        chassis,
        (0, roof - 1.5 * tall, back),
        paint,
        0.04 * k,
    )
    for sx in (-1, 1):
        b.part(
            "rounded",
            (0.15 * k, 0.07 * k, 0.04 * k),
            chassis,
            (sx * 0.7 * w, -r - 1.2 * h, 0.99 * length),
            light,
            0.03 * k,
        )
        b.part(
            "rounded",
            (0.14 * k, 0.06 * k, 0.04 * k),
            chassis,
            (sx * 0.7 * w, -r - 1.3 * h, -0.99 * length),
            red,
            0.03 * k,
        )
        for sz in (-0.62, 0.62):
            wheel = b.body(_wheel_motion(motion, (sx * (w - 0.08 * k), -r, sz * length), r), car_id)
            pose = turned(0, 0, 0, rz=ON_SIDE)
            b.part("frustum", (r, 0.11 * k, r), wheel, pose, rubber, 1.0)
            b.part("frustum", (0.6 * r, 0.115 * k, 0.6 * r), wheel, pose, hub, 1.0)
            b.part("box", (0.12 * k, 0.5 * r, 0.09 * r), wheel, (0, 0, 0), rubber)
    return car_id


def _wheel_motion(motion: Motion, at: tuple[float, float, float], radius: float) -> Motion:
    mount = turned(*at)
    if isinstance(motion, Follow):
        return Follow(motion.route, motion.mount @ mount, radius)
    if isinstance(motion, Still):
        return Still(motion.world_from_body @ mount)
    raise ValueError(f"a car cannot move by {type(motion).__name__}; give Follow or Still")

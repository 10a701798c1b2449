"""Makes the motions of ``rigid`` with MuJoCo: python -m recam.synthetic.simulate [FILE]."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from recam.synthetic.rigid import BAKED, RATE_HZ, REACH_M, RIGID_KINDS
from recam.types import RecamError

SECONDS = 4.0
CLIPS_PER_KIND = 4
_STEP_S = 1 / 960
_MODEL = """
<mujoco>
  <option timestep="{step}" integrator="implicitfast"/>
  <default><geom solref="-9000 -{damping}" friction="0.7 0.02 0.015" condim="6"/></default>
  <worldbody><geom type="plane" size="0 0 1"/>{bodies}</worldbody>
</mujoco>"""
_BODY = """
<body name="b{i}" pos="{pos}" euler="{euler}"><freejoint/>
  <geom type="{type}" size="{size}" density="{density}"/></body>"""
_SHAPES = {"box": "box", "sphere": "ellipsoid", "cylinder": "frustum"}


def simulate(kind: str, seed: int) -> dict[str, np.ndarray]:
    """One clip: shape [n], size [n, 3], position [k, n, 3], quaternion [k, n, 4] (w first).

    drop: blocks, balls and cans fall and tumble. dominoes: a row of slabs, the first is pushed.
    bowling: a ball runs into stacked blocks. Raises RecamError when MuJoCo is missing, ValueError
    for an unknown kind.
    """
    try:
        import mujoco
    except ImportError as error:
        raise RecamError(
            "simulating rigid bodies needs MuJoCo; pip install 'recam[physics]'"
        ) from error
    if kind not in RIGID_KINDS:
        raise ValueError(f"simulate got kind {kind!r}; expected one of {', '.join(RIGID_KINDS)}")
    for attempt in range(40):  # a clip of which something rolls away is drawn again
        rng = np.random.default_rng([19, RIGID_KINDS.index(kind), seed, attempt])
        bodies, speeds = {"drop": _drop, "dominoes": _dominoes, "bowling": _bowling}[kind](rng)
        xml = _MODEL.format(step=_STEP_S, damping=rng.uniform(40, 90), bodies="".join(bodies))
        model = mujoco.MjModel.from_xml_string(xml)
        data = mujoco.MjData(model)
        for i, speed in speeds.items():
            data.qvel[6 * i : 6 * i + 6] = speed
        position, quaternion = _run(mujoco, model, data)
        clip = _in_recam_axes(model, position, quaternion)
        # Farther than this it would meet what stands around; two seconds are what clips show.
        seen = clip["position"][: int(2.1 * RATE_HZ)]
        reach = np.hypot(seen[..., 0], seen[..., 2]).max() + np.abs(clip["size"]).max()
        if reach < REACH_M and -seen[..., 1].min() < 2 * REACH_M:
            return clip
    raise ValueError(f"no {kind} of seed {seed} stays within {REACH_M} m")


def _run(mujoco: Any, model: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    num, every = int(SECONDS * RATE_HZ) + 1, round(1 / RATE_HZ / _STEP_S)
    states = []
    for _ in range(num):
        states.append(data.qpos.reshape(-1, 7).copy())
        mujoco.mj_step(model, data, nstep=every)
    path = np.stack(states)
    return path[..., :3], path[..., 3:]


def _in_recam_axes(model: Any, position: np.ndarray, quaternion: np.ndarray) -> dict:
    """MuJoCo's (x, y, z up) is recam's (x, −z, y), for the world and for each body's own axes."""
    types = {6: "box", 2: "sphere", 5: "cylinder"}
    names = [types[int(t)] for t in model.geom_type[1:]]
    sizes = []
    for name, (a, b, c) in zip(names, model.geom_size[1:].tolist()):
        sizes.append({"box": (a, c, b), "sphere": (a, a, a), "cylinder": (a, b, a)}[name])
    x, y, z = np.moveaxis(position, -1, 0)
    w, qx, qy, qz = np.moveaxis(quaternion, -1, 0)
    turn = np.stack([w, qx, -qz, qy], -1)
    return {
        "shape": np.array([_SHAPES[n] for n in names]),
        "size": np.array(sizes, np.float32),
        "position": np.stack([x, -z, y], -1).astype(np.float32),
        "quaternion": np.round(turn * 32767).astype(np.int16),
    }


def _body(i: int, kind: str, size: Any, pos: Any, euler: Any = (0, 0, 0)) -> str:
    text = [" ".join(f"{v:.5f}" for v in np.atleast_1d(values)) for values in (size, pos, euler)]
    return _BODY.format(i=i, type=kind, size=text[0], pos=text[1], euler=text[2], density=500)


def _drop(rng: np.random.Generator) -> tuple[list[str], dict[int, np.ndarray]]:
    bodies: list[str] = []
    speeds: dict[int, np.ndarray] = {}
    for i in range(int(rng.integers(4, 7))):
        kind = ("box", "sphere", "cylinder")[int(rng.integers(3))]
        s = rng.uniform(0.06, 0.13)
        size = {"box": s * rng.uniform(0.6, 1.1, 3), "sphere": s, "cylinder": (0.7 * s, s)}[kind]
        pos = (*rng.uniform(-0.18, 0.18, 2), 0.3 + 0.19 * i)
        bodies.append(_body(i, kind, size, pos, rng.uniform(-180, 180, 3)))
        speeds[i] = np.array([*rng.normal(0, 0.1, 2), rng.uniform(0, 1.0), *rng.normal(0, 2, 3)])
    return bodies, speeds


def _dominoes(rng: np.random.Generator) -> tuple[list[str], dict[int, np.ndarray]]:
    count, half = int(rng.integers(6, 9)), rng.uniform(0.13, 0.16)
    gap, bend = rng.uniform(0.12, 0.14), rng.uniform(-0.12, 0.12)
    x, y, yaw = -gap * (count - 1) / 2, 0.0, -bend * (count - 1) / 2
    bodies = []
    for i in range(count):
        at = (x, y, half)
        bodies.append(_body(i, "box", (0.02, 0.07, half), at, (0, 0, np.degrees(yaw))))
        x, y, yaw = x + gap * np.cos(yaw), y + gap * np.sin(yaw), yaw + bend
    return bodies, {0: np.array([0.25, 0, 0, 0, 2.2, 0])}


def _bowling(rng: np.random.Generator) -> tuple[list[str], dict[int, np.ndarray]]:
    half = rng.uniform(0.055, 0.075)
    bodies: list[str] = []
    for level in range(3):
        for k in range(3 - level):
            at = (0.15, (k - (2 - level) / 2) * 2.1 * half, half + 2.0 * half * level)
            bodies.append(_body(len(bodies), "box", (half, half, half), at))
    ball = rng.uniform(0.07, 0.1)
    bodies.append(_body(len(bodies), "sphere", ball, (-0.62, rng.uniform(-0.06, 0.06), ball)))
    speed = rng.uniform(1.0, 1.6)
    return bodies, {len(bodies) - 1: np.array([speed, 0, 0, 0, speed / ball, 0])}


def write_clips(path: Path) -> None:
    """All clips into one npz, the same bytes for the same motions."""
    arrays: dict[str, np.ndarray] = {}
    number = 0
    for kind in RIGID_KINDS:
        for seed in range(CLIPS_PER_KIND):
            for name, value in simulate(kind, seed).items():
                arrays[f"{name}_{number}"] = value
            arrays[f"kind_{number}"] = np.array(kind)
            number += 1
    arrays["num_clips"] = np.array(number)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in sorted(arrays.items()):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, value, allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    write_clips(Path(sys.argv[1]) if len(sys.argv) > 1 else BAKED)

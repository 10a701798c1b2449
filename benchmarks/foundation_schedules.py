"""How much detail each schedule keeps, with exact models: latents that are normal with deviation d
(detail is what deviates little), of which the best answer is known. Steps are linear in the first
noise, so one number tells all: the deviation that comes out, over d.

    python benchmarks/foundation_schedules.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import diffusers
import torch

from recam.completion.foundation.schedules import FlowSchedule, ltx_schedule

DEVIATIONS = (1.0, 0.3, 0.1, 0.03)


def kept(schedule: FlowSchedule, steps: int, tokens: int, deviation: float) -> float:
    """Of the deviation, what is there after so many steps."""
    scheduler = schedule.begin(steps, tokens)
    x = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
    for t, s in zip(scheduler.timesteps, scheduler.sigmas.double()):
        variance = deviation**2
        x0 = (1 - s) * variance / ((1 - s) ** 2 * variance + s**2) * x
        x = scheduler.step((x - x0) / s, t, x, return_dict=False)[0]
    return float(x.abs().max()) / deviation


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        diffusers.FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024,
            max_image_seq_len=4096, shift_terminal=0.1,
        ).save_pretrained(name)  # fmt: skip
        ltx = ltx_schedule(Path(name), "own", None)
    clamped = FlowSchedule(None, 2.718281828**2.05, "euler")
    rows = {
        "wan22, UniPC, shift 5 (default)": (FlowSchedule(None, 5.0, "unipc"), 50, 1),
        "wan22, Euler": (FlowSchedule(None, 5.0, "euler"), 50, 1),
        "vace, UniPC, shift 3 (default)": (FlowSchedule(None, 3.0, "unipc"), 50, 1),
        "vace, UniPC, shift 16": (FlowSchedule(None, 16.0, "unipc"), 50, 1),
        "vace, Euler": (FlowSchedule(None, 3.0, "euler"), 50, 1),
        "ltx, 161 frames (default)": (ltx, 40, 21 * 15 * 22),
        "ltx, 49 frames (default)": (ltx, 40, 7 * 15 * 22),
        "ltx, as before 2026-11-30": (clamped, 40, 1),
    }
    print("| kept of deviation |", " | ".join(str(d) for d in DEVIATIONS), "|")
    print("| --- |", " | ".join("---" for _ in DEVIATIONS), "|")
    for what, (schedule, steps, tokens) in rows.items():
        shares = (f"{kept(schedule, steps, tokens, d):.1%}" for d in DEVIATIONS)
        print(f"| {what}, {steps} steps |", " | ".join(shares), "|")


if __name__ == "__main__":
    main()

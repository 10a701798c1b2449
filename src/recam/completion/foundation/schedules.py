"""Noise levels and steps of the published models, by diffusers' schedulers: each at the levels that
its own publishers sample at."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.completion.schedule import sampling_levels
from recam.configs import Schedule
from recam.runtime.checkpoints import read_json_file
from recam.types import RecamError


@dataclass(frozen=True)
class FlowSchedule:
    """How a flow-matching model goes from noise to a clean latent.

    scheduler: of diffusers, with the checkpoint's config. fixed_shift: of the levels (see
    ``sampling_levels``); None where it depends on the clip's number of tokens. kind: "own" levels
    are the scheduler's; "tokens" and "quadratic" are LTX-Video's, with and without dynamic
    shifting; "euler" and "unipc" go over evenly spaced ones, shifted.
    """

    scheduler: Any
    fixed_shift: float | None
    kind: str = "own"

    def shift(self, tokens: int) -> float:
        """Of the levels of a clip of so many tokens, text not counted."""
        if self.fixed_shift is not None:
            return self.fixed_shift
        from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

        config = self.scheduler.config
        mu = calculate_shift(
            tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift,
            config.max_shift,
        )  # fmt: skip
        return math.exp(mu)

    def begin(self, steps: int, tokens: int) -> Any:
        """A scheduler that is ready for so many passes over a clip: its ``timesteps`` [steps], of
        1000, are what the network is told, its ``sigmas`` [steps + 1] the levels, the last one 0.
        """
        import diffusers

        scheduler: Any = copy.deepcopy(self.scheduler)
        shift = self.shift(tokens)
        match self.kind:
            case "own":
                scheduler.set_timesteps(steps)
            case "tokens" | "quadratic" if steps == 1:  # from noise to clean: nothing to stretch
                scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
                scheduler.set_timesteps(sigmas=[1.0])
            case "tokens":
                scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=math.log(shift))
            case "quadratic":
                from diffusers.pipelines.ltx.pipeline_ltx_condition import linear_quadratic_schedule

                times = linear_quadratic_schedule(steps) * 1000
                scheduler.set_timesteps(timesteps=times)
            case "euler":
                scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
                scheduler.set_timesteps(sigmas=sampling_levels(steps, shift)[:-1].numpy())
            case "unipc":
                scheduler = diffusers.UniPCMultistepScheduler(
                    use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift
                )
                scheduler.set_timesteps(steps)
            case _:
                raise ValueError(f"unknown kind of levels {self.kind!r}")
        return scheduler


def wan_schedule(
    folder: Path, schedule: Schedule, shift: float | None, default: float
) -> FlowSchedule:
    """Of Wan and VACE. own: the class and shift of the checkpoint's scheduler config (published:
    UniPC, told times in whole thousandths); without one UniPC at the default shift.

    Raises RecamError when the config names a scheduler that is not known here.
    """
    import diffusers

    path = folder / "scheduler_config.json"
    config = read_json_file(path) if path.is_file() else {}
    shift = shift or float(config.get("flow_shift") or config.get("shift") or default)
    if schedule != "own" or not config:
        return FlowSchedule(None, shift, "unipc" if schedule == "own" else schedule)
    own: Any = getattr(diffusers, str(config.get("_class_name")), None)
    if own is None:
        raise RecamError(
            f"{path}: unknown scheduler {config.get('_class_name')}; give --schedule unipc or euler"
        )
    name = "flow_shift" if "flow_shift" in config else "shift"
    return FlowSchedule(own.from_config(config, **{name: shift}), shift)


def ltx_schedule(folder: Path, schedule: Schedule, shift: float | None) -> FlowSchedule:
    """Of LTX-Video. own and euler: Euler steps over levels shifted by the clip's own number of
    tokens and stretched to the checkpoint's last one (shift_terminal), or over linear, then
    quadratic ones where its config has no dynamic shifting."""
    import diffusers

    path = folder / "scheduler_config.json"
    config = read_json_file(path) if path.is_file() else {"use_dynamic_shifting": True}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(config)
    kind = "tokens" if scheduler.config.use_dynamic_shifting else "quadratic"
    if kind == "quadratic":
        shift = shift or float(scheduler.config.shift)
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(config, shift=shift)
    return FlowSchedule(scheduler, shift, "unipc" if schedule == "unipc" else kind)


def vp_scheduler(own: Any, schedule: str) -> Any:
    """A scheduler for CogVideoX by name, at the noise levels of its own one: dpm (the published
    one), ddim, or unipc, made for few steps."""
    import diffusers

    if schedule in ("own", "dpm"):
        return own
    if schedule == "ddim":
        return diffusers.CogVideoXDDIMScheduler.from_config(own.config)
    other = diffusers.UniPCMultistepScheduler.from_config(
        own.config, prediction_type="v_prediction", timestep_spacing="trailing",
        rescale_betas_zero_snr=False,
    )  # fmt: skip
    # Its own table knows no shifted signal-to-noise ratio; a ratio of 0 has no logarithm.
    other.alphas_cumprod = own.alphas_cumprod.clone().clamp(min=2**-24)
    return other


def step(
    scheduler: Any, v: Tensor, before: Any, t: Tensor, t_before: Any, x: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Any]:  # fmt: skip
    """One step of any of ``vp_scheduler``'s: (x, what the next step is given as ``before``)."""
    name = type(scheduler).__name__
    if name == "CogVideoXDPMScheduler":
        return scheduler.step(v, before, t, t_before, x, generator=generator, return_dict=False)
    if name == "CogVideoXDDIMScheduler":
        return scheduler.step(v, t, x, return_dict=False)[0], None
    return scheduler.step(v.float(), t, x.float(), return_dict=False)[0], None

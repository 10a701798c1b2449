"""What a published model's transformer is given and answers while it completes a small clip: as
recam runs it, and as its publishers do. Of the latter ``traces.npz`` keeps the numbers ("golden
traces"), so that a test needs nothing but them. To make them anew (CogVideoX's need a copy of the
CogNVS repository, whose pipeline class is run; the others are diffusers' own pipelines):

    python tests/foundation_traces.py COGNVS_REPOSITORY

All runs are float32 on the CPU, on checkpoints of foundation_checkpoints.py, with the same noise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from foundation_checkpoints import save_cogvideox, save_ltx, save_wan
from recam.completion.foundation.cogvideox import load_cogvideox
from recam.completion.foundation.ltx import load_ltx
from recam.completion.foundation.wan import load_wan
from recam.completion.samplers import SeededNoise
from recam.configs import FoundationConfig

FILE = Path(__file__).parent / "completion" / "foundation" / "traces.npz"
STEPS, SEED, FRAMES = 3, 7, 9
SIZES = {
    "cogvideox": (32, 48), "wan22": (64, 96), "vace": (32, 48), "ltx": (64, 96),
    "ltx_dynamic": (64, 96),
}  # fmt: skip
"""Pixels of the clip of each case. ltx has linear, then quadratic levels; ltx_dynamic has levels
shifted by the number of tokens, as LTX-Video 0.9.0."""


def build(case: str, folder: Path) -> Path:
    """The checkpoint of a case."""
    if case == "cogvideox":
        return save_cogvideox(folder, sample_height=4, sample_width=6)
    if case in ("wan22", "vace"):
        return save_wan(folder, case)
    return save_ltx(folder, dynamic_shifting=case == "ltx_dynamic")


def load(case: str, folder: Path) -> Any:
    options = FoundationConfig(model_device="cpu")
    match case:
        case "cogvideox":
            return load_cogvideox(str(folder), options, torch.float32)
        case "wan22" | "vace":
            return load_wan(case, str(folder), options, torch.float32)
    return load_ltx(str(folder), options, torch.float32)


def clip(case: str) -> tuple[Tensor, Tensor]:
    """Frames [1, t, 3, h, w] in [-1, 1], -1 where not known, and known [1, t, 1, h, w]."""
    height, width = SIZES[case]
    t, c, y, x = np.ogrid[:FRAMES, :3, :height, :width]
    value = (x * (3 + c) + y * (2 + t % 3) + 17 * t + 40 * c + (x // 8 + y // 8) % 2 * 60) % 256
    frames = torch.from_numpy(value.astype(np.float32))[None] / 127.5 - 1
    known = torch.ones(1, FRAMES, 1, height, width)
    if case in ("cogvideox", "vace"):
        known[:, 2:, :, 8:24, 12:36] = 0
    else:
        known[:, 1:] = 0
    return torch.where(known > 0, frames, torch.full_like(frames, -1)), known


@contextmanager
def recorded(transformer: Any, vae: Any) -> Iterator[dict[str, list[Tensor]]]:
    """What the transformer is given (of a batch, the last) and answers, and what is decoded."""
    log: dict[str, list[Tensor]] = {name: [] for name in ("inputs", "times", "answers", "latent")}
    log["control"] = []

    def given(_: Any, __: Any, named: dict[str, Any]) -> None:
        log["inputs"].append(named["hidden_states"][-1:].clone())
        log["times"].append(named["timestep"][-1:].float().reshape(1, -1))
        if "control_hidden_states" in named:
            log["control"].append(named["control_hidden_states"][-1:].clone())

    def answered(_: Any, __: Any, output: Any) -> None:
        log["answers"].append(output[0][-1:].clone())

    decode = vae.decode

    def decoded(z: Tensor, *more: Any, **named: Any) -> Any:
        log["latent"].append(z.clone())
        return decode(z, *more, **named)

    hooks = [
        transformer.register_forward_pre_hook(given, with_kwargs=True),
        transformer.register_forward_hook(answered),
    ]
    with mock.patch.object(vae, "decode", decoded):
        yield log
    for hook in hooks:
        hook.remove()


def summary(log: dict[str, list[Tensor]]) -> dict[str, np.ndarray]:
    """Every step's input (noisy latents and what is beside them) and times, the first answer, and
    the latent that is decoded."""
    out = {
        "inputs": torch.cat(log["inputs"]), "times": torch.cat(log["times"]),
        "answer": log["answers"][0], "latent": log["latent"][0],
    }  # fmt: skip
    if log["control"]:
        out["control"] = log["control"][0]
    return {name: value.detach().numpy() for name, value in out.items()}


def ours(case: str, folder: Path) -> dict[str, np.ndarray]:
    """As recam runs it."""
    model = load(case, folder)
    shown, known = clip(case)
    with recorded(model.transformer, model.vae) as log:
        model.sample(shown, known, STEPS, SEED)
    return summary(log)


def publishers(case: str, folder: Path, cognvs: Path | None) -> dict[str, np.ndarray]:
    """As the model's publishers do."""
    model = load(case, folder)
    shown, known = clip(case)
    height, width = SIZES[case]
    common = dict(
        height=height, width=width, num_frames=FRAMES, num_inference_steps=STEPS, output_type="pt",
    )  # fmt: skip
    run = {"cogvideox": _cogvideox, "wan22": _wan22, "vace": _vace}.get(case, _ltx)
    with recorded(model.transformer, model.vae) as log:
        run(model, folder, (shown, known), common, cognvs)
    return summary(log)


def _cogvideox(model: Any, folder: Path, given: Any, common: dict, cognvs: Path | None) -> None:
    assert cognvs is not None
    sys.path.insert(0, str(cognvs))
    import diffusers
    from pipeline.cognvs_pipeline import CogNVSPipeline

    scheduler = diffusers.CogVideoXDPMScheduler.from_pretrained(
        folder / "scheduler", timestep_spacing="trailing"
    )
    pipe = CogNVSPipeline(None, None, model.vae, model.transformer, scheduler)
    pipe(
        images=given[0], prompt_embeds=model.prompt, negative_prompt_embeds=model.prompt,
        guidance_scale=6, generator=torch.Generator().manual_seed(SEED), **common,
    )  # fmt: skip


def _unipc(folder: Path) -> Any:
    import diffusers

    return diffusers.UniPCMultistepScheduler.from_pretrained(folder / "scheduler")


def _first_latent(model: Any, given: Any, channels: int) -> Tensor:
    """As recam draws it, in the publishers' layout [1, c, t, h, w]."""
    _, t, _, height, width = given[0].shape
    size = (1, (t - 1) // model.time + 1, channels, height // model.space, width // model.space)
    return SeededNoise([SEED], torch.zeros(size)).draw().transpose(1, 2)


def _wan22(model: Any, folder: Path, given: Any, common: dict, _: Any) -> None:
    import diffusers

    pipe = diffusers.WanImageToVideoPipeline(
        None, None, model.vae, _unipc(folder), transformer=model.transformer, expand_timesteps=True
    )
    latents = _first_latent(model, given, model.transformer.config.in_channels)
    pipe(
        image=given[0][:, 0] / 2 + 0.5, prompt_embeds=model.prompt[0], guidance_scale=1.0,
        latents=latents, **common,
    )  # fmt: skip


def _vace(model: Any, folder: Path, given: Any, common: dict, _: Any) -> None:
    import diffusers

    shown, known = given
    grey = (shown * known).transpose(1, 2)
    mask = (1 - known).transpose(1, 2).expand(-1, 3, -1, -1, -1)
    pipe = diffusers.WanVACEPipeline(None, None, model.vae, _unipc(folder), model.transformer)
    latents = _first_latent(model, given, model.transformer.config.in_channels)
    with mock.patch.object(pipe, "preprocess_conditions", lambda *_: (grey, mask, [[]])):
        pipe(
            video=[None] * FRAMES, mask=[None] * FRAMES, prompt_embeds=model.prompt[0],
            guidance_scale=1.0, latents=latents, **common,
        )  # fmt: skip


def _ltx(model: Any, folder: Path, given: Any, common: dict, _: Any) -> None:
    import diffusers
    from diffusers.models.autoencoders import vae
    from diffusers.pipelines.ltx import pipeline_ltx_condition, pipeline_ltx_image2video

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    like = _first_latent(model, given, model.transformer.config.in_channels).transpose(1, 2)
    noise = SeededNoise([SEED], torch.zeros_like(like))
    first, posterior = (noise.draw().transpose(1, 2) for _ in range(2))

    def drawn(shape: Any, **_: Any) -> Tensor:
        """recam's draws, in the publishers' layouts."""
        if len(shape) == 3:
            return noise.draw().flatten(3).permute(0, 1, 3, 2).flatten(1, 2)
        return posterior[:, :, :1] if shape[2] == 1 else first

    parts = (scheduler, model.vae, None, None, model.transformer)
    common |= dict(
        prompt_embeds=model.prompt[0], prompt_attention_mask=model.prompt[1], guidance_scale=1.0,
        frame_rate=25,
    )  # fmt: skip
    picture = given[0][:, 0] / 2 + 0.5
    with (
        mock.patch.object(pipeline_ltx_image2video, "randn_tensor", drawn),
        mock.patch.object(pipeline_ltx_condition, "randn_tensor", drawn),
        mock.patch.object(vae, "randn_tensor", drawn),
    ):
        if scheduler.config.use_dynamic_shifting:
            diffusers.LTXImageToVideoPipeline(*parts)(image=picture, **common)
            return
        condition = pipeline_ltx_condition.LTXVideoCondition(image=picture, frame_index=0)
        diffusers.LTXConditionPipeline(*parts)(conditions=[condition], **common)


def main() -> None:
    arrays = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in SIZES:
            folder = build(case, Path(scratch) / case)
            for name, value in publishers(case, folder, Path(sys.argv[1])).items():
                arrays[f"{case}/{name}"] = value
            mine = ours(case, folder)
            for name, value in mine.items():
                theirs = arrays[f"{case}/{name}"]
                print(case, name, value.shape, theirs.shape, float(np.abs(value - theirs).max()))
    np.savez_compressed(FILE, **arrays)
    print(FILE, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()

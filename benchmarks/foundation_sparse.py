"""What options that leave out work on known tokens cost in accuracy, on a network that has learned:
a small transformer of Wan's kind (a time of its own per token), trained here on drifting pictures
with moving blobs, completes holes in others. A network this small says how the options compare, not
what they are worth on the published models.

    python benchmarks/foundation_sparse.py --out runs/out          # three minutes of one core
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from recam.completion.backbone import Condition
from recam.completion.foundation.flow import FlowVideo, sample
from recam.completion.foundation.schedules import FlowSchedule
from recam.completion.foundation.speedups import feature_caching
from recam.completion.foundation.wan import TI2V
from recam.completion.schedule import add_noise, spread_levels

FRAMES, SIDE, CHANNELS, PATCH = 8, 12, 4, 2
HOLED = slice(3, 5)
"""The frames with holes, where most are known."""
SHIFT, STEPS, CLIPS = 3.0, 50, 4
TEXT, BATCH = 8, 4
Case = tuple[Tensor, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/out"))
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    model = video_model(trained(args.out / "foundation_sparse.safetensors", args.steps))
    lines = []
    for title, cases, options in (
        ("holes in every frame", held_out(slice(None)), OPTIONS),
        ("holes in two of eight frames", held_out(HOLED), CONTEXTS),
    ):
        lines += [
            f"| {title} | operations, share | off the truth | off the plain answer |",
            "| --- | --- | --- | --- |",
        ]
        plain = [complete(model, *case) for case in cases]
        base = sum(count for _, count in plain)
        for name, change in options.items():
            made = [complete(model, *case, **change) for case in cases]
            truth = error(made, [case[0] for case in cases], cases)
            drift = error(made, [z for z, _ in plain], cases)
            share = sum(count for _, count in made) / base
            lines.append(f"| {name} | {share:.2f} | {truth:.3f} | {drift:.3f} |")
            print(lines[-1], flush=True)
    (args.out / "foundation_sparse.md").write_text("\n".join(lines) + "\n")


OPTIONS: dict[str, dict[str, Any]] = {
    "every token, 50 steps": {},
    "other noise": {"seed": 100},
    **{f"--keep-known {n}": {"keep": n} for n in (2, 5, 10)},
    **{f"{n} steps": {"steps": n} for n in (25, 12, 8)},
    "12 steps, --keep-known 3": {"steps": 12, "keep": 3},
    "--feature-cache first-block, 0.05": {"cache": "first-block"},
    "--feature-cache taylorseer": {"cache": "taylorseer"},
    "--feature-cache pyramid": {"cache": "pyramid"},
}
CONTEXTS: dict[str, dict[str, Any]] = {
    "all frames sent": {},
    "other noise": {"seed": 100},
    **{f"--hole-context, {n} beside": {"context": n} for n in (2, 1, 0)},
}


def clips(num: int, generator: torch.Generator) -> Tensor:
    """[num, t, c, h, w]: a drifting wave and blobs that move, of deviation about 1."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    t = torch.arange(FRAMES).view(1, -1, 1, 1, 1)
    y = torch.arange(SIDE).view(1, 1, 1, -1, 1)
    x = torch.arange(SIDE).view(1, 1, 1, 1, -1)
    one = (num, 1, 1, 1, 1)
    wave = (2 + 2 * uniform(*one)) * torch.pi / SIDE
    angle, drift = 6.28 * uniform(*one), 2 * uniform(*one) - 1
    phase = 6.28 * uniform(num, 1, CHANNELS, 1, 1)
    out = torch.sin(wave * (x * angle.cos() + y * angle.sin() + drift * t) + phase)
    for _ in range(3):
        left, top = (SIDE * uniform(*one) + (2 * uniform(*one) - 1) * t for _ in range(2))
        size, colour = 2 + 2 * uniform(*one), 4 * uniform(num, 1, CHANNELS, 1, 1) - 2
        out = out + colour * torch.exp(-((x - left) ** 2 + (y - top) ** 2) / size**2)
    return out


def holes(num: int, generator: torch.Generator) -> Tensor:
    """bool [num, t, h, w] of tokens: a box that moves, a sixth of each frame."""
    side = SIDE // PATCH
    out = torch.zeros(num, FRAMES, side, side, dtype=torch.bool)
    for i in range(num):
        top, left, step = torch.randint(0, 4, (3,), generator=generator).tolist()
        for t in range(FRAMES):
            at = (left + step * t // 3) % 4
            out[i, t, top : top + 2, at : at + 3] = True
    return out


def held_out(holed: slice) -> list[Case]:
    """Clips that training never saw, and their holes, in some frames only."""
    generator = torch.Generator().manual_seed(10**6)
    cases = []
    for _ in range(CLIPS):
        truth, hole = clips(1, generator), holes(1, generator)
        some = torch.zeros(FRAMES, dtype=torch.bool)
        some[holed] = True
        cases.append((truth, hole & some[:, None, None]))
    return cases


def trained(path: Path, steps: int) -> Any:
    """The network, trained or as it was kept."""
    import diffusers
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    network = diffusers.WanTransformer3DModel(
        patch_size=(1, PATCH, PATCH), num_attention_heads=3, attention_head_dim=16,
        in_channels=CHANNELS, out_channels=CHANNELS, text_dim=TEXT, freq_dim=32, ffn_dim=192,
        num_layers=4, rope_max_seq_len=64,
    )  # fmt: skip
    if path.is_file():
        network.load_state_dict(load_file(path))
        return network.eval()
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for step in range(steps):
        length = int(torch.randint(2, FRAMES + 1, (1,), generator=generator))
        x0, hole = clips(BATCH, generator)[:, :length], holes(BATCH, generator)[:, :length]
        u = torch.rand(BATCH, 1, 1, 1, generator=generator)
        sigma = hole * (SHIFT * u / (1 + (SHIFT - 1) * u))
        noise = torch.randn(x0.shape, generator=generator)
        s = spread_levels(sigma, x0)
        text = (torch.zeros(1, 1, TEXT), torch.ones(1, 1, dtype=torch.bool))
        v = TI2V.velocity(network, add_noise(x0, noise, s), 1000 * sigma, text, None)
        weight = (s > 0).float()
        loss = (weight * (v - (noise - x0)).square()).sum() / (weight.sum() * CHANNELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}: loss {float(loss.detach()):.3f}", flush=True)
    save_file(network.state_dict(), path)
    return network.eval()


def video_model(network: Any) -> FlowVideo:
    text = (torch.zeros(1, 1, TEXT), torch.ones(1, 1, dtype=torch.bool))
    return FlowVideo(
        family=TI2V, transformer=network, vae=None, prompt=text, negative=None, guidance=1.0,
        device=torch.device("cpu"), placement="resident", space=1, time=1, patch=PATCH,
        schedule=FlowSchedule(None, SHIFT, "unipc"), max_frames=FRAMES, side=SIDE, steps=STEPS,
    )  # fmt: skip


def complete(
    model: FlowVideo, truth: Tensor, hole: Tensor, steps: int = STEPS, keep: int = 1,
    cache: Any = "none", seed: int = 0, context: int = FRAMES,
) -> tuple[Tensor, int]:  # fmt: skip
    """The completed latent, and how many operations it took."""
    model.keep_known = keep
    holed = hole.flatten(2).any(2)[0].nonzero()[:, 0]
    sent = slice(max(int(holed[0]) - context, 0), int(holed[-1]) + 1 + context)
    shown, part = truth[:, sent], hole[:, sent]
    posterior = (shown * ~spread_levels(part, shown), torch.zeros_like(shown))
    pixels = shown[:, :, :3]
    condition = Condition(pixels, torch.ones_like(pixels[:, :, :1]), pixels[:, None][:, :0])
    scheduler = model.schedule.begin(steps, part[0].numel())
    caching = feature_caching(model.transformer, cache, 0.05) if cache != "none" else nullcontext()
    with FlopCounterMode(display=False) as counter, caching:
        z = sample(model, scheduler, posterior, ~part, condition, [seed])
    out = truth.clone()
    out[:, sent] = z
    return out, counter.get_total_flops()


def error(made: list[tuple[Tensor, int]], wanted: list[Tensor], cases: list[Case]) -> float:
    """Root of the mean squared difference in the holes; the clips' deviation is about 1."""
    off = [
        (z - w)[spread_levels(hole, z).expand_as(z)].square().mean()
        for (z, _), w, (_, hole) in zip(made, wanted, cases)
    ]
    return float(torch.stack(off).mean().sqrt())


if __name__ == "__main__":
    main()

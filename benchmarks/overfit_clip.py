"""Can the model hold one clip? Train on a single clip with fixed holes and print the hole PSNR.

    python benchmarks/overfit_clip.py [--video FILE] [--steps 700] [--device cuda]

The clip is a synthetic one, or the first frames of a video. A model that cannot reach 35 dB in the
holes here has a broken objective or too narrow a path to the output.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from recam.completion.fills import fills_to_signal, make_condition, search_fills
from recam.completion.pixels import from_signal, to_signal
from recam.completion.samplers import sample_single_step
from recam.completion.transformer import VideoTransformer, num_parameters
from recam.configs import ModelConfig, ObjectiveConfig
from recam.media import read_video
from recam.training.data import step_generator
from recam.training.layered import layered_clips
from recam.training.loss import Batch, masked_loss
from recam.training.optim import (
    bf16,
    learning_rate,
    load_checkpoint,
    new_optimizer,
    pick_device,
    save_checkpoint,
    update,
)
from recam.training.validation import hole_psnr
from recam.types import PartialVideo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--size", type=int, nargs=3, default=(8, 96, 128), metavar=("T", "H", "W"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--checkpoint", type=Path, help="goes on from here when it is there")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    size = (1, *args.size)
    clips = layered_clips(size, torch.Generator().manual_seed(11))
    target, known = clips.frames, clips.known
    if args.video:
        frames = read_video(args.video, num_frames=size[1]).frames
        target = F.interpolate(to_signal(frames), size=size[2:], mode="area")[None]
    target, known = target.to(device), known.to(device)
    torch.manual_seed(0)
    model = VideoTransformer(ModelConfig()).to(device)
    shown = PartialVideo(from_signal(target[0] * known[0]).cpu(), known[0, :, 0].cpu().contiguous())
    filled = fills_to_signal(search_fills(shown))[None].to(device)
    condition = make_condition(target, known, model.config.fills, filled)
    joint = torch.zeros(1, dtype=torch.bool, device=device)
    batch = Batch(target, condition, joint, torch.ones_like(known))
    objective = ObjectiveConfig(degrade=0, drop_condition=0, pure_noise=0.9, own_levels=0)
    optimizer = new_optimizer(list(model.parameters()), args.lr, 0.0)
    truth = from_signal(target[0]).cpu()
    clean = model.token_levels(known) >= 1

    def psnr() -> float:
        with torch.no_grad(), bf16(device):
            x0 = sample_single_step(model, condition.evidence, clean, condition)
        return hole_psnr(from_signal(x0[0]).cpu(), truth, known[0, :, 0].cpu())

    print(f"{num_parameters(model) / 1e6:.1f} M parameters, holes {1 - float(known.mean()):.1%}")
    print(f"step 0: {psnr():.2f} dB (the mean of the fills)", flush=True)
    first = 0
    if args.checkpoint and args.checkpoint.exists():
        state = load_checkpoint(args.checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    started = time.perf_counter()
    for step in range(first, args.steps):
        generator = step_generator(0, step, 0, device)
        with bf16(device):
            loss = masked_loss(model, batch, generator, objective)
        loss.backward()
        update(optimizer, list(model.parameters()), learning_rate(step, args.steps, args.lr, 20))
        if (step + 1) % 25 == 0:
            seconds = time.perf_counter() - started
            print(
                f"step {step + 1}: {psnr():.2f} dB, loss {loss.item():.4f}, "
                f"{seconds / (step + 1 - first):.2f} s a step",
                flush=True,
            )
            if args.checkpoint:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save_checkpoint(args.checkpoint, {**state, "step": step + 1})


if __name__ == "__main__":
    main()

"""Adapt a foundation model to one video: a low-rank adapter, or the whole transformer.

As seed 1 does (200 to 400 steps of AdamW on pairs of the video itself), on latents encoded once,
with gradient checkpointing and weights at 16 bits, on one GPU; several share the work when asked.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.completion.foundation.adapters import (
    adapter_tensors,
    add_adapter,
    has_adapter,
    remove_adapter,
    set_adapter,
)
from recam.completion.foundation.placement import free_gb, on_device
from recam.completion.foundation.size import BYTES, adapting_gb, transformer_size
from recam.completion.foundation.speedups import is_quantized
from recam.configs import AdaptMethod, FinetuneConfig, Placement
from recam.runtime.tensors import load_tensors, read_metadata, require_format
from recam.training.adapt.distributed import adapt_on_devices
from recam.training.adapt.latents import LatentExample, encode_latents
from recam.training.adapt.loop import (
    EXAMPLES_SHARE,
    Adaptation,
    adaptation_key,
    is_finished,
    low_rank_of,
    read_report,
    split,
    work_through,
)
from recam.training.adapt.objectives import adapting_loss, check_error
from recam.training.adapt.optimizers import eight_bit_adamw, uncompiled_on
from recam.training.adapt.sharding import (
    as_local,
    gathered,
    like_parameter,
    processes,
    saved_share,
    shard,
    share_name,
)
from recam.training.data import step_generator
from recam.training.optim import load_checkpoint, new_optimizer, update
from recam.types import Pair, Progress, RecamError, no_progress

FORMAT = "recam foundation adapter 1"
MARGIN_DB = 0.1
"""A smaller gain on the held-back holes' latents is none. Not tuned: no real weights were here."""
LEARNING_RATES = {"lora": 1e-4, "whole": 2e-5}
"""The reference trains everything at 2e-5; adapters take more, being few."""


def foundation_finetune_config(
    minutes: float, method: AdaptMethod = "lora", steps: int = 200, seed: int = 0, devices: int = 1
) -> FinetuneConfig:
    """What a foundation model is adapted with: 8 pairs and 200 steps, as the reference."""
    if method not in LEARNING_RATES:
        raise ValueError(f"unknown method {method!r}; expected one of {sorted(LEARNING_RATES)}")
    return FinetuneConfig(
        minutes=minutes, steps=steps, num_pairs=8, method=method,
        lr=LEARNING_RATES[method], evaluate_every=50, seed=seed,
        devices=devices,
    )  # fmt: skip


def finetune_foundation(
    model: Any,
    pairs: Iterable[Pair],
    config: FinetuneConfig,
    max_side: int | None = None,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> Adaptation:
    """Adapt a model to the video that the pairs show (see ``adapt_foundation``).

    Takes the first config.num_pairs pairs, so ``make_pairs``, which is endless, can be given.
    max_side: longer side that models of free size work at; default: the model's own.
    """
    started = time.perf_counter()
    pairs = itertools.islice(pairs, config.num_pairs)
    seconds = EXAMPLES_SHARE * 60 * config.minutes
    latents = encode_latents(model, pairs, max_side, config.seed, seconds, progress)
    spent = time.perf_counter() - started
    return adapt_foundation(model, latents, config, folder, progress, spent)


def adapt_foundation(
    model: Any,
    examples: Sequence[LatentExample],
    config: FinetuneConfig,
    folder: Path | None = None,
    progress: Progress = no_progress,
    seconds_spent: float = 0.0,
) -> Adaptation:
    """Train on all examples but one or two, on their first frames; keep the best step.

    As ``masked.adapt``: judged by how far the clean latents are off in the held-back examples'
    holes of the last frames, which training does not score; step 0 takes part; ends with
    config.steps or config.minutes; with a folder it resumes and keeps what it made. The model
    itself is changed, since gigabytes are not copied, and left as it was where that did not help.

    config.devices > 1 starts so many processes (see ``adapt_on_devices``). Where torch.distributed
    is initialised already (by torchrun or accelerate's launcher), every process calls this with the
    same arguments instead. Each trains on examples of its own; of a low-rank adapter the gradients
    are averaged, and the whole model is split over the devices (FSDP) and stays so.

    Raises ValueError for fewer than two examples or an adapted model, RecamError when the weights
    do not lie on the device at 16 bits or (config.method "whole") no 8-bit optimiser is installed.
    """
    check, learn = split(examples, lambda example: bool(example.check.any()))
    if has_adapter(model.transformer):
        raise ValueError("this model is adapted already; load it anew")
    require_trainable(model)
    # The sums tell examples and prompts apart.
    seen = [[float(e.target.double().sum()), float(e.learn.sum())] for e in examples]
    text = float(model.prompt[0].double().sum())
    _, world = processes()
    num = max(world, config.devices)  # so many with so many examples each are any other division
    divided = replace(config, devices=1, batch=num * config.batch)
    key = adaptation_key(divided, weights_fingerprint(model), seen, text)
    if folder is not None and is_finished(folder, key):
        return read_foundation_adaptation(model, folder)
    if config.devices > 1 and world == 1 and any(bool(e.check.any()) for e in check):
        with tempfile.TemporaryDirectory() as scratch:
            kept = folder or Path(scratch)
            adapt_on_devices(
                adapt_foundation, model, examples, config, kept, progress, seconds_spent
            )
            return read_foundation_adaptation(model, kept)
    split_up = world > 1 and config.method == "whole"
    # Weights that are split come to the device a block at a time.
    placement: Placement = "resident" if split_up else model.placement
    device = model.transformer.device if split_up else model.device
    with on_device(model.transformer, placement, device):
        learner = FoundationLearner(model, config)
        try:
            return work_through(learner, check, learn, key, config, folder, progress, seconds_spent)
        except BaseException:
            learner.undo()  # stopped half-way: an adapter comes off; resumed from the folder
            raise


def read_foundation_adaptation(model: Any, folder: Path) -> Adaptation:
    """What a finished adaptation of this model left in a folder, put on the model."""
    path = folder / "adapter.safetensors"
    load_foundation_adapter(model, path)
    return Adaptation(model, **read_report(path))


def require_trainable(model: Any) -> None:
    """Raise RecamError where the weights are not on the device at 16 bits."""
    if model.placement not in ("resident", "swap"):
        raise RecamError(
            f"adapting needs the transformer on the device at 16 bits, but its placement is "
            f"{model.placement}; give --placement swap, or --adapt-minutes 0"
        )
    if is_quantized(model.transformer):
        raise RecamError("quantised weights are not adapted; leave out --quantize")


def require_memory(model: Any, method: AdaptMethod, num_tokens: int, devices: int = 1) -> None:
    """Raise RecamError where the memory that is free now will not do (see size.adapting_gb)."""
    transformer = model.transformer
    size = transformer_size(transformer, transformer.config, num_tokens)
    need, free = adapting_gb(size, method, devices), free_gb(model.device)
    if next(transformer.parameters()).device == model.device:  # its weights are there already
        free += size.params * BYTES / 1e9
    if need > free:
        less = "; --adapt-method lora needs less, or more --adapt-devices"
        less = less if method == "whole" else ""
        raise RecamError(
            f"adapting ({method}) needs about {need:.1f} GB, {free:.1f} are free on "
            f"{model.device}{less}"
        )


def clip_tokens(model: Any, num: int, height: int, width: int, max_side: int | None) -> int:
    """Tokens of a clip as the model sees it, its text included."""
    fitted = model.fit(height, width, max_side).size
    frames = (model.padded_frames(num) - 1) // model.time + 1
    side = model.pixel_multiple
    text = model.prompt if isinstance(model.prompt, Tensor) else model.prompt[0]
    return frames * (fitted[0] // side) * (fitted[1] // side) + text.shape[1]


class FoundationLearner:
    """See adapting.Learner. Of several processes, each has its own share of a model that is split,
    and the first one writes for all."""

    kind, margin_db = FORMAT, MARGIN_DB

    def __init__(self, model: Any, config: FinetuneConfig) -> None:
        self.model, self.config = model, config
        self.rank, self.world = processes()
        transformer = model.transformer
        if config.method == "lora":
            self.parameters = add_adapter(transformer, config.rank, config.seed)
            self.optimizer: Any = new_optimizer(self.parameters, config.lr, 0.0)
        else:
            transformer.requires_grad_(True)
            if self.world > 1:
                shard(transformer, model.device)
            self.parameters = list(transformer.parameters())
            self.optimizer = eight_bit_adamw(self.parameters, config.lr)
        self.rate_falls = config.method == "lora"  # the reference's is nearly flat
        self.is_split = config.method == "whole" and self.world > 1
        self.writes = self.rank == 0
        self.writes_checkpoint = self.writes or self.is_split
        self.checkpoint = share_name(self.rank, self.world if self.is_split else 1)
        transformer.enable_gradient_checkpointing()
        transformer.train()

    def train(self, examples: Sequence[LatentExample], step: int, lr: float) -> float:
        """One step on one or more random examples."""
        config, cpu = self.config, torch.device("cpu")
        losses = []
        for i in range(self.rank * config.batch, (self.rank + 1) * config.batch):
            generator = step_generator(config.seed, step, i, cpu)
            pick = int(torch.randint(len(examples), (1,), generator=generator))
            loss = adapting_loss(self.model, examples[pick], generator)
            (loss / config.batch).backward()
            losses.append(loss.detach())
        if self.world > 1 and not self.is_split:  # FSDP averages gradients itself
            for parameter in self.parameters:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad.div_(self.world)  # type: ignore[union-attr]
        # Weights at 16 bits are rounded at random.
        with uncompiled_on(self.model.device), torch.random.fork_rng():
            torch.manual_seed(config.seed * 1_000_003 + step)
            update(self.optimizer, self.parameters, lr)
        return self._of_all(float(sum(losses)) / config.batch, torch.mean)

    def score(self, check: Sequence[LatentExample]) -> float:
        """How good the latents of the held-back holes are."""
        errors = [check_error(self.model, example, self.config.seed) for example in check]
        value = -10 * math.log10(max(sum(errors) / len(errors), 1e-12))
        return self._of_all(value, torch.min)  # one opinion, lest rounding makes two

    def agree(self, late: float) -> float:
        return self._of_all(late, torch.max)

    def _of_all(self, value: float, choose: Any) -> float:
        if self.world == 1:
            return value
        values = [torch.zeros(1, device=self.model.device) for _ in range(self.world)]
        mine = torch.full((1,), value, device=self.model.device)
        torch.distributed.all_gather(values, mine)
        return float(choose(torch.cat(values)))

    def weights(self) -> list[Tensor]:
        return [as_local(p.detach()).to("cpu", copy=True) for p in self.parameters]

    def _restore(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                as_local(parameter).copy_(value)

    def state(self) -> dict[str, Any]:
        return {"now": self.weights(), "optimizer": as_local(self.optimizer.state_dict())}

    def saved(self, folder: Path) -> dict[str, Any] | None:
        if self.config.method == "lora":
            return load_checkpoint(folder / self.checkpoint)
        return saved_share(folder, self.rank, self.world)

    def resume(self, state: dict[str, Any]) -> None:
        self._restore(state["now"])
        optimizer = state["optimizer"]
        for i, parameter in enumerate(self.parameters if self.is_split else []):
            optimizer["state"][i] = like_parameter(optimizer["state"][i], parameter)
        self.optimizer.load_state_dict(optimizer)

    def finish(self, best: Sequence[Tensor], helped: bool) -> Any:
        self._restore(best)
        transformer = self.model.transformer
        if self.config.method == "lora" and helped:
            set_adapter(transformer, adapter_tensors(transformer), self.config.rank)
        elif self.config.method == "lora":
            remove_adapter(transformer)
        self._ready()
        return self.model

    def undo(self) -> None:
        """Ready to sample, without an adapter."""
        remove_adapter(self.model.transformer)
        self._ready()

    def _ready(self) -> None:
        self.model.transformer.disable_gradient_checkpointing()
        self.model.transformer.eval().requires_grad_(False)

    def tensors(self, best: Any) -> dict[str, Tensor]:
        """The adapter, or every weight."""
        if self.config.method == "lora":
            return adapter_tensors(self.model.transformer)
        return {name: gathered(p) for name, p in self.model.transformer.state_dict().items()}


def weights_fingerprint(model: Any) -> str:
    """Tells checkpoints apart without reading gigabytes: the first values of every parameter."""
    parts = [*model.transformer.parameters(), *model.vae.parameters()]
    few = [float(p.detach().flatten()[:256].double().sum()) for p in parts]
    return hashlib.sha256(json.dumps(few).encode()).hexdigest()


def load_foundation_adapter(model: Any, path: Path) -> None:
    """Put an adaptation's file on the model that it was made of; nothing when it is empty.

    Raises RecamError when the file is none, or of another model.
    """
    metadata = read_metadata(path)
    require_format(path, metadata, FORMAT)
    tensors = load_tensors(path)
    if not tensors:
        return
    rank = low_rank_of(path, metadata)
    if rank is not None:
        set_adapter(model.transformer, tensors, rank)
        return
    try:
        model.transformer.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"{path}: does not fit this model ({reason})") from error

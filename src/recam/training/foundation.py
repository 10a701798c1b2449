"""Adapt a foundation model to one video on one GPU: a low-rank adapter, or the whole transformer.

As seed 1 does (200 to 400 steps of AdamW on pairs of the video itself), on latents encoded once,
with gradient checkpointing and weights at 16 bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Sequence
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
from recam.completion.weights import read_metadata
from recam.configs import AdaptMethod, FinetuneConfig
from recam.training.data import step_generator
from recam.training.finetune import (
    WARMUP,
    Adaptation,
    read_adaptation,
    work_through,
    write_adaptation,
)
from recam.training.latents import LatentExample
from recam.training.objectives import adapting_loss, check_error
from recam.training.optimizers import eight_bit_adamw, uncompiled_on
from recam.training.steps import (
    learning_rate,
    load_checkpoint,
    new_optimizer,
    save_checkpoint,
    update,
)
from recam.types import Progress, RecamError, no_progress

FORMAT = "recam foundation adapter 1"
MARGIN_DB = 0.1
"""A smaller gain on the held-back holes' latents is none. Not tuned: no real weights were here."""
LEARNING_RATES = {"lora": 1e-4, "whole": 2e-5}
"""The reference trains everything at 2e-5; adapters take more, being few."""


def foundation_finetune_config(
    minutes: float, method: AdaptMethod = "lora", steps: int = 200, seed: int = 0
) -> FinetuneConfig:
    """What a foundation model is adapted with: 8 pairs and 200 steps, as the reference."""
    if method not in LEARNING_RATES:
        raise ValueError(f"unknown method {method!r}; expected one of {sorted(LEARNING_RATES)}")
    return FinetuneConfig(
        minutes=minutes, steps=steps, num_pairs=8, method=method,
        lr=LEARNING_RATES[method], evaluate_every=50, seed=seed,
    )  # fmt: skip


def adapt_foundation(
    model: Any,
    examples: Sequence[LatentExample],
    config: FinetuneConfig,
    folder: Path | None = None,
    progress: Progress = no_progress,
    seconds_spent: float = 0.0,
) -> Adaptation:
    """Train on all examples but one or two, on their first frames; keep the best step.

    As ``finetune.adapt``: judged by how far the clean latents are off in the held-back examples'
    holes of the last frames, which training does not score; step 0 takes part; ends with
    config.steps or config.minutes; with a folder it resumes and keeps what it made. The model
    itself is changed, since gigabytes are not copied, and left as it was where that did not help.
    Where torch.distributed is initialised (by accelerate's launcher, say), every process calls this
    with the same arguments, trains on examples of its own, and gradients are averaged.

    Raises ValueError for fewer than two examples or an adapted model, RecamError when the weights
    do not lie on the device at 16 bits or (config.method "whole") no 8-bit optimiser is installed.
    """
    if len(examples) < 2:
        raise ValueError(f"adapting needs 2 or more pairs, one to check on; got {len(examples)}")
    if has_adapter(model.transformer):
        raise ValueError("this model is adapted already; load it anew")
    require_trainable(model)
    key = adaptation_key(model, examples, config)
    path = folder / "adapter.safetensors" if folder is not None else None
    if path is not None and path.exists() and read_metadata(path).get("key") == key:
        return read_adaptation(path, model)
    check, learn = split_latents(examples)
    with on_device(model.transformer, model.placement, model.device):
        work = _Work(model, config)
        try:
            adapted = work_through(work, check, learn, key, config, folder, progress, seconds_spent)
        except BaseException:
            work.undo()  # stopped half-way: an adapter comes off; resumed from the folder
            raise
    if folder is not None and not math.isnan(adapted.before_db) and work.rank == 0:
        tensors = work.kept_tensors() if adapted.best_step else {}
        write_adaptation(folder, tensors, FORMAT, key, adapted, config)
    return adapted


def require_trainable(model: Any) -> None:
    """Raise RecamError where the weights are not on the device at 16 bits."""
    if model.placement not in ("resident", "swap"):
        raise RecamError(
            f"adapting needs the transformer on the device at 16 bits, but its placement is "
            f"{model.placement}; give --placement swap, or --adapt-minutes 0"
        )
    if is_quantized(model.transformer):
        raise RecamError("quantised weights are not adapted; leave out --quantize")


def require_memory(model: Any, method: AdaptMethod, num_tokens: int) -> None:
    """Raise RecamError where the memory that is free now will not do (see size.adapting_gb)."""
    transformer = model.transformer
    size = transformer_size(transformer, transformer.config, num_tokens)
    need, free = adapting_gb(size, method), free_gb(model.device)
    if next(transformer.parameters()).device == model.device:  # its weights are there already
        free += size.params * BYTES / 1e9
    if need > free:
        less = "; --adapt-method lora needs less" if method == "whole" else ""
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


class _Work:
    """An adaptation under way (see finetune.Work)."""

    def __init__(self, model: Any, config: FinetuneConfig) -> None:
        self.model, self.config = model, config
        transformer = model.transformer
        if config.method == "lora":
            self.parameters = add_adapter(transformer, config.rank, config.seed)
            self.optimizer: Any = new_optimizer(self.parameters, config.lr, 0.0)
        else:
            self.parameters = list(transformer.requires_grad_(True).parameters())
            self.optimizer = eight_bit_adamw(self.parameters, config.lr)
        transformer.enable_gradient_checkpointing()
        transformer.train()
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if together else 0
        self.world = torch.distributed.get_world_size() if together else 1
        self.step = 0
        self.loss = self.before_db = float("nan")
        self.judged: int | None = None
        self.best_db, self.best_step = float("nan"), 0
        self.best = self._copied()
        self.seconds = {"training": 0.0, "judging": 0.0}

    def _copied(self) -> list[Tensor]:
        return [p.detach().to("cpu", copy=True) for p in self.parameters]

    def _restore(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def train(self, examples: Sequence[LatentExample], late: int = 0) -> None:
        """One step on one or more random examples."""
        tick = time.perf_counter()
        config, cpu = self.config, torch.device("cpu")
        losses = []
        for i in range(self.rank * config.batch, (self.rank + 1) * config.batch):
            generator = step_generator(config.seed, self.step, i, cpu)
            pick = int(torch.randint(len(examples), (1,), generator=generator))
            loss = adapting_loss(self.model, examples[pick], generator)
            (loss / config.batch).backward()
            losses.append(loss.detach())
        self.loss = float(sum(losses)) / config.batch
        self._average_gradients()
        lr = learning_rate(max(self.step, late), config.steps, config.lr, WARMUP)
        with (
            uncompiled_on(self.model.device),
            torch.random.fork_rng(),
        ):  # weights at 16 bits are rounded at random
            torch.manual_seed(config.seed * 1_000_003 + self.step)
            update(self.optimizer, self.parameters, lr)
        self.step += 1
        self.seconds["training"] += time.perf_counter() - tick

    def _average_gradients(self) -> None:
        """Over all processes, each of which saw examples of its own."""
        if self.world > 1:
            for parameter in self.parameters:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad.div_(self.world)  # type: ignore[union-attr]

    def agree(self, late: float) -> float:
        """How much of the time is over, by the slowest process's clock."""
        return self._of_all(late, torch.max) if self.world > 1 else late

    def _of_all(self, value: float, choose: Any) -> float:
        values = [torch.zeros(1, device=self.model.device) for _ in range(self.world)]
        mine = torch.full((1,), value, device=self.model.device)
        torch.distributed.all_gather(values, mine)
        return float(choose(torch.cat(values)))

    def judge(self, check: Sequence[LatentExample]) -> None:
        """How good the latents of the held-back holes are, in dB; keeps the weights when best."""
        if self.judged == self.step:
            return
        tick = time.perf_counter()
        errors = [check_error(self.model, example, self.config.seed) for example in check]
        value = -10 * math.log10(max(sum(errors) / len(errors), 1e-12))
        if self.world > 1:  # one opinion, lest rounding makes two
            value = self._of_all(value, torch.min)
        if self.step == 0:
            self.before_db = self.best_db = value
        elif value > max(self.best_db, self.before_db + MARGIN_DB):
            self.best_db, self.best_step, self.best = value, self.step, self._copied()
        self.judged = self.step
        self.seconds["judging"] += time.perf_counter() - tick

    def save(self, path: Path, key: str, seconds: float) -> None:
        if self.rank > 0:
            return
        fields = ("step", "before_db", "best_db", "best_step", "best", "judged", "seconds")
        state = {name: getattr(self, name) for name in fields}
        state |= {"now": self._copied(), "optimizer": self.optimizer.state_dict()}
        save_checkpoint(path, state | {"key": key, "spent": seconds})

    def resume(self, path: Path, key: str) -> float:
        """Take up what was saved for the same key; returns the seconds spent on it."""
        if not path.exists():
            return 0.0
        state = load_checkpoint(path)
        if state.pop("key") != key:
            return 0.0
        self._restore(state.pop("now"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        seconds = state.pop("spent")
        for name, value in state.items():
            setattr(self, name, value)
        return seconds

    def kept_tensors(self) -> dict[str, Tensor]:
        """What goes into the file: the adapter, or every weight."""
        if self.config.method == "lora":
            return adapter_tensors(self.model.transformer)
        return dict(self.model.transformer.state_dict())

    def undo(self) -> None:
        """The model as it was given, ready to sample."""
        transformer = self.model.transformer
        if self.config.method == "lora":
            remove_adapter(transformer)
        transformer.disable_gradient_checkpointing()
        transformer.eval().requires_grad_(False)

    def finish(self, seconds: dict[str, float]) -> Adaptation:
        self._restore(self.best)
        transformer = self.model.transformer
        if self.config.method == "lora" and self.best_step:
            set_adapter(transformer, adapter_tensors(transformer), self.config.rank)
            transformer.disable_gradient_checkpointing()
            transformer.eval().requires_grad_(False)
        else:
            self.undo()
        return Adaptation(
            self.model, self.before_db, self.best_db, self.best_step, self.step, seconds, MARGIN_DB
        )


def split_latents(
    examples: Sequence[LatentExample],
) -> tuple[list[LatentExample], list[LatentExample]]:
    """As ``finetune.split_examples``: the first ones with anything to check, and the others."""
    wanted = 2 if len(examples) >= 5 else 1
    chosen = [i for i, e in enumerate(examples) if bool(e.check.any())][:wanted] or [0]
    check = [examples[i] for i in chosen]
    return check, [e for i, e in enumerate(examples) if i not in chosen]


def adaptation_key(model: Any, examples: Sequence[LatentExample], config: FinetuneConfig) -> str:
    """What an adaptation depends on, as a hash: weights, examples, options but the time."""
    options = dataclasses.replace(config, minutes=0.0)
    seen = [[float(e.target.double().sum()), float(e.learn.sum())] for e in examples]
    text = [float(model.prompt[0].double().sum())]
    few = weights_fingerprint(model)
    described = json.dumps([dataclasses.asdict(options), few, seen, text], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def weights_fingerprint(model: Any) -> str:
    """Tells checkpoints apart without reading gigabytes: the first values of every parameter."""
    parts = [*model.transformer.named_parameters(), *model.vae.named_parameters()]
    few = [float(p.detach().flatten()[:256].double().sum()) for name, p in parts]
    return hashlib.sha256(json.dumps(few).encode()).hexdigest()


def load_foundation_adapter(model: Any, path: Path) -> None:
    """Put an adaptation's file on the model that it was made of; nothing when it is empty.

    Raises RecamError when the file is none, or of another model.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if metadata["format"] != FORMAT:
        raise RecamError(f"{path}: holds {metadata['format']!r}, expected {FORMAT!r}")
    tensors = load_file(path)
    if not tensors:
        return
    if metadata["method"] == "lora":
        set_adapter(model.transformer, tensors, int(metadata["rank"]))
        return
    try:
        model.transformer.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"{path}: does not fit this model ({reason})") from error

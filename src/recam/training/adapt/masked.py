"""Adapt the model to one video, by pairs made from that video (test-time finetuning, seed 1)."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.completion.pixels import from_signal
from recam.completion.samplers import sample_single_step
from recam.completion.transformer import VideoTransformer
from recam.configs import FinetuneConfig, ObjectiveConfig
from recam.runtime.files import short_reason
from recam.runtime.tensors import load_tensors, read_metadata, require_format
from recam.training.adapt.examples import Example, encode_pairs
from recam.training.adapt.loop import (
    EXAMPLES_SHARE,
    Adaptation,
    adaptation_key,
    is_finished,
    low_rank_of,
    num_learned,
    read_report,
    split,
    work_through,
)
from recam.training.adapt.lora import add_low_rank, merge_low_rank
from recam.training.data import step_generator
from recam.training.loss import Batch, masked_loss
from recam.training.optim import average_of, bf16, follow, load_checkpoint, new_optimizer, update
from recam.training.validation import hole_psnr
from recam.types import Pair, Progress, RecamError, no_progress

ADAPTER_FORMAT = "recam adapter 1"
OBJECTIVE = ObjectiveConfig(degrade=0, drop_condition=0, pure_noise=0.8, own_levels=0.1)
"""Evidence is already as real warps leave it, and sampling mostly asks at pure noise."""
EVALUATED_FRAMES = 8
MAX_SIDE = 512
MARGIN_DB = 0.3
"""A smaller gain on the held-back pairs says little of the video's own holes."""
NEAR_A_HOLE = 0.8
DECAY = 0.98


def finetune(
    model: VideoTransformer,
    pairs: Iterable[Pair],
    config: FinetuneConfig,
    max_side: int | None = None,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> Adaptation:
    """Adapt a model to the video that the pairs show (see ``adapt`` for what is done).

    Takes the first config.num_pairs pairs, so ``make_pairs``, which is endless, can be given.
    max_side: longer side that is worked at; default 512.
    """
    started = time.perf_counter()
    pairs = itertools.islice(pairs, config.num_pairs)
    seconds = EXAMPLES_SHARE * 60 * config.minutes
    examples = encode_pairs(pairs, model.config.fills, max_side or MAX_SIDE, seconds, progress)
    return adapt(model, examples, config, folder, progress, time.perf_counter() - started)


def adapt(
    model: VideoTransformer,
    examples: Sequence[Example],
    config: FinetuneConfig,
    folder: Path | None = None,
    progress: Progress = no_progress,
    seconds_spent: float = 0.0,
) -> Adaptation:
    """Train on all examples but one or two, on their first frames; keep the best step.

    Steps are judged by the holes of those others' last frames, which training never sees, and step
    0 takes part: the result is never worse there than the model was. Stops after config.steps
    or when config.minutes (seconds_spent included) are over. With a folder, an interrupted
    adaptation resumes, and a finished one is read from adapter.safetensors at once.

    The given model is not changed. Raises ValueError for fewer than two examples.
    """
    check, learn = split_examples(examples)
    # The sums tell weights and examples apart.
    weights = [float(p.detach().double().sum()) for p in model.parameters()]
    shown = [[int(e.evidence.long().sum()), float(e.known.sum())] for e in examples]
    key = adaptation_key(config, weights, shown)
    if folder is not None and is_finished(folder, key):
        return read_adaptation(folder / "adapter.safetensors", model)
    learner = _Learner(model, config)
    return work_through(learner, check, learn, key, config, folder, progress, seconds_spent)


class _Learner:
    """See adapting.Learner; ``average`` is what is judged and kept."""

    kind, margin_db = ADAPTER_FORMAT, MARGIN_DB
    checkpoint, writes, writes_checkpoint = "adapting.pt", True, True
    rate_falls = True

    def __init__(self, model: VideoTransformer, config: FinetuneConfig) -> None:
        self.config, self.original = config, model
        self.device = model.device
        torch.manual_seed(config.seed)
        self.model = copy.deepcopy(model).float().train().requires_grad_(True)
        if config.method == "lora":
            self.parameters = add_low_rank(self.model, config.rank)
        else:
            self.parameters = list(self.model.parameters())
        self.trained = [n for n, p in self.model.named_parameters() if p.requires_grad]
        self.average = average_of(self.model)
        self.optimizer = new_optimizer(self.parameters, config.lr, 0.0)

    def train(self, examples: Sequence[Example], step: int, lr: float) -> float:
        """One step on one or more random cuts."""
        config, cpu = self.config, torch.device("cpu")
        losses = []
        for i in range(config.batch):
            generator = step_generator(config.seed, step, i, cpu)
            batch = random_cut(examples, self.model, config, generator, self.device)
            on_device = step_generator(config.seed, step, i, self.device)
            with bf16(self.device):
                loss = masked_loss(self.model, batch, on_device, OBJECTIVE)
            (loss / config.batch).backward()
            losses.append(loss.item())
        update(self.optimizer, self.parameters, lr)
        follow(self.average, self.model, step, DECAY)
        return sum(losses) / config.batch

    def score(self, check: Sequence[Example]) -> float:
        """Mean hole PSNR of the averaged weights on held-back frames."""
        return sum(check_psnr(self.average, example) for example in check) / len(check)

    def weights(self) -> dict[str, Tensor]:
        weights = dict(self.average.named_parameters())
        return {name: weights[name].detach().clone() for name in self.trained}

    def state(self) -> dict[str, Any]:
        parts = ("model", "average", "optimizer")
        return {part: getattr(self, part).state_dict() for part in parts}

    def saved(self, folder: Path) -> dict[str, Any] | None:
        return load_checkpoint(folder / self.checkpoint)

    def resume(self, state: dict[str, Any]) -> None:
        for part in ("model", "average", "optimizer"):
            getattr(self, part).load_state_dict(state[part])

    def agree(self, late: float) -> float:
        return late  # there is one process

    def finish(self, best: dict[str, Tensor], helped: bool) -> VideoTransformer:
        if not helped:
            return self.original
        self.average.load_state_dict(best, strict=False)
        result = copy.deepcopy(self.average)
        if self.config.method == "lora":
            merge_low_rank(result)
        return result.to(next(self.original.parameters()).dtype).eval()

    def tensors(self, best: dict[str, Tensor]) -> dict[str, Tensor]:
        dtype = next(self.original.parameters()).dtype
        return {name: t.to(dtype) for name, t in best.items()}


def random_cut(
    examples: Sequence[Example],
    model: VideoTransformer,
    config: FinetuneConfig,
    generator: torch.Generator,
    device: torch.device,
) -> Batch:
    """A window in space and time of a random example, mostly around a hole."""

    def below(n: int) -> int:
        return int(torch.randint(max(n, 1), (1,), generator=generator))

    example = examples[below(len(examples))]
    t, _, h, w = example.known.shape
    patch = model.config.patch
    count = min(config.num_frames, num_learned(t))
    stride = 1 + below(min(2, (num_learned(t) - 1) // max(count - 1, 1)))
    start = below(num_learned(t) - stride * (count - 1))
    when = start + stride * torch.arange(count)
    if below(2):
        when = when.flip(0)
    side = max(config.crop // patch, 1) * patch
    crop_h, crop_w = (min(side, s // patch * patch) for s in (h, w))
    if not crop_h or not crop_w:
        raise ValueError(f"clips of {h}×{w} are smaller than a patch of {patch} pixels")
    middle = (below(h), below(w))
    holes = ((example.known[when, 0] < 1) & (example.scored[when, 0] > 0)).any(0).nonzero()
    if len(holes) and float(torch.rand((), generator=generator)) < NEAR_A_HOLE:
        middle = tuple(holes[below(len(holes))].tolist())
    top = min(max(middle[0] - below(crop_h), 0), h - crop_h)
    left = min(max(middle[1] - below(crop_w), 0), w - crop_w)
    return example.cut(when, slice(top, top + crop_h), slice(left, left + crop_w), device)


def split_examples(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The examples to check on and the others; see ``adapting.split``."""

    def to_fill(example: Example) -> bool:
        late = slice(num_learned(len(example.known)), None)
        return bool(((example.known[late] < 0.5) & (example.scored[late] > 0)).any())

    return split(examples, to_fill)


def check_psnr(model: VideoTransformer, example: Example) -> float:
    """Hole PSNR on the held-back frames, which are shown after some of those before them."""
    t, _, h, w = example.known.shape
    patch = model.config.patch
    when = torch.arange(max(t - EVALUATED_FRAMES, 0), t)
    rows, columns = slice(0, h // patch * patch), slice(0, w // patch * patch)
    device = model.device
    batch = example.cut(when, rows, columns, device)
    clean = model.token_levels(batch.condition.known) >= 1
    with torch.no_grad(), bf16(device):
        x0 = sample_single_step(model, batch.condition.evidence, clean, batch.condition)
    hole = (batch.condition.known < 0.5) & (batch.scored > 0)
    hole[:, when < num_learned(t)] = False
    known = 1 - hole[0, :, 0].float().cpu()
    return hole_psnr(from_signal(x0[0].cpu()), from_signal(batch.target[0].cpu()), known)


def read_adaptation(path: Path, model: VideoTransformer) -> Adaptation:
    """What a finished adaptation of this model left. Raises RecamError as ``load_adapter``."""
    return Adaptation(load_adapter(model, path), **read_report(path))


def load_adapter(model: VideoTransformer, path: Path) -> VideoTransformer:
    """A copy of the model with an adapter in it; the model itself when the adapter is empty.

    Raises RecamError when the file is no adapter or does not fit the model.
    """
    metadata = read_metadata(path)
    require_format(path, metadata, ADAPTER_FORMAT)
    tensors = load_tensors(path)
    if not tensors:
        return model
    rank = low_rank_of(path, metadata)
    dtype = next(model.parameters()).dtype
    result = copy.deepcopy(model).float()
    if rank is not None:
        add_low_rank(result, rank)
    try:
        missing = set(result.load_state_dict(tensors, strict=False).unexpected_keys)
    except RuntimeError as error:
        reason = short_reason(error)
        raise RecamError(f"{path}: does not fit this model ({reason})") from error
    if missing:
        raise RecamError(f"{path}: does not fit this model (it has no {sorted(missing)[0]})")
    if rank is not None:
        merge_low_rank(result)
    return result.to(dtype).eval()

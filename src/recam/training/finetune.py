"""Adapt the model to one video, by pairs made from that video (test-time finetuning, seed 1)."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from recam.completion.codec import from_signal
from recam.completion.dit import VideoTransformer
from recam.completion.samplers import sample_single_step
from recam.completion.weights import read_metadata, save_tensors
from recam.configs import FinetuneConfig, ObjectiveConfig
from recam.training.data import step_generator
from recam.training.examples import Example, encode_pairs
from recam.training.heldout import hole_psnr
from recam.training.lora import add_low_rank, merge_low_rank
from recam.training.loss import Batch, masked_loss
from recam.training.steps import (
    average_of,
    bf16,
    follow,
    learning_rate,
    load_checkpoint,
    new_optimizer,
    save_checkpoint,
    update,
)
from recam.types import Pair, Progress, RecamError, no_progress

if TYPE_CHECKING:
    from recam.completion.foundation import FoundationModel

ADAPTER_FORMAT = "recam adapter 1"
OBJECTIVE = ObjectiveConfig(degrade=0, drop_condition=0, pure_noise=0.8, own_levels=0.1)
"""Evidence is already as real warps leave it, and sampling mostly asks at pure noise."""
HELD_BACK = 0.25
"""Share of the frames, at the end, that training does not see and the check is made on."""
EVALUATED_FRAMES = 8
MAX_SIDE = 512
EXAMPLES_SHARE = 0.3
"""Of the time, at most this is spent on making examples (but for the first three)."""
MARGIN_DB = 0.3
"""A smaller gain on the held-back pairs says little of the video's own holes."""
NEAR_A_HOLE = 0.8
WARMUP = 20
REPORTED = ("before_db", "after_db", "best_step", "steps", "margin_db")
DECAY = 0.98


@dataclass(frozen=True)
class Adaptation:
    """An adapted model and what adapting did.

    before_db, after_db: mean hole PSNR on the held-back pairs' held-back frames, without and with.
    best_step 0: adapting did not help, and model is what it was. Of a foundation model they are
    those of the latents in the holes, and margin_db is its own.
    """

    model: Any
    before_db: float
    after_db: float
    best_step: int
    steps: int
    seconds: dict[str, float]
    margin_db: float = MARGIN_DB

    def describe(self) -> str:
        if math.isnan(self.before_db):
            return "not adapted: no held-back frame has anything hidden to check on"
        if self.steps == 0:
            return "not adapted: the time was over before the first step"
        if self.best_step == 0:
            return (
                f"adapting did not help by {self.margin_db} dB on the held-back pairs "
                f"({self.before_db:.2f} dB before, {self.steps} steps): using the model as it was"
            )
        return (
            f"adapted in {self.best_step} of {self.steps} steps: {self.before_db:.2f} → "
            f"{self.after_db:.2f} dB in the holes of the held-back pairs"
        )


def finetune(
    model: VideoTransformer | FoundationModel,
    pairs: Iterable[Pair],
    config: FinetuneConfig,
    max_side: int | None = None,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> Adaptation:
    """Adapt a model to the video that the pairs show (see ``adapt`` and, of foundation models,
    ``adapt_foundation`` for what is done).

    Takes the first config.num_pairs pairs, so ``make_pairs``, which is endless, can be given.
    max_side: longer side that is worked at; default 512, or a foundation model's own.
    """
    started = time.perf_counter()
    pairs = itertools.islice(pairs, config.num_pairs)
    seconds = EXAMPLES_SHARE * 60 * config.minutes
    if not isinstance(model, VideoTransformer):
        from recam.training.foundation import adapt_foundation
        from recam.training.latents import encode_latents

        latents = encode_latents(model, pairs, max_side, config.seed, seconds, progress)
        spent = time.perf_counter() - started
        return adapt_foundation(model, latents, config, folder, progress, spent)
    max_side = max_side or MAX_SIDE
    examples = encode_pairs(pairs, model.config.fills, max_side, seconds, progress)
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
    if len(examples) < 2:
        raise ValueError(f"adapting needs 2 or more pairs, one to check on; got {len(examples)}")
    key = _key(model, examples, config)
    if folder is not None and (finished := _read_finished(folder, key, model)):
        return finished
    check, learn = split_examples(examples)
    work = _Work(model, config)
    adapted = work_through(work, check, learn, key, config, folder, progress, seconds_spent)
    if folder is not None and not math.isnan(adapted.before_db):
        _write_finished(folder, key, adapted, work)
    return adapted


class Work(Protocol):
    """An adaptation under way, of any model; see _Work."""

    step: int
    loss: float
    before_db: float
    seconds: dict[str, float]

    def train(self, examples: Sequence[Any], late: int = 0) -> None: ...

    def judge(self, check: Sequence[Any]) -> None: ...

    def save(self, path: Path, key: str, seconds: float) -> None: ...

    def resume(self, path: Path, key: str) -> float: ...

    def agree(self, late: float) -> float: ...

    def finish(self, seconds: dict[str, float]) -> Adaptation: ...


def work_through(
    work: Work,
    check: Sequence[Any],
    learn: Sequence[Any],
    key: str,
    config: FinetuneConfig,
    folder: Path | None,
    progress: Progress,
    seconds_spent: float,
) -> Adaptation:
    """Train and judge in turn until config.steps or config.minutes are over; with a folder, from
    where a run of the same key was stopped."""
    clock = time.perf_counter() - seconds_spent
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        clock -= work.resume(folder / "adapting.pt", key)
    work.judge(check)
    if math.isnan(work.before_db):  # nothing to judge by
        return work.finish({"examples": seconds_spent, **work.seconds})
    while work.step < config.steps:
        spent = time.perf_counter() - clock - seconds_spent
        late = work.agree(spent / max(60 * config.minutes - seconds_spent, 1e-9))
        if late >= 1:
            break
        work.train(learn, int(late * config.steps))
        if work.step % config.evaluate_every == 0:
            work.judge(check)
            if folder is not None:
                work.save(folder / "adapting.pt", key, time.perf_counter() - clock)
        progress(f"adapting (loss {work.loss:.3f})", work.step, config.steps)
    work.judge(check)
    return work.finish({"examples": seconds_spent, **work.seconds})


class _Work:
    """An adaptation under way; ``average`` is what is judged and kept."""

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
        self.step = 0
        self.loss = float("nan")
        self.before_db = float("nan")
        self.judged: int | None = None
        self.best_db, self.best_step = float("nan"), 0
        self.best = self._trained_weights()
        self.seconds = {"training": 0.0, "judging": 0.0}

    def _trained_weights(self) -> dict[str, Tensor]:
        weights = dict(self.average.named_parameters())
        return {name: weights[name].detach().clone() for name in self.trained}

    def train(self, examples: Sequence[Example], late: int = 0) -> None:
        """One step on one or more random cuts; the learning rate is that of step ``late`` when the
        clock is ahead of the steps."""
        tick = time.perf_counter()
        config = self.config
        for i in range(config.batch):
            generator = step_generator(config.seed, self.step, i, torch.device("cpu"))
            batch = random_cut(examples, self.model, config, generator, self.device)
            on_device = step_generator(config.seed, self.step, i, self.device)
            with bf16(self.device):
                loss = masked_loss(self.model, batch, on_device, OBJECTIVE)
            (loss / config.batch).backward()
            self.loss = loss.item()
        lr = learning_rate(max(self.step, late), config.steps, config.lr, WARMUP)
        update(self.optimizer, self.parameters, lr)
        follow(self.average, self.model, self.step, DECAY)
        self.step += 1
        self.seconds["training"] += time.perf_counter() - tick

    def judge(self, check: Sequence[Example]) -> None:
        """Mean hole PSNR of the averaged weights on held-back frames; keeps them when best."""
        if self.judged == self.step:
            return
        tick = time.perf_counter()
        value = sum(check_psnr(self.average, example) for example in check) / len(check)
        if self.step == 0:
            self.before_db = self.best_db = value
        elif value > max(self.best_db, self.before_db + MARGIN_DB):
            self.best_db, self.best_step, self.best = value, self.step, self._trained_weights()
        self.judged = self.step
        self.seconds["judging"] += time.perf_counter() - tick

    def agree(self, late: float) -> float:
        """How much of the time is over, of all processes: here there is one."""
        return late

    def save(self, path: Path, key: str, seconds: float) -> None:
        fields = ("step", "before_db", "best_db", "best_step", "best", "judged", "seconds")
        state = {name: getattr(self, name) for name in fields}
        state |= {"model": self.model.state_dict(), "average": self.average.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "key": key, "spent": seconds}
        save_checkpoint(path, state)

    def resume(self, path: Path, key: str) -> float:
        """Take up what was saved for the same key; returns the seconds spent on it."""
        if not path.exists():
            return 0.0
        state = load_checkpoint(path)
        if state.pop("key") != key:
            return 0.0
        for part in ("model", "average", "optimizer"):
            getattr(self, part).load_state_dict(state.pop(part))
        seconds = state.pop("spent")
        for name, value in state.items():
            setattr(self, name, value)
        return seconds

    def finish(self, seconds: dict[str, float]) -> Adaptation:
        result = self.original
        if self.best_step:
            dtype = next(self.original.parameters()).dtype
            self.average.load_state_dict(self.best, strict=False)
            result = copy.deepcopy(self.average)
            if self.config.method == "lora":
                merge_low_rank(result)
            result = result.to(dtype).eval()
        return Adaptation(result, self.before_db, self.best_db, self.best_step, self.step, seconds)


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


def num_learned(num_frames: int) -> int:
    """How many frames, from the first, are trained on."""
    return max(num_frames - max(round(HELD_BACK * num_frames), 1), 1)


def split_examples(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The examples to check on and the others: the first ones with anything to fill where they are
    checked, two when three are left to learn from.

    Not those with the most to fill: what helps in the largest holes need not help in the video's.
    """

    def to_fill(example: Example) -> bool:
        late = slice(num_learned(len(example.known)), None)
        return bool(((example.known[late] < 0.5) & (example.scored[late] > 0)).any())

    wanted = 2 if len(examples) >= 5 else 1
    chosen = [i for i, example in enumerate(examples) if to_fill(example)][:wanted] or [0]
    check = [examples[i] for i in chosen]
    return check, [e for i, e in enumerate(examples) if i not in chosen]


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


def _key(model: VideoTransformer, examples: Sequence[Example], config: FinetuneConfig) -> str:
    """What an adaptation depends on, as a hash: weights, examples, options but the time."""
    options = dataclasses.replace(config, minutes=0.0)
    weights = [float(p.detach().double().sum()) for p in model.parameters()]
    shown = [[int(e.evidence.long().sum()), float(e.known.sum())] for e in examples]
    described = json.dumps([dataclasses.asdict(options), weights, shown], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def _write_finished(folder: Path, key: str, adapted: Adaptation, work: _Work) -> None:
    """adapter.safetensors: what changed (nothing, when adapting did not help), and the report."""
    dtype = next(adapted.model.parameters()).dtype
    tensors = {name: t.to(dtype) for name, t in work.best.items()} if adapted.best_step else {}
    write_adaptation(folder, tensors, ADAPTER_FORMAT, key, adapted, work.config)


def write_adaptation(
    folder: Path,
    tensors: dict[str, Tensor],
    kind: str,
    key: str,
    adapted: Adaptation,
    config: FinetuneConfig,
) -> None:
    """adapter.safetensors with its report; what an interrupted run would need goes."""
    report = {f: getattr(adapted, f) for f in REPORTED}
    report["seconds"] = adapted.seconds
    described = {
        "format": kind,
        "key": key,
        "method": config.method,
        "rank": str(config.rank),
        "report": json.dumps(report),
    }
    save_tensors(folder / "adapter.safetensors", tensors, described)
    (folder / "adapting.pt").unlink(missing_ok=True)


def _read_finished(folder: Path, key: str, model: VideoTransformer) -> Adaptation | None:
    path = folder / "adapter.safetensors"
    if not path.exists() or read_metadata(path).get("key") != key:
        return None
    return read_adaptation(path, model)


def read_adaptation(path: Path, model: Any) -> Adaptation:
    """What a finished adaptation of this model left. Raises RecamError as ``load_adapter``."""
    report = json.loads(read_metadata(path)["report"])
    if isinstance(model, VideoTransformer):
        return Adaptation(load_adapter(model, path), **report)
    from recam.training.foundation import load_foundation_adapter

    load_foundation_adapter(model, path)
    return Adaptation(model, **report)


def load_adapter(model: VideoTransformer, path: Path) -> VideoTransformer:
    """A copy of the model with an adapter in it; the model itself when the adapter is empty.

    Raises RecamError when the file is no adapter or does not fit the model.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if metadata["format"] != ADAPTER_FORMAT:
        raise RecamError(f"{path}: holds {metadata['format']!r}, expected {ADAPTER_FORMAT!r}")
    tensors = load_file(path)
    if not tensors:
        return model
    dtype = next(model.parameters()).dtype
    result = copy.deepcopy(model).float()
    if metadata["method"] == "lora":
        add_low_rank(result, int(metadata["rank"]))
    try:
        missing = set(result.load_state_dict(tensors, strict=False).unexpected_keys)
    except RuntimeError as error:
        raise RecamError(f"{path}: does not fit this model ({error})") from error
    if missing:
        raise RecamError(f"{path}: does not fit this model (it has no {sorted(missing)[0]})")
    if metadata["method"] == "lora":
        merge_low_rank(result)
    return result.to(dtype).eval()

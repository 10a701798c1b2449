"""What adapting to one video shares, whichever the model: train and judge in turn, keep the best
step, go on where a run was stopped."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from recam.configs import FinetuneConfig
from recam.runtime.files import parse_json
from recam.runtime.tensors import read_metadata, save_tensors, tensors_are_whole
from recam.training.optim import learning_rate, save_checkpoint
from recam.types import Progress, RecamError

HELD_BACK = 0.25
"""Share of the frames, at the end, that training does not see and the check is made on."""
WARMUP = 20
EXAMPLES_SHARE = 0.3
"""Of the time, at most this is spent on making examples (but for the first three)."""
REPORTED = ("before_db", "after_db", "best_step", "steps", "seconds", "margin_db")
Shown = TypeVar("Shown")


@dataclass(frozen=True)
class Adaptation:
    """An adapted model and what adapting did.

    before_db, after_db: mean hole PSNR on the held-back pairs' held-back frames, without and with;
    of a foundation model, of the latents there. best_step 0: adapting did not help by margin_db,
    and model is what it was.
    """

    model: Any
    before_db: float
    after_db: float
    best_step: int
    steps: int
    seconds: dict[str, float]
    margin_db: float

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


class Learner(Protocol):
    """A model that is being adapted.

    kind: format of the file that it leaves. margin_db: a smaller gain is none. checkpoint: name of
    the file that an interrupted run goes on from. writes, writes_checkpoint: whether this process
    leaves those files (of several processes not all need to). rate_falls: see ``learning_rate``.
    """

    kind: str
    margin_db: float
    checkpoint: str
    writes: bool
    writes_checkpoint: bool
    rate_falls: bool

    def train(self, examples: Sequence[Any], step: int, lr: float) -> float:
        """One step on random examples; returns the loss."""
        ...

    def score(self, check: Sequence[Any]) -> float:
        """How good it is on what is held back, in dB; NaN where that has nothing to fill."""
        ...

    def weights(self) -> Any:
        """A copy of what ``score`` judges."""
        ...

    def state(self) -> dict[str, Any]:
        """All that training goes on from."""
        ...

    def saved(self, folder: Path) -> dict[str, Any] | None:
        """What ``state`` gave when it was saved there last."""
        ...

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        ...

    def agree(self, late: float) -> float:
        """How much of the time is over, by the slowest process's clock."""
        ...

    def finish(self, best: Any, helped: bool) -> Any:
        """The model with its best weights, ready to sample; as it was given where none helped."""
        ...

    def tensors(self, best: Any) -> dict[str, Tensor]:
        """What goes into the file, after ``finish``."""
        ...


@dataclass
class _Run:
    """How far an adaptation is. judged: the step that was judged last."""

    best: Any
    step: int = 0
    before_db: float = float("nan")
    best_db: float = float("nan")
    best_step: int = 0
    judged: int | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "judging": 0.0})


def work_through(
    learner: Learner,
    check: Sequence[Any],
    learn: Sequence[Any],
    key: str,
    config: FinetuneConfig,
    folder: Path | None,
    progress: Progress,
    seconds_spent: float,
) -> Adaptation:
    """Train and judge in turn until config.steps or config.minutes are over, seconds_spent
    included; step 0 takes part. With a folder, from where a run of the same key was stopped, and
    adapter.safetensors is left there."""
    clock = time.perf_counter() - seconds_spent
    run = _Run(learner.weights())
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        clock -= _resume(run, learner, folder, key)
    _judge(run, learner, check)
    while run.step < config.steps and not math.isnan(run.before_db):
        spent = time.perf_counter() - clock - seconds_spent
        late = learner.agree(spent / max(60 * config.minutes - seconds_spent, 1e-9))
        if late >= 1:
            break
        tick = time.perf_counter()
        # The learning rate is that of a later step where the clock is ahead of the steps.
        pace = max(run.step, int(late * config.steps))
        lr = learning_rate(pace, config.steps, config.lr, WARMUP, learner.rate_falls)
        loss = learner.train(learn, run.step, lr)
        run.step += 1
        run.seconds["training"] += time.perf_counter() - tick
        if run.step % config.evaluate_every == 0:
            _judge(run, learner, check)
            if folder is not None and learner.writes_checkpoint:
                spent = time.perf_counter() - clock
                state = learner.state() | {"run": vars(run), "key": key, "spent": spent}
                save_checkpoint(folder / learner.checkpoint, state)
        progress(f"adapting (loss {loss:.3f})", run.step, config.steps)
    _judge(run, learner, check)
    seconds = {"examples": seconds_spent, **run.seconds}
    model = learner.finish(run.best, run.best_step > 0)
    adapted = Adaptation(
        model, run.before_db, run.best_db, run.best_step, run.step, seconds, learner.margin_db
    )
    if folder is not None and not math.isnan(run.before_db):
        tensors = learner.tensors(run.best) if run.best_step else {}
        if learner.writes:
            _write(folder, tensors, learner.kind, key, adapted, config)
            for left in folder.glob("adapting*.pt"):  # of any number of processes
                left.unlink(missing_ok=True)
    return adapted


def _judge(run: _Run, learner: Learner, check: Sequence[Any]) -> None:
    """Judge what is there now, unless that was done, and keep it when it is the best."""
    if run.judged == run.step:
        return
    tick = time.perf_counter()
    value = learner.score(check)
    if run.step == 0:
        run.before_db = run.best_db = value
    elif value > max(run.best_db, run.before_db + learner.margin_db):
        run.best_db, run.best_step, run.best = value, run.step, learner.weights()
    run.judged = run.step
    run.seconds["judging"] += time.perf_counter() - tick


def _resume(run: _Run, learner: Learner, folder: Path, key: str) -> float:
    """Take up what was saved for the same key; returns the seconds spent on it."""
    state = learner.saved(folder)
    if state is None or state["key"] != key:
        return 0.0
    for part in fields(run):
        setattr(run, part.name, state["run"][part.name])
    learner.resume(state)
    return state["spent"]


def num_learned(num_frames: int) -> int:
    """How many frames, from the first, are trained on."""
    return max(num_frames - max(round(HELD_BACK * num_frames), 1), 1)


def split(
    examples: Sequence[Shown], to_fill: Callable[[Shown], bool]
) -> tuple[list[Shown], list[Shown]]:
    """The examples to check on and the others: the first ones with anything to fill where they are
    checked, two when three are left to learn from.

    Not those with the most to fill: what helps in the largest holes need not help in the video's.
    Raises ValueError for fewer than two.
    """
    if len(examples) < 2:
        raise ValueError(f"adapting needs 2 or more pairs, one to check on; got {len(examples)}")
    wanted = 2 if len(examples) >= 5 else 1
    chosen = [i for i, example in enumerate(examples) if to_fill(example)][:wanted] or [0]
    check = [examples[i] for i in chosen]
    return check, [e for i, e in enumerate(examples) if i not in chosen]


def adaptation_key(config: FinetuneConfig, *seen: Any) -> str:
    """What an adaptation depends on, as a hash: options but the time, and what else was seen."""
    options = asdict(replace(config, minutes=0.0))
    return hashlib.sha256(json.dumps([options, *seen], sort_keys=True).encode()).hexdigest()


def is_finished(folder: Path | None, key: str) -> bool:
    """Whether the folder has what an adaptation of that key left."""
    path = folder / "adapter.safetensors" if folder is not None else None
    return path is not None and tensors_are_whole(path) and read_metadata(path).get("key") == key


def low_rank_of(path: Path, metadata: dict[str, str]) -> int | None:
    """The rank of an adapter's file; None when it is no low-rank one. Raises RecamError."""
    if metadata.get("method") != "lora":
        return None
    rank = metadata.get("rank", "")
    if not (rank.isascii() and rank.isdigit() and 1 <= int(rank[:9]) <= MAX_RANK):
        raise RecamError(f"{path}: its rank is {rank[:40]!r}; expected 1 to {MAX_RANK}")
    return int(rank)


MAX_RANK = 1024


def read_report(path: Path) -> dict[str, Any]:
    """Fields of an Adaptation but its model, of an adapter.safetensors."""
    report = read_metadata(path).get("report", "")
    try:
        about = parse_json(report, path)
    except ValueError as error:
        raise RecamError(str(error)) from error
    if not isinstance(about, dict) or set(about) != set(REPORTED):
        raise RecamError(f"{path}: its report is not one of an adaptation")
    return about


def _write(
    folder: Path,
    tensors: dict[str, Tensor],
    kind: str,
    key: str,
    adapted: Adaptation,
    config: FinetuneConfig,
) -> None:
    """adapter.safetensors: what changed (nothing, when adapting did not help), and the report."""
    described = {
        "format": kind,
        "key": key,
        "method": config.method,
        "rank": str(config.rank),
        "report": json.dumps({name: getattr(adapted, name) for name in REPORTED}),
    }
    save_tensors(folder / "adapter.safetensors", tensors, described)

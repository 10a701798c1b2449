"""Which completer a config means; the only place that knows them by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from recam.completers.classical import Copies, FlowPropagation, LeaveHoles
from recam.completers.foundation import FoundationCompleter
from recam.completers.masked import MaskedCompleter
from recam.completion import weights
from recam.completion.completer import Completer
from recam.completion.foundation import require_weights
from recam.completion.foundation.published import MODELS
from recam.completion.streaming import complete_windows
from recam.completion.temporal_filter import PASSES
from recam.configs import CompleteConfig
from recam.types import PartialVideo, Progress, Video, no_progress, video_from_frames

Task = Literal["reshoot", "interpolate", "edit", "complete"]

ADAPT_MINUTES = 3.0
"""Of foundation models, unless the user says otherwise."""
NOTHING_HIDDEN = ("interpolate", "edit")
"""Tasks whose frames show all there is to show: nothing is to be made up."""
DEFAULTS = CompleteConfig()


def resolve_config(config: CompleteConfig, task: Task = "complete") -> CompleteConfig:
    """The config with all that is left open filled in; called once a run, at the edge.

    Model "auto" is masked where weights are given, else copy, which looks better than the shipped
    weights on every kind of hole (docs/completion.md); for a task of NOTHING_HIDDEN propagate.
    """
    model, minutes, steady = config.model, config.adapt_minutes, config.steady
    if model == "auto":
        model = "propagate" if task in NOTHING_HIDDEN else "copy"
        if config.weights is not None:
            model = "masked"
    if steady is None:
        steady = {"masked": PASSES, "copy": 1}.get(model, 0)
    if minutes is None:
        minutes = ADAPT_MINUTES if model in MODELS else 0.0
    return replace(config, model=model, adapt_minutes=minutes, steady=steady)


_kept: dict[CompleteConfig, Completer] | None = None


def keep_open() -> None:
    """From now on, this process keeps the completer that it opened last for who asks for it again:
    for processes that do the same to one video after another."""
    global _kept
    _kept = {} if _kept is None else _kept


def open_completer(config: CompleteConfig) -> Completer:
    """The completer of a resolved config, as its weights are. Raises RecamError when it has none,
    ValueError for an unknown model."""
    adapts_in_place = needs_published_weights(config) and bool(config.adapt_minutes)
    if _kept is None or adapts_in_place:
        return _open(config)
    if config not in _kept:
        _kept.clear()  # before the next one is loaded: two may not fit
        _kept[config] = _open(config)
    return _kept[config]


def _open(config: CompleteConfig) -> Completer:
    match config.model:
        case "none":
            return LeaveHoles(config)
        case "copy":
            return Copies(config)
        case "propagate":
            return FlowPropagation(config)
        case "masked":
            return MaskedCompleter.load(config)
        case name if name in MODELS:
            return FoundationCompleter.load(config)
        case _:
            raise ValueError(f"unknown model {config.model!r}; expected one of CompletionModel")


def needs_published_weights(config: CompleteConfig) -> bool:
    """Whether the config asks for a foundation model."""
    return config.model in MODELS


def check_weights(config: CompleteConfig) -> None:
    """Raise RecamError now rather than after minutes of work when the model has no weights."""
    if needs_published_weights(config):
        require_weights(config)
    elif resolve_config(config).model == "masked":
        weights.find_weights(config.weights)


def complete(
    partial: PartialVideo,
    config: CompleteConfig = DEFAULTS,
    progress: Progress = no_progress,
    completer: Completer | None = None,
) -> Video:
    """Fill what is not known; what is (known == 1) stays bit for bit, unless the stochastic sampler
    was asked for.

    Longer videos are done by windows whose overlap enters as known. completer: default, what the
    config names, unadapted. Raises RecamError when nothing at all is known or there are no weights.
    The Video plays at 24 frames/s: a PartialVideo has no times of its own.
    """
    if completer is None:
        completer = open_completer(resolve_config(config))
    return video_from_frames(complete_windows(completer, partial, progress))

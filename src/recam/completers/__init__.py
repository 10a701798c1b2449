"""Everything that completes a video, each behind completion.completer.Completer."""

from recam.completers.choose import (
    check_weights,
    complete,
    needs_published_weights,
    open_completer,
    resolve_config,
)
from recam.completers.classical import Copies, FlowPropagation, LeaveHoles
from recam.completers.foundation import FoundationCompleter
from recam.completers.masked import MaskedCompleter

__all__ = [
    "Copies",
    "FlowPropagation",
    "FoundationCompleter",
    "LeaveHoles",
    "MaskedCompleter",
    "check_weights",
    "complete",
    "needs_published_weights",
    "open_completer",
    "resolve_config",
]

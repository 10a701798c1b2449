"""How the program behaves among others: signals, pipes, terminals and places that are not there."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from recam.runtime.errors import RecamError

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGBREAK": 149}
"""What asks the program to stop, and its exit status then: 128 and the signal's number."""
BROKEN_PIPE = 141


class Stopped(KeyboardInterrupt):
    """A signal asked the program to stop; everything that cleans up after Ctrl-C does after it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def stop_on_signals() -> None:
    """Raise Stopped in the main thread at the first of SIGNALS; what comes after it while the
    program cleans up is not listened to."""

    def stop(number: int, _: FrameType | None) -> None:
        for name in SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for name in SIGNALS:
        if not hasattr(signal, name):
            continue
        known = getattr(signal, name)
        if signal.getsignal(known) is not signal.SIG_IGN:  # nohup asks not to be hung up on
            signal.signal(known, stop)


@contextmanager
def ended_in_one_line() -> Iterator[None]:
    """Whatever ends the block ends the program: one line on stderr, and the exit status for it."""
    try:
        yield
        sys.stdout.flush()
    except Stopped as stopped:
        _leave(
            SIGNALS[stopped.name],
            f"stopped ({stopped.name}); finished stages are kept, run the same command to go on",
        )
    except KeyboardInterrupt:
        _leave(
            SIGNALS["SIGINT"], "stopped; finished stages are kept, run the same command to go on"
        )
    except BrokenPipeError:  # whoever read the output has gone: nobody to tell
        _silence(sys.stdout)
        sys.exit(BROKEN_PIPE)
    except SystemExit:  # the parser's, after a help text or a wrong option
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _silence(sys.stdout)
            sys.exit(BROKEN_PIPE)
        except OSError as error:
            _silence(sys.stdout)
            _leave(1, f"cannot write the output: {error.strerror}")
        raise
    except Exception as error:
        if os.environ.get("RECAM_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
            _silence(sys.stdout)  # what it still holds would fail again at the end
            _leave(1, f"cannot write the output: {error.strerror}")
        _leave(1, one_line(error))


def _leave(status: int, text: str) -> None:
    with suppress(OSError):
        print(f"recam: {text}", file=sys.stderr, flush=True)
    sys.exit(status)


def _silence(stream: TextIO) -> None:
    """Send what a closed stream still holds nowhere, lest Python complains of it at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


NO_ROOM = "failed to map segment|annot allocate memory"
"""What the system's loader says of a library that there is no room for."""


def one_line(error: Exception) -> str:
    """What went wrong, for a person; a fault of recam's own says how to see all of it."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | RecamError):
        return text
    if isinstance(error, MemoryError):
        return "not enough memory; use --max-side or --num-frames to make the input smaller"
    if isinstance(error, ImportError | OSError) and re.search(NO_ROOM, text):
        return (
            f"too little memory to load a library ({text}). `ulimit -v` bounds what a process may "
            "map, most of which it never uses: 4 GB are needed; or bound what it uses instead, by "
            "a control group"
        )
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else text
    return f"internal error: {type(error).__name__}: {text} (RECAM_DEBUG=1 shows where)"


def settle_streams() -> None:
    """Let output through that a terminal's encoding lacks signs for, with marks in their place."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def require_working_folder() -> None:
    """Raise ValueError when the folder that the program was started in is gone: libraries that it
    loads could not be found then."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ValueError("the folder that this was started in is gone; change to one") from error


def with_home(value: Any) -> Any:
    """Options with ``~`` at the start of their paths replaced, however deep in dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        changed = {k: with_home(v) for k, v in fields.items()}
        if all(changed[k] is v for k, v in fields.items()):
            return value
        return dataclasses.replace(value, **changed)
    if isinstance(value, tuple):
        entries = tuple(with_home(v) for v in value)
        return value if all(a is b for a, b in zip(entries, value)) else entries
    if isinstance(value, Path) and value.parts[:1] == ("~",):
        return value.expanduser()
    if isinstance(value, str) and value.startswith(("~/", "~\\")):
        return str(Path(value).expanduser())
    return value

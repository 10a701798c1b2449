"""Worker processes that end with the process that started them, however that one ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from recam.runtime.memory import return_large_arrays

_PR_SET_PDEATHSIG = 1


@contextmanager
def worker_pool(
    num: int, initializer: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``num`` fresh processes.

    When the block ends normally, what was given to the pool is finished first; when it raises
    (Ctrl-C too), or when this process is killed, the workers end at once. A key pressed to stop is
    left to this process.
    """
    context = multiprocessing.get_context("spawn")
    # Nobody else holds the other end, so it closes with this process even on kill -9.
    leash, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(num, context, _begin, (leash, os.getpid(), initializer))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        held.close()
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        held.close()
        leash.close()


def _begin(leash: Connection, parent: int, initializer: Callable[[], None] | None) -> None:
    end_with_parent(leash, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return_large_arrays()
    if initializer is not None:
        initializer()


def end_with_parent(leash: Connection, parent: int) -> None:
    """Have this process end as soon as the other end of ``leash`` closes; on Linux the system also
    ends it itself, even where a long computation lets no other thread run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that was said
            os._exit(1)

    def watch() -> None:
        with suppress(OSError):
            leash.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="leash").start()


def is_running(pid: int) -> bool:
    """Whether a process of that number is there, on this machine."""
    if pid <= 0:
        return False
    if sys.platform == "win32":  # os.kill would end it
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, pid)  # to ask, and for nothing else
        if not handle:
            return kernel.GetLastError() == 5  # there, but another user's
        kernel.CloseHandle(handle)
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True

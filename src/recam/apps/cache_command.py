"""recam cache: what is kept, how large it is and what for; less of it when asked."""

from __future__ import annotations

import sys
import time

from recam.runtime.cache import cache_folder
from recam.runtime.cache_entries import KINDS, Kept, evict, forget, kept, max_bytes
from recam.types import RecamError


def run(max_size: float | None, clear: tuple[str, ...]) -> None:
    """Clear kinds or take away what exceeds max_size (GB), then list what is left on stdout."""
    known = {k.kind for k in kept()} | set(KINDS)
    if wrong := [kind for kind in clear if kind not in (*known, "all")]:
        kinds = ", ".join(sorted(known))
        raise RecamError(f"--clear {wrong[0]}: the cache keeps no such thing; it keeps {kinds}")
    if max_size is not None and max_size < 0:
        raise RecamError(f"--max-size is {max_size:g}; expected gigabytes, 0 or more")
    gone = [k for k in kept() if k.kind in clear or "all" in clear]
    for entry in gone:
        forget(entry.path)
    if max_size is not None:
        gone += evict(int(max_size * 1e9), spare_s=0)
    if gone:
        print(f"taken away: {_sum(gone)}")
    print(f"{cache_folder()}: {_sum(kept())} of at most {max_bytes() / 1e9:g} GB")
    for kind in sorted({k.kind for k in kept()}):
        entries = [k for k in kept() if k.kind == kind]
        days = (time.time() - max(k.used_s for k in entries)) / 86400
        used = "today" if days < 1 else f"{days:.0f} days ago"
        why = KINDS.get(kind, "a benchmark's data")
        print(f"  {kind:<11} {_sum(entries):<24} last used {used}; {why}")


def keep_below_limit() -> None:
    """After a command: take away what was unused for longest, when the cache has outgrown its
    limit, and say so."""
    if gone := evict(max_bytes()):
        print(
            f"recam: note: cache: {_sum(gone)} unused for longest taken away, to stay below "
            f"{max_bytes() / 1e9:g} GB (RECAM_CACHE_GB)",
            file=sys.stderr,
        )


def _sum(entries: list[Kept]) -> str:
    size = sum(entry.num_bytes for entry in entries)
    text = f"{size / 1e9:.2f} GB" if size >= 10_000_000 else f"{size / 1e6:.2f} MB"
    return f"{len(entries)} thing{'s' * (len(entries) != 1)}, {text}"

"""recam pairs: films to shards of training pairs, a few films a row of work, and their index."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recam.apps.batch.command import do_all, told
from recam.apps.batch.job import PAIRS, finished, run_job, write_text
from recam.apps.batch.rows import Row, is_url, read_rows
from recam.configs import EngineConfig, PairsConfig
from recam.training.shards.read import INDEX
from recam.types import RecamError


def pairs(
    films: str, out: str, config: PairsConfig, engine: EngineConfig, quiet: bool = False
) -> None:
    """Write the shards of all films, and ``index.json``. Raises RecamError when rows failed."""
    given = read_rows(films, "reshoot")

    def rows() -> Iterator[Row]:
        return film_groups(given(), config)

    summary = do_all(rows, out, engine, run_job, quiet)
    place = (out if is_url(out) else str(Path(out).absolute())).rstrip("/")
    index = make_index({**row, "out": place} for row in rows())
    write_text(f"{place}/{INDEX}", json.dumps(index, indent=1) + "\n")
    print(f"{out.rstrip('/')}/{INDEX}")
    if summary["failed"]:
        raise RecamError(told(summary, out))


def film_groups(films: Iterable[Row], config: PairsConfig) -> Iterator[Row]:
    """A row for each config.films_per_shard films, in their order. Raises ValueError for less than
    one film a row, or a pair longer than what is reconstructed."""
    if config.films_per_shard < 1:
        raise ValueError(f"--films-per-shard {config.films_per_shard}: expected 1 or more")
    if config.num_frames > config.shot_frames:
        raise ValueError(
            f"--num-frames {config.num_frames}: pairs cannot be longer than --shot-frames "
            f"{config.shot_frames}"
        )
    films = iter(films)
    for number in itertools.count():
        group = list(itertools.islice(films, config.films_per_shard))
        if not group:
            return
        yield {
            "id": f"{number:06d}", "task": PAIRS, "input": [film["input"] for film in group],
            "names": [film["id"] for film in group], "config": dataclasses.asdict(config),
        }  # fmt: skip


def make_index(rows: Iterable[Row]) -> dict[str, Any]:
    """What the finished rows wrote: every shard with samples, bytes and sha256, and what came of
    the films. ``missing``: rows that are not finished yet."""
    shards, missing, dropped, total = [], [], Counter[str](), Counter[str]()
    for row in rows:
        record = finished(row)
        if record is None:
            missing.append(row["id"])
            continue
        about = record["scores"]
        for name, samples in about["samples"].items():
            file = record["files"][name]
            shards.append({"name": f"results/{row['id']}/{name}", "samples": samples, **file})
        dropped.update(about["dropped"])
        total.update(pairs=sum(about["samples"].values()), parts=about["parts"])
        total.update(films=about["films"])
    return {**total, "dropped": dict(dropped), "missing": missing, "shards": shards}

"""Rows by local workers: each once, whatever happens to its process."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from batch_jobs import double, killed_once, not_a_number
from command_line import fails
from recam.apps.batch.command import do_all
from recam.apps.batch.engines import Worker
from recam.apps.batch.job import failure_kind, finished, row_key, run_job
from recam.apps.cli import main
from recam.configs import EngineConfig
from recam.media import write_video
from recam.runtime.whole import cannot_write
from recam.types import RecamError, video_from_frames


def numbered(num: int, **more):
    return lambda: ({"id": f"n/{i}", "input": "x", "number": i, **more} for i in range(num))


def records(out: Path) -> dict[str, dict]:
    files = (out / "done").rglob("*.json")
    return {r["id"]: r for r in (json.loads(f.read_text()) for f in files)}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_row_is_done_once_and_not_again(workers: int, tmp_path: Path) -> None:
    rows = numbered(5)
    config = EngineConfig(workers=workers)
    first = do_all(rows, str(tmp_path), config, double, True)
    assert (first["rows"], first["ok"], first["failed"], first["reused"]) == (5, 5, 0, 0)
    again = do_all(rows, str(tmp_path), config, double, True)
    assert (again["ok"], again["reused"]) == (5, 5)
    done = Counter(mark.name.split(".")[0] for mark in (tmp_path / "marks").iterdir())
    assert done == {str(i): 1 for i in range(5)}
    assert {r["twice"] for r in records(tmp_path).values()} == {0, 2, 4, 6, 8}
    assert json.loads((tmp_path / "summary.json").read_text()) == again


def test_a_killed_and_a_hanging_process_fail_their_own_rows_which_are_tried_again(
    tmp_path: Path,
) -> None:
    config = EngineConfig(workers=1, timeout=1.5, retries=0)
    summary = do_all(numbered(6), str(tmp_path), config, killed_once, True)
    assert summary["failed_by_kind"] == {"crash": 1, "timeout": 1} and summary["ok"] == 4
    assert records(tmp_path)["n/3"]["kind"] == "crash"
    summary = do_all(numbered(6), str(tmp_path), config, killed_once, True)
    assert summary["failed"] == 0 and summary["reused"] == 4


def test_retries_come_after_the_others_and_not_for_a_fault_of_the_row(tmp_path: Path) -> None:
    config = EngineConfig(workers=1, retries=1)
    rows = lambda: ({"id": str(i), "number": i} for i in (3, 1))  # noqa: E731
    assert do_all(rows, str(tmp_path), config, killed_once, True)["ok"] == 2
    summary = do_all(numbered(3), str(tmp_path / "b"), config, not_a_number, True)
    assert summary["failed_by_kind"] == {"input": 1}
    assert summary["first_failures"] == [{"id": "n/2", "kind": "input", "error": "a bad row"}]


def test_fail_fast_stops_and_limit_and_shards_choose(tmp_path: Path) -> None:
    config = EngineConfig(fail_fast=True)
    summary = do_all(numbered(9), str(tmp_path), config, not_a_number, True)
    assert summary["not_reached"] > 0 and summary["failed"] == 1
    limited = do_all(numbered(9), str(tmp_path / "b"), EngineConfig(limit=2), double, True)
    assert limited["rows"] == limited["ok"] == 2
    for i in range(2):
        do_all(numbered(5), str(tmp_path / "c"), EngineConfig(shard=f"{i}/2"), double, True)
    assert len(records(tmp_path / "c")) == 5
    assert (tmp_path / "c" / "summary.0-of-2.json").is_file()


def test_a_row_s_key_tells_options_and_files_but_not_where_results_go(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    film.write_bytes(b"1")
    row = {"id": "a", "task": "reshoot", "input": str(film), "out": "x", "yaw": 1}
    key = row_key(row)
    assert row_key(row | {"id": "b", "out": "y"}) == key
    assert row_key(row | {"yaw": 2}) != key
    film.write_bytes(b"12")
    assert row_key(row) != key


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    row = {"id": "a", "number": 1, "out": str(tmp_path)}
    assert finished(row) is None
    double(row)
    assert finished(row) is not None and finished(row | {"number": 2}) is None
    (tmp_path / "done" / "a.json").write_text("[1, ")
    assert finished(row) is None


def test_failures_have_kinds() -> None:
    full = cannot_write(Path("x"), OSError(28, "full"))
    full.__cause__ = OSError(28, "full")
    assert failure_kind(full) == "disk"
    assert failure_kind(RuntimeError("I/O error: No space left on device (os error 28)")) == "disk"
    assert failure_kind(RecamError("no scene")) == "input"
    assert failure_kind(MemoryError()) == "memory"
    assert failure_kind(ConnectionResetError()) == "network"
    assert failure_kind(KeyError("x")) == "internal"


def test_a_worker_takes_a_batch_as_ray_gives_it(tmp_path: Path) -> None:
    worker = Worker(EngineConfig(), double)
    row = json.dumps({"id": "a", "number": 4, "out": str(tmp_path)})
    try:
        (record,) = worker({"row": [row]})["record"]
        begun = time.monotonic()
        worker({"row": [row.replace('"a"', '"b"')]})
        assert time.monotonic() - begun < 1.0  # by the same process
    finally:
        worker.close()
    assert json.loads(record)["twice"] == 8


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from recam.synthetic import synthetic_clip

    path = tmp_path_factory.mktemp("films") / "a" / "film.mp4"
    path.parent.mkdir()
    write_video(video_from_frames(synthetic_clip(3, 4, 48, 64)[0].video.frames[:]), path)
    return path


def test_a_job_leaves_results_and_a_record_or_a_reason(film: Path, tmp_path: Path) -> None:
    row = {"id": "a/film.mp4", "task": "reconstruct", "input": str(film), "out": str(tmp_path)}
    record = run_job(row)
    assert record["status"] == "ok", record
    assert (tmp_path / "results" / "a" / "film.mp4" / "scene.json").is_file()
    assert record["files"]["scene.json"]["bytes"] > 0 and record["versions"]["torch"]
    assert record["seconds"]["total"] > 0 and record["peak_memory_gb"] > 0
    assert run_job(row)["reused"]
    bad = run_job(row | {"no_such_option": 1})
    assert (bad["status"], bad["kind"]) == ("failed", "input") and "no-such-option" in bad["error"]
    lost = run_job(row | {"input": "none.mp4", "id": "lost"})
    assert lost["kind"] == "input" and "none.mp4" in lost["error"]


def test_inputs_and_outputs_may_be_urls(film: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/in/film.mp4", film.read_bytes())
    row = {
        "id": "film.mp4", "task": "reconstruct", "input": "memory://in/film.mp4",
        "out": "memory://out",
    }  # fmt: skip
    record = run_job(row)
    assert record["status"] == "ok", record
    assert memory.exists("/out/results/film.mp4/scene.json")
    assert memory.exists("/out/done/film.mp4.json") and run_job(row)["reused"]


def test_the_command_line_says_what_is_wrong_before_it_starts(film: Path, tmp_path: Path) -> None:
    folder, out = str(film.parents[1]), str(tmp_path / "out")
    with pytest.raises(SystemExit):
        main(["batch", folder, "-o", out, "--quiet", "--", "reshoot", "--no-such", "1"])
    with pytest.raises(SystemExit, match="1"):
        main(["batch", folder, "-o", out, "--quiet", "--", "paint"])
    assert "no such folder" in fails("batch", str(tmp_path / "none"), "-o", out)
    assert not Path(out).exists()

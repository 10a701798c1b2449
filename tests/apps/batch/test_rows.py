import gzip
import json
from pathlib import Path

import fsspec
import pytest

from recam.apps.batch.job import command_line
from recam.apps.batch.rows import listed, read_rows, which_shard


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for name in ("b/two.mov", "a/one.mp4", "a/notes.txt", "a/photo.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_gives_its_films_by_their_names_below_it(films: Path) -> None:
    rows = list(read_rows(str(films), "reshoot")())
    assert [row["id"] for row in rows] == ["a/one.mp4", "b/two.mov"]
    assert rows[0] == {"id": "a/one.mp4", "task": "reshoot", "input": str(films / "a/one.mp4")}
    assert [row["id"] for row in read_rows(str(films), "image")()] == ["a/photo.png"]


def test_a_pattern_gives_what_fits_it(films: Path) -> None:
    assert [row["id"] for row in read_rows(f"{films}/*/*.mov", "reshoot")()] == ["b/two.mov"]


def test_tables_of_each_kind_give_the_same_rows(tmp_path: Path) -> None:
    rows = [
        {"input": "a.mp4", "task": "image", "yaw": 20.5, "max_side": 64},
        {"input": "a.mp4", "task": "reshoot", "yaw": None, "max_side": 64},
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "t.jsonl").write_text(lines + "\n\n")
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "t.csv").write_text(
        "input,task,yaw,max_side\na.mp4,image,20.5,64\na.mp4,reshoot,,64\n"
    )
    kinds = ["t.jsonl", "t.jsonl.gz", "t.csv"]
    try:
        from pyarrow import Table, parquet
    except ImportError:
        pass
    else:
        parquet.write_table(Table.from_pylist(rows), tmp_path / "t.parquet")
        kinds.append("t.parquet")
    lines = []
    for name in kinds:
        read = list(read_rows(str(tmp_path / name))())
        assert [row["id"] for row in read] == ["a.mp4", "a.mp4-2"]
        assert "yaw" not in read[1]
        lines.append([command_line(row, Path("out")) for row in read])
    assert all(words == lines[0] for words in lines)
    assert lines[0][0] == (
        ["image", "a.mp4", "--yaw", "20.5", "--max-side", "64", "--quiet", "--out", "out"]
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"task": "reshoot"}], "no input"),
        ([{"input": "a", "id": "x"}, {"input": "b", "id": "x"}], "twice"),
        ([{"input": "a", "id": "../x"}], "relative path"),
        ([{"input": "a", "id": "/x"}], "relative path"),
    ],
)
def test_a_row_that_is_none_is_named(rows: list[dict], said: str, tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=f"row {len(rows)}.*{said}"):
        list(read_rows(str(table))())


@pytest.mark.parametrize("name", ["none", "none.csv", "films.txt"])
def test_jobs_that_are_none_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "films.txt").touch()
    with pytest.raises(ValueError, match=name):
        list(read_rows(str(tmp_path / name))())


def test_urls_are_read_like_folders() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/films/a/one.mp4", b"film")
    rows = list(read_rows("memory://films", "reshoot")())
    assert rows == [{"id": "a/one.mp4", "task": "reshoot", "input": "memory:///films/a/one.mp4"}]


def test_cells_become_words_of_the_command_line() -> None:
    row = {
        "id": "x", "out": "o", "task": "edit", "input": "a.mp4", "args": ["--seed", "3"],
        "edited_frame": '[0, "e.png"]', "max_side": 64.0, "fast": "true", "slow": False,
    }  # fmt: skip
    words = "edit a.mp4 --seed 3 --edited-frame 0 e.png --max-side 64 --fast --no-slow"
    assert command_line(row, Path("out")) == [*words.split(), "--quiet", "--out", "out"]
    assert listed([1, "b"]) == ["1", "b"]


@pytest.mark.parametrize(
    ("given", "environment", "shard"),
    [
        (None, {}, (0, 1)),
        ("2/5", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "2"}, (2, 5)),
        (None, {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "1"}, (2, 4)),
        (None, {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_STEP": "2"}, (3, 4)),
        # A job's own script is task 0 of none: only srun's steps count.
        (None, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),
        (None, {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, (3, 6)),
        (None, {"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "9"}, (1, 9)),
    ],
)  # fmt: skip
def test_a_shard_is_what_is_given_or_what_a_scheduler_says(given, environment, shard) -> None:
    assert which_shard(given, environment)[:2] == shard


@pytest.mark.parametrize("given", ["5/5", "1", "a/b", "-1/4"])
def test_what_is_no_shard_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="i/n"):
        which_shard(given, {})

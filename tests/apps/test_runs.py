"""The folder of a run: whole, replaced as a whole, and never another's."""

import json
from pathlib import Path

import pytest

from recam.apps.runs import check_writable, choose_folder, new_folder, write_json
from recam.types import RecamError


def run(folder: Path, *names: str) -> None:
    with new_folder(choose_folder(folder, "unused")) as staged:
        for name in names:
            (staged / name).write_text(name)
        write_json(staged / "config.json", {"config": {}})


def test_what_only_the_earlier_run_made_goes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, "result.mp4", "points.ply")
    (folder / "mine.txt").touch()
    run(folder, "result.mp4")
    left = {path.name for path in folder.iterdir()}
    assert left == {"result.mp4", "config.json", "mine.txt"}
    assert json.loads((folder / "config.json").read_text())["files"] == [
        "config.json", "result.mp4",
    ]  # fmt: skip


def test_a_record_that_names_files_elsewhere_takes_none_of_them_away(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, "result.mp4")
    (tmp_path / "precious.txt").touch()
    for files in (["../precious.txt", str(tmp_path / "precious.txt")], 7, [["a"]], None):
        (folder / "config.json").write_text(json.dumps({"files": files}))
        run(folder, "result.mp4")
        assert (tmp_path / "precious.txt").exists()


def test_places_that_are_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(RecamError, match="is a file"):
        choose_folder(tmp_path / "file", "")
    with pytest.raises(RecamError, match="holds other files"):
        choose_folder(tmp_path / "full", "")
    check_writable(tmp_path / "file")  # an output that is there may be replaced
    with pytest.raises(RecamError, match="cannot be made in it"):
        check_writable(tmp_path / "file" / "deeper")

"""Outputs appear whole: an earlier one is never harmed, and nothing is left over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recam.runtime.whole import finish_replacing, put_in_place, staged_folder, written_whole
from recam.types import RecamError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_is_replaced_at_the_end_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for text in ("old", "new"):
        with staged_folder(folder) as staged:
            (staged / "a.txt").write_text(text)
            (staged / "pictures").mkdir()
            (staged / "pictures" / f"{text}.png").write_text(text)
            if text == "new":
                assert (folder / "a.txt").read_text() == "old"
        (folder / "notes.txt").touch()
    assert (folder / "a.txt").read_text() == "new"
    assert names(folder) == {"a.txt", "pictures", "notes.txt"}
    assert names(folder / "pictures") == {"new.png"} and names(tmp_path) == {"run"}


def test_an_error_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "run") as staged:
        (staged / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "run") as staged:
        (staged / "a.txt").write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(RecamError, match="cannot write"), staged_folder(tmp_path / "run"):
        raise OSError(28, "No space left on device")
    assert (tmp_path / "run" / "a.txt").read_text() == "old" and names(tmp_path) == {"run"}


def test_a_kill_while_files_are_moved_is_made_good(tmp_path: Path) -> None:
    """As it lies there when a kill comes after the first of two files."""
    folder = tmp_path / "run"
    (folder / ".replacing" / "frames").mkdir(parents=True)
    (folder / "a.txt").write_text("new")
    (folder / "config.json").write_text("old")
    (folder / "frames").mkdir()
    (folder / "frames" / "old.png").touch()
    (folder / ".replacing" / "config.json").write_text("new")
    (folder / ".replacing" / "frames" / "new.png").touch()
    finish_replacing(folder)
    assert names(folder) == {"a.txt", "config.json", "frames"}
    assert (folder / "config.json").read_text() == "new"
    assert names(folder / "frames") == {"new.png"}


@pytest.mark.skipif(os.name != "posix", reason="this system has no such signal")
def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from recam.runtime.whole import staged_folder, temporary_beside
place = Path({str(tmp_path)!r})
temporary_beside(place / "film.mp4").touch()
with staged_folder(place / "run") as staged:
    (staged / "a.txt").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert len(names(tmp_path)) == 2
    live = tmp_path / next(iter(names(tmp_path))).replace("-", "-1.0")  # of no process: stays
    live.touch()
    with staged_folder(tmp_path / "run") as staged:
        (staged / "a.txt").touch()
    with written_whole(tmp_path / "film.mp4") as part:
        part.touch()
    assert names(tmp_path) == {"run", "film.mp4", live.name}


def test_a_folder_takes_the_place_of_one(tmp_path: Path) -> None:
    for number in "12":
        (tmp_path / "part").mkdir()
        (tmp_path / "part" / number).touch()
        put_in_place(tmp_path / "part", tmp_path / "whole")
    assert names(tmp_path / "whole") == {"2"} and names(tmp_path) == {"whole"}

"""The program among others: signals, pipes, devices, encodings, places, ways to show progress."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from recam.apps import process, progress

POSIX = os.name == "posix"
NO_POSIX = "this system has no such signals or devices"


def recam(*args: str, **more) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recam.apps.cli", *args]
    return subprocess.run(command, capture_output=True, text=True, **more)


@pytest.mark.skipif(not POSIX, reason=NO_POSIX)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_in_one_line_and_cleans_up(name: str, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from recam.apps import process\n"
        "process.stop_on_signals()\n"
        "with process.ended_in_one_line():\n"
        "    try:\n"
        "        print('there', flush=True)\n"
        "        time.sleep(30)\n"
        "    finally:\n"
        f"        Path({str(tmp_path / 'clean')!r}).touch()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "there\n"
    child.send_signal(getattr(signal, name))
    _, said = child.communicate(timeout=20)
    assert child.returncode == 128 + getattr(signal, name) == process.SIGNALS[name]
    assert said.count("\n") == 1 and said.startswith("recam: stopped")
    assert (tmp_path / "clean").exists()


@pytest.mark.skipif(not POSIX, reason=NO_POSIX)
def test_output_that_nobody_reads() -> None:
    command = f"{sys.executable} -m recam.apps.cli reshoot --help"
    for pipe in ("head -1", "true"):
        done = subprocess.run(f"{command} | {pipe}", shell=True, capture_output=True, text=True)
        assert done.stderr == ""
    if Path("/dev/full").exists():
        done = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.startswith("recam: cannot write the output")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
        {"COLUMNS": "20"},
        {"NO_COLOR": "1", "TERM": "dumb"},
    ],
)
def test_help_in_narrow_plain_and_ascii_terminals(surroundings: dict[str, str]) -> None:
    done = recam("complete", "--help", env={**os.environ, **surroundings})
    assert done.returncode == 0 and done.stderr == ""
    assert "\x1b[" not in done.stdout and "--out" in done.stdout


@pytest.mark.skipif(not POSIX, reason=NO_POSIX)
def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    gone = tmp_path / "gone"
    command = f"cd {gone} && rmdir {gone} && {sys.executable} -P -m recam.apps.cli"
    done = subprocess.run(f"{command} doctor", shell=True, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "the folder that this was started in is gone" in done.stderr


@dataclass(frozen=True)
class Inner:
    weights: str | None = "~/w.safetensors"
    words: str = "about ~ this"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    path: Path
    views: tuple[Path, ...]


def test_tilde_is_the_home_folder(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    made = process.with_home(Outer(Inner(), Path("~/a"), (Path("b"), Path("~/c"))))
    assert made.inner.weights == str(Path("/home/me/w.safetensors"))
    assert made.inner.words == "about ~ this"
    assert made.path == Path("/home/me/a") and made.views == (Path("b"), Path("/home/me/c"))
    same = Outer(Inner(None), Path("a"), ())
    assert process.with_home(same) is same


def test_progress_in_lines_and_json(capsys, monkeypatch) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    for style in ("auto", "json", "none"):  # auto: there is no terminal here
        progress.style.set(style)
        with progress.show_progress() as report:
            for done in range(11):
                report(f"flow (pair {done})", done, 10)
        said = capsys.readouterr().err.splitlines()
        if style == "auto":
            assert said[0] == "flow: 0 of 10 (0%)" and said[-1] == "flow: 10 of 10 (100%)"
            assert said[1] == "flow: 3 of 10 (30%), 0:14 to go" and len(said) == 5
        elif style == "json":
            last = json.loads(said[-1])
            assert last["stage"] == "flow" and last["done"] == last["total"] == 10
            assert last["note"] == "pair 10" and json.loads(said[1])["seconds_left"] == 14
        else:
            assert not said
    progress.style.set("auto")


def test_no_room_for_a_library_is_told_as_such() -> None:
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    assert "too little memory to load a library (libtorch_cpu.so" in process.one_line(error)
    assert process.one_line(ImportError("no such name")).startswith("internal error")

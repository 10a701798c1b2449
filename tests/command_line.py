"""What tests of the command line share."""

import io
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from recam.apps.cli import main


def fails(*argv: str) -> str:
    """Run a command that must fail; its one line, checked to be one."""
    said = io.StringIO()
    with pytest.raises(SystemExit) as stop, redirect_stderr(said):
        main([*argv, "--quiet"])
    assert stop.value.code == 1, said.getvalue()
    lines = [x for x in said.getvalue().splitlines() if not x.startswith("recam: note: ")]
    line = lines[-1]
    assert line.startswith("recam: ") and len(lines) == 1 and "internal error" not in line, lines
    return line


def left_behind(folder: Path) -> list[str]:
    """Files below a folder other than inputs and the cache."""
    inputs = ("input", "cache")
    files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [str(p) for p in files if not p.parts[0].startswith(inputs)]

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
    lines = said.getvalue().splitlines()
    errors = [x for x in lines if x.startswith("recam: ") and not x.startswith("recam: note: ")]
    assert len(errors) == 1 and errors[0] == lines[-1], lines  # what was done before may be said
    assert "internal error" not in errors[0] and "Traceback" not in said.getvalue(), lines
    return errors[0]


def left_behind(folder: Path) -> list[str]:
    """Files below a folder other than inputs and the cache."""
    inputs = ("input", "cache")
    files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [str(p) for p in files if not p.parts[0].startswith(inputs)]

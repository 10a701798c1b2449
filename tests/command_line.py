"""What tests of the command line share."""

from pathlib import Path

import pytest

from recam.apps.cli import main


def fails(*argv: str) -> str:
    """Run a command that must fail; its one line, checked to be one."""
    with pytest.raises(SystemExit) as stop:
        main([*argv, "--quiet"])
    line = str(stop.value)
    assert line.startswith("recam: ") and "\n" not in line and "internal error" not in line, line
    return line


def left_behind(folder: Path) -> list[str]:
    """Files below a folder other than inputs and the cache."""
    inputs = ("input", "cache")
    files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [str(p) for p in files if not p.parts[0].startswith(inputs)]

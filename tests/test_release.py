"""What a release promises: public names, one version, licences of all files, a changelog."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import recam
from recam.apps import cli

ROOT = Path(__file__).resolve().parents[1]
LISTED = Path(__file__).with_name("public_names.txt")


def test_the_version_is_said_once(capsys) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "recam.__version__"}
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"recam {recam.__version__}\n"
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None and newest[1] == recam.__version__


def test_every_file_of_the_package_has_a_licence() -> None:
    root = Path(recam.__file__).parent
    data = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc")
    }
    notice = (ROOT / "NOTICE.md").read_text()
    assert data == set(re.findall(r"^\| `([^`]+)` \|", notice, re.MULTILINE))


def test_constraints_fit_the_ranges() -> None:
    """The lowest versions are those that pyproject.toml allows; both files name all of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = dict(re.findall(r"^([\w-]+)==(\S+)$", read("constraints-lowest.txt"), re.MULTILINE))
    newest = dict(re.findall(r"^([\w-]+)==(\S+)$", read("constraints.txt"), re.MULTILINE))
    for requirement in project["dependencies"]:
        name, _, least = requirement.partition(">=")
        assert name in newest
        assert lowest[name].startswith(least), f"{name}: {lowest[name]} is not the least {least}"


def read(name: str) -> str:
    return (ROOT / name).read_text()


def signature(value: Any) -> str:
    """Names, annotations, and whether there is a default."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return type(value).__name__
    words = []
    for parameter in found.parameters.values():
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else " = …"
        words.append(f"{star}{parameter.name}: {parameter.annotation}{default}")
    return f"({', '.join(words)}) -> {found.return_annotation}".replace("'", "")


def public_names() -> str:
    """recam's names and signatures, then every command with its options and their defaults."""
    lines = [f"recam.{name}{signature(getattr(recam, name))}" for name in sorted(recam.__all__)]
    for command, kind in sorted(cli.COMMANDS.items()):
        lines.append(f"\nrecam {command}")
        lines += [f"  {option}" for option in _options(kind)]
    return "\n".join(lines) + "\n"


def _options(kind: Any) -> list[str]:
    found = []
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(default):
            found += _options(type(default))
        else:
            needed = " (needed)" if "MISSING" in repr(default) else ""
            found.append(f"--{field.name.replace('_', '-')}{needed}")
    return sorted(set(found))


def test_public_names_change_on_purpose_only() -> None:
    """After a wanted change, with a line in CHANGELOG.md: python tests/test_release.py"""
    assert public_names() == LISTED.read_text(encoding="utf-8")


if __name__ == "__main__":
    LISTED.write_text(public_names(), encoding="utf-8")

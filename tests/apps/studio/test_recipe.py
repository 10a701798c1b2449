"""What a take says of itself makes the same config again."""

import dataclasses
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
import tyro
from tyro.conf import OmitArgPrefixes

import recam
from recam.apps.cli import COMMANDS
from recam.apps.studio import recipe
from recam.configs import (
    CompleteConfig,
    EditConfig,
    ImageConfig,
    InputConfig,
    InterpolateConfig,
    PathConfig,
    ReconstructConfig,
    RenderConfig,
    ReshootConfig,
)

PATHS = (
    PathConfig(),
    PathConfig("orbit", yaw=-12.5, pitch=3.0, focus_depth=2.25),
    PathConfig("keys file.json", focus_depth=0.5),
    PathConfig("freeze", yaw=90.0, at_frame=3, speed="linear"),
    PathConfig("handheld", distance=1e-07, shake_seed=4),
)


def parsed(line: str) -> Any:
    """The command object that the real parser makes of a line."""
    words = shlex.split(line)
    assert words[0] == "recam"
    commands = {name: OmitArgPrefixes[c] for name, c in COMMANDS.items()}
    return tyro.extras.subcommand_cli_from_dict(commands, args=words[1:])


@pytest.mark.parametrize("path", PATHS)
def test_command_line_of_a_reshoot_is_read_back(path: PathConfig) -> None:
    config = ReshootConfig(
        InputConfig(2, 10, 3, 640), ReconstructConfig(size=256, refine_minutes=0.0), path,
        RenderConfig(aggregate_static=False), CompleteConfig(model="propagate", seed=7),
    )  # fmt: skip
    line = recipe.command_line("reshoot", ["a 'b'.mp4"], config, extra=["-o", "out"])
    command = parsed(line)
    assert (command.config, command.video, command.out) == (config, Path("a 'b'.mp4"), Path("out"))


def test_command_lines_of_random_configs_are_read_back() -> None:
    rng = random.Random(0)
    for _ in range(5):
        complete = CompleteConfig(
            model=rng.choice(["auto", "masked", "none"]), sampling_steps=rng.choice([None, 4]),
            adapt_minutes=rng.choice([None, rng.random()]), window=rng.randrange(8, 64),
        )  # fmt: skip
        image = ImageConfig(rng.randrange(2, 90), path=rng.choice(PATHS), complete=complete)
        assert parsed(recipe.command_line("image", ["p.png"], image)).config == image
        between = InterpolateConfig(rng.randrange(1, 30), complete=complete)
        found = parsed(recipe.command_line("interpolate", ["a.png", "b.png"], between))
        assert found.config == between and found.views == (Path("a.png"), Path("b.png"))


@pytest.mark.parametrize("path", PATHS)
def test_python_lines_call_with_the_same_configs(
    path: PathConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReshootConfig(
        InputConfig(stride=2), ReconstructConfig(fov=50.0), path, complete=CompleteConfig("none")
    )
    called = run(recipe.python_reshoot("in.mp4", config, "out.mp4"), "reshoot", monkeypatch)
    assert called[0] == ("in.mp4", path)
    assert called[1] == {
        "input": config.input, "reconstruct": config.reconstruct, "complete": config.complete,
    }  # fmt: skip


def test_python_lines_of_the_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    complete, part = CompleteConfig("propagate"), InputConfig(max_side=320)
    image = ImageConfig(30, path=PATHS[1], complete=complete)
    args, named = run(recipe.python_image("p.png", image, part, "o.mp4"), "image", monkeypatch)
    assert args == ("p.png", PATHS[1])
    assert named == {"frames": 30, "input": part, "complete": complete}
    lines = recipe.python_interpolate(["a", "b"], InterpolateConfig(7), 24.0, "o.mp4")
    assert run(lines, "interpolate", monkeypatch) == (("a", "b"), {"frames": 7})
    edit = EditConfig("background", complete)
    lines = recipe.python_edit("v", "p", 3, "m", edit, part, "o.mp4")
    args, named = run(lines, "edit", monkeypatch)
    assert args == ("v", "p", 3, "m")
    assert named == {"content": "background", "input": part, "complete": complete}
    lines = recipe.python_remove("v", "m", 2, EditConfig(), part, "o.mp4")
    assert run(lines, "remove", monkeypatch) == (("v", "m", 2), {"input": part})
    lines = recipe.python_complete("v", "k", complete, InputConfig(), "o.mp4")
    assert run(lines, "complete", monkeypatch) == (("v", "k"), {"config": complete})


def run(lines: str, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """Run lines of Python with a task that only notes what it was called with."""
    called: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(recam, name, lambda *a, **k: called.append((a, k)), raising=False)
    monkeypatch.setattr(recam, "save", lambda *a: None, raising=False)
    exec(lines, {})
    return called[0]


def test_every_option_has_a_default() -> None:
    for kind in (ReshootConfig, ImageConfig, InterpolateConfig, EditConfig):
        assert dataclasses.is_dataclass(kind())
        assert recipe.options(kind()) == []

"""What makes a take again: its command line, and its lines of Python.

Both are written from the config objects and name only what differs from the defaults. The tests
read them back with the real parser and the real classes.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recam import configs
from recam.configs import (
    CompleteConfig,
    EditConfig,
    ImageConfig,
    InputConfig,
    InterpolateConfig,
    ReshootConfig,
)


def options(*given: Any) -> list[str]:
    """Command-line options of config objects: those of nested ones too, as the parser names them
    (without prefixes), and only where a value is not the default."""
    words: list[str] = []
    for config in given:
        for name, value, default in _fields(config):
            if dataclasses.is_dataclass(value):
                words += options(value)
            elif value != default:
                flag = name.replace("_", "-")
                if isinstance(value, bool):
                    words.append(f"--{flag}" if value else f"--no-{flag}")
                else:
                    words += [f"--{flag}", "None" if value is None else str(value)]
    return words


def _fields(config: Any) -> list[tuple[str, Any, Any]]:
    """Name, value and default of each field of a dataclass whose fields all have defaults."""
    plain = type(config)()
    return [
        (f.name, getattr(config, f.name), getattr(plain, f.name))
        for f in dataclasses.fields(config)
    ]


def _plain(config: Any) -> Any:
    """A config of the same kind with nothing set."""
    return type(config)()


def command_line(command: str, files: Sequence[Path | str], *given: Any, extra: Any = ()) -> str:
    """``recam COMMAND FILES OPTIONS`` as one would type it into a shell."""
    words = ["recam", command, *map(str, files), *options(*given), *map(str, extra)]
    return shlex.join(words)


def constructor(config: Any) -> str:
    """Python source of a config object: ``PathConfig(path='orbit', yaw=20.0)``."""
    parts = []
    for name, value, default in _fields(config):
        if value != default:
            nested = dataclasses.is_dataclass(value)
            parts.append(f"{name}={constructor(value) if nested else repr(value)}")
    return f"{type(config).__name__}({', '.join(parts)})"


def python_reshoot(source: str, config: ReshootConfig, out: str) -> str:
    """The lines of Python that make a reshoot."""
    given = {
        "input": config.input,
        "reconstruct": config.reconstruct,
        "render": config.render,
        "complete": config.complete,
    }
    return _python("reshoot", [repr(source), constructor(config.path)], given, out)


def python_image(source: str, config: ImageConfig, part: InputConfig, out: str) -> str:
    """The lines of Python that move a camera through one picture."""
    given: dict[str, Any] = {
        "frames": config.frames,
        "memory": config.memory,
        "input": part,
        "reconstruct": config.reconstruct,
        "render": config.render,
        "complete": config.complete,
    }
    if config.frames == ImageConfig.frames:
        del given["frames"]
    if config.memory == ImageConfig.memory:
        del given["memory"]
    return _python("image", [repr(source), constructor(config.path)], given, out)


def python_interpolate(views: list[str], config: InterpolateConfig, fps: float, out: str) -> str:
    """The lines of Python that make the frames between pictures."""
    given: dict[str, Any] = {"complete": config.complete}
    if config.frames != InterpolateConfig.frames:
        given["frames"] = config.frames
    if config.size != InterpolateConfig.size:
        given["size"] = config.size
    if fps != 24.0:
        given["fps"] = fps
    return _python("interpolate", [repr(v) for v in views], given, out)


def python_edit(
    source: str,
    picture: str,
    frame: int,
    mask: str | None,
    config: EditConfig,
    part: InputConfig,
    out: str,
) -> str:
    """The lines of Python that carry an edit through a video."""
    given: dict[str, Any] = {"input": part, "complete": config.complete}
    if config.content != EditConfig.content:
        given["content"] = config.content
    first = [repr(source), repr(picture), str(frame)]
    return _python("edit", first if mask is None else [*first, repr(mask)], given, out)


def python_remove(
    source: str, mask: str, frame: int, config: EditConfig, part: InputConfig, out: str
) -> str:
    """The lines of Python that take something out of a video."""
    given = {"input": part, "complete": config.complete}
    return _python("remove", [repr(source), repr(mask), str(frame)], given, out)


def python_complete(
    source: str, known: str, config: CompleteConfig, part: InputConfig, out: str
) -> str:
    """The lines of Python that fill a video where its mask is black."""
    given = {"input": part, "config": config}
    return _python("complete", [repr(source), repr(known)], given, out)


def _python(call: str, first: list[str], given: dict[str, Any], out: str) -> str:
    words = list(first)
    for name, value in given.items():
        if not dataclasses.is_dataclass(value):
            words.append(f"{name}={value!r}")
        elif value != _plain(value):
            words.append(f"{name}={constructor(value)}")
    text = ", ".join(words)
    names = sorted(set(re.findall(r"\b([A-Z]\w*)\(", text)) & set(vars(configs)))
    imports = "import recam\n"
    if names:
        imports += f"from recam.configs import {', '.join(names)}\n"
    return f"{imports}\nresult = recam.{call}({text})\nrecam.save(result, {out!r})\n"

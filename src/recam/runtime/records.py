"""JSON objects whose fields are checked as they are read: file, field, what it was, what is right.

    about = Record(read_json(path), path)
    num_frames = about.whole("num_frames", 1, 100_000)
    pose = about.array("cam_from_world", (None, 4, 4))

Every wrong field raises ValueError with one line, so that no reader needs checks of its own.
``write_json`` writes what is read so.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from recam.runtime.whole import cannot_write, write_synced

_REQUIRED: Any = object()
T = TypeVar("T")
MAX_NUMBER = 1_000_000
MAX_ENTRIES = 1_000
"""Of a weight file's config."""


@dataclass(frozen=True)
class Record:
    """A JSON object of a file. where: its place in the file, for messages (``frames[3].``)."""

    value: Any
    path: Path | str
    where: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.value, dict):
            place = self.where.rstrip(".") or "the file"
            raise ValueError(f"{self.path}: {place} is {shown(self.value)}; expected an object")

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def wrong(self, name: str, expected: str) -> ValueError:
        """The error for a field: what it is and what was expected."""
        got = shown(self.value[name]) if name in self.value else "missing"
        return ValueError(f"{self.path}: {self.where}{name} is {got}; expected {expected}")

    def _get(self, name: str, default: Any, expected: str) -> Any:
        if name not in self.value:
            if default is _REQUIRED:
                raise self.wrong(name, expected)
            return default
        return self.value[name]

    def number(
        self, name: str, low: float = -math.inf, high: float = math.inf, default: Any = _REQUIRED
    ) -> float:
        """A finite number from low to high; ``default`` when the field is not there."""
        expected = _range_text("a number", low, high)
        got = self._get(name, default, expected)
        if got is default and default is not _REQUIRED:
            return got
        if not is_number(got) or not low <= got <= high:
            raise self.wrong(name, expected)
        return float(got)

    def measured(self, name: str) -> float:
        """A float as ``jsonable`` writes it: null for NaN, "inf" and "-inf" for the infinite."""
        got = self._get(name, _REQUIRED, "a number")
        if got is None:
            return math.nan
        return float(got) if got in ("inf", "-inf") else self.number(name)

    def whole(self, name: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        """A whole number from low to high; ``default`` when the field is not there."""
        expected = _range_text("a whole number", low, high)
        got = self._get(name, default, expected)
        if got is default and default is not _REQUIRED:
            return got
        if not is_number(got) or got != int(got) or not low <= got <= high:
            raise self.wrong(name, expected)
        return int(got)

    def text(self, name: str, choices: Sequence[str] = (), default: Any = _REQUIRED) -> str:
        """A text, one of ``choices`` where given; ``default`` when the field is not there."""
        expected = f"one of {', '.join(choices)}" if choices else "a text"
        got = self._get(name, default, expected)
        if got is default and default is not _REQUIRED:
            return got
        if not isinstance(got, str) or (choices and got not in choices):
            raise self.wrong(name, expected)
        return got

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        """true or false; ``default`` when the field is not there."""
        got = self._get(name, default, "true or false")
        if got is default and default is not _REQUIRED:
            return got
        if not isinstance(got, bool):
            raise self.wrong(name, "true or false")
        return got

    def record(self, name: str) -> Record:
        """An object in this one."""
        return Record(self._get(name, _REQUIRED, "an object"), self.path, f"{self.where}{name}.")

    def items(self, name: str, low: int = 0, high: int = 1_000_000) -> list[Any]:
        """A list of low to high entries of any kind."""
        expected = _range_text("a list", low, high) + " entries"
        got = self._get(name, _REQUIRED, expected)
        if not isinstance(got, list) or not low <= len(got) <= high:
            raise self.wrong(name, expected)
        return got

    def records(self, name: str, low: int = 0, high: int = 1_000_000) -> list[Record]:
        """A list of objects."""
        where = f"{self.where}{name}"
        return [
            Record(item, self.path, f"{where}[{i}].")
            for i, item in enumerate(self.items(name, low, high))
        ]

    def array(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Nested lists of finite numbers as float64 of ``shape``; None stands for any length."""
        sizes = " × ".join("any" if n is None else str(n) for n in shape)
        expected = f"finite numbers, {sizes}"
        got = self._get(name, _REQUIRED, expected)
        if not isinstance(got, list) or not _plain_numbers(got, len(shape)):
            raise self.wrong(name, expected)
        try:
            array = np.array(got, np.float64)
        except (ValueError, OverflowError) as error:  # rows of unequal length
            raise self.wrong(name, expected) from error
        fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape))
        if not fits or not np.isfinite(array).all():
            raise self.wrong(name, expected)
        return array


def as_dataclass(
    record: Record,
    kind: type[T],
    bounds: Mapping[str, tuple[float, float]] = {},
    most: float = MAX_NUMBER,
) -> T:
    """A dataclass from a record: what ``asdict`` and JSON made of it.

    Its fields are int, float, bool, str, Literal, other dataclasses, tuples of these, or None where
    the field may be. bounds: of the numbers by field; others are refused beyond ±most. Raises
    ValueError for a wrong field, a missing one without a default, and one that the dataclass does
    not have.
    """
    hints = get_type_hints(kind)
    if extra := sorted(set(record.value) - set(hints)):
        raise ValueError(f"{record.path}: of a newer recam: unknown {record.where}{extra[0]}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        needed = field.default is field.default_factory is dataclasses.MISSING
        if needed and field.name not in record:
            raise record.wrong(field.name, "a value")
    values = {name: _as_type(record, name, hints[name], bounds, most) for name in record.value}
    return kind(**values)


def _as_type(
    record: Record, name: str, hint: Any, bounds: Mapping[str, tuple[float, float]], most: float
) -> Any:
    if get_origin(hint) in (Union, types.UnionType):  # only ever with None
        if record.value[name] is None:
            return None
        hint = next(kind for kind in get_args(hint) if kind is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return as_dataclass(record.record(name), hint, bounds, most)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        members = get_args(hint)
        low_len, high_len = (0, MAX_ENTRIES) if members[-1] is ... else (len(members),) * 2
        entries = record.items(name, low_len, high_len)
        row = Record({f"{name}[{i}]": e for i, e in enumerate(entries)}, record.path, record.where)
        return tuple(_as_type(row, entry, members[0], bounds, most) for entry in row.value)
    low, high = bounds.get(name.partition("[")[0], (-most, most))
    if get_origin(hint) is Literal:
        return record.text(name, [str(choice) for choice in get_args(hint)])
    if hint is bool:
        return record.flag(name)
    if hint is int:
        return record.whole(name, int(low), int(high))
    if hint is float:
        return record.number(name, low, high)
    return record.text(name)


def is_number(value: Any) -> bool:
    """A finite int or float; JSON's true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def shown(value: Any) -> str:
    """A value in a message, short whatever it is."""
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return f"a list of {len(value)}"
        case None:
            return "null"
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge number"
    return text if len(text) <= 40 else f"{text[:36]} …"


def _plain_numbers(value: Any, depth: int) -> bool:
    if depth == 0:
        return is_number(value)
    return isinstance(value, list) and all(_plain_numbers(item, depth - 1) for item in value)


def _range_text(what: str, low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return what
    if math.isinf(high):
        return f"{what} of {low:g} or more"
    if math.isinf(low):
        return f"{what} of at most {high:g}"
    return f"{what} from {low:g} to {high:g}"


def write_json(path: Path, content: Any, sort_keys: bool = False) -> None:
    """Write strict JSON (see ``jsonable``); it appears whole or not at all. Missing parent folders
    are made. Raises RecamError when it cannot be written."""
    text = json.dumps(jsonable(content), indent=1, sort_keys=sort_keys, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, text.encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def jsonable(value: Any) -> Any:
    """With NaN as null and infinity as "inf", which strict JSON lacks."""
    match value:
        case dict():
            return {k: jsonable(v) for k, v in value.items()}
        case list() | tuple():
            return [jsonable(v) for v in value]
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return "inf" if value > 0 else "-inf"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return jsonable(dataclasses.asdict(value))
    return value if isinstance(value, str | int | float | bool | None) else str(value)

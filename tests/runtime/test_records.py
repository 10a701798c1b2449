"""Dataclasses out of JSON: what recam writes comes back; a wrong field is named with its file."""

import json
import math

import pytest

from recam.apps.studio.workspace import ProjectState, Take
from recam.configs import CompleteConfig, PathConfig, ReconstructConfig, ReshootConfig
from recam.runtime.records import Record, as_dataclass, jsonable


@pytest.mark.parametrize(
    "value",
    [
        ReshootConfig(path=PathConfig("dolly", distance=0.3), complete=CompleteConfig(seed=3)),
        ReconstructConfig(depth_range=(1.0, 8.0), fov=50.0, cameras="c.json"),
        ProjectState("a", ("a.mp4",), takes=(Take(1, label="x", seconds=2.5), Take(2))),
    ],
)  # fmt: skip
def test_what_was_written_comes_back(value: object) -> None:
    there = json.loads(json.dumps(jsonable(value)))
    assert as_dataclass(Record(there, "a.json"), type(value), most=1e15) == value


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frame": "x"}, r"a\.json: frame is 'x'; expected a whole number"),
        ({"sources": "a.mp4"}, r"a\.json: sources is"),
        ({"aim": None}, r"a\.json: aim is null; expected an object"),
        ({"aim": {"preset": {"yaw": "far"}}}, r"a\.json: aim\.preset\.yaw is 'far'"),
        ({"takes": [{"number": 1}, {"task": "edit"}]}, r"a\.json: takes\[1\]\.number is missing"),
        ({"takes": [{"number": 1, "task": "rm"}]}, r"takes\[0\]\.task is 'rm'; expected one of"),
        ({"newer": 1}, r"a\.json: of a newer recam: unknown newer"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_dataclass(Record({**jsonable(ProjectState()), **changed}, "a.json"), ProjectState)


def test_measured_numbers_come_back() -> None:
    row = Record(jsonable({"a": math.nan, "b": math.inf, "c": 1.5}), "a.json")
    assert math.isnan(row.measured("a")) and row.measured("b") == math.inf
    assert row.measured("c") == 1.5
    with pytest.raises(ValueError, match="x is"):
        Record({"x": "far"}, "a.json").measured("x")

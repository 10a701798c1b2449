"""Weight files whose own description would hang or fill the memory, and parts that never end."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from recam.completion.weights import FORMAT, SHIPPED, join_parts, load_model
from recam.reconstruct.depth_prior.network import SHIPPED as DEPTH
from recam.reconstruct.depth_prior.network import load_depth_net
from recam.runtime.tensors import read_metadata, save_tensors
from recam.types import RecamError


def described(path: Path, config: Any, format: str = FORMAT) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    save_tensors(path, {"a": torch.zeros(1)}, {"format": format, "config": text})
    return path


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"convs": 10**9}, r"config.convs is 1000000000; expected a whole number from 0 to 64"),
        ({"blocks": 1e99}, r"config.blocks is 1e\+99; expected a whole number"),
        ({"hidden": -1}, "config.hidden is -1; expected"),
        ({"hidden": True}, "config.hidden is True; expected"),
        ({"heads": [4]}, "config.heads is a list of 1; expected"),
        ({"fills": ["x"] * 10_000}, "config.fills is a list of 10000; expected"),
        ({"fills": ["nearest_of_all"]}, r"config.fills\[0\] is 'nearest_of_all'; expected one of"),
        ({"caution": float("nan")}, "config.caution is nan; expected a number from 0 to 1"),
        ({"colour": 1}, "of a newer recam: unknown config.colour"),
        ([], "config is a list of 0; expected an object"),
        ("[" * 99_999, "nested too deep"),
        ("{", "not JSON"),
        ({"patch": 9}, "patch must be 8, 16 or 32, got 9"),
    ],
)
def test_a_description_is_checked_before_it_is_built(
    tmp_path: Path, config: Any, reason: str
) -> None:
    path = described(tmp_path / "w.safetensors", config)
    with pytest.raises((RecamError, ValueError), match=reason):
        load_model(path)


def test_metadata_of_other_kinds(tmp_path: Path) -> None:
    path = described(tmp_path / "w.safetensors", {}, format="something else")
    with pytest.raises(RecamError, match="holds 'something else'"):
        load_model(path)
    with pytest.raises(RecamError, match="holds 'something else'"):
        load_depth_net(path)
    from safetensors.torch import save_file

    for entry, reason in (("7", "expected an object"), ('{"format": 3}', "expected a text")):
        save_file({"a": torch.zeros(1)}, path, {"recam": entry})
        with pytest.raises(RecamError, match=reason):
            read_metadata(path)
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(RecamError, match="not a whole safetensors file"):
        load_model(path)


@pytest.mark.parametrize("count", ["99999999999", "²", "-1", "x", "0"])
def test_parts_whose_number_is_none(tmp_path: Path, count: str) -> None:
    (tmp_path / f"w.safetensors.0123abcd.1of{count}").write_bytes(b"x")
    with pytest.raises(RecamError, match=re.escape(str(tmp_path))):
        join_parts(tmp_path)


def test_what_the_package_ships_passes() -> None:
    assert load_model(SHIPPED).config.hidden > 1
    assert load_depth_net(DEPTH).config.attention > 0

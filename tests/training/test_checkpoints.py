"""Training states on disk: the last two are kept, and a damaged one falls back with a word."""

from pathlib import Path

import pytest
import torch

from recam.training.optim import load_checkpoint, remove_checkpoints, save_checkpoint
from recam.types import RecamError


def state(step: int) -> dict:
    return {"step": step, "weights": torch.full((1000,), float(step))}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["cut", "zeroed", "flipped", "foreign", "empty"])
def test_the_state_before_serves_when_the_last_is_damaged(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path) is None
    for step in (1, 2, 3):
        save_checkpoint(path, state(step))
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.pt", "checkpoint.previous.pt"}
    size = path.stat().st_size
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[: size // 2])
        case "zeroed":
            path.write_bytes(bytes(size))
        case "flipped":  # among the values, which torch reads without looking at their sum
            flip(path, path.read_bytes().index(torch.full((4,), 3.0).numpy().tobytes()) + 40)
        case "foreign":
            path.write_text("else")
        case "empty":
            path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is damaged; going on from the state"):
        found = load_checkpoint(path)
    assert found is not None and found["step"] == 2 and float(found["weights"][-1]) == 2


def test_nothing_serves_when_both_are_damaged_or_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        save_checkpoint(path, state(step))
    for file in tmp_path.iterdir():
        file.write_bytes(b"\x80\x04c__builtin__\neval\n(S'1'\ntR.")
    with pytest.warns(UserWarning), pytest.raises(RecamError, match="damaged, and so is") as end:
        load_checkpoint(path)
    assert "weights_only" not in str(end.value)
    remove_checkpoints(path)
    assert not list(tmp_path.iterdir())


def test_a_kill_between_the_two_renamings_goes_on_from_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, state(1))
    path.rename(tmp_path / "checkpoint.previous.pt")
    found = load_checkpoint(path)
    assert found is not None and found["step"] == 1

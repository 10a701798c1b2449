"""What is kept is found whole or made again: every kind of damage, told in one line."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recam.runtime import cache_entries
from recam.runtime.cache import cache_folder, scratch_file
from recam.runtime.cache_entries import CacheWarning, evict, is_whole, kept, new_entry
from recam.runtime.tensors import (
    load_tensors,
    read_metadata,
    save_tensors,
    tensors_are_whole,
)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _flipped(file: Path) -> None:
    """One bit of the last byte, which no format notices."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _foreign(file: Path) -> None:
    file.write_text("something else entirely")


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE = [_cut, _zeroed, _empty, _flipped, _foreign, _folder]


def entry(folder: Path) -> Path:
    with new_entry(folder) as staged:
        (staged / "a.bin").write_bytes(bytes(range(256)))
        (staged / "deep").mkdir()
        (staged / "deep" / "b.bin").write_bytes(b"b" * 1000)
    return folder


@pytest.mark.parametrize("damage", [*DAMAGE, Path.unlink])
@pytest.mark.parametrize("name", ["a.bin", "deep/b.bin", "index.json"])
def test_a_damaged_entry_is_told_of_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    folder = entry(tmp_path / "kind" / "key")
    assert is_whole(folder)
    damage(folder / name)
    if name == "index.json" and damage is Path.unlink:  # as of a version that kept none
        assert not is_whole(folder)
    else:
        with pytest.warns(CacheWarning, match="is damaged") as told:
            assert not is_whole(folder)
        assert len(told) == 1 and str(folder) in str(told[0].message)
        assert not folder.exists()
    assert is_whole(entry(folder)) and {p.name for p in folder.parent.iterdir()} == {"key"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_tensors_are_told_of_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "t.safetensors"
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}
    tensors["nothing"] = torch.zeros(0, 4)
    save_tensors(path, tensors, {"seed": "1"})
    assert tensors_are_whole(path) and read_metadata(path)["seed"] == "1"
    assert torch.equal(load_tensors(path)["a"], tensors["a"])
    damage(path)
    with pytest.warns(CacheWarning, match="is damaged") as told:
        assert not tensors_are_whole(path)
    assert len(told) == 1 and not path.exists() and not tensors_are_whole(path)


def test_a_shape_that_changed_is_noticed(tmp_path: Path) -> None:
    """The same bytes under another header."""
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.arange(6).view(2, 3)}, {})
    path.write_bytes(path.read_bytes().replace(b"[2,3]", b"[3,2]"))
    assert load_tensors(path)["a"].shape == (3, 2)
    with pytest.warns(CacheWarning, match="other content"):
        assert not tensors_are_whole(path)


def test_an_entry_appears_whole_and_the_first_one_counts(tmp_path: Path) -> None:
    folder = tmp_path / "kind" / "key"
    with pytest.raises(KeyboardInterrupt), new_entry(folder) as staged:
        (staged / "a.bin").touch()
        raise KeyboardInterrupt
    assert not list(folder.parent.iterdir())
    with new_entry(folder) as staged:  # another process is faster
        entry(folder)
        (staged / "late.bin").touch()
    assert is_whole(folder) and not (folder / "late.bin").exists()
    assert json.loads((folder / "index.json").read_text())["a.bin"][0] == 256


def test_the_longest_unused_goes_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path))
    now = time.time()
    for age_h, name in ((30, "old"), (20, "middle"), (0, "new")):
        folder = entry(cache_folder() / "scenes" / name)
        (folder / "large.bin").write_bytes(bytes(100_000))
        for path in (folder, *folder.iterdir()):
            os.utime(path, (now - 3600 * age_h,) * 2)
    assert is_whole(cache_folder() / "scenes" / "old")  # now it is the last that was used
    (cache_folder() / "synth4d-3" / "scene").mkdir(parents=True)
    scratch = scratch_file()
    assert {(k.kind, k.path.name) for k in kept()} == {
        ("scenes", "old"), ("scenes", "middle"), ("scenes", "new"), ("synth4d-3", "synth4d-3"),
    }  # fmt: skip
    assert evict(400_000) == []
    assert [k.path.name for k in evict(250_000)] == ["middle"]
    assert not (cache_folder() / "scenes" / "middle").exists()
    assert [k.path.name for k in evict(0)] == []  # used within the hour
    assert len(evict(0, spare_s=0)) == 2 and [k.kind for k in kept()] == ["synth4d-3"]
    scratch.close()


def test_limits_and_places(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RECAM_CACHE_GB", "1.5")
    assert cache_entries.max_bytes() == 1_500_000_000
    monkeypatch.setenv("RECAM_CACHE_GB", "much")
    with pytest.raises(ValueError, match="RECAM_CACHE_GB is 'much'"):
        cache_entries.max_bytes()
    for name in ("RECAM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().name.startswith("recam-")
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    with scratch_file() as file:  # where the cache cannot be, the system's own place serves
        assert file.write(b"x") == 1

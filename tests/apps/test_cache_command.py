"""recam cache as a user runs it."""

import pytest

from recam.apps import cache_command, cli
from recam.runtime.cache_entries import new_entry


def _scene(cache, name: str) -> None:
    with new_entry(cache / "scenes" / name) as staged:
        (staged / "a.bin").write_bytes(bytes(1_000_000))


def test_list_evict_clear(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path))
    for name in ("a", "b", "c"):
        _scene(tmp_path, name)
    cli.main(["cache"])
    said = capsys.readouterr().out
    assert "3 things, 3.00 MB of at most 20 GB" in said and "another path over one" in said
    cli.main(["cache", "--max-size", "0.0025"])
    assert capsys.readouterr().out.startswith("taken away: 1 thing, 1.00 MB")
    cli.main(["cache", "--clear", "scenes"])
    assert "0 things, 0.00 MB" in capsys.readouterr().out
    for wrong, reason in (
        (["--clear", "everything"], "keeps no such thing"),
        (["--max-size", "-1"], "expected gigabytes, 0 or more"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(["cache", *wrong])
        assert end.value.code == 1 and reason in capsys.readouterr().err


def test_a_limit_is_kept_and_said(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path))
    monkeypatch.setenv("RECAM_CACHE_GB", "0.0005")
    _scene(tmp_path, "a")
    cache_command.keep_below_limit()
    assert not capsys.readouterr().err  # it may be in use
    monkeypatch.setattr(cache_command, "evict", lambda most: evict_now(most))
    cache_command.keep_below_limit()
    assert "to stay below 0.0005 GB" in capsys.readouterr().err


def evict_now(most: int):
    from recam.runtime.cache_entries import evict

    return evict(most, spare_s=0)

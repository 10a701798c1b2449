"""Names of checkpoints on the Hub: a revision is fetched as it was named, and nothing else is."""

import sys
from types import SimpleNamespace

import pytest

from recam.runtime import checkpoints
from recam.types import RecamError


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[tuple]:
    calls: list[tuple] = []

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        calls.append((name, revision, allow_patterns))
        return str(tmp_path)

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setattr(checkpoints, "require_transformers", lambda: None)
    return calls


def test_a_revision_is_pinned(asked: list[tuple]) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    checkpoints.find_checkpoint(f"owner/model@{commit}")
    checkpoints.find_checkpoint("owner/model-2.1")
    assert [call[:2] for call in asked] == [("owner/model", commit), ("owner/model-2.1", None)]
    assert asked[0][2] == ["*.json", "*.safetensors"]  # no pickles, no code


@pytest.mark.parametrize(
    "name",
    ["model", "a/b/c", "../x", "/etc/x", "owner/model@", "owner/..", "https://a.b/c", "a/b@../x"],
)
def test_other_names_are_refused(asked: list[tuple], name: str) -> None:
    with pytest.raises(RecamError, match="not a Hub name"):
        checkpoints.find_checkpoint(name)
    assert not asked

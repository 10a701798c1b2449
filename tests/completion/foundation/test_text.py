"""Text encoders: tokenizers in the forms that are published, and weights that are all read."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from foundation_checkpoints import save_spiece, save_t5
from recam.apps import doctor
from recam.completion.foundation import text
from recam.completion.foundation.text import encode_t5, read_tokenizer
from recam.completion.foundation.wan import encode_umt5
from recam.types import RecamError

PROMPTS = ["", "a bear walks", "Two  boats, at the sea!"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_spiece_alone_is_read_as_sentencepiece_reads_it(prompt: str, tmp_path: Path) -> None:
    import sentencepiece

    save_spiece(tmp_path / "tokenizer")
    assert not list(tmp_path.rglob("tokenizer.json"))
    ids = read_tokenizer(tmp_path / "tokenizer")(
        prompt, padding="max_length", max_length=40, truncation=True
    ).input_ids
    pieces = sentencepiece.SentencePieceProcessor(str(tmp_path / "tokenizer" / "spiece.model"))
    expected = [*pieces.encode(prompt), pieces.eos_id()]
    assert ids == expected + [pieces.pad_id()] * (40 - len(expected))


@pytest.mark.parametrize("missing", ["protobuf", "sentencepiece"])
def test_a_missing_reader_is_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_spiece(tmp_path / "tokenizer")
    module = text.SPIECE_PACKAGES[missing]
    monkeypatch.setattr(text, "_is_here", lambda name: name != module)
    with pytest.raises(RecamError, match=rf"spiece.model: .* needs {missing}: pip install"):
        read_tokenizer(tmp_path / "tokenizer")

    def version(name: str) -> str:
        if name == missing:
            raise PackageNotFoundError
        return "1"

    monkeypatch.setattr(doctor, "version", version)
    line = next(x for x in doctor.report()["optional"] if x.startswith(missing))
    assert "not installed; needed for tokenizers" in line


def test_a_damaged_tokenizer_is_one_line(tmp_path: Path) -> None:
    save_spiece(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "spiece.model").write_bytes(b"no model")
    with pytest.raises(RecamError, match="its tokenizer cannot be read") as caught:
        read_tokenizer(tmp_path / "tokenizer")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["T5", "UMT5"])
def test_the_embedding_is_the_stored_one(kind: str, tmp_path: Path) -> None:
    """Checkpoints store it as ``shared`` alone, and untied (tie_word_embeddings false)."""
    import transformers
    from safetensors.torch import load_file, save_file

    save_t5(tmp_path, 32, kind)
    file = next((tmp_path / "text_encoder").glob("*.safetensors"))
    tensors = load_file(file)
    tensors.pop("encoder.embed_tokens.weight", None)
    save_file(tensors, file, {"format": "pt"})
    encode = encode_t5 if kind == "T5" else encode_umt5
    first, mask = encode(tmp_path, "a bear", 8, torch.float32)
    # The same encoder, built by hand from the file's tensors.
    model = getattr(transformers, f"{kind}EncoderModel")
    whole = model(transformers.AutoConfig.from_pretrained(tmp_path / "text_encoder")).eval()
    whole.load_state_dict({**tensors, "encoder.embed_tokens.weight": tensors["shared.weight"]})
    ids = read_tokenizer(tmp_path / "tokenizer")("a bear", padding="max_length", max_length=8)
    given = torch.tensor([ids.input_ids])
    seen = None if kind == "T5" else torch.tensor([ids.attention_mask])
    with torch.no_grad():
        wanted = whole(given, seen)[0]
    assert torch.allclose(first[mask], wanted[mask], atol=1e-6)
    del tensors["shared.weight"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(RecamError, match="missing parameters"):
        encode(tmp_path, "a bear", 8, torch.float32)

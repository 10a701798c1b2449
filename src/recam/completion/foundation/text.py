"""Prompt embeddings, worked out once: the text encoder is loaded only for a prompt never seen."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.checkpoints import find_checkpoint, load_whole
from recam.runtime.tensors import load_tensors, save_tensors, tensors_are_whole
from recam.types import RecamError

Text = tuple[Tensor, Tensor]
"""Embedding [1, n, c] and mask bool [1, n] of a prompt."""
Encode = Callable[[Path, str, int, torch.dtype], Text]
"""What makes one of a checkpoint's folder, a prompt and the number of tokens."""
TEXT_FILES = ["tokenizer/*", "text_encoder/*"]
SPIECE_PACKAGES = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""What reads a tokenizer that comes as spiece.model alone, and how each is imported."""


def prompt_embedding(
    base: str, prompt: str, max_length: int, dtype: torch.dtype, encode: Encode
) -> Text:
    """The embedding of max_length tokens and the mask of the real ones, on the CPU.

    base: folder or Hub name of the checkpoint with the text encoder. Kept in the cache under base,
    prompt and length; encode: what to call where it is not there.
    """
    key = content_hash(_identity(base), prompt, max_length, str(dtype))
    path = cache_folder() / "text" / f"{key[:24]}.safetensors"
    if tensors_are_whole(path):
        kept = load_tensors(path)
        return kept["embedding"], kept["mask"]
    folder = find_checkpoint(base, TEXT_FILES)
    embedding, mask = encode(folder, prompt, max_length, dtype)
    save_tensors(path, {"embedding": embedding, "mask": mask}, {"prompt": prompt, "base": base})
    return embedding, mask


def _identity(base: str) -> str:
    """What tells one text encoder from another without reading gigabytes."""
    folder = Path(base).expanduser() / "text_encoder"
    if not folder.is_dir():
        return base
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())]
    return f"{folder.resolve()} {files}"


def encode_t5(folder: Path, prompt: str, max_length: int, dtype: torch.dtype) -> Text:
    """The encoder's last states for a padded prompt, padding not masked, as CogVideoX is given."""
    from transformers import T5EncoderModel

    encoder, tokens = read_encoder(T5EncoderModel, folder, prompt, max_length, dtype)
    with torch.no_grad():
        embedding = encoder(tokens.input_ids)[0].to(dtype)
    return embedding.contiguous(), tokens.attention_mask.bool()


def read_encoder(
    kind: Any, folder: Path, prompt: str, max_length: int, dtype: torch.dtype
) -> tuple[Any, Any]:
    """The text encoder of a checkpoint (a transformers class) and the padded tokens of a prompt.

    Raises RecamError where the folder holds no such encoder, or not a whole one.
    """
    for part in ("tokenizer", "text_encoder"):
        if not (folder / part).is_dir():
            raise RecamError(f"{folder}: has no {part}; give a whole pipeline's folder by --base")
    tokenizer = read_tokenizer(folder / "tokenizer")
    encoder = _load_encoder(kind, folder / "text_encoder", dtype)
    tokens = tokenizer(
        prompt, padding="max_length", max_length=max_length, truncation=True, return_tensors="pt"
    )
    return encoder, tokens


def read_tokenizer(folder: Path) -> Any:
    """A checkpoint's tokenizer: tokenizer.json, or a sentencepiece model alone (spiece.model).

    Raises RecamError where there is none, or a package that reads it is missing.
    """
    from transformers import AutoTokenizer

    if (folder / "spiece.model").is_file() and not (folder / "tokenizer.json").is_file():
        # transformers would speak of a package for another kind of tokenizer.
        missing = [name for name, module in SPIECE_PACKAGES.items() if not _is_here(module)]
        if missing:
            raise RecamError(
                f"{folder / 'spiece.model'}: reading it needs {' and '.join(missing)}: "
                f"pip install {' '.join(missing)}"
            )
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # each damage to a file raises something else
        reason = " ".join(str(error).split())[:300]
        raise RecamError(f"{folder}: its tokenizer cannot be read: {reason}") from error


def _load_encoder(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """With all of its weights read. Checkpoints store the embedding once, as ``shared``; some
    versions of transformers (5.0, 5.1) leave it random where UMT5's encoder looks for it."""
    embedding = frozenset({"encoder.embed_tokens.weight"})
    encoder = load_whole(kind, folder, dtype, more_is_fine=True, may_miss=embedding)
    encoder.set_input_embeddings(encoder.shared)
    return encoder


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False

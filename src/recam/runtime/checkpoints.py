"""Checkpoints of outside models: in a folder, in the Hub's cache, or fetched when asked for."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from recam.types import RecamError

FILES = ("*.json", "*.safetensors")
"""What a checkpoint of one model consists of."""
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w./-]*))?", re.ASCII)
INSTALL = "pip install 'recam[foundation]'"


def require_transformers() -> Any:
    """The transformers package. Raises RecamError when it is missing or does not start."""
    # Of no use to the reader: which of their compiled kernels a machine cannot run.
    for package in ("torchao", "bitsandbytes", "torch.utils._pytree"):
        logging.getLogger(package).setLevel(logging.ERROR)
    try:
        import transformers
    except ImportError as error:
        raise RecamError(f"this needs transformers: {INSTALL} ({error})") from error
    except RuntimeError as error:  # a torchvision of another torch does this
        raise RecamError(f"transformers does not start; see `recam doctor` ({error})") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def require_diffusers() -> Any:
    """The diffusers package. Raises RecamError when it or what it needs is not installed."""
    require_transformers()
    try:
        import diffusers
    except ImportError as error:
        raise RecamError(f"foundation models need diffusers: {INSTALL} ({error})") from error
    except RuntimeError as error:
        raise RecamError(f"diffusers does not start; see `recam doctor` ({error})") from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers


def find_checkpoint(name: str, patterns: Sequence[str] = FILES) -> Path:
    """The folder of a checkpoint: ``name`` itself, or the Hub repository of that name, of which
    only files of the patterns are fetched (once; later runs find them in the Hub's cache).

    ``owner/model@revision`` is that revision and no other: a commit's hash, a tag or a branch.

    Raises RecamError when it is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise RecamError(f"{name}: is a file; give the checkpoint's folder or its Hub name")
    if not (hub := _HUB_NAME.fullmatch(name)):
        raise RecamError(
            f"{name}: no such folder, and not a Hub name like owner/model or owner/model@revision"
        )
    require_transformers()
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(hub[1], revision=hub[2], allow_patterns=list(patterns))
        return Path(found)
    except Exception as error:  # network, rights, misspelt: all of them the user's to fix
        reason = " ".join(str(error).split())[:200]
        raise RecamError(
            f"{name}: not a folder here, and not fetched from the Hub: {reason}"
        ) from error


def in_hub_cache(name: str) -> bool:
    """Whether a Hub repository's weights are on this machine already. Fetches nothing."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return False
    name = name.partition("@")[0]
    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
    return any(f.suffix in WEIGHT_SUFFIXES and f.exists() for f in folder.glob("*/*"))


def read_json_file(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON file. Raises RecamError when it is missing or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecamError(
            f"{path.parent}: no {path.name}; give a folder in the layout that diffusers and "
            "transformers write"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecamError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise RecamError(f"{path}: expected a JSON object")
    return content


def model_type(folder: Path) -> str:
    """What kind of model a checkpoint of transformers says that it is."""
    return str(read_json_file(folder / "config.json").get("model_type", "unknown"))


def load_whole(
    model_class: Any,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    more_is_fine: bool = False,
    may_miss: frozenset[str] = frozenset(),
) -> Any:
    """A model of diffusers or transformers with every one of its parameters read, ready to run.

    more_is_fine: the checkpoint may hold parameters that the model has no place for. may_miss:
    names of parameters that the caller sets itself. Raises
    RecamError where those packages would only warn: parameters that are missing (and would stay
    random), too many, or of another shape.
    """
    if not any(path.suffix in WEIGHT_SUFFIXES for path in folder.iterdir()):
        raise RecamError(f"{folder}: has no weights (*.safetensors)")
    # Older diffusers know the precision by its older name alone.
    precision = "torch_dtype" if model_class.__module__.startswith("diffusers") else "dtype"
    try:
        model, report = model_class.from_pretrained(
            folder, output_loading_info=True, local_files_only=True, **{precision: dtype}
        )
    except Exception as error:  # each damage to a file raises something else
        reason = " ".join(str(error).split())[:300]
        raise RecamError(f"{folder}: cannot be read as {model_class.__name__}: {reason}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if what == "unexpected_keys" and more_is_fine:
            continue
        names = sorted({str(name) for name in report.get(what) or []} - may_miss)
        if names:
            raise RecamError(
                f"{folder}: {len(names)} {what.split('_')[0]} parameters, such as {names[0]}; not "
                f"a whole {model_class.__name__} of its config.json"
            )
    return model.eval().requires_grad_(False)


def best_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

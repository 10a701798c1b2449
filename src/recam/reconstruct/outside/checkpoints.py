"""Checkpoints of outside models: in a folder, in the Hub's cache, or fetched when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from recam.types import RecamError

INSTALL = "pip install 'recam[foundation]'"
FILES = ["*.json", "*.safetensors"]
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def require_transformers() -> Any:
    """The transformers package. Raises RecamError when it is missing or does not start."""
    try:
        import transformers
    except ImportError as error:
        raise RecamError(f"this needs transformers: {INSTALL} ({error})") from error
    except RuntimeError as error:  # a torchvision of another torch does this
        raise RecamError(f"transformers does not start; see `recam doctor` ({error})") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def find_checkpoint(name: str) -> Path:
    """The folder of a checkpoint: ``name`` itself, or the Hub repository of that name, which is
    fetched once. Raises RecamError when it is neither."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise RecamError(f"{name}: is a file; give the checkpoint's folder or its Hub name")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecamError(f"{name}: no such folder, and not a Hub name like owner/model")
    require_transformers()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # network, rights, misspelt: all of them the user's to fix
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"{name}: not a folder here, and not fetched: {reason}") from error


def in_hub_cache(name: str) -> bool:
    """Whether a Hub repository's weights are on this machine already. Fetches nothing."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return False
    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
    return any(f.suffix in WEIGHT_SUFFIXES and f.exists() for f in folder.glob("*/*"))


def read_json_file(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON file. Raises RecamError when it is missing or no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecamError(
            f"{path.parent}: no {path.name}; give a folder in the layout that transformers writes"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecamError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise RecamError(f"{path}: expected a JSON object")
    return content


def model_type(folder: Path) -> str:
    """What kind of model a checkpoint's config.json says that it is."""
    return str(read_json_file(folder / "config.json").get("model_type", "unknown"))


def load_whole(model_class: Any, folder: Path, more_is_fine: bool = False) -> Any:
    """A float32 model with every one of its parameters read, ready to run.

    more_is_fine: the checkpoint may hold parameters that the model has no place for. Raises
    RecamError where transformers would only warn: parameters that are missing (and would stay
    random), too many, or of another shape.
    """
    try:
        model, report = model_class.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecamError(f"{folder}: cannot be read as {model_class.__name__}: {reason}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if what == "unexpected_keys" and more_is_fine:
            continue
        if names := sorted(str(name) for name in report.get(what) or []):
            raise RecamError(
                f"{folder}: {len(names)} {what.split('_')[0]} parameters, such as {names[0]}; not "
                f"a whole {model_class.__name__} of its config.json"
            )
    return model.eval().requires_grad_(False)


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

"""Finding checkpoints in a folder or on the Hugging Face Hub, and loading them whole or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from recam.types import RecamError

INSTALL = "foundation models need diffusers and transformers: pip install 'recam[foundation]'"


def require_diffusers() -> Any:
    """The diffusers package. Raises RecamError when it or what it needs is not installed."""
    try:
        import diffusers
        import transformers
    except ImportError as error:
        raise RecamError(f"{INSTALL} ({error})") from error
    except RuntimeError as error:  # a torchvision of another torch does this
        raise RecamError(f"diffusers does not start here; see `recam doctor` ({error})") from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return diffusers


def find_folder(name: str, patterns: list[str]) -> Path:
    """The local folder of a checkpoint: ``name`` itself, or the Hub repository of that name, of
    which only files of the patterns are fetched (once; later runs find them in the Hub's cache).

    Raises RecamError when it is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise RecamError(f"{name}: is a file; give the checkpoint's folder or its Hub name")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecamError(f"{name}: no such folder, and not a Hub name like owner/model")
    require_diffusers()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # network, rights, misspelt: all of them the user's to fix
        reason = " ".join(str(error).split())[:200]
        raise RecamError(
            f"{name}: not a folder here, and not fetched from the Hub: {reason}"
        ) from (error)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of one part of a checkpoint."""
    path = folder / "config.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RecamError(f"{folder}: {_why_no_config(folder)}") from error
    except json.JSONDecodeError as error:
        raise RecamError(f"{path}: not JSON ({error})") from error


def _why_no_config(folder: Path) -> str:
    if (folder / "zero_to_fp32.py").is_file():
        return (
            "a DeepSpeed training state, not a model yet: run `python zero_to_fp32.py . MODEL "
            "--safe_serialization` in it, put the transformer's config.json into MODEL and give "
            "that folder"
        )
    return "no config.json here; give a folder in the layout that diffusers writes"


def transformer_folder(folder: Path, class_name: str) -> Path:
    """Where the transformer is: ``folder`` itself or its ``transformer`` part.

    Raises RecamError when it is of another class than class_name.
    """
    inner = folder / "transformer"
    found = inner if (inner / "config.json").is_file() else folder
    has = read_config(found).get("_class_name")
    if has != class_name:
        raise RecamError(f"{found}: holds a {has}, but this model needs a {class_name}")
    return found


def load_part(part_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A part of a checkpoint, ready to run, with every one of its parameters read.

    Raises RecamError where diffusers would only warn: parameters that are missing (and would stay
    random), too many, or of another shape.
    """
    try:
        part, report = part_class.from_pretrained(
            folder, torch_dtype=dtype, output_loading_info=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecamError(f"{folder}: cannot be read as {part_class.__name__}: {reason}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(str(name) for name in report.get(what) or []):
            kind = what.split("_")[0]
            raise RecamError(
                f"{folder}: {len(names)} {kind} parameters, such as {names[0]}; not a whole "
                f"{part_class.__name__} of its config.json"
            )
    return part.eval().requires_grad_(False)

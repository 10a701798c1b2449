"""recam doctor: what is here, what it is used for, what is missing for what."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from recam.apps.runs import device_name, machine
from recam.completers import needs_published_weights
from recam.completion.foundation.check import check_checkpoint
from recam.completion.foundation.predict import predict
from recam.configs import CompleteConfig
from recam.runtime.cache import cache_folder, folder_bytes
from recam.types import RecamError

BASE = [
    "torch", "numpy", "scipy", "numba", "av", "opencv-python-headless", "pycolmap", "safetensors",
    "tyro", "rich",
]  # fmt: skip
EXTRAS = {
    "diffusers": "large completion models (pip install 'recam[foundation]')",
    "transformers": "large depth and segmentation models (pip install 'recam[foundation]')",
    "sentencepiece": "tokenizers of large models (pip install 'recam[foundation]')",
    "protobuf": "tokenizers of large models (pip install 'recam[foundation]')",
    "peft": "adapting large models (pip install 'recam[foundation]')",
    "torchao": "large models at 8 bits, --adapt-method whole (pip install 'recam[foundation]')",
    "bitsandbytes": "large models at 4 bits (pip install 'recam[foundation]')",
}


def run(config: CompleteConfig, as_json: bool = False) -> None:
    """Print the report on stdout, and what a foundation model would cost where one is named; where
    its weights are here, what is wrong with them. Raises RecamError when something is."""
    sections = report()
    failed = None
    if needs_published_weights(config):
        try:
            sections[config.model] = predict(config)
            if config.weights and Path(config.weights).expanduser().exists():
                lines, wrong = check_checkpoint(config)
                sections[f"{config.model}: the checkpoint"] = lines
                if wrong:
                    failed = RecamError(
                        f"{config.weights}: parts that are wrong: {wrong} (see above)"
                    )
        except RecamError as error:
            failed = error
    if as_json:
        print(json.dumps({**sections, "machine": machine()}, indent=1))
    for title, lines in sections.items() if not as_json else ():
        print(title)
        for line in lines:
            print(f"  {line}")
    if failed:
        raise failed


def report() -> dict[str, list[str]]:
    """Sections of the report, each a title and its lines."""
    here = machine()
    folder = cache_folder()
    return {
        "recam": [f"{version('recam')} on Python {here['python']}, {here['system']}"],
        "device": [
            f"{device_name()}; processor {here['processor']}, {here['cores']} cores",
        ],
        "packages": [_package_line(name) for name in BASE],
        "optional": [_optional_line(name, use) for name, use in EXTRAS.items()] + _torchvision(),
        "weights": [*_weights(), *_depth_weights(), _depth_model()],
        "cache": [
            f"{folder}: {folder_bytes(folder) / 1e9:.2f} GB (`recam cache` lists and clears it)",
            _kernels(),
        ],
    }


def _kernels() -> str:
    """Where compiled kernels are kept."""
    from recam.completion.patch_match import search_matches
    from recam.runtime.jit import kept_in, lies_on_disk

    state = lies_on_disk(search_matches)
    if state is None:
        return "compiled kernels: no folder can be written; every run compiles for a minute"
    made = "are there" if state else "are made by the first run"
    return f"compiled kernels: {kept_in(search_matches)} ({made})"


def _weights() -> list[str]:
    """The masked model's weights: where they are, or what goes without them."""
    from recam.completion.weights import find_weights, read_metadata, weights_sha256

    try:
        path = find_weights(None)
        about = read_metadata(path)
    except RecamError as error:
        return [f"masked model: {error}", "`copy`, the default, needs none"]
    size, steps = path.stat().st_size / 1e6, about.get("steps", "unknown")
    return [f"masked model: {path} ({size:.0f} MB, {steps} steps, sha256 {weights_sha256(path)})"]


def _depth_weights() -> list[str]:
    """The depth network's weights: where they are, or what goes without them."""
    from recam.completion.weights import read_metadata, weights_sha256
    from recam.reconstruct.depth_prior.network import SHIPPED

    if not SHIPPED.is_file():
        return ["depth network: no weights here; without another depth model a stage is assumed"]
    size, steps = SHIPPED.stat().st_size / 1e6, read_metadata(SHIPPED).get("steps", "unknown")
    return [
        f"depth network: {SHIPPED} ({size:.0f} MB, {steps} steps, sha256 {weights_sha256(SHIPPED)})"
    ]


def _depth_model() -> str:
    """Which model --depth-model auto takes here."""
    from recam.configs import ReconstructConfig
    from recam.reconstruct.external.choose import choose_depth_model

    choice = choose_depth_model(ReconstructConfig())
    named = f" ({choice.weights})" if choice.weights else ""
    return f"depth that cannot be measured: --depth-model auto is {choice.model}{named} here"


def _package_line(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} MISSING: pip install {name}"


def _optional_line(name: str, use: str) -> str:
    try:
        return f"{name} {version(name)}: {use.split(' (')[0]}"
    except PackageNotFoundError:
        return f"{name} not installed; needed for {use}"


def _torchvision() -> list[str]:
    """A torchvision built for another torch breaks importing transformers and diffusers."""
    if find_spec("torchvision") is None:
        return []
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        reason = " ".join(str(error).split())
        return [
            f"torchvision {version('torchvision')} does not work with torch {version('torch')} "
            f"({reason}); transformers and diffusers fail with it: pip uninstall torchvision"
        ]
    return [f"torchvision {version('torchvision')} (not needed)"]

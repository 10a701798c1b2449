"""Where the parts of a foundation model lie while it runs: chosen from the memory that is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from recam.completion.foundation.speedups import keep_at_four_bits
from recam.configs import Placement
from recam.types import RecamError

GB = 1e9


class ModelNote(UserWarning):
    """How a model runs here, where the user did not say it."""


@dataclass(frozen=True)
class Need:
    """Gigabytes on the computing device, predicted, not measured.

    linear, others: the transformer's weights: of its blocks' linear layers, and all others.
    transformer_work, vae_work: what a pass needs beside the weights. vae: its weights. block:
    weights of the largest transformer block at 16 bits.
    """

    linear: float
    others: float
    transformer_work: float
    vae: float
    vae_work: float
    block: float

    @property
    def transformer(self) -> float:
        """All of its weights."""
        return self.linear + self.others

    def of(self, placement: Placement) -> float:
        """Peak on the device: the parts run one after the other, so their work never adds up."""
        if placement == "resident":
            return self.transformer + self.vae + max(self.transformer_work, self.vae_work)
        match placement:
            case "swap":
                weights = self.transformer
            case "fp8":
                weights = self.transformer / 2 + self.block
            case "int4":
                weights = self.linear * INT4 + self.others + self.block
            case "stream":
                weights = 2 * self.block
            case _:
                raise ValueError(f"placement {placement!r} has no need of its own")
        return max(weights + self.transformer_work, self.vae + self.vae_work)


INT4 = 4.5 / 16
"""Of weights at 16 bits: 4 bits each, and 32 for every 64 of them."""
ORDER: tuple[Placement, ...] = ("resident", "swap", "fp8", "int4", "stream")
"""From the fastest to the smallest, or nearly so: where the VAE needs the most, the last three need
the same."""
EXPLAINED = {
    "resident": "all parts stay on the device",
    "swap": "one part on the device at a time",
    "fp8": "transformer's weights kept at 8 bits, one part on the device at a time",
    "int4": "transformer's linear weights kept at 4 bits, one part on the device at a time",
    "stream": "transformer's blocks copied to the device as they run",
}


def possible_placements(on_cpu: bool) -> list[Placement]:
    """Those of ORDER that this machine can do: on the CPU parts need not be moved, and 4 bits need
    bitsandbytes."""
    four_bits = find_spec("bitsandbytes") is not None
    return [
        placement
        for placement in ORDER
        if (four_bits or placement != "int4") and not (on_cpu and placement in ("swap", "stream"))
    ]


def choose_placement(need: Need, free_gb: float, wanted: Placement, on_cpu: bool) -> Placement:
    """The fastest placement that fits into free_gb, or the wanted one where one is named.

    Raises RecamError, saying what would fit, when nothing does.
    """
    if wanted != "auto":
        if on_cpu and wanted == "stream":
            raise RecamError("placement stream copies blocks to a GPU; there is none here")
        return wanted
    choices = possible_placements(on_cpu)
    for placement in choices:
        if need.of(placement) <= free_gb:
            return placement
    smallest = min(choices, key=need.of)
    raise RecamError(
        f"this model needs about {need.of(smallest):.1f} GB even with placement {smallest} "
        f"({EXPLAINED[smallest]}); {free_gb:.1f} GB are free. A smaller model would fit: "
        "--model masked (2 GB) or --model propagate"
    )


def free_gb(device: torch.device) -> float:
    """Memory free on the device now, or that the system would give a process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / GB
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024 / GB
    except (OSError, KeyError):
        import psutil  # comes with accelerate

        return psutil.virtual_memory().available / GB


def pick_device(wanted: str) -> torch.device:
    """The torch device of a name; auto is the GPU if there is one. Raises RecamError where there is
    no such device here."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise RecamError(f"--model-device {wanted}: expected auto, cpu, cuda or cuda:NUMBER")
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise RecamError(f"no CUDA device here for {wanted!r}; use --model-device cpu or auto")
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        raise RecamError(f"--model-device {wanted}: there are {count} CUDA devices, from cuda:0")
    return torch.device("cuda", index)


def place_transformer(
    transformer: Any, placement: Placement, device: torch.device, dtype: torch.dtype
) -> None:
    """Prepare a transformer for its placement; ``on_device`` then moves what has to move."""
    if placement == "int4":
        keep_at_four_bits(transformer, device, dtype)
    elif placement == "fp8":
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    elif placement == "stream":
        transformer.enable_group_offload(
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=True,
        )
    elif placement == "resident":
        transformer.to(device)


@contextmanager
def on_device(part: Any, placement: Placement, device: torch.device) -> Iterator[None]:
    """The part on the device within the block; back in main memory after it, unless resident."""
    if placement == "resident":
        part.to(device)
    if device.type == "cpu" or next(part.parameters()).device == device or _streams(part):
        yield  # there already, for good or by a block around this one
        return
    part.to(device)
    try:
        yield
    finally:
        part.to("cpu")
        torch.cuda.empty_cache()


def _streams(part: Any) -> bool:
    """Whether hooks move the part's blocks themselves."""
    hooks = getattr(part, "_diffusers_hook", None)
    children = [hooks, *(getattr(m, "_diffusers_hook", None) for m in part.modules())]
    return any(h is not None and "group_offloading" in getattr(h, "hooks", {}) for h in children)

"""Where the parts of a foundation model lie while it runs: chosen from the memory that is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from recam.configs import Placement
from recam.types import RecamError

GB = 1e9


@dataclass(frozen=True)
class Need:
    """Gigabytes on the computing device, predicted, not measured.

    transformer, vae: weights at 16 bits. transformer_work, vae_work: what a pass needs beside them.
    block: weights of the largest transformer block.
    """

    transformer: float
    transformer_work: float
    vae: float
    vae_work: float
    block: float

    def of(self, placement: Placement) -> float:
        """Peak on the device: the parts run one after the other, so their work never adds up."""
        work = max(self.transformer_work, self.vae_work)
        vae_alone = self.vae + self.vae_work
        match placement:
            case "resident":
                return self.transformer + self.vae + work
            case "swap":
                return max(self.transformer + self.transformer_work, vae_alone)
            case "fp8":
                return max(self.transformer / 2 + self.block + self.transformer_work, vae_alone)
            case "stream":
                return max(2 * self.block + self.transformer_work, vae_alone)
            case _:
                raise ValueError(f"placement {placement!r} has no need of its own")


ORDER: tuple[Placement, ...] = ("resident", "swap", "fp8", "stream")
"""From the fastest to the smallest."""
EXPLAINED = {
    "resident": "all parts stay on the device",
    "swap": "one part on the device at a time",
    "fp8": "transformer's linear weights kept at 8 bits, one part on the device at a time",
    "stream": "transformer's blocks copied to the device as they run",
}


def choose_placement(need: Need, free_gb: float, wanted: Placement, on_cpu: bool) -> Placement:
    """The fastest placement that fits into free_gb, or the wanted one where one is named.

    On the CPU only ``resident`` and ``fp8`` differ. Raises RecamError, saying what would fit, when
    nothing does.
    """
    if wanted != "auto":
        if on_cpu and wanted == "stream":
            raise RecamError("placement stream copies blocks to a GPU; there is none here")
        return wanted
    choices = ("resident", "fp8") if on_cpu else ORDER
    for placement in choices:
        if need.of(placement) <= free_gb:
            return placement
    smallest = need.of(choices[-1])
    raise RecamError(
        f"this model needs about {smallest:.0f} GB even with placement {choices[-1]} "
        f"({EXPLAINED[choices[-1]]}); {free_gb:.1f} GB are free. A smaller model would fit: "
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
    """The torch device of a name; auto is the GPU if there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise RecamError(f"no CUDA device here for {wanted!r}; use --model-device cpu or auto")
    device = torch.device(wanted)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def place_transformer(
    transformer: Any, placement: Placement, device: torch.device, dtype: torch.dtype
) -> None:
    """Prepare a transformer for its placement; ``on_device`` then moves what has to move."""
    if placement == "fp8":
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    elif placement == "stream":
        transformer.enable_group_offload(
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=True,
        )
    if placement == "resident":
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

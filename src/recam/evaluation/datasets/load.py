"""The data sets by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from recam.evaluation.configs import Protocol
from recam.evaluation.datasets.caliscope import caliscope_samples
from recam.evaluation.datasets.dycheck import dycheck_samples
from recam.evaluation.datasets.gcd import kubric_samples, pardom_samples
from recam.evaluation.datasets.nvidia import nvidia_samples
from recam.evaluation.datasets.sample import EvaluationSample
from recam.evaluation.datasets.still import (
    dl3dv_samples,
    re10k_samples,
    tanks_and_temples_samples,
)
from recam.evaluation.datasets.videos import davis_samples, folder_samples

Dataset = Literal[
    "dycheck", "kubric-4d", "pardom-4d", "nvidia", "tanks-and-temples", "re10k", "dl3dv", "davis",
    "folder", "caliscope",
]  # fmt: skip


def load_samples(
    dataset: Dataset, folder: str | Path, protocol: Protocol = "own"
) -> Iterator[EvaluationSample]:
    """The samples of a data set, one after the other.

    protocol: its own, or CogNVS's for the three sets that it evaluates (ValueError for others).
    Each set's own function has further choices (sizes, views, subsets). Cameras are read when a
    sample is reached, pictures when they are asked for. Raises RecamError for what is missing in
    the folder, ValueError for what does not follow the data set's conventions.
    """
    path = Path(folder)
    if protocol == "cognvs" and dataset not in ("dycheck", "kubric-4d", "pardom-4d"):
        raise ValueError(f"CogNVS's evaluation has no protocol for {dataset}")
    match dataset:
        case "dycheck":
            return dycheck_samples(path, protocol=protocol)
        case "kubric-4d":
            return kubric_samples(path, protocol=protocol)
        case "pardom-4d":
            return pardom_samples(path, protocol=protocol)
        case "nvidia":
            return nvidia_samples(path)
        case "tanks-and-temples":
            return tanks_and_temples_samples(path)
        case "re10k":
            return re10k_samples(path)
        case "dl3dv":
            return dl3dv_samples(path)
        case "davis":
            return davis_samples(path)
        case "folder":
            return folder_samples(path)
        case "caliscope":
            return caliscope_samples(path)
    raise ValueError(f"unknown data set {dataset!r}; expected one of {', '.join(Dataset.__args__)}")

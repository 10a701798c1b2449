"""The field's data sets, read from where a user has them, as one kind of sample.

What each layout is, and how each protocol differs from the published ones: docs/evaluation.md.
"""

from recam.evaluation.configs import Protocol
from recam.evaluation.datasets.caliscope import caliscope_samples
from recam.evaluation.datasets.dycheck import dycheck_samples
from recam.evaluation.datasets.gcd import kubric_samples, pardom_samples
from recam.evaluation.datasets.load import Dataset, load_samples
from recam.evaluation.datasets.nvidia import nvidia_samples
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.evaluation.datasets.still import (
    dl3dv_samples,
    re10k_samples,
    tanks_and_temples_samples,
)
from recam.evaluation.datasets.videos import davis_samples, folder_samples

__all__ = [
    "Dataset",
    "EvaluationSample",
    "Protocol",
    "TargetView",
    "caliscope_samples",
    "davis_samples",
    "dl3dv_samples",
    "dycheck_samples",
    "folder_samples",
    "kubric_samples",
    "load_samples",
    "nvidia_samples",
    "pardom_samples",
    "re10k_samples",
    "tanks_and_temples_samples",
]

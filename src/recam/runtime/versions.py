"""What a result depends on beside its options."""

from __future__ import annotations

from importlib.metadata import version

PACKAGES = ("recam", "torch", "numpy", "scipy", "numba", "av", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Versions of recam and of what its results depend on."""
    return {name: version(name) for name in PACKAGES}

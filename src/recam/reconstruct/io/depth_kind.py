"""What depth values mean that do not say it themselves: depth or inverse, of which unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from recam.arrays import F32
from recam.configs import DepthKind
from recam.reconstruct.io.raw_depth import RawDepth

UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "km": 1000.0, "in": 0.0254, "ft": 0.3048}
_NEAR_ZERO = 0.03
"""Times the median that values are close to zero. Depth does not get there: it would be a thing at
the lens; inverse depth does, in what is far."""
_MANY = 0.003
_SWAPPED = -0.3
_MIN_POINTS = 1000


@dataclass(frozen=True)
class DepthOptions:
    """What a depth file does not say of itself.

    kind: depth, inverse (1 / depth), or auto: by names, and refused where it could be either.
    unit: metres of a 1 (``UNITS``, a number, or a fraction like 1/5000); None: as usual for the
        file.
    range: depths that the ends of the values of a film or of 8-bit pictures stand for.
    """

    kind: DepthKind = "auto"
    unit: str | None = None
    range: tuple[float, float] | None = None


AS_THE_FILE_SAYS = DepthOptions()


def metres_per_value(unit: str) -> float:
    """Of a unit's name, a number or a fraction. Raises ValueError for anything else."""
    text = unit.strip().lower()
    try:
        top, _, bottom = text.partition("/")
        metres = UNITS[text] if text in UNITS else float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"the depth unit is {unit!r}; expected {', '.join(UNITS)}, or how many metres a 1 is, "
            "such as 0.0002 or 1/5000"
        ) from error
    if not (math.isfinite(metres) and metres > 0):
        raise ValueError(f"the depth unit is {unit!r}; expected more than 0 metres")
    return metres


def interpreted(raw: RawDepth, options: DepthOptions) -> RawDepth:
    """With the user's kind and unit. Raises ValueError where the values could be depth or its
    inverse, and for a unit of inverse depth."""
    if options.kind != "auto":
        raw = replace(raw, inverse=options.kind == "inverse", anonymous=False)
    if options.unit is not None:
        if raw.inverse:
            raise ValueError(f"{raw.name}: inverse depth has no length; leave --depth-unit out")
        raw = replace(
            raw, unit=metres_per_value(options.unit), metric=True,
            notes=(f"depth in units of {options.unit}",),
        )  # fmt: skip
    elif raw.anonymous and not raw.inverse:
        _require_told_apart(raw)
    return raw


def _require_told_apart(raw: RawDepth) -> None:
    frames = raw.maps[:: -(-len(raw.maps) // 8)].astype(np.float32)
    values = frames[np.isfinite(frames)]
    if not len(values) or float(values.max()) <= 0:
        return  # nothing usable; told elsewhere
    positive = values[values > 0]
    near_zero = float((positive < _NEAR_ZERO * np.median(positive)).mean())
    normalised = float(values.max()) == 1.0 and float(values.min()) == 0.0
    if normalised or near_zero > _MANY:
        why = "runs from 0 to 1" if normalised else "comes down to 0 without a step"
        raise ValueError(
            f"{raw.name}: {why}, as relative inverse depth (disparity) does, in which large is "
            "near; say which: --depth-kind inverse, or --depth-kind depth"
        )


def check_near_and_far(given: F32, measured: F32, name: str) -> None:
    """Compares given inverse depth [n] with what the cameras' parallax measures at the same pixels.

    Raises ValueError where near and far are swapped: as when disparity is called depth.
    """
    if len(given) < _MIN_POINTS:
        return
    from scipy.stats import spearmanr  # half a second of imports, for few

    step = -(-len(given) // 20_000)
    agreement = float(spearmanr(given[::step], measured[::step]).statistic)
    if agreement < _SWAPPED:
        raise ValueError(
            f"{name}: near and far are swapped against the cameras' parallax (rank correlation "
            f"{agreement:.2f}); give --depth-kind inverse if large values are near, else depth"
        )

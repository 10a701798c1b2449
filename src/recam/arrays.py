"""Short names for numpy arrays; shapes are in the docstrings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
"""Pictures."""
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
"""Labels."""
I64 = NDArray[np.int64]
"""Indices."""
Mask = NDArray[np.bool_]
"""True where its name says."""

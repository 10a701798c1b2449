"""What a device computes in."""

from __future__ import annotations

import torch


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16, or float32 on a CPU without units for it, which would emulate it some thirty times
    more slowly."""
    return torch.bfloat16 if device.type != "cpu" or _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch without oneDNN
        return False

"""A GPU that is only pretended: tensors made or moved "there" stay where they are, but are marked,
and work that a real GPU would refuse, since it mixes places, is refused here too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

INDEXING = {"torch.Tensor.__getitem__", "torch.Tensor.__setitem__"}
"""May take an index from the host."""


def on_gpu(tensor: Tensor) -> bool:
    return getattr(tensor, "_on_pretended_gpu", False)


class PretendedGpu(TorchFunctionMode):
    """While it is entered, device "cuda" works; raises RuntimeError where host and GPU meet."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = resolve_name(func) or getattr(func, "__name__", "")
        tensors = list(_tensors((args, kwargs)))
        there = any(on_gpu(t) for t in tensors)
        if name.endswith("device.__get__"):
            return torch.device("cuda" if there else "cpu")
        if name.endswith("is_cuda.__get__"):
            return there
        if name == "torch.Tensor.cpu":
            return _marked(func(*args).clone(), False)
        if name == "torch.Tensor.to":
            there, args = _destination(args, kwargs)
            return _marked(func(*args, **kwargs | {"copy": True}), there)
        if kwargs.get("device") is not None:  # made there
            there = torch.device(kwargs["device"]).type == "cuda"
            return _marked(func(*args, **kwargs | {"device": "cpu"}), there)
        if there and name in ("torch.Tensor.numpy", "torch.Tensor.__array__"):
            raise RuntimeError(f"{name} of a tensor on the GPU")
        strangers = [t for t in tensors if t.ndim > 0 and not on_gpu(t)]
        if there and strangers and not (name in INDEXING and on_gpu(tensors[0])):
            raise RuntimeError(f"{name} of a GPU tensor and one on the host {strangers[0].shape}")
        out = func(*args, **kwargs)
        return _marked(out, True) if there else out


def _destination(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, tuple[Any, ...]]:
    """Where ``Tensor.to`` is asked to go, and its arguments without that."""
    there, left = on_gpu(args[0]), [args[0]]
    for value in (*args[1:], kwargs.pop("device", None)):
        if isinstance(value, str | torch.device):
            there = torch.device(value).type == "cuda"
        elif isinstance(value, Tensor):
            there = on_gpu(value)
            left.append(value.dtype)
        elif value is not None:
            left.append(value)
    return there, tuple(left)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors(one)


def _marked(value: Any, there: bool) -> Any:
    for tensor in _tensors(value):
        tensor._on_pretended_gpu = there  # type: ignore[attr-defined]
    return value

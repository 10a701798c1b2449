"""Known tokens computed once for several passes, by models that take a time of its own per token.

Evidence is the same at every step, but what a block makes of it looks at the noisy tokens around it
and so changes with them. Between two whole passes the keys and values of known tokens are those of
the last whole one; only the tokens of holes are computed, and attend to all. Of the first block the
kept ones are exact where the evidence carries no noise; of the others they are as old as the pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recam.completion.foundation.speedups import blocks_of
from recam.types import RecamError

PER_TOKEN = ("hidden_states", "temb", "rotary_emb", "image_rotary_emb")
"""Arguments of a block that have an entry for every token, along dimension 1."""


class KnownTokens:
    """Keys and values of known tokens, by prompt and block.

    hole: bool [tokens], what is computed at every pass. every: of so many passes one is whole.
    """

    def __init__(self, hole: Tensor, every: int) -> None:
        self.hole, self.every = hole.nonzero()[:, 0], every
        self.known = (~hole).nonzero()[:, 0]
        self.total = len(hole)
        self.is_whole = True
        self.kept: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self.at = ("", 0)
        self.is_next = False  # whether the next attention is a block's own

    def begin_step(self, step: int) -> None:
        """Before the passes of a step: whether they are whole ones."""
        self.is_whole = step % self.every == 0

    @contextmanager
    def passing(self, prompt: str) -> Iterator[None]:
        """Around the pass of one prompt."""
        self.at = (prompt, 0)
        with _Attention(self):
            yield

    @contextmanager
    def hooked(self, transformer: Any) -> Iterator[None]:
        """Around all passes of a clip."""
        blocks = blocks_of(transformer)
        names = list(inspect.signature(type(blocks[0]).forward).parameters)[1:]
        hooks = [blocks[-1].register_forward_hook(self._after)]
        for i, block in enumerate(blocks):

            def before(_: Any, args: Any, named: Any, i: int = i) -> Any:
                return (), self._before(i, {**dict(zip(names, args)), **named})

            hooks.append(block.register_forward_pre_hook(before, with_kwargs=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self.kept.clear()

    def _before(self, block: int, given: dict[str, Any]) -> dict[str, Any]:
        if block:
            self._require_seen()
        self.at, self.is_next = (self.at[0], block), True
        if self.is_whole:
            return given
        first = block == 0  # later ones are handed the hole's tokens
        for name in PER_TOKEN if first else PER_TOKEN[1:]:
            if name in given:
                given[name] = self._of_hole(given[name])
        return given

    def _of_hole(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._of_hole(part) for part in value)
        return value[:, self.hole] if value.shape[1] == self.total else value

    def _require_seen(self) -> None:
        if self.is_next:
            raise RecamError(
                "--keep-known needs torch's own attention; another backend is set in diffusers "
                "(DIFFUSERS_ATTN_BACKEND)"
            )

    def _after(self, _: Any, __: Any, output: Tensor) -> Tensor:
        self._require_seen()
        if self.is_whole:
            return output
        whole = output.new_zeros(output.shape[0], self.total, output.shape[2])
        return whole.index_copy(1, self.hole, output)

    def attend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values [b, heads, n, c] that a block's own attention looks at."""
        self.is_next = False
        if self.is_whole:
            self.kept[self.at] = (key[:, :, self.known], value[:, :, self.known])
            return key, value
        known_key, known_value = self.kept[self.at]
        return torch.cat([known_key, key], 2), torch.cat([known_value, value], 2)


class _Attention(TorchFunctionMode):
    """Gives the first attention of every block, which is that among its own tokens, what was kept.
    Whichever of diffusers' processors calls it."""

    def __init__(self, tokens: KnownTokens) -> None:
        super().__init__()
        self.tokens = tokens

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is torch.nn.functional.scaled_dot_product_attention and self.tokens.is_next:
            named |= dict(zip(("query", "key", "value"), args))
            args = args[3:]
            named["key"], named["value"] = self.tokens.attend(named["key"], named["value"])
        return func(*args, **named)

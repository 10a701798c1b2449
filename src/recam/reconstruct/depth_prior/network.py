"""The small network that guesses depth from one picture, and its weights.

The encoder is an ImageNet classifier (EfficientNet-Lite0), which knows what real pictures look
like; a few transformer blocks at its coarsest features put the whole picture together; a decoder
goes back to half the picture's size with the encoder's features beside it, and the last step to
full size mixes neighbours by weights that it reads off the picture (convex upsampling, RAFT, Teed
and Deng 2020), so that edges stay sharp. Where a pixel lies in the picture is given to the
transformer: much of what a single picture says about depth is its layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recam.reconstruct.depth_prior.efficientnet import CHANNELS, EfficientNetLite0
from recam.runtime.files import short_reason
from recam.runtime.tensors import load_tensors, read_config, read_metadata, require_format
from recam.types import RecamError

FORMAT = "recam depth network 2"
SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "depth.safetensors"
"""Where the package keeps the weights that come with it."""
BOUNDS = {"widths": (1, 4096), "attention": (0, 128), "heads": (1, 128)}
"""Of the numbers in a weight file's config."""
STRIDE = 16
"""Height and width of what the network sees are multiples of this."""


@dataclass(frozen=True)
class DepthNetConfig:
    """widths: channels of the decoder at a half, a quarter, an eighth, a sixteenth and a
    thirty-second of the picture's size. attention: transformer blocks at the last."""

    widths: tuple[int, int, int, int, int] = (24, 40, 64, 96, 192)
    attention: int = 2
    heads: int = 4


class Prediction(NamedTuple):
    """What the network says about pictures [b, 3, h, w], all float32.

    log_inverse [b, h, w]: log of inverse depth, of an arbitrary scale. log_error [b, h, w]: log of
    its expected absolute error. log_focal, log_focal_error [b]: log of the focal length over the
    longer side, and log of its expected absolute error.
    """

    log_inverse: Tensor
    log_error: Tensor
    log_focal: Tensor
    log_focal_error: Tensor


def _draw(weight: Tensor) -> None:
    """A start at random; none on "meta", where torch would load its compiler for it (2 s)."""
    if not weight.is_meta:
        nn.init.kaiming_normal_(weight, nonlinearity="linear")


class _Residual(nn.Module):
    """x + two 3×3 convolutions of x, normalised; begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _draw(self.first.weight)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(self.norm(x))))


class _Attention(nn.Module):
    """A transformer block over all tokens [b, n, c] of a picture."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        last = nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), last)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm_a(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Few tokens: plain products are several times faster than the fused kernel on a CPU.
        seen = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1).to(v.dtype) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(self.norm_b(x))


class DepthNet(nn.Module):
    """frames float [b, 3, h, w] in [0, 1] -> Prediction; h and w are multiples of STRIDE."""

    def __init__(self, config: DepthNetConfig = DepthNetConfig()) -> None:
        super().__init__()
        self.config = config
        self.encoder = EfficientNetLite0()
        widths = config.widths
        self.laterals = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(CHANNELS, widths))
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        deep, half = widths[-1], widths[0]
        self.joins = nn.ModuleList(_Residual(w) for w in widths[1:])
        self.join_half = nn.Conv2d(half, half, 3, padding=1)
        self.place = nn.Linear(2, deep)
        self.attention = nn.ModuleList(
            _Attention(deep, config.heads) for _ in range(config.attention)
        )
        self.focal = nn.Sequential(nn.LayerNorm(deep), nn.Linear(deep, 64), nn.GELU())
        self.focal_head = nn.Linear(64, 2)
        self.head = nn.Conv2d(half, 2, 3, padding=1)
        self.upsample = nn.Sequential(nn.Conv2d(half + 12, 16, 3, padding=1), nn.ReLU())
        self.upsample_head = nn.Conv2d(16, 36, 1)
        # Signals keep their size through every layer: by torch's usual start, what comes from the
        # deepest level would be a hundredth of what comes from the first, and be learned last.
        for conv in (*self.laterals, *self.ups, self.join_half):
            _draw(conv.weight)
        for last in (self.focal_head, self.head, self.upsample_head):
            nn.init.zeros_(last.weight)
            if last.bias is not None:
                nn.init.zeros_(last.bias)

    def forward(self, frames: Tensor) -> Prediction:
        """See the class. Raises ValueError for frames of another shape."""
        b, channels, h, w = frames.shape
        if channels != 3 or h % STRIDE or w % STRIDE or not (b and h and w):
            raise ValueError(
                f"DepthNet got frames {list(frames.shape)}; expected [b, 3, h, w] with height and "
                f"width multiples of {STRIDE}"
            )
        frames = frames.contiguous(memory_format=torch.channels_last)
        skips = [take(x) for take, x in zip(self.laterals, self.encoder(frames))]
        x, focal = self._whole_picture(skips.pop(), w / h)
        joins: list[Callable[[Tensor], Tensor]] = [*reversed(self.joins[:-1]), self._join_half]
        for up, join in zip(reversed(self.ups), joins):
            skip = skips.pop()
            x = F.interpolate(up(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = join(x + skip)
        out = self._full_size(x, frames)
        return Prediction(out[:, 0], out[:, 1], focal[:, 0], focal[:, 1])

    def _join_half(self, x: Tensor) -> Tensor:
        return F.relu(self.join_half(F.relu(x)))

    def _whole_picture(self, x: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
        b, c, h, w = x.shape
        place = self.place(_places(h, w, aspect, x).flatten(2).transpose(1, 2))
        tokens = x.flatten(2).transpose(1, 2) + place
        for block in self.attention:
            tokens = block(tokens)
        focal = self.focal_head(self.focal(tokens).mean(1))
        x = tokens.transpose(1, 2).reshape(b, c, h, w)
        return self.joins[-1](x.contiguous(memory_format=torch.channels_last)), focal

    def _full_size(self, x: Tensor, frames: Tensor) -> Tensor:
        """Depth and its error [b, 2, h, w]: each pixel a mean of the nine at half size around it,
        by weights that are read off the features and the picture."""
        b, _, h, w = x.shape
        coarse = self.head(x)
        pixels = F.pixel_unshuffle(4 * (frames - 0.45), 2)
        weights = self.upsample_head(self.upsample(torch.cat([x, pixels], 1)))
        weights = weights.view(b, 1, 9, 4, h, w).softmax(2)
        around = F.unfold(F.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3)
        fine = (around.view(b, 2, 9, 1, h, w) * weights).sum(2)
        return F.pixel_shuffle(fine.reshape(b, 8, h, w), 2)


def _places(h: int, w: int, aspect: float, like: Tensor) -> Tensor:
    """[1, 2, h, w]: x and y of pixel centres from the middle, in halves of the longer side."""
    y = ((torch.arange(h, device=like.device) + 0.5) / h * 2 - 1) / max(aspect, 1.0)
    x = ((torch.arange(w, device=like.device) + 0.5) / w * 2 - 1) * min(aspect, 1.0)
    grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)])
    return grid[None].to(like.dtype)


def load_depth_net(path: Path, device: str = "cpu") -> DepthNet:
    """The network that ``save_depth_net`` wrote, float32, ready to look at pictures.

    Raises RecamError when the file is missing, damaged or of another kind.
    """
    if not path.exists():
        raise RecamError(f"{path}: no such file; this package came without a depth network")
    metadata = read_metadata(path)
    require_format(path, metadata, FORMAT)
    config = read_config(path, metadata, DepthNetConfig, BOUNDS)
    tensors = {name: tensor.float() for name, tensor in load_tensors(path, device).items()}
    with torch.device("meta"):  # no time spent on a start that is replaced at once
        model = DepthNet(config)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = short_reason(error)
        raise RecamError(f"{path}: does not fit this version's network ({reason})") from error
    model = model.eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

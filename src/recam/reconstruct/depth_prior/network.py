"""The small network that guesses depth from one picture, and its weights.

A convolutional encoder down to a sixteenth of the picture, a few transformer blocks there for what
only the whole picture tells, and a decoder back to full size with the encoder's features beside it.
Where a pixel lies in the picture is given as two more channels: much of what a single picture says
about depth is its layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recam.runtime.tensors import load_tensors, read_config, read_metadata, require_format
from recam.types import RecamError

FORMAT = "recam depth network 1"
SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "depth.safetensors"
"""Where the package keeps the weights that come with it."""
BOUNDS = {"widths": (1, 4096), "blocks": (0, 64), "attention": (0, 128), "heads": (1, 128)}
"""Of the numbers in a weight file's config."""
STRIDE = 16
"""Height and width of what the network sees are multiples of this."""


@dataclass(frozen=True)
class DepthNetConfig:
    """widths: channels at a half, a quarter, an eighth and a sixteenth of the picture's size.
    blocks: residual blocks at the last three. attention: transformer blocks at the last."""

    widths: tuple[int, int, int, int] = (24, 40, 80, 160)
    blocks: tuple[int, int, int] = (1, 2, 3)
    attention: int = 4
    heads: int = 4


class _Residual(nn.Module):
    """x + two 3×3 convolutions of x, normalised; begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
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
    """frames float [b, 3, h, w] in [0, 1] -> (log of inverse depth, log of its expected error),
    both float32 [b, h, w]. The inverse depth has an arbitrary scale; h and w are multiples of
    STRIDE."""

    def __init__(self, config: DepthNetConfig = DepthNetConfig()) -> None:
        super().__init__()
        self.config = config
        half, *wide = config.widths
        self.full = nn.Conv2d(5, 16, 3, padding=1)
        self.stem = nn.Conv2d(5, half, 3, 2, 1)
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(config.widths[:-1], wide)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Residual(w) for _ in range(n))) for w, n in zip(wide, config.blocks)
        )
        deep = wide[-1]
        self.place = nn.Linear(2, deep)
        self.attention = nn.ModuleList(
            _Attention(deep, config.heads) for _ in range(config.attention)
        )
        self.mix = _Residual(deep)
        self.ups = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(config.widths[:0:-1], config.widths[-2::-1])
        )
        self.joins = nn.ModuleList(_Residual(w) for w in config.widths[-2::-1])
        self.up_full = nn.Conv2d(half, 16, 1)
        self.join_full = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 2, 3, padding=1)
        assert self.head.bias is not None
        # Signals keep their size through every layer: by torch's usual start, what comes from the
        # deepest level would be a hundredth of what comes from the first, and be learned last.
        through = (self.full, self.stem, *self.downs, *self.ups, self.up_full, self.join_full)
        for conv in through:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
        for block in self.modules():
            if isinstance(block, _Residual):
                nn.init.kaiming_normal_(block.first.weight, nonlinearity="linear")
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See the class. Raises ValueError for frames of another shape."""
        b, channels, h, w = frames.shape
        if channels != 3 or h % STRIDE or w % STRIDE or not (b and h and w):
            raise ValueError(
                f"DepthNet got frames {list(frames.shape)}; expected [b, 3, h, w] with height and "
                f"width multiples of {STRIDE}"
            )
        place = _places(h, w, frames)
        x = torch.cat([4 * (frames - 0.45), place.expand(b, 2, h, w)], 1)
        x = x.contiguous(memory_format=torch.channels_last)
        fine = F.relu(self.full(x))
        x = F.relu(self.stem(x))
        skips = [x]
        for down, stage in zip(self.downs, self.stages):
            x = stage(down(x))
            skips.append(x)
        x = self._whole_picture(skips.pop())
        for up, join in zip(self.ups, self.joins):
            x = F.interpolate(up(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = join(x + skips.pop())
        x = F.interpolate(self.up_full(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = F.relu(self.join_full(F.relu(x + fine)))
        # In bf16 a log of inverse depth of 3 has steps of 0.016: terraces.
        with torch.autocast(x.device.type, enabled=False):
            out = self.head(x.float())
        return out[:, 0], out[:, 1]

    def _whole_picture(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        place = self.place(_places(h, w, x).flatten(2).transpose(1, 2))
        tokens = x.flatten(2).transpose(1, 2) + place
        for block in self.attention:
            tokens = block(tokens)
        x = tokens.transpose(1, 2).reshape(b, c, h, w)
        return self.mix(x.contiguous(memory_format=torch.channels_last))


def _places(h: int, w: int, like: Tensor) -> Tensor:
    """[1, 2, h, w]: x and y of pixel centres from the middle, in halves of the longer side."""
    scale = 2 / max(h, w)
    y = (torch.arange(h, device=like.device) + 0.5 - h / 2) * scale
    x = (torch.arange(w, device=like.device) + 0.5 - w / 2) * scale
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
        raise RecamError(f"{path}: does not fit this version's network ({error})") from error
    model = model.eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

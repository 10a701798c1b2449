"""EfficientNet-Lite features (Tan and Le 2019; the Lite variant has neither squeeze-and-excitation
nor swish, so that it runs well without a GPU).

Batch normalization is folded into the convolutions: what is left are convolutions with biases,
clipped at 0 and 6.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    # repeats, kernel, stride, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""The published layout of EfficientNet-B0 and Lite0."""
STEM = 32
CHANNELS = (16, 24, 40, 112, 320)
"""Of the features at a half, a quarter, an eighth, a sixteenth and a thirty-second of the size."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By which ImageNet classifiers expect pictures in [0, 1] to be normalised."""


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": what is left over goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] == pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, self.stride, pads[0], 1, self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project (MobileNetV2, Sandler et al. 2018)."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        deep = width * expansion
        self.expand = SameConv2d(width, deep, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv2d(deep, deep, kernel, stride, groups=deep)
        self.project = SameConv2d(deep, out, 1)
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if isinstance(self.expand, nn.Identity) else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Pictures [b, 3, h, w] in [0, 1] -> the features of CHANNELS, finest first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, STEM, 3, 2)
        stages, width = [], STEM
        for repeats, kernel, stride, expansion, out in STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(
                    InvertedResidual(width, out, kernel, stride if i == 0 else 1, expansion)
                )
                width = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, frames: Tensor) -> list[Tensor]:
        mean, std = (frames.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        x = F.relu6(self.stem((frames - mean) / std))
        features = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in (0, 1, 2, 4, 6):
                features.append(x)
        return features

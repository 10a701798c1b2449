"""EXR pictures of depth and masks: read back exactly, here and by OpenEXR."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recam.media import write_exr
from recam.reconstruct.io.exr import read_exr


def pictures() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    smooth = torch.linspace(1, 9, 37).repeat(50, 1)  # 50 lines: three chunks and a part of one
    return {
        "depth": smooth + 1e-3 * torch.rand(50, 37, generator=generator),
        "noise": torch.randn(50, 37, generator=generator) * 1e6,  # does not pack
        "flat": torch.zeros(1, 1),
        "half": smooth.half(),
        "mask": smooth > 4,
    }


@pytest.mark.parametrize("name", pictures())
def test_there_and_back(name: str, tmp_path: Path) -> None:
    values = pictures()[name]
    path = tmp_path / "a.exr"
    write_exr(path, values, "Z")
    np.testing.assert_array_equal(read_exr(path.read_bytes(), "a"), values.float().numpy())
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    with openexr.File(str(path)) as file:
        np.testing.assert_array_equal(file.channels()["Z"].pixels, values.float().numpy())


def test_what_is_no_picture(tmp_path: Path) -> None:
    for values in (torch.zeros(2, 3, 4), torch.zeros(0, 3), torch.zeros(2, 3, dtype=torch.int32)):
        with pytest.raises(ValueError, match="expected float32"):
            write_exr(tmp_path / "a.exr", values, "Z")
    assert not list(tmp_path.iterdir())

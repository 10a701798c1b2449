"""Textures tile, differ by seed, look like photographs in their spectrum; look-ups are exact."""

import pytest
import torch

from recam.synthetic.atlas import build_atlas, sample_atlas
from recam.synthetic.textures import SIZE, TEXTURE_KINDS, TextureSpec, texture

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", TEXTURE_KINDS)
def test_textures_tile(kind: str) -> None:
    image = texture(TextureSpec(kind, 1))  # type: ignore[arg-type]
    assert image.shape == (3, SIZE, SIZE) and image.dtype == torch.float32
    assert float(image.min()) > 0 and float(image.max()) < 1
    assert torch.equal(image, texture(TextureSpec(kind, 1)))  # type: ignore[arg-type]
    assert not torch.equal(image, texture(TextureSpec(kind, 2)))  # type: ignore[arg-type]
    # The step over the border is no larger than the largest step inside.
    for dim in (1, 2):
        step = (image.roll(-1, dim) - image).abs().mean((0, 3 - dim))
        assert float(step[-1]) <= float(step[:-1].max()) * 1.5 + 0.02


@pytest.mark.parametrize("kind", ["concrete", "rock", "grass", "dirt", "bark"])
def test_spectrum_falls_like_that_of_photographs(kind: str) -> None:
    image = texture(TextureSpec(kind, 3)).mean(0)  # type: ignore[arg-type]
    power = torch.fft.rfft2(image - image.mean()).abs().square()
    fv = torch.fft.fftfreq(SIZE)[:, None] * SIZE
    radius = (fv**2 + (torch.fft.rfftfreq(SIZE)[None] * SIZE) ** 2).sqrt()
    bands = [(4, 8), (8, 16), (16, 32), (32, 64)]
    mean = [power[(radius >= a) & (radius < b)].mean().log2() for a, b in bands]
    slope = float((mean[-1] - mean[0]) / 3)  # powers of two of power per octave
    assert -3.2 < slope < -0.3  # amplitude from 1/f^0.15 to 1/f^1.6
    assert float(image.std() / image.mean()) > 0.08


def test_look_ups_return_texels_and_wrap() -> None:
    specs = (TextureSpec("brick", 0), TextureSpec("grass", 0))
    atlas = build_atlas(specs, CPU)
    column, row = torch.tensor([0, 5, 255, 100]), torch.tensor([0, 77, 255, 3])
    u, v = (column + 0.5) / SIZE, (row + 0.5) / SIZE
    for number, spec in enumerate(specs):
        index = torch.full((4,), float(number))
        got = sample_atlas(atlas, index, u, v, torch.full((4,), -3.0))
        expected = texture(spec)[:, row, column]
        assert torch.allclose(got.sqrt(), expected.sqrt(), atol=0.6 / 255)
        again = sample_atlas(atlas, index, u + 3, v - 2, torch.zeros(4))
        assert torch.allclose(got, again, atol=1e-3)
        # Halfway over the border lies the mean of both sides.
        edge = sample_atlas(atlas, index[:1], torch.zeros(1), v[1:2], torch.zeros(1))
        sides = texture(spec)[:, 77, [0, -1]].sqrt().mean(1)
        assert torch.allclose(edge[:, 0].sqrt(), sides, atol=1.5 / 255)


def test_coarse_levels_average() -> None:
    atlas = build_atlas((TextureSpec("tiles", 1),), CPU)
    flat = torch.rand(2, 50)
    coarse = sample_atlas(atlas, torch.zeros(50), flat[0], flat[1], torch.full((50,), 20.0))
    fine = sample_atlas(atlas, torch.zeros(50), flat[0], flat[1], torch.zeros(50))
    assert float(coarse.std(1).mean()) < 0.5 * float(fine.std(1).mean())
    whole = texture(TextureSpec("tiles", 1)).mean((1, 2))
    assert torch.allclose(coarse.mean(1), whole, rtol=0.15)


def test_an_empty_atlas_is_refused() -> None:
    with pytest.raises(ValueError, match="no textures"):
        build_atlas((), CPU)

"""Masks of every kind: labels, alpha, one for all, for some frames, of other sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from media_samples import encode_film, moving_frames
from recam.media import MediaWarning, read_mask
from recam.types import SourcePart

H, W = 24, 32
PALETTE = [
    0,
    0,
    0,
    128,
    0,
    0,
    0,
    128,
    0,
    128,
    128,
    0,
    0,
    0,
    128,
    128,
    0,
    128,
    0,
    128,
    128,
    128,
    128,
    128,
]


def thing(left: int = 8) -> np.ndarray:
    """uint8 [H, W]: 1 where a box is."""
    mask = np.zeros((H, W), np.uint8)
    mask[6:18, left : left + 8] = 1
    return mask


def labels(path: Path, indices: np.ndarray) -> Path:
    image = Image.fromarray(indices, "P")
    image.putpalette(PALETTE + [224, 224, 192] * (256 - len(PALETTE) // 3))
    image.save(path)
    return path


def read_one(path: Path, **more) -> np.ndarray:
    return read_mask(path, 1, H, W, **more)[0].numpy()


def test_davis_labels(tmp_path: Path) -> None:
    one, two = thing(2), thing(20)
    path = labels(tmp_path / "m.png", one + 7 * two)
    assert np.array_equal(read_one(path), (one | two).astype(np.float32))
    assert np.array_equal(read_one(path, label=7), two.astype(np.float32))
    assert np.array_equal(read_one(path, label=1), one.astype(np.float32))
    with pytest.raises(ValueError, match=r"no thing of index 3; it has \[0, 1, 7\]"):
        read_one(path, label=3)
    assert np.array_equal(read_one(labels(tmp_path / "one.png", one)), one.astype(np.float32))
    void = one.copy()
    void[0] = 255
    assert read_one(labels(tmp_path / "void.png", void))[0].max() == 0


def test_labels_as_colours_and_as_16_bits(tmp_path: Path) -> None:
    one = thing()
    rgb = np.zeros((H, W, 3), np.uint8)
    rgb[one > 0] = (200, 30, 30)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(one.astype(np.uint16) * 3).save(tmp_path / "deep.png")
    Image.fromarray(one.astype(np.uint16) * 65535).save(tmp_path / "white.png")
    for name in ("rgb.png", "deep.png", "white.png"):
        assert np.array_equal(read_one(tmp_path / name), one.astype(np.float32)), name


@pytest.mark.parametrize("most", [1, 2])
def test_small_greys_are_labels(most: int, tmp_path: Path) -> None:
    """0 and 1 of a mask saved as numbers, 0 1 2 of two things: not black, and said."""
    one, two = thing(2), thing(20)
    values = (one + (most * two).astype(np.uint8)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "m.png")
    with pytest.warns(MediaWarning, match=f"nowhere brighter than {most} of 255, taken as indic"):
        read = read_one(tmp_path / "m.png")
    assert np.array_equal(read, (one | two).astype(np.float32))
    # What JPEG leaves of black stays black.
    Image.fromarray(values).save(tmp_path / "m.jpg", quality=95)
    assert read_one(tmp_path / "m.jpg").max() == 0


def test_grey_palettes_are_brightness(tmp_path: Path) -> None:
    grey = Image.fromarray(thing() * 255).convert("P")
    grey.save(tmp_path / "m.png")
    assert np.array_equal(read_one(tmp_path / "m.png"), thing().astype(np.float32))


def test_alpha_is_the_mask(tmp_path: Path) -> None:
    picture = moving_frames(1, H, W)[0].transpose(1, 2, 0)
    for suffix in ("png", "webp", "tif"):
        rgba = np.dstack([picture, thing() * 255])
        Image.fromarray(rgba).save(tmp_path / f"m.{suffix}")
        assert np.array_equal(read_one(tmp_path / f"m.{suffix}"), thing().astype(np.float32))
        erased = np.dstack([picture, 255 - thing() * 255])
        Image.fromarray(erased).save(tmp_path / f"e.{suffix}")
        assert np.array_equal(read_one(tmp_path / f"e.{suffix}"), 1 - thing().astype(np.float32))
    opaque = np.dstack([np.repeat(thing()[..., None] * 255, 3, 2), np.full((H, W), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "o.png")
    assert np.array_equal(read_one(tmp_path / "o.png"), thing().astype(np.float32))


def test_a_colour_picture_is_no_mask(tmp_path: Path) -> None:
    frames = np.stack([moving_frames(1, 64, 96)[0]] * 2)
    Image.fromarray(frames[0].transpose(1, 2, 0)).save(tmp_path / "p.png")
    film = encode_film(tmp_path / "f.mp4", frames)
    for path in (tmp_path / "p.png", film):
        with pytest.raises(ValueError, match="a colour picture, not a mask"):
            read_mask(path, 2, 64, 96)
    with pytest.raises(ValueError, match="holds no labels"):
        read_mask(tmp_path / "p.png", 2, 64, 96, label=1)


def test_masks_for_some_frames(tmp_path: Path) -> None:
    for frame in (0, 2, 5):
        labels(tmp_path / f"{frame:05d}.png", thing(4 * frame))
    pictures = tuple(f"{i:05d}.jpg" for i in range(6))
    for part in (SourcePart("x", pictures, None, 6), SourcePart("c.mp4", None, None, 6)):
        with pytest.warns(MediaWarning, match="masks for 3 frames only; frame 1 and 2 others"):
            mask = read_mask(tmp_path, 6, H, W, part=part).numpy()
        for frame, nearest in enumerate((0, 0, 2, 2, 5, 5)):
            assert np.array_equal(mask[frame], thing(4 * nearest)), frame
    some = SourcePart("x", pictures, torch.tensor([2, 5]), 6)
    mask = read_mask(tmp_path, 2, H, W, part=some).numpy()
    assert np.array_equal(mask[1], thing(20))
    with pytest.raises(ValueError, match="3 for a video of 6 frames"):
        read_mask(tmp_path, 6, H, W, part=SourcePart("x", tuple(f"shot{i}a.jpg" for i in range(6))))


def test_more_masks_than_the_source_has_frames(tmp_path: Path) -> None:
    for frame in range(9):
        labels(tmp_path / f"{frame}.png", thing())
    part = SourcePart("clip.mp4", None, torch.arange(4), 6)
    with pytest.raises(ValueError, match=r"9 for a video of 4 frames \(of 6\)"):
        read_mask(tmp_path, 4, H, W, part=part)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    path = labels(tmp_path / "m.png", thing())
    assert read_mask(path, 1, 2 * H, 2 * W, resize=True).sum() == 4 * thing().sum()
    with pytest.raises(ValueError, match="another shape"):
        read_mask(path, 1, W, H, resize=True)


def test_shared_masks(shared_data: Path) -> None:
    folder = shared_data / "inputs" / "masks"
    for name in ("davis_one_thing.png", "davis_things_1_and_7.png"):
        mask = read_mask(folder / name, 6, 48, 64)
        index = np.asarray(Image.open(folder / name))
        assert np.array_equal(mask[3].numpy(), (index > 0).astype(np.float32))
    for name in ("picture_whose_alpha_is_the_thing.png", "picture_with_the_thing_erased.png"):
        alpha = np.asarray(Image.open(folder / name))[..., 3]
        assert np.array_equal(read_mask(folder / name, 1, 48, 64)[0].numpy(), alpha / 255)

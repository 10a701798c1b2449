"""Depth as people bring it: units, disparity by another name, hidden files, one photo, films."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from input_cameras import write_claims
from media_samples import encode_film
from recam.reconstruct import read_depth
from recam.reconstruct.io.depth_kind import DepthOptions, check_near_and_far, metres_per_value
from recam.types import RecamError, SourcePart

N, H, W = 6, 48, 64
FLOOR = np.repeat(np.linspace(8, 2, H, dtype=np.float32)[:, None], W, 1)
"""8 m in the top row, 2 m in the bottom row."""


def millimetres(folder: Path, name: str = "{:03d}.png", scale: float = 1000, num: int = N) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(num):
        image = Image.fromarray(np.rint(FLOOR * scale).astype(np.uint16))
        image.save(folder / name.format(i), format="TIFF" if "tif" in name.lower() else "PNG")
    return folder


def assert_floor(source, atol: float = 2e-3) -> None:
    np.testing.assert_allclose(
        source.depth.numpy(), np.tile(FLOOR, (len(source.depth), 1, 1)), atol=atol
    )


@pytest.mark.parametrize("name", ["{:03d}.png", "{:03d}.PNG", "d{}.tif", "frame-{:06d}.depth.png"])
def test_depth_pictures_are_read_as_picture_folders_are(tmp_path: Path, name: str) -> None:
    folder = millimetres(tmp_path / "d", name)
    (folder / ("._" + name.format(0))).write_bytes(b"\0\5\x16\7" + bytes(60))
    if "depth" in name:
        for i in range(N):
            Image.new("RGB", (W, H)).save(folder / f"frame-{i:06d}.color.png")
    source = read_depth(folder, N, H, W)
    assert_floor(source)
    assert source.metric


def test_several_series_of_depth_are_refused(tmp_path: Path) -> None:
    folder = millimetres(tmp_path / "d", "left{}.png")
    millimetres(folder, "right{}.png")
    with pytest.raises(ValueError, match=r"left0\.png and right0\.png; expected one series"):
        read_depth(folder, N, H, W)


@pytest.mark.parametrize(
    ("unit", "scale"), [("1/5000", 5000), ("0.0002", 5000), ("cm", 100), ("mm", 1000)]
)
def test_units(tmp_path: Path, unit: str, scale: float) -> None:
    folder = millimetres(tmp_path / "d", scale=scale)
    source = read_depth(folder, N, H, W, options=DepthOptions(unit=unit))
    assert_floor(source, 6e-3)
    assert source.metric
    np.save(tmp_path / "d.npy", np.tile(FLOOR * scale, (N, 1, 1)))
    assert_floor(read_depth(tmp_path / "d.npy", N, H, W, options=DepthOptions(unit=unit)))


def test_units_that_are_none() -> None:
    assert metres_per_value("ft") == 0.3048
    for unit in ("", "parsec", "0", "-1", "nan", "1/0", "inf", "1/2/3"):
        with pytest.raises(ValueError, match="the depth unit is"):
            metres_per_value(unit)


def test_one_map_for_one_photo(tmp_path: Path) -> None:
    millimetres(tmp_path, "photo_depth.png", num=1)
    np.save(tmp_path / "photo_depth.npy", FLOOR)
    np.savez(tmp_path / "photo_depth.npz", depth=FLOOR)
    Image.fromarray(FLOOR).save(tmp_path / "photo_depth.tiff")
    for suffix in ("png", "npy", "npz", "tiff"):
        assert_floor(read_depth(tmp_path / f"photo_depth.{suffix}", 1, H, W))
        with pytest.raises(ValueError, match="1 for a video of 6 frames"):
            read_depth(tmp_path / f"photo_depth.{suffix}", N, H, W)
    larger = read_depth(tmp_path / "photo_depth.npy", 1, 2 * H, 2 * W)
    assert larger.depth.shape == (1, 2 * H, 2 * W) and float(larger.depth.max()) < 8.01


def test_pfm(tmp_path: Path) -> None:
    """Rows from the bottom up, little-endian floats."""
    (tmp_path / "d.pfm").write_bytes(
        f"Pf\n{W} {H}\n-1.0\n".encode() + FLOOR[::-1].astype("<f4").tobytes()
    )
    assert_floor(read_depth(tmp_path / "d.pfm", 1, H, W))


@pytest.mark.parametrize("top", [1.0, 20.0])
def test_disparity_called_depth_is_told(tmp_path: Path, top: float) -> None:
    """Near is large, far is zero."""
    inverse = 1 / FLOOR - 1 / 8
    stack = np.tile(inverse * top / inverse.max(), (N, 1, 1))
    np.savez(tmp_path / "d.npz", depth=stack)
    np.save(tmp_path / "d.npy", stack.astype(np.float16))
    for name in ("d.npz", "d.npy"):
        with pytest.raises(
            ValueError, match=r"say which: --depth-kind inverse, or --depth-kind depth"
        ):
            read_depth(tmp_path / name, N, H, W)
        near = read_depth(tmp_path / name, N, H, W, options=DepthOptions("inverse"))
        assert near.depth[0, -1, 0] < near.depth[0, H // 2, 0]
        far = read_depth(tmp_path / name, N, H, W, options=DepthOptions("depth"))
        assert far.depth[0, -1, 0] > far.depth[0, H // 2, 0]


def test_real_depth_is_not_asked_about(tmp_path: Path) -> None:
    """Missing values are zeros beside a step; noise and far things do not matter."""
    rng = np.random.default_rng(0)
    depth = np.tile(FLOOR, (N, 1, 1)) * rng.uniform(0.95, 1.05, (N, H, W)).astype(np.float32)
    depth[:, 10:20, 10:30] = 0
    depth[:, :3] = 900
    np.save(tmp_path / "d.npy", depth)
    source = read_depth(tmp_path / "d.npy", N, H, W)
    assert not source.valid[:, 10:20, 10:30].any() and source.metric is None


def test_parallax_tells_near_from_far() -> None:
    rng = np.random.default_rng(0)
    measured = rng.uniform(0.1, 1, 5000).astype(np.float32)
    noisy = measured * rng.uniform(0.7, 1.4, 5000).astype(np.float32)
    check_near_and_far(noisy, measured, "d.npy")
    check_near_and_far(1 / noisy[:900], measured[:900], "d.npy")  # too few to say
    with pytest.raises(ValueError, match=r"d\.npy: near and far are swapped against the cameras'"):
        check_near_and_far(1 / noisy, measured, "d.npy")


def test_films_and_8_bits_need_a_range(tmp_path: Path) -> None:
    share = ((1 / FLOOR - 1 / 8) / (1 / 2 - 1 / 8) * 255).round().astype(np.uint8)
    frames = np.tile(share, (N, 3, 1, 1))
    film = encode_film(tmp_path / "d.mp4", frames, options={"crf": "0"}, pixel_format="yuv444p")
    Image.fromarray(share).save(tmp_path / "d.png")
    options = DepthOptions("inverse", range=(2, 8))
    assert_floor(read_depth(film, N, H, W, options=options), 0.25)
    assert_floor(read_depth(tmp_path / "d.png", 1, H, W, options=options), 0.05)
    for path in (film, tmp_path / "d.png"):
        with pytest.raises(ValueError, match="--depth-range"):
            read_depth(path, N, H, W)
        with pytest.raises(ValueError, match="expected 0 < NEAR < FAR"):
            read_depth(path, N, H, W, options=DepthOptions("inverse", range=(8, 2)))
    colour = np.zeros((N, 3, H, W), np.uint8)
    colour[:, 0], colour[:, 2] = share, 255 - share
    with pytest.raises(ValueError, match="a colour picture"):
        read_depth(encode_film(tmp_path / "c.mp4", colour), N, H, W, options=options)


def test_more_maps_than_the_source_has_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.tile(FLOOR, (9, 1, 1)))
    part = SourcePart("clip.mp4", None, torch.arange(4), N)
    with pytest.raises(ValueError, match=r"9 for a video of 4 frames \(of 6\)"):
        read_depth(tmp_path / "d.npy", 4, H, W, part)


def test_depth_anything_3_brings_its_cameras(tmp_path: Path) -> None:
    w2c = np.tile(np.eye(4)[:3], (N, 1, 1))
    k = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    np.savez(
        tmp_path / "d.npz",
        depth=np.tile(FLOOR, (N, 1, 1)),
        extrinsics=w2c,
        intrinsics=np.tile(k, (N, 1, 1)),
    )
    source = read_depth(tmp_path / "d.npz", N, H, W)
    assert_floor(source)
    assert source.cameras is not None and source.cameras.intrinsics[0].tolist() == k.tolist()


# --- hostile files -----------------------------------------------------------------------------


def test_shapes_are_looked_at_before_values(tmp_path: Path) -> None:
    write_claims(tmp_path / "bomb.npz", {"depth": (N, 8000, 8000)})
    with pytest.raises(ValueError, match=r"bomb\.npz: depth says that it has the shape.*1536 MB"):
        read_depth(tmp_path / "bomb.npz", N, H, W)
    write_claims(tmp_path / "d.npz", {"unasked": (50_000, 50_000)}, depth=np.tile(FLOOR, (N, 1, 1)))
    assert_floor(read_depth(tmp_path / "d.npz", N, H, W))
    for shape in ((0, H, W), (N, 0, W), (N, H, 0)):
        np.savez(tmp_path / "zero.npz", depth=np.zeros(shape, np.float32))
        with pytest.raises(ValueError, match=r"depth of shape \[.*0"):
            read_depth(tmp_path / "zero.npz", N, H, W)


def test_an_exr_that_claims_too_much(tmp_path: Path) -> None:
    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return f"{name}\0{kind}\0".encode() + struct.pack("<I", len(value)) + value

    def exr(width: int, height: int, channels: int) -> bytes:
        listed = b"".join(
            f"c{i}".encode() + b"\0" + struct.pack("<4I", 2, 0, 1, 1) for i in range(channels)
        )
        head = struct.pack("<II", 20000630, 2) + attribute("channels", "chlist", listed + b"\0")
        window = struct.pack("<4i", 0, 0, width - 1, height - 1)
        return (
            head
            + attribute("compression", "compression", b"\3")
            + attribute("dataWindow", "box2i", window)
            + bytes(9999)
        )

    (tmp_path / "large.exr").write_bytes(exr(60000, 60000, 1))
    with pytest.raises(RecamError, match=r"large\.exr is 60000×60000"):
        read_depth(tmp_path / "large.exr", 1, H, W)
    (tmp_path / "many.exr").write_bytes(
        exr(60000, 2, 500).replace(b"c0\0", b"Z\0\0"[:2] + b"\0", 1)
    )
    with pytest.raises(ValueError, match=r"many\.exr"):
        read_depth(tmp_path / "many.exr", 1, H, W)


def test_damaged_and_encrypted_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", depth=np.tile(FLOOR, (N, 1, 1)))
    data = bytearray((tmp_path / "d.npz").read_bytes())
    for at in (data.index(b"PK\1\2") + 8, 6):
        data[at] |= 1  # says that it is encrypted
    (tmp_path / "e.npz").write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"e\.npz"):
        read_depth(tmp_path / "e.npz", N, H, W)
    with zipfile.ZipFile(tmp_path / "v.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.exr", bytes(1_000_000))
    data = bytearray((tmp_path / "v.zip").read_bytes())
    for head, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # where each says how large it is
        where = data.index(head) + at
        data[where : where + 4] = struct.pack("<I", 600_000_000)
    (tmp_path / "v.zip").write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"0\.exr says that it is 600 MB"):
        read_depth(tmp_path / "v.zip", 1, H, W)


def test_shared_depth(shared_data: Path) -> None:
    folder = shared_data / "inputs" / "depth_pictures"
    for name in ("apple_double", "upper_case"):
        assert_floor(read_depth(folder / name, N, H, W))
    assert_floor(read_depth(folder / "tum_5000", N, H, W, options=DepthOptions(unit="1/5000")))
    for name in ("photo_depth.png", "photo_depth.npy"):
        assert_floor(read_depth(folder / name, 1, H, W))
    for name in ("clip.npz", "clip_depths.npz"):
        with pytest.raises(ValueError, match="--depth-kind"):
            read_depth(shared_data / "inputs" / "disparity_called_depth" / name, N, H, W)

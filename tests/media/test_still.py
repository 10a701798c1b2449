"""Still pictures and animations of every kind that people bring (Pillow and pillow-heif)."""

from __future__ import annotations

import io
import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image

from media_samples import encode_film, moving_frames, psnr
from recam.media import MediaWarning, probe, read_image, read_video
from recam.media.isobmff import CleanAperture, item_properties
from recam.media.pictures import natural_key, pictures_at
from recam.types import RecamError

pillow_heif.register_heif_opener()
INPUTS = "inputs"


def corners(height: int = 32, width: int = 48) -> np.ndarray:
    """uint8 [h, w, 3] whose four quarters differ, so that every turn and mirror shows."""
    picture = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    picture[:h, :w], picture[:h, w:], picture[h:, :w] = (220, 30, 30), (30, 220, 30), (30, 30, 220)
    picture[h:, w:] = 200
    return picture


def shown(path: Path) -> np.ndarray:
    return read_image(path).numpy().transpose(1, 2, 0)


def exif_with(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


STORED = {  # how a camera held in each way stores the picture that is shown
    1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p, 1),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: lambda p: np.rot90(p, -1),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_every_format(tmp_path: Path, suffix: str, orientation: int) -> None:
    picture = corners()
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](picture)))
    path = tmp_path / f"p.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    options |= {"quality": 95} if suffix in {"jpg", "avif"} else {}
    stored.save(path, exif=exif_with(orientation), **options)
    assert psnr(shown(path), picture) > 25
    info = probe(path)
    assert (info.height, info.width) == picture.shape[:2]
    a, b, c, d = info.turn
    assert (a * d - b * c < 0) == (orientation in {2, 4, 5, 7})


def test_heic_is_upright_and_exif_does_not_turn_it_twice(tmp_path: Path) -> None:
    picture = corners(64, 96)
    Image.fromarray(picture).save(tmp_path / "p.heic", quality=95)
    assert psnr(shown(tmp_path / "p.heic"), picture) > 25
    (tmp_path / "p.jpg").write_bytes((tmp_path / "p.heic").read_bytes())  # named by a phone's app
    assert psnr(shown(tmp_path / "p.jpg"), picture) > 25


def icc_profile(primaries: np.ndarray, gamma: float, name: str) -> bytes:
    """A version 2 matrix profile: columns of ``primaries`` are red, green, blue in D50 XYZ."""

    def s15(values: Any) -> bytes:
        return b"".join(struct.pack(">i", round(float(v) * 65536)) for v in values)

    text = name.encode() + b"\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {
        b"desc": description, b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + s15([0.9642, 1.0, 0.8249]),
        b"rXYZ": b"XYZ " + bytes(4) + s15(primaries[:, 0]),
        b"gXYZ": b"XYZ " + bytes(4) + s15(primaries[:, 1]),
        b"bXYZ": b"XYZ " + bytes(4) + s15(primaries[:, 2]),
    }  # fmt: skip
    for channel in (b"r", b"g", b"b"):
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
        tags[channel + b"TRC"] = curve
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for key, value in tags.items():
        value += bytes(-len(value) % 4)
        table += key + struct.pack(">II", at + len(body), len(value))
        body += value
    head = bytearray(128)
    head[8:12], head[12:24] = b"\x02\x10\0\0", b"mntrRGB XYZ "
    head[36:40] = b"acsp"
    head[68:80] = s15([0.9642, 1.0, 0.8249])
    whole = bytes(head) + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


SRGB_D50 = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif", "heic"])
def test_colour_profiles_become_srgb(tmp_path: Path, suffix: str) -> None:
    """sRGB's primaries at gamma 1.8: grey 0.5 becomes srgb(0.5 ** 1.8), hand-computed 146."""
    profile = icc_profile(SRGB_D50, 1.8, "gamma 1.8")
    grey = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    grey.save(tmp_path / f"p.{suffix}", icc_profile=profile)
    linear = (128 / 255) ** 1.8
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(shown(tmp_path / f"p.{suffix}").astype(float) - expected).max() < 2.5
    assert any("colour profile (gamma 1.8)" in n for n in probe(tmp_path / f"p.{suffix}").notes)


def test_swapped_primaries_show_that_the_matrix_is_used(tmp_path: Path) -> None:
    swapped = icc_profile(SRGB_D50[:, [1, 0, 2]], 2.2, "red is green")
    red = Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    red.save(tmp_path / "p.png", icc_profile=swapped)
    assert np.abs(shown(tmp_path / "p.png")[0, 0].astype(int) - [0, 255, 0]).max() <= 3


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 300])
def test_broken_side_data_stops_nothing(tmp_path: Path, profile: bytes) -> None:
    picture = corners()
    Image.fromarray(picture).save(
        tmp_path / "p.png", icc_profile=profile, exif=b"Exif\0\0II*\0garb"
    )
    assert np.array_equal(shown(tmp_path / "p.png"), picture)
    assert any("colour profile cannot be used" in n for n in probe(tmp_path / "p.png").notes)


@pytest.mark.parametrize("maxval", [1, 15, 255, 1023, 4095, 65535])
def test_white_is_white_at_any_depth(tmp_path: Path, maxval: int) -> None:
    values = np.linspace(0, maxval, 64).round().astype(np.uint16)
    pixels = values.astype(">u2").tobytes() if maxval > 255 else values.astype(np.uint8).tobytes()
    (tmp_path / "p.pgm").write_bytes(f"P5\n# ramp\n64 1\n{maxval}\n".encode() + pixels)
    expected = np.rint(values / maxval * 255)
    assert np.abs(shown(tmp_path / "p.pgm")[0, :, 0] - expected).max() <= 1
    assert shown(tmp_path / "p.pgm").max() == 255 and shown(tmp_path / "p.pgm").min() == 0


@pytest.mark.parametrize("bits", [8, 10])
def test_avif_of_more_than_8_bits(tmp_path: Path, bits: int) -> None:
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("this PyAV encodes no AV1")
    frames = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, None, None], 64, 2)
    frames = np.repeat(frames, 3, 1)
    kind = "yuv420p10le" if bits == 10 else "yuv420p"
    path = encode_film(tmp_path / "p.avif", frames, "libsvtav1", kind, options={"crf": "10"})
    assert psnr(shown(path), frames[0].transpose(1, 2, 0)) > 34


def test_every_mode_of_colour(tmp_path: Path) -> None:
    rgb = corners(16, 16)
    image = Image.fromarray(rgb)
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    image.quantize(16).save(tmp_path / "palette.png")
    image.quantize(16).save(tmp_path / "palette.tif")
    for name in ("cmyk.tif", "cmyk.jpg", "palette.png", "palette.tif"):
        assert np.abs(shown(tmp_path / name).astype(int) - rgb).mean() < 6, name
    image.convert("1").save(tmp_path / "bits.png")
    assert set(np.unique(shown(tmp_path / "bits.png"))) == {0, 255}
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8] = 0
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "rgba.tif")
    image.convert("LA").save(tmp_path / "la.png")
    image.quantize(8).save(tmp_path / "pa.png")
    for name in ("rgba.tif", "la.png", "pa.png"):
        assert shown(tmp_path / name)[:8].max() == 0 and shown(tmp_path / name)[8:].max() > 150
        assert probe(tmp_path / name).has_alpha, name


def test_planar_tiff(tmp_path: Path) -> None:
    """4×4, PlanarConfiguration 2: three planes behind each other."""
    planes = np.arange(48, dtype=np.uint8).reshape(3, 4, 4) * 5
    data_at = 8 + 2 + 12 * 10 + 4 + 36
    extra = data_at - 36
    strips = [data_at + 16 * k for k in range(3)]
    fields = [
        (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 3, extra), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 3, extra + 8), (277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 3, extra + 20),
        (284, 3, 1, 2),
    ]  # fmt: skip
    body = b"II*\0" + struct.pack("<IH", 8, len(fields))
    for tag, kind, count, value in fields:
        body += struct.pack("<HHII", tag, kind, count, value)
    body += struct.pack("<I", 0) + struct.pack("<4H", 8, 8, 8, 0)
    body += struct.pack("<3I", *strips) + struct.pack("<3I", 16, 16, 16) + bytes(4)
    (tmp_path / "p.tif").write_bytes(body + planes.tobytes())
    assert np.array_equal(read_image(tmp_path / "p.tif").numpy(), planes)


def test_separate_planes_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow reads them in the wrong order."""
    fields = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 3, 134),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, 142),
        (277, 3, 1, 3),
        (278, 3, 1, 1),
        (279, 4, 3, 154),
        (284, 3, 1, 2),
    ]
    body = b"II*\0" + struct.pack("<IH", 8, len(fields))
    body += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    body += struct.pack("<4H", 16, 16, 16, 0) + struct.pack("<6I", 166, 168, 170, 2, 2, 2)
    (tmp_path / "p.tif").write_bytes(body + bytes(6))
    with pytest.raises(RecamError, match="separate planes of 16 bits"):
        read_image(tmp_path / "p.tif")


def test_deep_colours(tmp_path: Path) -> None:
    values = np.array([[[0, 512, 1023]]], ">u2")
    (tmp_path / "p.ppm").write_bytes(b"P6\n1 1\n1023\n" + values.tobytes())
    assert shown(tmp_path / "p.ppm").tolist() == [[[0, 128, 255]]]
    assert probe(tmp_path / "p.ppm").notes == ["10-bit reduced to 8-bit"]
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(RecamError, match=r"f\.tif: it holds float32 values"):
        read_image(tmp_path / "f.tif")


def test_a_tag_behind_the_pixels(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(corners()).save(data, "PNG")
    exif = exif_with(6).removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    (tmp_path / "p.png").write_bytes(data.getvalue()[:-12] + chunk + data.getvalue()[-12:])
    assert np.array_equal(shown(tmp_path / "p.png"), np.rot90(corners(), -1))
    assert probe(tmp_path / "p.png").rotation_deg == 90


# --- animations --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_animations_are_films(tmp_path: Path, suffix: str) -> None:
    frames = moving_frames(5, 32, 48)
    images = [Image.fromarray(f.transpose(1, 2, 0)) for f in frames]
    delays = [100, 50, 200, 100, 100]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=delays, **options)
    info, video = probe(path), read_video(path)
    assert info.kind == "animation" and info.num_frames == len(video) == 5
    assert video.times_s.tolist() == pytest.approx([0, 0.1, 0.15, 0.35, 0.45])
    assert info.duration_s == pytest.approx(0.55)
    assert all(psnr(a, b) > 22 for a, b in zip(video.frames.numpy(), frames))
    part = read_video(path, start=1, stride=2, num_frames=2)
    assert torch.equal(part.frames, video.frames[[1, 3]])
    assert part.times_s.tolist() == pytest.approx([0.1, 0.35])
    with pytest.raises(ValueError, match="cannot be read from frame 7"):
        read_video(path, start=7)


def test_still_for_old_programs_is_no_moment(tmp_path: Path) -> None:
    frames = [Image.fromarray(f.transpose(1, 2, 0)) for f in moving_frames(3, 16, 16)]
    still = Image.new("RGB", (16, 16), "red")
    still.save(tmp_path / "a.png", save_all=True, append_images=frames, default_image=True)
    video = read_video(tmp_path / "a.png")
    assert len(video) == probe(tmp_path / "a.png").num_frames == 3
    assert np.array_equal(video.frames[0].numpy().transpose(1, 2, 0), np.asarray(frames[0]))


def test_cut_animations_are_noticed(tmp_path: Path) -> None:
    frames = [Image.fromarray(f.transpose(1, 2, 0)) for f in moving_frames(8, 48, 64)]
    for suffix in ("gif", "png", "webp"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * 0.7)])
        if suffix == "webp":  # which says how long it is, and is not opened at all
            with pytest.raises(RecamError, match=r"a\.webp"):
                read_video(path)
            continue
        with pytest.warns(MediaWarning, match=f"a.{suffix}.*missing"):
            assert 1 < len(read_video(path)) < 8


def test_pictures_with_more_behind_them_are_one_picture(tmp_path: Path) -> None:
    picture = corners()
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=95)
    film = encode_film(tmp_path / "f.mp4", moving_frames(3, 48, 64)).read_bytes()
    (tmp_path / "motion.jpg").write_bytes(jpeg.getvalue() + film)
    Image.fromarray(picture).save(
        tmp_path / "stereo.mpo", append_images=[Image.fromarray(picture[::-1])], save_all=True
    )
    (tmp_path / "stereo.jpg").write_bytes((tmp_path / "stereo.mpo").read_bytes())
    for name in ("motion.jpg", "stereo.jpg"):
        assert probe(tmp_path / name).kind == "picture"
        assert psnr(shown(tmp_path / name), picture) > 25
    pages = [Image.fromarray(picture), Image.fromarray(picture[::-1])]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert "the first of its 2 pictures" in probe(tmp_path / "pages.tif").notes


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    picture = corners()
    Image.fromarray(picture).save(tmp_path / "p.webp", lossless=True)
    (tmp_path / "p.jpg").write_bytes((tmp_path / "p.webp").read_bytes())
    (tmp_path / "p").write_bytes((tmp_path / "p.webp").read_bytes())
    Image.fromarray(picture).save(tmp_path / "q.jpg")
    (tmp_path / "q.jfif").write_bytes((tmp_path / "q.jpg").read_bytes())
    for name in ("p.jpg", "p", "q.jfif"):
        assert len(read_video(tmp_path / name)) == 1
    film = encode_film(tmp_path / "f.mp4", moving_frames(3, 48, 64))
    (tmp_path / "f.jpg").write_bytes(film.read_bytes())
    assert probe(tmp_path / "f.jpg").kind == "film"


def test_raw_files_are_refused(tmp_path: Path) -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[50706] = b"\x01\x04\0\0"
    tags.tagtype[50706] = 1
    Image.fromarray(corners()).save(tmp_path / "p.tif", tiffinfo=tags)
    with pytest.raises(RecamError, match="raw file; develop it"):
        read_image(tmp_path / "p.tif")


# --- what AVIF and HEIF say of their main picture ----------------------------------------------


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def test_clean_aperture_and_colours_are_read(tmp_path: Path) -> None:
    clap = box(b"clap", struct.pack(">IIIIiIiI", 40, 1, 20, 1, 2, 1, -1, 1))
    colr = box(b"colr", b"nclx" + struct.pack(">HHHB", 9, 16, 9, 128))
    ipma = box(b"ipma", bytes(4) + struct.pack(">IHB", 1, 7, 3) + bytes([1, 0x82, 3]))
    iprp = box(b"iprp", box(b"ipco", clap + colr + box(b"irot", b"\x01")) + ipma)
    meta = box(b"meta", bytes(4) + box(b"pitm", bytes(4) + struct.pack(">H", 7)) + iprp)
    (tmp_path / "p.avif").write_bytes(box(b"ftyp", b"avif" + bytes(4)) + meta)
    found = item_properties(tmp_path / "p.avif")
    assert (found.primaries, found.transfer, found.quarter_turns) == (9, 16, 1)
    # 40×20 of 64×48, its middle 2 to the right and 1 up: from x 14 to 54, from y 13 to 33.
    assert found.clean_aperture == CleanAperture(40, 20, 2, -1)
    assert found.clean_aperture.window(64, 48) == (14, 13, 54, 33)
    for cut in range(0, len((tmp_path / "p.avif").read_bytes()), 7):
        (tmp_path / "cut.avif").write_bytes((tmp_path / "p.avif").read_bytes()[:cut])
        item_properties(tmp_path / "cut.avif")  # never raises


def with_property(data: bytes, prop: bytes) -> bytes:
    """An AVIF file with one more property of its only item; offsets to its data moved along."""
    assert data.count(b"ipco") == data.count(b"ipma") == data.count(b"iloc") == 1
    out = bytearray(data)
    at = data.index(b"ipma")
    count_at = at + 4 + 4 + 4 + 2  # version and flags, number of entries, item
    number = 0
    place = data.index(b"ipco") + 4
    end = data.index(b"ipco") - 4 + struct.unpack(">I", data[place - 8 : place - 4])[0]
    while place < end:
        place += struct.unpack(">I", data[place : place + 4])[0]
        number += 1
    out[count_at] += 1
    out[count_at + data[count_at] + 1 : count_at + data[count_at] + 1] = bytes(
        [0x80 | (number + 1)]
    )
    out[end:end] = prop
    grown = len(prop) + 1
    for kind, more in ((b"meta", grown), (b"iprp", grown), (b"ipco", len(prop)), (b"ipma", 1)):
        where = bytes(out).index(kind) - 4
        out[where : where + 4] = struct.pack(
            ">I", struct.unpack(">I", out[where : where + 4])[0] + more
        )
    iloc = bytes(out).index(b"iloc") + 4
    offset_at = iloc + 4 + 2 + 2 + 2 + 2 + 2  # sizes, count, item, reference, number of extents
    out[offset_at : offset_at + 4] = struct.pack(
        ">I", struct.unpack(">I", out[offset_at : offset_at + 4])[0] + grown
    )
    return bytes(out)


def test_cropped_avif(tmp_path: Path) -> None:
    picture = corners(48, 64)
    Image.fromarray(picture).save(tmp_path / "p.avif", quality=95)
    clap = box(b"clap", struct.pack(">IIIIiIiI", 40, 1, 20, 1, 2, 1, -1, 1))
    (tmp_path / "c.avif").write_bytes(with_property((tmp_path / "p.avif").read_bytes(), clap))
    assert psnr(shown(tmp_path / "c.avif"), picture[13:33, 14:54]) > 25
    assert any("cropped to 40×20" in n for n in probe(tmp_path / "c.avif").notes)


# --- folders -----------------------------------------------------------------------------------


def write_all(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)


def test_several_series_are_told_apart(tmp_path: Path) -> None:
    colour, depth = ([f"f-{i:03d}.{kind}.png" for i in range(3)] for kind in ("color", "depth"))
    write_all(tmp_path / "a", [*colour, *depth])
    with pytest.raises(RecamError, match=r"2 series of pictures.*3 like f-000\.color") as caught:
        read_video(tmp_path / "a")
    pattern = str(caught.value).split("'")[1]
    assert [f.name for f in pictures_at(Path(pattern)) or []] == colour
    write_all(tmp_path / "b", ["left1.png", "left2.png", "right1.jpg", "right2.jpg"])
    with pytest.raises(RecamError, match="2 series"):
        read_video(tmp_path / "b")


def test_odd_ones_out_are_left_out_and_told(tmp_path: Path) -> None:
    write_all(tmp_path / "a", ["1.png", "2.png", "10.png", "cover.png", "._1.png"])
    assert [f.name for f in pictures_at(tmp_path / "a") or []] == ["1.png", "2.png", "10.png"]
    assert probe(tmp_path / "a").notes == ["cover.png left out: not of the series of 1.png"]
    with pytest.warns(MediaWarning, match=r"cover\.png left out"):
        assert len(read_video(tmp_path / "a")) == 3
    write_all(tmp_path / "b", ["morning.png", "noon.png"])
    assert len(read_video(tmp_path / "b")) == 2
    write_all(tmp_path / "c", ["IMG_1.JPG", "img_2.jpeg", "IMG_3.jpg"])
    assert len(read_video(tmp_path / "c")) == 3


def test_a_dataset_says_where_its_pictures_are(tmp_path: Path) -> None:
    write_all(tmp_path / "images", ["1.png"])
    with pytest.raises(RecamError, match=r"its folder images does: give .*images"):
        read_video(tmp_path)


def test_odd_digits_are_no_numbers(tmp_path: Path) -> None:
    write_all(tmp_path / "a", ["²8.png", "٣.png", "7.png"])
    assert len(pictures_at(tmp_path / "a") or []) == 3
    assert natural_key(Path("²8")) < natural_key(Path("²9"))


# --- bounds ------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000)))


def test_size_is_looked_at_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.png").write_bytes(png_header(30000, 30000))
    for read in (read_image, read_video, probe):
        with pytest.raises(RecamError, match=r"p\.png is 30000×30000.*RECAM_MAX_PIXELS=900000000"):
            read(tmp_path / "p.png")
    Image.new("RGB", (60, 50)).save(tmp_path / "q.png")
    monkeypatch.setenv("RECAM_MAX_PIXELS", "2999")
    with pytest.raises(RecamError, match="60×50"):
        read_image(tmp_path / "q.png")
    monkeypatch.setenv("RECAM_MAX_PIXELS", "3000")
    assert read_image(tmp_path / "q.png").shape == (3, 50, 60)
    monkeypatch.delenv("RECAM_MAX_PIXELS")
    Image.new("RGB", (7000, 6000)).save(tmp_path / "w.webp", quality=0, method=0)
    with pytest.raises(RecamError, match="more than the 40 million"):
        read_image(tmp_path / "w.webp")
    monkeypatch.setenv("RECAM_MAX_PIXELS", "3000")
    film = encode_film(tmp_path / "f.mp4", moving_frames(2, 64, 64))
    with pytest.raises(RecamError, match="64×64"):
        read_video(film)


def test_a_header_that_lies(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(corners()).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 6000, 6000)
    (tmp_path / "p.jpg").write_bytes(bytes(data))
    with pytest.raises(RecamError, match="holds data for fewer"):
        read_image(tmp_path / "p.jpg")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "endless.png"):
        for read in (probe, read_video, read_image):
            with pytest.raises(RecamError, match=name):
                read(tmp_path / name)


# --- films that carry what PyAV has no name for, or no clock -----------------------------------


def test_exif_within_film(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "c.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for i, frame in enumerate(moving_frames(3, 48, 64)):
            data = io.BytesIO()
            image = Image.fromarray(frame.transpose(1, 2, 0))
            image.save(data, "JPEG", exif=exif_with(1), quality=95)
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts = stream, i, i
            packet.time_base = Fraction(1, 24)
            container.mux(packet)
    video = read_video(tmp_path / "c.avi")
    assert len(video) == 3 and psnr(video.frames.numpy(), moving_frames(3, 48, 64)) > 28


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_raw_streams_keep_their_own_clock(tmp_path: Path, fps: int) -> None:
    path = encode_film(tmp_path / "c.h264", moving_frames(6, 48, 64), fps=fps)
    info, video = probe(path), read_video(path)
    assert info.fps == pytest.approx(fps) and not any("variable" in n for n in info.notes)
    assert video.times_s.tolist() == pytest.approx([i / fps for i in range(6)], abs=1e-3)


# --- the shared inputs -------------------------------------------------------------------------


def test_shared_pictures(shared_data: Path) -> None:
    turned = shared_data / INPUTS / "turned_pictures"
    for suffix in ("png", "tif", "webp", "avif"):
        assert psnr(shown(turned / f"photo.{suffix}"), shown(turned / "right.png")) > 30, suffix
    tiles = shared_data / INPUTS / "heic_tiles"
    right = shown(tiles / "right.png")
    assert psnr(shown(tiles / "photo.heic"), right) > 40
    for name in ("photo90.heic", "photo_turned.heic"):
        assert shown(tiles / name).shape == (192, 128, 3)
        assert psnr(shown(tiles / name), np.rot90(right)) > 40
    deep = shared_data / INPUTS / "more_than_8_bits"
    for name in ("ramp_1023.pgm", "ramp_15.pgm", "ramp_4095.pgm", "ramp_10bit.avif"):
        assert shown(deep / name).max() == 255, name
    for name in ("clip.png", "clip.avif"):
        assert len(read_video(shared_data / INPUTS / "animations_read_as_one_picture" / name)) == 6
    exif = shared_data / INPUTS / "exif_in_what_ffmpeg_decodes"
    assert len(read_video(exif / "camera.avi")) == 6 and len(read_video(exif / "photo.jfif")) == 1
    raw = shared_data / INPUTS / "raw_stream_without_a_clock" / "camera.h264"
    assert probe(raw).fps == 30 and not any("variable" in note for note in probe(raw).notes)
    with pytest.raises(RecamError, match=r"2 series.*\*\.color\.png"):
        read_video(shared_data / INPUTS / "colour_and_depth_in_one_folder")

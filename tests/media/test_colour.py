"""Colour: matrices, ranges, round trips, HDR."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from media_samples import encode_film, moving_frames, psnr, yuv_frame
from recam.media import VideoWriter, probe, read_video, write_video
from recam.media.tonemap import (
    ToneMap,
    ToneMapper,
    compress_highlights,
    hlg_to_scene,
    linear_to_srgb,
    nits_to_pq,
    pq_to_nits,
    srgb_to_linear,
    tone_map_reference,
)
from recam.types import RecamError, video_from_frames

BT709, UNSPECIFIED, BT601_PAL, BT601_NTSC, BT2020 = 1, 2, 5, 6, 9
LIMITED, FULL = 1, 2
PQ, HLG, SDR = 16, 18, 1
LUMA = {BT709: (0.2126, 0.0722), BT2020: (0.2627, 0.0593)}
LUMA |= dict.fromkeys((UNSPECIFIED, BT601_PAL, BT601_NTSC), (0.299, 0.114))


def signal_to_yuv(rgb: np.ndarray, matrix: int, colour_range: int, bits: int) -> np.ndarray:
    """The standards' formulas: R'G'B' [..., 3] in [0, 1] to codes [..., 3]."""
    kr, kb = LUMA[matrix]
    y = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    u = (rgb[..., 2] - y) / (2 - 2 * kb)
    v = (rgb[..., 0] - y) / (2 - 2 * kr)
    unit = 2 ** (bits - 8)
    if colour_range == LIMITED:
        codes = np.stack([16 + 219 * y, 128 + 224 * u, 128 + 224 * v], -1) * unit
    else:
        top = 2**bits - 1
        codes = np.stack([top * y, 128 * unit + top * u, 128 * unit + top * v], -1)
    return np.rint(codes).clip(0, 2**bits - 1)


PATCHES = np.array(
    [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (0.8, 0.2, 0.2), (0.2, 0.7, 0.3), (0.2, 0.3, 0.9)]
)


def patch_film(
    path: Path, matrix: int, colour_range: int, pixel_format: str, transfer: int = SDR
) -> Path:
    """Flat patches 32 px wide with exactly the codes that a standard gives them, lossless."""
    bits = 10 if "10" in pixel_format else 8
    codes = signal_to_yuv(PATCHES, matrix, colour_range, bits)
    dtype = np.uint16 if bits > 8 else np.uint8
    luma, *chroma = (codes[:, i].repeat(32)[None].repeat(32, 0).astype(dtype) for i in range(3))
    if "420" in pixel_format:
        chroma = [plane[::2, ::2] for plane in chroma]
    frame = yuv_frame([luma, *chroma], pixel_format)
    primaries = BT2020 if matrix == BT2020 else BT709
    tags = (matrix, colour_range, transfer, primaries)
    return encode_film(path, [frame], "ffv1", pixel_format, tags=tags)


def patches_read(path: Path) -> np.ndarray:
    """The middle of each patch as read, [6, 3]."""
    frame = read_video(path).frames[0]
    return frame[:, 16, 16::32].T.numpy().astype(float)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT709, BT601_PAL, BT601_NTSC, UNSPECIFIED])
def test_matrix_and_range(
    tmp_path: Path, matrix: int, colour_range: int, pixel_format: str
) -> None:
    path = patch_film(tmp_path / "p.mkv", matrix, colour_range, pixel_format)
    assert patches_read(path) == pytest.approx(PATCHES * 255, abs=1.6)


def test_the_matrices_differ(tmp_path: Path) -> None:
    """So that the test above can fail: BT.709 codes read as BT.601 are visibly off."""
    path = patch_film(tmp_path / "p.mkv", BT709, LIMITED, "yuv420p")
    data = path.read_bytes()
    # Matroska's MatrixCoefficients element, 55B1 81 <value>.
    place = data.index(b"\x55\xb1\x81")
    path.write_bytes(data[: place + 3] + bytes([BT601_NTSC]) + data[place + 4 :])
    assert np.abs(patches_read(path) - PATCHES * 255).max() > 8


def test_unreadable_matrix_is_said(tmp_path: Path) -> None:
    path = patch_film(tmp_path / "p.mkv", BT709, LIMITED, "yuv420p")
    data = path.read_bytes()
    place = data.index(b"\x55\xb1\x81")
    path.write_bytes(data[: place + 3] + bytes([14]) + data[place + 4 :])
    with pytest.raises(RecamError, match=r"p\.mkv.*ICtCp"):
        read_video(path)


def test_untagged_hd_is_noted(tmp_path: Path) -> None:
    frames = moving_frames(1, 720, 1280)
    path = encode_film(tmp_path / "hd.mp4", frames)
    assert any("BT.601 taken" in note for note in probe(path).notes)


def test_round_trip_has_no_colour_shift(tmp_path: Path) -> None:
    frames = torch.from_numpy(moving_frames(8, 96, 128))
    path = tmp_path / "r.mp4"
    write_video(video_from_frames(frames), path, crf=4)
    back = read_video(path).frames
    shift = (back.double() - frames.double()).mean((0, 2, 3))
    assert shift.abs().max() < 0.25
    assert psnr(back, frames) > 42


def test_written_patches_keep_their_colour(tmp_path: Path) -> None:
    frame = np.rint(PATCHES.T * 255).astype(np.uint8).repeat(32, 1)[:, None].repeat(32, 1)
    with VideoWriter(tmp_path / "w.mp4", crf=0) as writer:
        writer.write(torch.from_numpy(frame))
    assert patches_read(tmp_path / "w.mp4") == pytest.approx(PATCHES * 255, abs=2.1)


def test_written_film_is_tagged(tmp_path: Path) -> None:
    write_video(video_from_frames(torch.from_numpy(moving_frames(2, 32, 32))), tmp_path / "t.mp4")
    with av.open(str(tmp_path / "t.mp4")) as container:
        frame = next(container.decode(video=0))
        tags = frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries
        assert [int(tag) for tag in tags] == [BT709, LIMITED, SDR, BT709]
        assert frame.format.name == "yuv420p"


# --- HDR ---------------------------------------------------------------------------------------


def test_curves() -> None:
    """Anchors given in the standards' own text."""
    assert float(nits_to_pq(np.array(100.0))) == pytest.approx(0.508, abs=1e-3)
    assert float(nits_to_pq(np.array(203.0))) == pytest.approx(0.581, abs=1e-3)
    assert float(pq_to_nits(np.array(1.0))) == pytest.approx(10000)
    assert float(hlg_to_scene(np.array(0.5))) == pytest.approx(1 / 12)
    assert float(hlg_to_scene(np.array(1.0))) == pytest.approx(1, abs=1e-6)
    # BT.2408: HLG's reference white, 75 % signal, is 203 cd/m² on a 1000 cd/m² display.
    assert 1000 * float(hlg_to_scene(np.array(0.75))) ** 1.2 == pytest.approx(203, abs=1)
    signal = np.linspace(0, 1, 1001)
    assert nits_to_pq(pq_to_nits(signal)) == pytest.approx(signal, abs=1e-6)  # PQ's black is 7e-7
    assert linear_to_srgb(srgb_to_linear(signal)) == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize("peak_nits", [150.0, 400.0, 1000.0, 4000.0])
def test_highlight_compression(peak_nits: float) -> None:
    nits = np.concatenate([[0.0], np.geomspace(0.01, peak_nits, 2000)])
    shown = compress_highlights(nits, peak_nits)
    assert np.all(np.diff(shown) >= -1e-9) and shown[0] == pytest.approx(0, abs=1e-6)
    assert shown[-1] == pytest.approx(min(peak_nits, 203.0), rel=1e-3)
    assert np.all(shown <= nits + 1e-6)
    dark = nits < 20
    assert shown[dark] == pytest.approx(nits[dark], abs=1e-6)
    assert compress_highlights(np.array([2 * peak_nits]), peak_nits) <= 203.001


@pytest.mark.parametrize(
    "tone_map",
    [
        ToneMap("pq", "bt2020", 1000.0),
        ToneMap("pq", "p3", 4000.0),
        ToneMap("pq", "bt2020", 150.0),
        ToneMap("hlg", "bt2020", 1000.0),
        ToneMap("sdr", "bt2020", 203.0),
        ToneMap("sdr", "p3", 203.0),
    ],
    ids=lambda t: f"{t.transfer}-{t.primaries}-{t.peak_nits:.0f}",
)
def test_fast_tone_mapping_agrees_with_the_reference(tone_map: ToneMap) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 65536, (3, 64, 512)).astype(np.uint16)
    colours[:, :32] = np.arange(0, 65536, 4, dtype=np.uint16).reshape(32, 512)
    fast = ToneMapper(tone_map)(*colours).astype(int)
    error = np.abs(fast - tone_map_reference(colours, tone_map))
    assert error.max() <= 1 and error.mean() < 0.01
    grey = fast[:, :32].reshape(3, -1)
    assert np.all(np.diff(grey[0]) >= 0)
    assert np.abs(grey - grey[0]).max() <= 1, "grey stays grey"


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_film(tmp_path: Path, transfer: int) -> None:
    path = patch_film(tmp_path / "h.mkv", BT2020, LIMITED, "yuv420p10le", transfer)
    info = probe(path)
    assert info.is_hdr and info.pixel_format == "yuv420p10le"
    assert any("tone-mapped" in note for note in info.notes)
    codes = np.rint(PATCHES.T * 65535).astype(np.uint16)[:, :, None]
    tone_map = ToneMap("pq" if transfer == PQ else "hlg", "bt2020", 1000.0)
    expected = tone_map_reference(codes, tone_map)[..., 0].T
    assert patches_read(path) == pytest.approx(expected.astype(float), abs=4)


def test_wide_gamut_without_hdr(tmp_path: Path) -> None:
    path = patch_film(tmp_path / "w.mkv", BT2020, LIMITED, "yuv420p10le", SDR)
    info = probe(path)
    assert not info.is_hdr and any("wide gamut" in note for note in info.notes)
    shown = patches_read(path)
    assert shown[:3] == pytest.approx(PATCHES[:3] * 255, abs=1.6)  # greys stay
    assert shown[3, 0] > 0.8 * 255 + 5 and shown[3, 1] < 0.2 * 255  # red is purer in BT.709's terms


def test_hdr_in_a_delivery_codec(tmp_path: Path) -> None:
    """10-bit HEVC with its tags in the stream, as phones write it."""
    frames = moving_frames(4, 96, 128)
    tags = (BT2020, LIMITED, HLG, BT2020)
    params = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:log-level=none"
    path = encode_film(
        tmp_path / "x.mp4", frames, "libx265", "yuv420p10le", tags=tags,
        options={"x265-params": params},
    )  # fmt: skip
    info = probe(path)
    assert info.is_hdr and info.codec == "hevc"
    assert read_video(path).frames.shape == frames.shape

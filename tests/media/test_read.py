import itertools
import subprocess
import sys
import textwrap
import warnings
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from media_samples import encode_film, encode_tone, moving_frames, psnr
from recam.media import (
    MediaWarning,
    iterate_frames,
    probe,
    read_image,
    read_mask,
    read_video,
    read_windows,
    write_image,
    write_video,
)
from recam.media import read as read_module
from recam.types import RecamError, SourcePart, video_from_frames

CODECS = [
    ("libx264", "mp4", "yuv420p", 38),
    ("libx264", "mp4", "yuv444p", 38),
    ("libx265", "mp4", "yuv420p", 36),
    ("libx265", "mp4", "yuv420p10le", 36),
    ("libvpx-vp9", "webm", "yuv420p", 36),
    ("libsvtav1", "mp4", "yuv420p", 34),
    ("prores_ks", "mov", "yuv422p10le", 40),
    ("mpeg4", "avi", "yuv420p", 30),
    ("mjpeg", "avi", "yuvj420p", 30),
    ("mpeg2video", "ts", "yuv420p", 30),
    ("ffv1", "mkv", "yuv420p", 40),
    ("gif", "gif", "rgb8", 15),
    ("ffv1", "mkv", "gray", 15),
]


@pytest.mark.parametrize(("codec", "suffix", "pixel_format", "min_psnr"), CODECS)
def test_codecs(
    tmp_path: Path, codec: str, suffix: str, pixel_format: str, min_psnr: float
) -> None:
    frames = moving_frames(12, 96, 128)
    options = {"crf": "10"} if codec.startswith("lib") else {"qscale": "2"}
    path = encode_film(tmp_path / f"f.{suffix}", frames, codec, pixel_format, options=options)
    info = probe(path)
    video = read_video(path)
    assert (info.width, info.height) == (128, 96)
    assert video.frames.shape == frames.shape
    assert info.fps == pytest.approx(25)
    assert video.times_s == pytest.approx(np.arange(12) / 25, abs=1e-3)
    target = frames if pixel_format != "gray" else frames.mean(1, keepdims=True).repeat(3, 1)
    assert psnr(video.frames, target) > min_psnr


def test_variable_frame_rate_keeps_the_times(tmp_path: Path) -> None:
    ticks = [0, 1, 4, 5, 20, 30, 31, 50]
    path = encode_film(tmp_path / "v.mp4", moving_frames(8, 48, 64), fps=100, pts=ticks)
    assert read_video(path).times_s == pytest.approx(np.array(ticks) / 100)
    assert any("variable frame rate" in note for note in probe(path).notes)


@pytest.mark.parametrize("rotation_deg", [90, 180, 270, -90])
def test_rotation_tag(tmp_path: Path, rotation_deg: int) -> None:
    frames = moving_frames(3, 48, 96)
    path = encode_film(tmp_path / "r.mp4", frames, options={"crf": "5"}, rotation_deg=rotation_deg)
    shown = read_video(path).frames
    # PyAV's angle is counter-clockwise, as is NumPy's.
    assert psnr(shown, np.rot90(frames, rotation_deg // 90, axes=(2, 3))) > 35
    info = probe(path)
    assert (info.height, info.width) == tuple(shown.shape[2:])
    assert info.rotation_deg == -rotation_deg % 360
    assert any("clockwise" in note for note in info.notes)


def test_odd_size(tmp_path: Path) -> None:
    frames = moving_frames(3, 47, 65)
    path = encode_film(tmp_path / "odd.mkv", frames, "ffv1", "yuv444p")
    assert psnr(read_video(path).frames, frames) > 40


def test_pixels_are_made_square(tmp_path: Path) -> None:
    frames = moving_frames(3, 48, 60)
    path = encode_film(tmp_path / "s.mp4", frames, pixel_aspect=Fraction(4, 3))
    info = probe(path)
    assert (info.width, info.height) == (80, 48)
    assert read_video(path).frames.shape == (3, 3, 48, 80)
    assert any("made square" in note for note in info.notes)


def test_interlaced_film_is_woven(tmp_path: Path) -> None:
    """Fields taken at two moments comb a moving edge; deinterlacing takes the comb away."""
    frames = moving_frames(24, 96, 128)
    woven = frames[::2].copy()
    woven[:, :, 1::2] = frames[1::2, :, 1::2]
    interlaced = av.codec.context.Flags.interlaced_dct
    path = encode_film(
        tmp_path / "i.ts", woven, "mpeg2video", options={"qscale": "2"}, flags=int(interlaced)
    )
    shown = read_video(path)
    assert len(shown) == 12
    assert shown.times_s == pytest.approx(np.arange(12) / 25, abs=1e-3)

    def comb(film: np.ndarray) -> float:
        rows = film.astype(float)
        return float(np.abs(rows[:, :, 2:] - 2 * rows[:, :, 1:-1] + rows[:, :, :-2]).mean())

    assert comb(shown.frames.numpy()) < 0.5 * comb(woven)
    assert any("interlaced" in note for note in probe(path).notes)


def test_size_that_changes_on_the_way(tmp_path: Path) -> None:
    parts = [
        encode_film(
            tmp_path / f"{side}.ts", moving_frames(5, side, side), "mpeg2video"
        ).read_bytes()
        for side in (64, 96)
    ]
    (tmp_path / "both.ts").write_bytes(parts[0] + parts[1])
    with pytest.warns(MediaWarning, match="change size"):
        video = read_video(tmp_path / "both.ts")
    assert len(video) >= 9  # FFmpeg's decoder drops the one before the change
    assert psnr(video.frames[:4], moving_frames(5, 64, 64)[:4]) > 28


@pytest.mark.parametrize(
    ("codec", "suffix", "pixel_format"),
    [
        ("prores_ks", "mov", "yuva444p10le"),
        ("qtrle", "mov", "argb"),
        ("libvpx-vp9", "webm", "yuva420p"),
        ("apng", "apng", "rgba"),
        ("libwebp_anim", "webp", "bgra"),
        ("libwebp", "webp", "yuva420p"),
    ],
)
def test_alpha_is_shown_over_black(
    tmp_path: Path, codec: str, suffix: str, pixel_format: str
) -> None:
    frames = moving_frames(3, 48, 64)
    alpha = np.zeros((3, 1, 48, 64), np.uint8)
    alpha[..., 32:] = 255
    rgba = np.concatenate([frames, alpha], 1)
    frames = frames[:1] if codec == "libwebp" else frames
    path = encode_film(tmp_path / f"a.{suffix}", rgba[: len(frames)], codec, pixel_format)
    info, shown = probe(path), read_video(path).frames.numpy()
    if codec != "libwebp_anim":  # which stores smaller pictures instead of transparent ones
        assert info.has_alpha and any("transparent" in note for note in info.notes)
    assert shown[..., :28].max() < 6
    assert psnr(shown[..., 36:], frames[..., 36:]) > 28


def test_cover_picture_is_not_film(tmp_path: Path) -> None:
    sound = encode_tone(tmp_path / "s.m4a", "aac", with_film=False)
    for read in (probe, read_video):
        with pytest.raises(RecamError, match="holds sound but no picture"):
            read(sound)


# --- parts of a film ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 frames; each tells its index by brightness steps in two patches."""
    frames = np.zeros((400, 3, 32, 64), np.uint8)
    for t in range(400):
        frames[t, :, :, :32] = 20 + 10 * (t % 20)
        frames[t, :, :, 32:] = 20 + 10 * (t // 20)
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return encode_film(path, frames, options={"crf": "5", "g": "60"})


def indices_in(frames: torch.Tensor) -> list[int]:
    low = (frames[:, 1, 8:24, 8:24].float().mean((1, 2)) - 20) / 10
    high = (frames[:, 1, 8:24, 40:56].float().mean((1, 2)) - 20) / 10
    return (low.round() + 20 * high.round()).int().tolist()


def test_cut_gif_is_noticed(tmp_path: Path) -> None:
    data = encode_film(tmp_path / "w.gif", moving_frames(12, 48, 64), "gif", "rgb8").read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: len(data) // 2])
    with pytest.warns(MediaWarning, match="its end is missing"):
        assert 3 < len(read_video(tmp_path / "cut.gif")) < 12


@pytest.mark.parametrize("start", [0, 1, 255, 256, 300, 359, 360, 399])
def test_start_is_exact(long_film: Path, start: int) -> None:
    """Below 256 frames are decoded and dropped, above the file is sought in."""
    part = read_video(long_film, start=start, num_frames=3)
    expected = list(range(start, min(start + 3, 400)))
    assert indices_in(part.frames) == expected
    assert part.times_s == pytest.approx(np.array(expected) / 25)


@pytest.mark.parametrize("start", [150, 299, 300, 301])
def test_start_is_exact_in_interlaced_film(tmp_path: Path, start: int) -> None:
    """Deinterlacing counts time in finer ticks than the file."""
    frames = np.zeros((310, 3, 48, 64), np.uint8)
    frames += (40 + np.arange(310) % 50 * 4).astype(np.uint8)[:, None, None, None]
    path = encode_film(
        tmp_path / "i.mkv",
        frames,
        "mpeg2video",
        options={"qscale": "2"},
        flags=int(av.codec.context.Flags.interlaced_dct),
    )
    part = read_video(path, start=start, num_frames=2)
    expected = 40 + np.arange(start, start + 2) % 50 * 4
    assert part.frames[:, 1, 24, 32].numpy() == pytest.approx(expected, abs=2)
    assert part.times_s[0] == pytest.approx(start / 25, abs=1e-3)


def test_damage_behind_a_start_is_noticed(long_film: Path, tmp_path: Path) -> None:
    data = bytearray(long_film.read_bytes())
    begin = int(len(data) * 0.85)
    data[begin : begin + 300] = np.random.default_rng(1).bytes(300)
    (tmp_path / "d.mp4").write_bytes(bytes(data))
    with pytest.warns(MediaWarning):
        assert len(read_video(tmp_path / "d.mp4", start=300)) > 20


def test_stride_and_count(long_film: Path) -> None:
    part = read_video(long_film, start=10, num_frames=4, stride=7)
    assert indices_in(part.frames) == [10, 17, 24, 31]
    assert part.times_s == pytest.approx(np.array([10, 17, 24, 31]) / 25)
    assert indices_in(read_video(long_film, start=395, num_frames=50).frames) == [*range(395, 400)]


def test_start_behind_the_end(long_film: Path) -> None:
    with pytest.raises(ValueError, match="has 400 frames"):
        read_video(long_film, start=400)
    with pytest.raises(ValueError, match="stride 0"):
        read_video(long_film, stride=0)


@pytest.mark.parametrize(
    ("window", "overlap", "num"),
    [(10, 3, 40), (10, 3, 38), (10, 0, 40), (7, 6, 20), (50, 8, 20), (1, 0, 3), (10, 9, 10)],
)
def test_windows_cover_every_frame_once(
    long_film: Path, window: int, overlap: int, num: int
) -> None:
    pieces = list(read_windows(long_film, window, overlap, num_frames=num))
    whole = indices_in(pieces[0].frames)
    for earlier, later in itertools.pairwise(pieces):
        assert len(earlier) == window
        if overlap:
            assert torch.equal(earlier.frames[-overlap:], later.frames[:overlap])
            assert torch.equal(earlier.times_s[-overlap:], later.times_s[:overlap])
        assert len(later) > overlap
        whole += indices_in(later.frames)[overlap:]
    assert whole == list(range(num))


def test_windows_check_their_arguments(long_film: Path) -> None:
    with pytest.raises(ValueError, match="overlap"):
        next(read_windows(long_film, 5, 5))


def test_max_side_scales_by_area(long_film: Path, tmp_path: Path) -> None:
    frames = moving_frames(2, 240, 426)
    path = encode_film(tmp_path / "m.mkv", frames, "ffv1", "yuv444p")
    small = read_video(path, max_side=213).frames
    assert small.shape == (2, 3, 120, 212)  # even, and the longer side no more than asked for
    expected = cv2.resize(frames[0].transpose(1, 2, 0), (212, 120), interpolation=cv2.INTER_AREA)
    assert psnr(small[0].permute(1, 2, 0), expected) > 45
    assert read_video(path, max_side=1000).frames.shape == (2, 3, 240, 426)


# --- memory ------------------------------------------------------------------------------------


def test_storage_maps_the_same_frames(long_film: Path, tmp_path: Path) -> None:
    storage = tmp_path / "deep" / "frames.raw"
    plain = read_video(long_film, num_frames=30)
    mapped = read_video(long_film, num_frames=30, storage=storage)
    assert torch.equal(plain.frames, mapped.frames)
    assert storage.stat().st_size == plain.frames.numel()
    mapped.frames[0] = 0  # a private copy: the file keeps the film
    assert np.fromfile(storage, np.uint8)[0] == plain.frames.flatten()[0]
    assert [f.name for f in storage.parent.iterdir()] == ["frames.raw"]


def test_storage_is_not_left_half_written(tmp_path: Path) -> None:
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no film" * 1000)
    with pytest.raises(RecamError):
        read_video(broken, storage=tmp_path / "frames.raw")
    assert [f.name for f in tmp_path.iterdir()] == ["b.mp4"]


@pytest.mark.parametrize("expected", [1, 400])
def test_large_videos_leave_memory(
    long_film: Path, monkeypatch: pytest.MonkeyPatch, expected: int
) -> None:
    """Both when the size is foreseen and when it turns out while reading."""
    plain = read_video(long_film)
    monkeypatch.setattr("recam.runtime.cache.MAX_BYTES_IN_MEMORY", 1 << 20)
    monkeypatch.setattr(read_module, "_num_expected", lambda *_: expected)
    mapped = read_video(long_film)
    assert torch.equal(plain.frames, mapped.frames)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """Reading 60 and 250 MB of frames by windows peaks at the same memory."""
    film = encode_film(
        tmp_path / "l.mp4",
        moving_frames(6, 360, 480).repeat(80, 0),
        options={"preset": "ultrafast"},
    )
    script = textwrap.dedent("""
        import resource, sys
        from recam.media import read_windows
        for piece in read_windows(sys.argv[1], 16, 4, num_frames=int(sys.argv[2])):
            piece.frames.sum()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """)

    def peak_mb(num: int) -> int:
        run = [sys.executable, "-c", script, str(film), str(num)]
        return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)

    short, long = peak_mb(120), peak_mb(480)
    assert long - short < 40, f"{short} MB for 120 frames, {long} MB for 480"


# --- pictures ----------------------------------------------------------------------------------


def write_numbered(folder: Path, values: list[int], name: str = "{}.png") -> None:
    folder.mkdir(exist_ok=True)
    for value in values:
        image = torch.full((3, 16, 24), value, dtype=torch.uint8)
        write_image(image, folder / name.format(value))


def test_folder_in_natural_order(tmp_path: Path) -> None:
    write_numbered(tmp_path / "shots", [1, 2, 10, 100, 20])
    (tmp_path / "shots" / "notes.txt").write_text("not a picture")
    video = read_video(tmp_path / "shots", fps_of_pictures=10)
    assert video.frames[:, 0, 0, 0].tolist() == [1, 2, 10, 20, 100]
    assert video.times_s == pytest.approx(np.arange(5) / 10)
    assert video.audio_path is None
    info = probe(tmp_path / "shots")
    assert (info.kind, info.num_frames, info.width, info.height) == ("pictures", 5, 24, 16)
    part = read_video(tmp_path / "shots", start=1, stride=2, num_frames=5)
    assert part.frames[:, 0, 0, 0].tolist() == [2, 20]


def test_patterns(tmp_path: Path) -> None:
    write_numbered(tmp_path, [3, 4], "f{:03d}.left.png")
    write_numbered(tmp_path, [7, 8], "f{:03d}.right.png")
    for pattern in ("*.right.png", "f%03d.right.png", "f%d.right.png"):
        assert read_video(tmp_path / pattern).frames[:, 0, 0, 0].tolist() == [7, 8]
    with pytest.raises(RecamError, match="holds no pictures"):
        probe(tmp_path / "*.middle.png")


def test_folder_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecamError, match="holds no pictures"):
        read_video(tmp_path / "empty")
    write_numbered(tmp_path / "mixed", [1, 2])
    write_numbered(tmp_path / "mixed", [3], "{}.jpg")
    with pytest.raises(RecamError, match=r"mixes pictures of several kinds.*\*\.jpg"):
        read_video(tmp_path / "mixed")
    write_numbered(tmp_path / "sizes", [1, 2])
    write_image(torch.zeros(3, 18, 24, dtype=torch.uint8), tmp_path / "sizes" / "3.png")
    with pytest.raises(RecamError, match=r"3\.png is 24×18, the pictures before it 24×16"):
        read_video(tmp_path / "sizes")


def test_single_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    image = torch.from_numpy(moving_frames(1, 20, 30)[0])
    write_image(image, tmp_path / "i.png")
    video = read_video(tmp_path / "i.png")
    assert torch.equal(video.frames, image[None])
    assert video.times_s.tolist() == [0.0]


def test_picture_kinds(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert torch.equal(read_image(tmp_path / "grey.png")[2], torch.from_numpy(grey))
    deep = np.arange(192, dtype=np.uint16).reshape(8, 8, 3) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    shown = read_image(tmp_path / "deep.png").numpy()
    assert np.array_equal(shown.transpose(1, 2, 0)[..., ::-1], deep // 257)
    assert probe(tmp_path / "deep.png").notes == ["16-bit reduced to 8-bit"]
    rgba = np.full((8, 8, 4), 200, np.uint8)
    rgba[:4, :, 3], rgba[4:, :, 3] = 0, 128
    cv2.imwrite(str(tmp_path / "rgba.png"), rgba)
    shown = read_image(tmp_path / "rgba.png").numpy()
    assert shown[:, :4].max() == 0 and np.all(shown[:, 4:] == 100)
    assert probe(tmp_path / "rgba.png").has_alpha


def test_exif_orientation(tmp_path: Path) -> None:
    """An EXIF block with orientation 6 (turn 90° clockwise), as phones write it."""
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :16] = 255
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "p.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    shown = read_image(tmp_path / "p.jpg")
    assert shown.shape == (3, 32, 16)
    assert shown[:, :12].min() > 240 and shown[:, 20:].max() < 15


# --- masks -------------------------------------------------------------------------------------


def test_mask_from_film_pictures_and_picture(tmp_path: Path) -> None:
    known = np.zeros((4, 32, 48), np.uint8)
    for t in range(4):
        known[t, 8:24, 8 + 4 * t : 24 + 4 * t] = 255
    film = encode_film(tmp_path / "m.mp4", known[:, None].repeat(3, 1), options={"crf": "10"})
    from_film = read_mask(film, 4, 32, 48)
    assert from_film.dtype == torch.float32 and from_film.shape == (4, 32, 48)
    assert (from_film.round().numpy() == known / 255).mean() > 0.995
    assert from_film[:, 12:20, 20:22].eq(1).all() and from_film[:, :4].eq(0).all()
    (tmp_path / "masks").mkdir()
    for t in range(4):
        write_image(torch.from_numpy(known[t]), tmp_path / "masks" / f"{t}.png")
    exact = read_mask(tmp_path / "masks", 4, 32, 48)
    assert np.array_equal(exact.numpy(), known / 255)
    one = read_mask(tmp_path / "masks" / "2.png", 4, 32, 48)
    assert torch.equal(one, exact[2].expand(4, -1, -1))


def test_soft_masks_stay_soft(tmp_path: Path) -> None:
    ramp = torch.arange(256, dtype=torch.uint8).expand(8, -1)
    write_image(ramp, tmp_path / "r.png")
    mask = read_mask(tmp_path / "r.png", 1, 8, 256)[0, 0]
    assert mask[:17].eq(0).all() and mask[239:].eq(1).all()
    assert bool((mask[17:239].diff() > 0).all())


def test_mask_of_wrong_size_or_count(tmp_path: Path) -> None:
    write_numbered(tmp_path / "m", [200, 201, 202])
    with pytest.raises(ValueError, match=r"is 24×16, the video 48×32"):
        read_mask(tmp_path / "m", 3, 32, 48)
    assert read_mask(tmp_path / "m", 3, 32, 48, resize=True).shape == (3, 32, 48)
    with pytest.raises(ValueError, match="3 for a video of 5 frames"):
        read_mask(tmp_path / "m", 5, 16, 24)
    with pytest.raises(ValueError, match="3 for a video of 2 frames"):
        read_mask(tmp_path / "m", 2, 16, 24)
    part = SourcePart("clip.mp4", frames=torch.tensor([0, 2]))
    whole = read_mask(tmp_path / "m", 3, 16, 24)
    assert torch.equal(read_mask(tmp_path / "m", 2, 16, 24, part=part), whole[[0, 2]])


def test_mask_that_is_nowhere_white(tmp_path: Path) -> None:
    write_image(torch.full((16, 24), 40, dtype=torch.uint8), tmp_path / "grey.png")
    with pytest.raises(ValueError, match="nowhere brighter than 40 of 255"):
        read_mask(tmp_path / "grey.png", 1, 16, 24)
    write_image(torch.zeros(16, 24, dtype=torch.uint8), tmp_path / "black.png")
    assert read_mask(tmp_path / "black.png", 2, 16, 24).eq(0).all()


# --- what cannot be read -----------------------------------------------------------------------


def test_one_clear_line_for_every_bad_input(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.mp4").write_text("This is a text.\n" * 100)
    (tmp_path / "text.txt").write_text("This is a text.\n" * 100)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50000))
    (tmp_path / "noise.jpg").write_bytes(np.random.default_rng(0).bytes(50000))
    for name in ("none.mp4", "none/none.mp4", *(f.name for f in tmp_path.iterdir())):
        for read in (probe, read_video, lambda p: read_windows(p, 4).__next__()):
            with pytest.raises(RecamError) as caught:
                read(tmp_path / name)
            message = str(caught.value)
            assert "\n" not in message and name.split("/")[-1] in message, message


def test_web_address() -> None:
    with pytest.raises(RecamError, match="download it"):
        read_video("https://example.org/film.mp4")


def test_truncated_film(tmp_path: Path) -> None:
    whole = encode_film(
        tmp_path / "w.mp4", moving_frames(50, 96, 128), options={"crf": "10"},
        container_options={"movflags": "+faststart"},
    )  # fmt: skip
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: int(len(data) * 0.7)])
    with pytest.warns(MediaWarning, match=r"only \d+ of its 50 frames could be read"):
        video = read_video(cut)
    assert 20 < len(video) < 50
    assert video.times_s == pytest.approx(np.arange(len(video)) / 25)
    assert psnr(video.frames[:20], read_video(whole).frames[:20]) > 60
    # Without its index, at the end of an ordinary mp4, nothing can be read.
    plain = encode_film(tmp_path / "p.mp4", moving_frames(50, 96, 128)).read_bytes()
    cut.write_bytes(plain[: int(len(plain) * 0.7)])
    with pytest.raises(RecamError, match="a part of it is missing"):
        read_video(cut)


def test_truncated_stream_of_unknown_length(tmp_path: Path) -> None:
    whole = encode_film(tmp_path / "w.mkv", moving_frames(50, 96, 128), options={"crf": "10"})
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: int(len(data) * 0.6)])
    with pytest.warns(MediaWarning, match=r"of its 2\.0 seconds"):
        video = read_video(tmp_path / "cut.mkv")
    assert 15 < len(video) < 50
    assert video.times_s == pytest.approx(np.arange(len(video)) / 25, abs=1e-3)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    whole = encode_film(tmp_path / "w.mp4", moving_frames(50, 96, 128), options={"crf": "10"})
    data = bytearray(whole.read_bytes())
    begin = data.find(b"mdat") + len(data) // 3
    data[begin : begin + 600] = np.random.default_rng(1).bytes(600)
    (tmp_path / "d.mp4").write_bytes(bytes(data))
    with pytest.warns(MediaWarning):
        video = read_video(tmp_path / "d.mp4")
    assert len(video) > 40


def test_truncated_pictures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = torch.from_numpy(moving_frames(1, 64, 64)[0])
    write_video(video_from_frames(image[None].repeat(3, 1, 1, 1)), tmp_path / "w.webp")
    write_image(image, tmp_path / "w.png")
    write_image(image, tmp_path / "w.jpg")
    for suffix in (".png", ".jpg", ".webp"):
        data = (tmp_path / f"w{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
        with pytest.raises(RecamError, match=rf"cut\{suffix}"):
            read_video(tmp_path / f"cut{suffix}")
    assert capfd.readouterr().err == "", "no library speaks for itself"


def test_one_two_and_tiny_frames(tmp_path: Path) -> None:
    for num in (1, 2):
        frames = moving_frames(num, 16, 16)
        video = read_video(encode_film(tmp_path / f"{num}.mp4", frames))
        assert video.frames.shape == frames.shape
        assert video.times_s == pytest.approx(np.arange(num) / 25)


# --- real clips --------------------------------------------------------------------------------


def test_every_real_clip(shared_data: Path) -> None:
    clips = sorted(shared_data.rglob("*.mp4"))
    assert clips
    for clip in clips:
        info = probe(clip)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            video = read_video(clip, num_frames=4, max_side=256)
        assert len(video) == 4
        assert max(video.height, video.width) <= 256
        assert abs(video.width / video.height - info.width / info.height) < 0.02
        assert bool((video.times_s.diff() > 0).all())


def test_seeking_agrees_with_decoding_on_real_clips(shared_data: Path) -> None:
    for name in ("infcam_bubble", "spatialvid_crossing"):
        clip = shared_data / "dynamic" / name / "input.mp4"
        through = list(iterate_frames(clip, start=250, num_frames=60, max_side=64))[57:]
        sought = list(iterate_frames(clip, start=307, num_frames=3, max_side=64))
        for (a, time_a), (b, time_b) in zip(through, sought):
            assert time_a == pytest.approx(time_b)
            assert np.array_equal(a, b)


def test_hdr_clip_is_tone_mapped(shared_data: Path) -> None:
    clip = shared_data / "dynamic" / "spatialvid_crossing" / "input.mp4"
    info = probe(clip)
    assert info.is_hdr and any("tone-mapped" in note for note in info.notes)
    frame = read_video(clip, num_frames=1, max_side=320).frames[0].float()
    # Read as if it were SDR, this sunny street is a flat grey: brightest 2 % below 200.
    assert frame.quantile(0.98) > 235 and frame.mean() > 80


def test_mask_clip(shared_data: Path) -> None:
    folder = shared_data / "edit" / "coffee_pour_mask"
    known = read_mask(folder / "mask.mp4", 81, 336, 560)
    assert 0.001 < float(known.mean()) < 0.9
    assert float(((known > 0) & (known < 1)).float().mean()) < 0.02

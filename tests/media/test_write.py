import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from media_samples import encode_film, encode_tone, loudness, moving_frames, psnr
from recam.media import (
    VideoWriter,
    probe,
    read_image,
    read_video,
    write_image,
    write_video,
    written_whole,
)
from recam.media.write import constant_fps
from recam.types import RecamError, Video, video_from_frames

pytestmark = pytest.mark.filterwarnings("error")


def sample(num: int = 10, height: int = 96, width: int = 128, fps: float = 25.0) -> Video:
    return video_from_frames(torch.from_numpy(moving_frames(num, height, width)), fps)


KINDS = [("v.mp4", 40), ("v.mov", 40), ("v.mkv", 40), ("v.gif", 28), ("v.webp", 34), ("v", 99)]


@pytest.mark.parametrize(("name", "min_psnr"), KINDS)
def test_round_trip(tmp_path: Path, name: str, min_psnr: float) -> None:
    video = sample()
    assert write_video(video, tmp_path / name) == []
    back = read_video(tmp_path / name, fps_of_pictures=25)
    assert back.frames.shape == video.frames.shape
    assert back.times_s == pytest.approx(video.times_s, abs=1e-3)
    assert psnr(back.frames, video.frames) > min_psnr
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_png_folder_is_lossless(tmp_path: Path) -> None:
    write_video(sample(), tmp_path / "frames")
    assert torch.equal(read_video(tmp_path / "frames").frames, sample().frames)
    assert sorted(f.name for f in (tmp_path / "frames").iterdir())[0] == "00000.png"


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.gif", "v.webp"])
def test_variable_times(tmp_path: Path, name: str) -> None:
    times = torch.tensor([3.0, 3.04, 3.2, 3.23, 3.5, 3.9], dtype=torch.float64)
    video = Video(sample(6).frames, times)
    write_video(video, tmp_path / name)
    assert read_video(tmp_path / name).times_s == pytest.approx(times - 3.0, abs=1e-3)
    if name != "v.webp":  # the last frame is shown as long as the one before it
        with av.open(str(tmp_path / name)) as container:
            assert container.duration / av.time_base == pytest.approx(1.3, abs=0.011)


@pytest.mark.parametrize("fps", [24000 / 1001, 24, 30000 / 1001, 60000 / 1001, 12.5, 10])
def test_constant_rates(tmp_path: Path, fps: float) -> None:
    exact = torch.arange(60, dtype=torch.float64) / fps + 2.0
    for times in (exact, (exact * 1000).round() / 1000):
        assert constant_fps(times) == pytest.approx(fps, rel=1e-6)
    write_video(Video(sample(60, 32, 32).frames, exact), tmp_path / "v.mp4")
    info = probe(tmp_path / "v.mp4")
    assert info.fps == pytest.approx(fps, rel=1e-6)
    assert info.duration_s == pytest.approx(60 / fps, abs=1e-3)
    assert not any("variable" in note for note in info.notes)


def test_uneven_times_are_no_constant_rate() -> None:
    times = torch.arange(20, dtype=torch.float64) / 25
    times[10:] += 0.005
    assert constant_fps(times) is None


def test_odd_size_is_padded_not_cropped(tmp_path: Path) -> None:
    video = sample(3, 47, 65)
    notes = write_video(video, tmp_path / "v.mp4")
    assert len(notes) == 1 and "padded to 66×48" in notes[0]
    back = read_video(tmp_path / "v.mp4").frames
    assert back.shape == (3, 3, 48, 66)
    assert psnr(back[..., :47, :65], video.frames) > 38
    assert psnr(back[..., 47, :65], video.frames[..., 46, :]) > 34


@pytest.mark.parametrize("name", ["v.mp4", "v.gif", "v.webp", "v"])
@pytest.mark.parametrize(("num", "side"), [(1, 16), (2, 16), (1, 2), (3, 1)])
def test_few_and_tiny_frames(tmp_path: Path, name: str, num: int, side: int) -> None:
    write_video(sample(num, side, side), tmp_path / name)
    back = read_video(tmp_path / name).frames
    assert len(back) == num and back.shape[2] in (side, 2)


def test_streaming_equals_writing_at_once(tmp_path: Path) -> None:
    video = sample(9)
    write_video(video, tmp_path / "a.mp4")
    with VideoWriter(tmp_path / "b.mp4", fps=25) as writer:
        writer.write(video.frames[:4])
        writer.write(video.frames[4])
        writer.write(video.frames[5:])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_gif_leaves_out_what_it_cannot_show(tmp_path: Path) -> None:
    notes = write_video(sample(20, fps=100), tmp_path / "v.gif")
    assert len(notes) == 1 and "10 frames left out" in notes[0]
    assert len(read_video(tmp_path / "v.gif")) == 10


def test_wrong_arguments(tmp_path: Path) -> None:
    video = sample(3)
    with pytest.raises(ValueError, match=r"\.avi"):
        VideoWriter(tmp_path / "v.avi")
    with pytest.raises(ValueError, match="crf"):
        VideoWriter(tmp_path / "v.mp4", crf=60)
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "v.mp4", fps=0)
    with pytest.raises(ValueError, match="no frame"), VideoWriter(tmp_path / "v.mp4"):
        pass
    bad_writes = [
        ((video.frames.float(),), "uint8"),
        ((video.frames[:, :1],), r"\[n, 3, h, w\]"),
        ((video.frames, [0.0, 0.1, 0.2]), "times_s"),
    ]
    for arguments, message in bad_writes:
        with (
            pytest.raises(ValueError, match=message),
            VideoWriter(tmp_path / "v.mp4") as writer,
        ):
            writer.write(*arguments)
    with (
        pytest.raises(ValueError, match="times must increase"),
        VideoWriter(tmp_path / "v.mp4", fps=None) as writer,
    ):
        writer.write(video.frames, [0.0, 0.1, 0.1])
    with (
        pytest.raises(ValueError, match="the first"),
        VideoWriter(tmp_path / "v.mp4") as writer,
    ):
        writer.write(video.frames)
        writer.write(video.frames[..., :-2])
    assert list(tmp_path.iterdir()) == []


# --- whole or not at all -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v.mp4", "v.gif", "v.webp", "v"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FileNotFoundError])
def test_an_exception_leaves_nothing(tmp_path: Path, name: str, error: type) -> None:
    with pytest.raises(error, match="mine"), VideoWriter(tmp_path / name) as writer:
        writer.write(sample(5).frames)
        assert not (tmp_path / name).exists()
        raise error("mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v.mp4", "v.gif", "v.webp", "v"])
def test_an_earlier_output_stays_until_the_new_one_is_whole(tmp_path: Path, name: str) -> None:
    write_video(sample(3), tmp_path / name)
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / name) as writer:
        writer.write(sample(5).frames)
        raise RuntimeError
    assert len(read_video(tmp_path / name)) == 3
    write_video(sample(5), tmp_path / name)
    assert len(read_video(tmp_path / name)) == 5
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(RecamError, match=r"thesis\.tex"):
        write_video(sample(2), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()
    with pytest.raises(RecamError, match="folder of that name"):
        (tmp_path / "v.mp4").mkdir()
        write_video(sample(2), tmp_path / "v.mp4")
    with pytest.raises(RecamError, match="file of that name"):
        (tmp_path / "plain").write_text("")
        write_video(sample(2), tmp_path / "plain")


def test_parents_are_made(tmp_path: Path) -> None:
    write_video(sample(2), tmp_path / "a" / "b" / "v.mp4")
    assert (tmp_path / "a" / "b" / "v.mp4").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(RecamError, match="is a file, not a folder"):
        write_video(sample(2), tmp_path / "file" / "v.mp4")


@contextlib.contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Makes the system refuse to let a file grow further, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.gif", "v.webp", "v"])
def test_no_room_left(tmp_path: Path, name: str) -> None:
    """Wherever the space ends, also within the last few bytes, the error is told."""
    rng = np.random.default_rng(0)
    video = video_from_frames(torch.from_numpy(rng.integers(0, 256, (4, 3, 64, 64), np.uint8)))
    write_video(video, tmp_path / name)
    is_folder = (tmp_path / name).is_dir()
    files = list((tmp_path / name).iterdir()) if is_folder else [tmp_path / name]
    size = max(file.stat().st_size for file in files)
    for room in (0, 1000, size // 2, size - 200, size - 1):
        with largest_file(room), pytest.raises(RecamError, match=rf"cannot write .*{name}: "):
            write_video(video, tmp_path / name)
        assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert len(read_video(tmp_path / name)) == 4


def test_no_room_for_pictures_and_storage(tmp_path: Path) -> None:
    image = sample(1).frames[0]
    film = encode_film(tmp_path / "f.mp4", moving_frames(4, 96, 128))
    with largest_file(100):
        with pytest.raises(RecamError, match=r"cannot write .*i\.png"):
            write_image(image, tmp_path / "i.png")
        with pytest.raises(RecamError, match=r"cannot write .*frames\.raw"):
            read_video(film, storage=tmp_path / "frames.raw")
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.mp4"]


def test_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="the disk is full"), written_whole(tmp_path / "x"):
        Path("/dev/full").write_bytes(b"x" * 100000)
    assert list(tmp_path.iterdir()) == []


def test_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "ro"
    folder.mkdir()
    folder.chmod(0o555)
    tmp_path.chmod(0o755)
    was_root = os.geteuid() == 0
    if was_root:  # root may write anywhere: be nobody for a moment
        for parent in tmp_path.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(RecamError, match="permission denied"):
            write_video(sample(2), folder / "v.mp4")
        with pytest.raises(RecamError, match="permission denied"):
            write_image(sample(1).frames[0], folder / "i.png")
    finally:
        if was_root:
            os.seteuid(0)
    assert list(folder.iterdir()) == []


# --- sound -------------------------------------------------------------------------------------

SOUNDS = [
    ("aac", "s.mp4", ".mp4", "aac"),
    ("aac", "s.mp4", ".mkv", "aac"),
    ("libmp3lame", "s.mkv", ".mp4", "mp3float"),
    ("libopus", "s.mkv", ".mp4", "opus"),
    ("pcm_s16le", "s.mov", ".mp4", "aac"),
    ("pcm_s16le", "s.mov", ".mov", "pcm_s16le"),
    ("flac", "s.mkv", ".mp4", "aac"),
]


@pytest.mark.parametrize(("codec", "source", "suffix", "written"), SOUNDS)
def test_sound_comes_along(
    tmp_path: Path, codec: str, source: str, suffix: str, written: str
) -> None:
    video = read_video(encode_tone(tmp_path / source, codec))
    for start in (0, 31):
        out = tmp_path / f"out{suffix}"
        assert write_video(video[start : start + 40], out) == []
        assert probe(out).has_audio and len(read_video(out)) == 40
        with av.open(str(out)) as container:
            assert container.streams.audio[0].codec_context.name == written
            assert container.duration / av.time_base == pytest.approx(1.6, abs=0.05)
        for at_s in (0.3, 1.3):  # the tone's loudness tells which moment is heard
            expected = 0.8 * (start / 25 + at_s) / 3
            assert loudness(out, at_s) == pytest.approx(expected, abs=0.03)


def test_sound_is_copied_not_encoded_again(tmp_path: Path) -> None:
    source = encode_tone(tmp_path / "s.mp4", "aac")
    write_video(read_video(source), tmp_path / "out.mp4")

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            return [bytes(p) for p in container.demux(stream) if p.size and p.pts >= 0]

    assert packets(tmp_path / "out.mp4") == packets(source)[: len(packets(tmp_path / "out.mp4"))]
    assert len(packets(tmp_path / "out.mp4")) > 135  # of 1024 samples, in 3 s


def test_sound_is_left_out_with_a_note(tmp_path: Path) -> None:
    video = read_video(encode_tone(tmp_path / "s.mp4", "aac"))
    late = Video(video.frames, video.times_s + 10, video.audio_path)
    silent = encode_film(tmp_path / "silent.mp4", moving_frames(75, 48, 64))
    cases = [
        (late, "out.mp4", "the frames end at 13.00 s"),
        (Video(video.frames, video.times_s, str(tmp_path / "gone.mp4")), "out.mp4", "gone.mp4"),
        (Video(video.frames, video.times_s, str(silent)), "out.mp4", "holds no sound"),
        (video, "out.gif", "holds none"),
    ]
    for case, name, message in cases:
        notes = write_video(case, tmp_path / name)
        assert len(notes) == 1 and "sound left out" in notes[0] and message in notes[0]
        assert not probe(tmp_path / name).has_audio
    assert write_video(video, tmp_path / "out.mp4", with_audio=False) == []
    assert not probe(tmp_path / "out.mp4").has_audio


def test_sound_of_a_video_replaced_by_itself(tmp_path: Path) -> None:
    """The source may be the output: it stays readable until the new file is whole."""
    path = encode_tone(tmp_path / "s.mp4", "aac")
    write_video(read_video(path), path)
    assert probe(path).has_audio and len(read_video(path)) == 75


# --- pictures ----------------------------------------------------------------------------------


def test_pictures(tmp_path: Path) -> None:
    image = sample(1).frames[0]
    write_image(image, tmp_path / "i.png")
    assert torch.equal(read_image(tmp_path / "i.png"), image)
    write_image(image, tmp_path / "i.jpg")
    assert psnr(read_image(tmp_path / "i.jpg"), image) > 35
    known = image[0] > 128
    write_image(known, tmp_path / "known.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "known.png"), -1), known.numpy() * 255)
    for bad in (image.float(), image[:2], image[None], image[:, :0]):
        with pytest.raises(ValueError, match="expected uint8"):
            write_image(bad, tmp_path / "bad.png")
    with pytest.raises(ValueError, match=r"\.exr"):
        write_image(image, tmp_path / "bad.exr")


def test_written_whole_folder(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with written_whole(tmp_path / "scene") as temporary:
            temporary.mkdir()
            (temporary / "a.txt").write_text(content)
        assert (tmp_path / "scene" / "a.txt").read_text() == content
    with pytest.raises(ValueError), written_whole(tmp_path / "scene") as temporary:
        temporary.mkdir()
        raise ValueError
    assert (tmp_path / "scene" / "a.txt").read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["scene"]


def test_real_clips_survive_writing(shared_data: Path, tmp_path: Path) -> None:
    for name, min_psnr in (("rabbit-watermelon", 44), ("davis_bear", 40)):
        clip = next((shared_data / "dynamic" / name).glob("[gi]*.mp4"))
        video = read_video(clip, num_frames=12)
        notes = write_video(video, tmp_path / "v.mp4")
        back = read_video(tmp_path / "v.mp4")
        assert notes == [] and psnr(back.frames, video.frames) > min_psnr
        assert (back.frames.double() - video.frames.double()).mean((0, 2, 3)).abs().max() < 0.6
        assert back.times_s == pytest.approx(video.times_s, abs=1e-4)
        assert probe(tmp_path / "v.mp4").has_audio == (video.audio_path is not None)

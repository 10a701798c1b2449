"""``recam complete``: any video with any mask, into a film or a folder, and what it refuses."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from command_line import fails
from completion_clips import moving_hole, panned
from recam.apps.cli import main
from recam.media import read_video, write_image, write_video
from recam.types import PartialVideo, video_from_frames

HEIGHT, WIDTH, NUM_FRAMES = 41, 67, 6  # odd on purpose


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def partial() -> PartialVideo:
    """Known all over but in a square that moves; also written: video, video.mp4, mask, mask.mp4."""
    truth = panned(NUM_FRAMES, 1, HEIGHT, WIDTH)
    holed = moving_hole(truth, 4, size_px=12, left_px=6)
    _write(holed.frames, "video")
    _write(_mask_pictures(holed.known), "mask")
    return holed


def _mask_pictures(known: Tensor) -> Tensor:
    return (known * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()


def _write(frames: Tensor, name: str) -> None:
    for path in (name, f"{name}.mp4"):
        write_video(video_from_frames(frames), Path(path), crf=4)


def _complete(*argv: str) -> Tensor:
    main(["complete", *argv, "--quiet"])
    return read_video(Path(argv[argv.index("-o") + 1])).frames


def _fails(*argv: str) -> str:
    return fails("complete", *argv)


@pytest.mark.parametrize("video", ["video", "video.mp4"])
@pytest.mark.parametrize("mask", ["mask", "mask.mp4"])
@pytest.mark.parametrize("out", ["out", "out.mp4"])
def test_files_and_folders_in_every_combination(
    partial: PartialVideo, video: str, mask: str, out: str
) -> None:
    result = _complete(video, "--known", mask, "-o", out)
    source = read_video(Path(video)).frames  # a film has one more row and column
    if out == "out":
        assert result.shape == source.shape
        kept = partial.known.bool()[:, None].expand(-1, 3, -1, -1)
        both = (frames[:, :, :HEIGHT, :WIDTH][kept] for frames in (result, source))
        assert torch.equal(*both)  # PNG is exact
    assert len(result) == NUM_FRAMES
    hole = partial.known == 0
    shown = result[:, :, :HEIGHT, :WIDTH].float().mean(1)[hole]
    assert float(shown.min()) > 5  # the holes were black


def test_film_of_odd_size_keeps_its_size(
    partial: PartialVideo, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _complete("video", "--known", "mask", "-o", "out.mp4")
    assert result.shape[2:] == (HEIGHT, WIDTH) or "result: " in capsys.readouterr().err


def test_one_picture_holds_for_all_frames(partial: PartialVideo) -> None:
    known = torch.ones(1, HEIGHT, WIDTH)
    known[:, 10:20, 10:20] = 0
    write_image(_mask_pictures(known)[0], Path("one.png"))
    result = _complete("video", "--known", "one.png", "-o", "out")
    kept = known.bool().expand(NUM_FRAMES, 3, -1, -1)
    assert torch.equal(result[kept], partial.frames[kept])
    part = _complete("video", "--known", "one.png", "-o", "part", "--start", "3")
    assert len(part) == NUM_FRAMES - 3


def test_a_part_of_the_video_takes_that_part_of_the_mask(partial: PartialVideo) -> None:
    options = ("--start", "1", "--num-frames", "2", "--stride", "2")
    result = _complete("video", "--known", "mask", "-o", "out", *options)
    known = partial.known[[1, 3]]
    kept = known.bool()[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(result[kept], partial.frames[[1, 3]][kept])
    assert float(result.float().mean(1)[known == 0].min()) > 5
    small = _complete("video", "--known", "mask", "-o", "small", "--max-side", "40")
    assert max(small.shape[2:]) == 40


def test_one_image_is_a_video_of_one_frame(partial: PartialVideo) -> None:
    write_image(partial.frames[0], Path("one.png"))
    write_image(_mask_pictures(partial.known)[0], Path("hole.png"))
    result = _complete("one.png", "--known", "hole.png", "-o", "out")
    assert result.shape == (1, 3, HEIGHT, WIDTH)


def test_mask_of_another_size_is_refused_with_both_sizes(partial: PartialVideo) -> None:
    write_image(torch.full((3, 20, 30), 255, dtype=torch.uint8), Path("small.png"))
    line = _fails("video", "--known", "small.png", "-o", "out")
    assert "30×20" in line and f"{WIDTH}×{HEIGHT}" in line
    assert not Path("out").exists()


@pytest.mark.parametrize("num", [NUM_FRAMES - 2, NUM_FRAMES + 3])
def test_mask_of_another_length_is_refused_with_both_lengths(
    partial: PartialVideo, num: int
) -> None:
    _write(torch.full((num, 3, HEIGHT, WIDTH), 255, dtype=torch.uint8), "other")
    # A folder of fewer masks is of some frames; a film of masks has one for each.
    for mask in ("other.mp4",) if num < NUM_FRAMES else ("other", "other.mp4"):
        line = _fails("video", "--known", mask, "-o", "out")
        assert mask in line and str(NUM_FRAMES) in line
    assert not Path("out").exists()


def test_inputs_are_not_overwritten(partial: PartialVideo) -> None:
    for out in ("video", "mask", "./video"):
        assert "is read from" in _fails("video", "--known", "mask", "-o", out)
    assert torch.equal(read_video(Path("video")).frames, partial.frames)
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    assert "thesis.txt" in _fails("video", "--known", "mask", "-o", "out")
    assert Path("out/thesis.txt").exists()


def test_inverted_mask_says_so(partial: PartialVideo) -> None:
    write_image(torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), Path("black.png"))
    assert "nothing" in _fails("video", "--known", "black.png", "-o", "out")
    for missing in (("nowhere", "--known", "mask"), ("video", "--known", "nowhere.png")):
        assert "nowhere" in _fails(*missing, "-o", "out")
    assert not Path("out").exists()

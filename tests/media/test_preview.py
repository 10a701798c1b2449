import pytest
import torch

from media_samples import moving_frames
from recam.media import contact_sheet, side_by_side, time_slice
from recam.types import Video, video_from_frames


def sample(num: int = 8, height: int = 40, width: int = 60) -> Video:
    return video_from_frames(torch.from_numpy(moving_frames(num, height, width)), 10.0, "s.mp4")


def test_side_by_side_keeps_the_pixels() -> None:
    video, known = sample(), torch.zeros(8, 40, 60)
    known[:, :20] = 1.0
    shown = side_by_side([video, known, video.frames[:, :, ::2, ::2]])
    assert shown.frames.shape == (8, 3, 40, 60 + 4 + 60 + 4 + 60)
    assert torch.equal(shown.frames[..., :60], video.frames)
    assert shown.frames[:, :, :20, 64:124].min() == 255
    assert shown.frames[:, :, 20:, 64:124].max() == 0
    assert torch.equal(shown.times_s, video.times_s) and shown.audio_path == "s.mp4"


def test_labels_lie_above_the_pictures() -> None:
    video = sample()
    shown = side_by_side([video, video], ["source", "a label far too long for its picture"])
    top = shown.height - 40
    assert top > 0 and top % 2 == 0
    assert torch.equal(shown.frames[:, :, top:, :60], video.frames)
    for left in (0, 64):
        assert shown.frames[0, :, :top, left : left + 60].max() > 150
    assert shown.frames[0, :, :top, 60:64].float().std() == 0, "no label runs into the gap"


def test_side_by_side_wants_equal_lengths() -> None:
    with pytest.raises(ValueError, match=r"\[8, 7\]"):
        side_by_side([sample(8), sample(7)])
    with pytest.raises(ValueError, match="1 labels for 2"):
        side_by_side([sample(), sample()], ["one"])
    with pytest.raises(ValueError):
        side_by_side([])


def test_contact_sheet_shows_first_and_last() -> None:
    frames = torch.zeros(9, 3, 30, 60, dtype=torch.uint8)
    frames[:] = torch.arange(9, dtype=torch.uint8)[:, None, None, None] * 20
    sheet = contact_sheet({"ramp": frames, "mask": frames[:, 0] > 60}, 5, cell_width=60)
    assert sheet.dtype == torch.uint8 and sheet.shape[2] == 5 * 60 + 4 * 4
    row = sheet[0, 24 + 15, 30::64]
    assert row.tolist() == [0, 40, 80, 120, 160]
    row = sheet[0, 24 + 30 + 4 + 24 + 15, 30::64]
    assert row.tolist() == [0, 0, 255, 255, 255]


def test_contact_sheet_of_few_frames() -> None:
    sheet = contact_sheet({"two": sample(2).frames, "many": sample(20).frames}, 6, 90)
    assert sheet.shape == (3, 2 * (24 + 60 + 4), 6 * 94 - 4)
    with pytest.raises(ValueError, match="no frames"):
        contact_sheet({"none": sample(2).frames[:0]})
    with pytest.raises(ValueError, match="0 rows"):
        contact_sheet({})


def test_time_slice() -> None:
    frames = sample().frames
    rows, columns = time_slice(frames, row=7), time_slice(frames, column=11)
    assert rows.shape == (3, 8, 60) and columns.shape == (3, 40, 8)
    assert torch.equal(rows[:, 5], frames[5, :, 7])
    assert torch.equal(columns[:, :, 5], frames[5, :, :, 11])
    for wrong in ({}, {"row": 1, "column": 1}, {"row": 40}, {"column": -1}):
        with pytest.raises(ValueError):
            time_slice(frames, **wrong)


def test_side_by_side_fits_into_a_width() -> None:
    video = sample()
    shown = side_by_side([video, video, video], max_width=90)
    assert shown.frames.shape == (8, 3, 20, 30 * 3 + 4 * 2)

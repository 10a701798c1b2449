"""Reading and writing film, pictures, masks and previews."""

from recam.media.exr import write_exr
from recam.media.film import MediaWarning
from recam.media.masks import read_mask
from recam.media.preview import contact_sheet, side_by_side, time_slice
from recam.media.read import iterate_frames, read_image, read_video, read_windows
from recam.media.source import MediaInfo, probe
from recam.media.write import VideoWriter, write_image, write_video
from recam.runtime.whole import written_whole

__all__ = [
    "MediaInfo",
    "MediaWarning",
    "VideoWriter",
    "contact_sheet",
    "iterate_frames",
    "probe",
    "read_image",
    "read_mask",
    "read_video",
    "read_windows",
    "side_by_side",
    "time_slice",
    "write_exr",
    "write_image",
    "write_video",
    "written_whole",
]

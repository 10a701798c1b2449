"""Camera files of many programs, read into and written from recam's one convention.

``read_cameras`` and ``write_cameras`` are all that most callers need. Every format is described in
docs/cameras.md and by the module that reads it.
"""

from recam.camera_files.camera_file import CameraFile, Keyframes, OrbitKeys
from recam.camera_files.describe import described
from recam.camera_files.detect import detect_format
from recam.camera_files.formats import format_to_write, read_cameras, write_cameras
from recam.camera_files.undistort import straightened_video, undistort_video

__all__ = [
    "CameraFile",
    "Keyframes",
    "OrbitKeys",
    "described",
    "detect_format",
    "format_to_write",
    "read_cameras",
    "straightened_video",
    "undistort_video",
    "write_cameras",
]

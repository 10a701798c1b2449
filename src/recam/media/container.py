"""Opening films and sound through PyAV: from a regular file, and from no other than that one.

FFmpeg tells kinds of files by their content. A playlist that is called ``.mp4`` would have it open
whatever the playlist names, from this machine or from the network. Only the file protocol and only
containers that hold their data themselves are let in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from recam.runtime.files import require_file
from recam.types import RecamError

# Left out are those that name other files (hls, concat, dash, imf, image2, sdp, vobsub, mlv, svg),
# devices, and text drawn as pictures (tty, ass).
_CONTAINERS = (
    "mov matroska avi mpegts mpeg mpegvideo flv live_flv asf ogg mxf gxf nut rm dv ivf obu wtv nsv "
    "nuv cine ser bink smk roq amv yuv4mpegpipe mjpeg mjpeg_2000 ingenient h261 h263 h264 hevc vvc "
    "av1 m4v evc avs2 avs3 cavsvideo vc1 vc1test dirac dnxhd vidc 4xm ea film_cpk flic smush vivo "
    "gif apng webp_anim jpegxl_anim bmp_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe "
    "j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe "
    "pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe png_pipe ppm_pipe psd_pipe qoi_pipe sgi_pipe "
    "sunrast_pipe tiff_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe ico aac ac3 ac4 aiff amr amrnb "
    "amrwb ape au caf dts dtshd eac3 flac mlp mp3 oma tak truehd tta voc w64 wav wv"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS.replace(" ", ",")}


def open_media(path: str | Path) -> Any:
    """A film or sound file as a PyAV container; use as a context manager.

    Raises:
        RecamError: it is no regular file, or a kind of file that points to others.
        FFmpegError, OSError: it is not media, or broken.
    """
    path = require_file(path)
    try:
        # With "file:" a name like http:x.mp4 is the name of a file.
        return av.open(f"file:{path}", metadata_errors="ignore", container_options=dict(_OPTIONS))
    except av.error.ArgumentError as error:
        raise RecamError(
            f"{path}: not a film or sound file by itself (recam follows no playlists or lists of "
            "files); give the film"
        ) from error

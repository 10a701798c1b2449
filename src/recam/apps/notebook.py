"""How results show themselves in a notebook: a film, a sheet of frames, a picture of the path.

``Result``, ``Scene`` and ``Rendering`` ask for this by name when a notebook asks them, so that the
types themselves need none of it.
"""

from __future__ import annotations

import base64
import html as escape
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.apps.commands import holes_shown
from recam.apps.studio.preview import spread
from recam.drawing import draw_depth, draw_path, nearest_shown, path_summary
from recam.media import contact_sheet, write_video
from recam.media.encode import encoded_picture
from recam.types import (
    CameraPath,
    PartialVideo,
    RecamError,
    Rendering,
    Result,
    Scene,
    Video,
    video_from_frames,
)

SIDE = 480
"""Longer side in pixels of films in a notebook."""
MAX_FRAMES = 300
"""Longer films are shown from their beginning, and that is said."""
CELL = 200
COLUMNS = 5


def html(shown: Result | Scene | Rendering) -> str:
    """HTML with everything in it: nothing is fetched when the notebook is opened again."""
    if isinstance(shown, Result):
        return _of_result(shown)
    if isinstance(shown, Scene):
        return _of_scene(shown)
    return _of_rendering(shown)


def _of_result(result: Result) -> str:
    picked = spread(len(result.video), COLUMNS)
    part = PartialVideo(result.partial.frames[picked], result.partial.known[picked])
    rows = {"seen (dark purple: never)": holes_shown(part), "result": result.video.frames[picked]}
    known = float((result.partial.known > 0.5).float().mean())
    spent = ", ".join(f"{k} {v:.1f} s" for k, v in result.timings_s.items())
    said = f"{_size(result.video)}; {known:.1%} seen, the rest made up; {spent}"
    return _page(_film(result.video), _sheet(rows), _words(said))


def _of_scene(scene: Scene) -> str:
    picked = spread(len(scene), COLUMNS)
    depth = torch.where(scene.valid[picked], scene.depth[picked], 0.0)
    rows = {
        "frames": scene.video.frames[picked],
        "near is bright": draw_depth(depth, nearest_shown(depth)),
        "what moves": scene.dynamic[picked],
    }
    path = CameraPath(scene.cameras, torch.arange(len(scene)))
    parts = [_sheet(rows)]
    if len(scene) > 1:
        parts.append(_picture(draw_path(scene, path, height=420, width=840)))
    notes = "; ".join(str(n) for n in scene.report.get("notes", []))
    scale = scene.metres_per_unit
    metric = "no metres are known" if scale is None else f"1 unit = {scale:.3g} m"
    return _page(_film(scene.video), *parts, _words(f"{_size(scene.video)}; {metric}. {notes}"))


def _of_rendering(rendering: Rendering) -> str:
    picked = spread(len(rendering), COLUMNS)
    part = PartialVideo(rendering.frames[picked], rendering.known[picked])
    sheet = _sheet({"seen (dark purple: never)": holes_shown(part), "known": part.known})
    seen = video_from_frames(_at_most(holes_shown(rendering), SIDE))
    known = float((rendering.known > 0.5).float().mean())
    said = f"{len(rendering)} frames; {known:.1%} seen; "
    cameras = rendering.cameras
    path = CameraPath(cameras, torch.arange(len(cameras)))
    return _page(_film(seen), sheet, _words(said + path_summary(cameras, path, None)))


def _page(*parts: str) -> str:
    return "<div style='max-width:1020px'>" + "".join(parts) + "</div>"


def _words(text: str) -> str:
    return f"<div style='font-size:.85em;opacity:.8'>{escape.escape(text)}</div>"


def _size(video: Video) -> str:
    return f"{len(video)} frames of {video.width}×{video.height}, {video.fps:.3g} a second"


def _film(video: Video) -> str:
    """A film as an element with its bytes in it; nothing where it is a single frame."""
    if len(video) < 2:
        return _picture(_at_most(video.frames[:1], SIDE)[0])
    frames = _at_most(video.frames[:MAX_FRAMES], SIDE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        try:
            write_video(video_from_frames(frames, video.fps), path)
        except (RecamError, ValueError) as error:
            return _words(f"the film cannot be shown: {error}")
        data = base64.b64encode(path.read_bytes()).decode()
    cut = "" if len(video) <= MAX_FRAMES else _words(f"its first {MAX_FRAMES} frames")
    return (
        f"<video controls loop muted playsinline style='max-width:100%' "
        f"src='data:video/mp4;base64,{data}'></video>{cut}"
    )


def _sheet(rows: dict[str, Tensor]) -> str:
    return _picture(contact_sheet(rows, COLUMNS, CELL))


def _picture(picture: Tensor) -> str:
    data = base64.b64encode(encoded_picture(picture.contiguous().numpy(), ".jpg")).decode()
    return f"<div><img style='max-width:100%' src='data:image/jpeg;base64,{data}'></div>"


def _at_most(frames: Tensor, side: int) -> Tensor:
    """uint8 [t, 3, h, w] with the longer side at most ``side``, sides even."""
    h, w = frames.shape[2:]
    scale = min(1.0, side / max(h, w))
    size = (max(2, 2 * round(h * scale / 2)), max(2, 2 * round(w * scale / 2)))
    if size == (h, w):
        return frames
    small = [F.interpolate(f[None].float(), size, mode="area") for f in frames]
    return torch.cat(small).round().to(torch.uint8)

"""Previews: the renderer's own pictures of a small copy of the scene, fast enough to aim by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.apps.commands import holes_shown
from recam.configs import InputConfig, PathConfig, ReconstructConfig, RenderConfig
from recam.covisibility import resize_scene
from recam.geometry import fov_x_deg
from recam.reconstruct import save_scene
from recam.render import StaticSet, build_static, render_frames
from recam.runtime.files import read_json
from recam.runtime.records import Record, as_dataclass, write_json
from recam.runtime.threads import one_torch_thread
from recam.tasks.unseen import largest_within
from recam.trajectories import focus_depth, make_path
from recam.trajectories.presets import DEFAULTS, orbit
from recam.types import CameraPath, Cameras, PartialVideo, Scene, Video

SIDE = 448
"""Longer side of previews in pixels, …"""
MAX_BYTES = 240_000_000
"""… smaller for long clips, so that the server holds no more than this of them."""
BYTES_PER_PIXEL = 13
GRAPH_SIDE = 112
"""Longer side at which the share of pixels that are never seen is counted."""
GRAPH_FRAMES = 60
"""Frames at most that the graph is counted at; those between are joined by lines."""
YAWS_DEG = (-45.0, -36.0, -27.0, -18.0, -9.0, 0.0, 9.0, 18.0, 27.0, 36.0, 45.0)
PITCHES_DEG = (-18.0, -9.0, 0.0, 9.0, 18.0, 27.0)
ABOUT = "about.json"
LIMIT_FRAMES = 9
"""Frames that are counted, spread evenly, while a limit is looked for."""


def small_scene(scene: Scene, side: int | None = None) -> Scene:
    """A copy of a scene for previews: pictures and geometry with the longer side at ``side`` px.

    Depth is picked, not averaged: a mean across an edge is a surface that is nowhere.
    """
    height, width = scene.video.height, scene.video.width
    if side is None:
        aspect = min(height, width) / max(height, width)
        most = math.sqrt(MAX_BYTES / (BYTES_PER_PIXEL * len(scene) * aspect))
        side = max(96, min(SIDE, int(most)))
    scale = min(1.0, side / max(height, width))
    h, w = max(2, round(height * scale)), max(2, round(width * scale))
    small = resize_scene(scene, h, w) if (h, w) != (height, width) else scene
    gh, gw = min(h, scene.cameras.height), min(w, scene.cameras.width)
    pick = lambda x: _picked(x, gh, gw)  # noqa: E731
    return replace(
        small,
        video=replace(small.video, audio_path=None),
        cameras=scene.cameras.resized(gh, gw),
        depth=pick(scene.depth), valid=pick(scene.valid), dynamic=pick(scene.dynamic),
        confidence=pick(scene.confidence),
    )  # fmt: skip


@dataclass(frozen=True)
class About:
    """What is known of the whole scene beside its small copy.

    focus_depth: in the scene's units. height, width: of its video. folder: where it is. reused: it
    was there already. input, reconstruct: what it was made by.
    """

    focus_depth: float
    height: int
    width: int
    folder: str = ""
    seconds: float = 0.0
    reused: bool = True
    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)


@one_torch_thread()  # many small steps
def write_small(
    full: Scene,
    out: Path,
    *,
    folder: Path,
    input: InputConfig,
    reconstruct: ReconstructConfig,
    seconds: float = 0.0,
    reused: bool = True,
) -> None:
    """A small copy of a scene, and what is said of the whole one (see ``About``)."""
    (out / ABOUT).unlink(missing_ok=True)  # until all is written, there is none
    save_scene(small_scene(full), out)
    video = full.video
    about = About(
        focus_depth(full), video.height, video.width, str(folder), seconds, reused, input,
        reconstruct,
    )  # fmt: skip
    write_json(out / ABOUT, about)


def read_about(folder: Path) -> About:
    """What ``write_small`` left. Raises ValueError for a file that it did not."""
    return as_dataclass(Record(read_json(folder / ABOUT), folder / ABOUT), About, most=1e15)


def _picked(values: Tensor, height: int, width: int) -> Tensor:
    """[t, h, w] at another size, by the nearest pixel."""
    _, h, w = values.shape
    if (h, w) == (height, width):
        return values
    rows = ((torch.arange(height) + 0.5) * h / height).long().clamp(max=h - 1)
    columns = ((torch.arange(width) + 0.5) * w / width).long().clamp(max=w - 1)
    return values[:, rows][:, :, columns].contiguous()


@dataclass(frozen=True)
class Preview:
    """A preview of one frame.

    picture: uint8 [3, h, w], holes in purple. known: float32 [h, w]. elsewhere: bool [h, w], seen
    only at another moment. never_seen: share of the frame.
    """

    picture: Tensor
    known: Tensor
    elsewhere: Tensor
    never_seen: float


class Previewer:
    """A small scene, ready to be seen from anywhere.

    focus_depth: of the whole scene, in its units, so that the preview's path is the take's.
    """

    def __init__(self, scene: Scene, focus_depth: float, config: RenderConfig | None = None):
        self.scene, self.focus_depth = scene, focus_depth
        self.config = config or RenderConfig()
        self.static: StaticSet | None = None
        self._graph: tuple[Scene, StaticSet | None] | None = None

    def prepare(self) -> None:
        """Merge the static points (a second or so); previews before that lack them."""
        self.static = self._merged(self.scene)
        self._graph_scene()

    def _merged(self, scene: Scene) -> StaticSet | None:
        if len(scene) < 2 or not self.config.aggregate_static:
            return None
        return build_static(scene, self.config)

    def _graph_scene(self) -> tuple[Scene, StaticSet | None]:
        if self._graph is None:
            tiny = small_scene(self.scene, GRAPH_SIDE)
            self._graph = (tiny, self._merged(tiny))
        return self._graph

    @property
    def source(self) -> Cameras:
        """The source's cameras at the preview's size."""
        return self.scene.cameras.resized(self.scene.video.height, self.scene.video.width)

    def path(self, config: PathConfig, num_frames: int | None = None) -> CameraPath:
        """The path of a config, for pictures of the preview's size."""
        focus = self.focus_depth if config.focus_depth is None else config.focus_depth
        return make_path(
            self.source, focus, config, self.scene.video.times_s, num_frames=num_frames,
            metres_per_unit=self.scene.metres_per_unit,
        )  # fmt: skip

    def frame(self, path: CameraPath, index: int) -> Preview:
        """What frame ``index`` of a path will show before anything is made up."""
        one = path[index : index + 1]
        config = self.config
        if self.static is None:
            config = replace(config, aggregate_static=False)
        view = next(render_frames(self.scene, one, config, static=self.static))
        part = PartialVideo(view.frame[None], view.known[None])
        seen = view.known > 0.5
        return Preview(
            holes_shown(part)[0], view.known, seen & (view.origin < 0),
            1.0 - float(seen.float().mean()),
        )  # fmt: skip

    def never_seen(self, path: CameraPath, frames: Sequence[int]) -> list[float]:
        """Share of the pixels that no frame of the source saw, at some frames of a path."""
        tiny, static = self._graph_scene()
        index = torch.tensor(list(frames))
        cameras = path.cameras[index].resized(tiny.video.height, tiny.video.width)
        few = CameraPath(cameras, path.source_frames[index])
        views = render_frames(tiny, few, self.config, static=static)
        return [1.0 - float((view.known > 0.5).float().mean()) for view in views]

    def graph(self, path: CameraPath) -> tuple[list[int], list[float]]:
        """Frames (at most GRAPH_FRAMES, spread evenly) and their never-seen shares."""
        frames = spread(len(path), GRAPH_FRAMES)
        return frames, self.never_seen(path, frames)

    def dome_row(self, pitch_deg: float) -> list[float]:
        """Never-seen shares of orbits that end at a pitch and at YAWS_DEG: the mean of the first,
        middle and last frame."""
        num = len(self.scene)
        moments = torch.tensor(sorted({0, num // 2, num - 1}))
        base = self.source[moments]
        row = []
        for yaw in YAWS_DEG:
            turned = orbit_by(yaw, pitch_deg, self.focus_depth)
            cameras = replace(base, cam_from_world=turned @ base.cam_from_world)
            shares = self.never_seen(CameraPath(cameras, moments), range(len(moments)))
            row.append(sum(shares) / len(shares))
        return row

    def within(self, config: PathConfig, limit: float, num_frames: int | None = None) -> PathConfig:
        """The preset with its amounts as large as the limit on the never-seen share allows.

        Paths of files and presets without amounts come back as they are. Raises RecamError where
        even the source's own view lacks more.
        """
        if not DEFAULTS.get(config.path):  # type: ignore[call-overload]
            return config

        def lacks(move: PathConfig) -> float:
            path = self.path(move, num_frames)
            return max(self.never_seen(path, spread(len(path), LIMIT_FRAMES)))

        return largest_within(config, limit, lacks)[0]


def orbit_by(yaw_deg: float, pitch_deg: float, focus_depth: float) -> Tensor:
    """target_from_source float64 [1, 4, 4] of an orbit by so many degrees."""
    yaw, pitch, none = (torch.tensor([v], dtype=torch.float64) for v in (yaw_deg, pitch_deg, 0.0))
    return orbit(yaw, pitch, none, focus_depth)


def spread(num: int, most: int) -> list[int]:
    """At most ``most`` of num indices, the first and the last among them."""
    return sorted({round(v) for v in torch.linspace(0, num - 1, min(num, most)).tolist()})


def fov_y_deg(cameras: Cameras, frame: int) -> float:
    """Vertical field of view of a camera."""
    fov_x = math.radians(float(fov_x_deg(cameras[frame : frame + 1])[0]))
    return math.degrees(2 * math.atan(math.tan(fov_x / 2) * cameras.height / cameras.width))


def thumbnail(video: Video, frame: int, side: int = 128) -> Tensor:
    """uint8 [h, w, 3]: a frame made small."""
    scale = min(1.0, side / max(video.height, video.width))
    size = (max(1, round(video.height * scale)), max(1, round(video.width * scale)))
    small = F.interpolate(video.frames[frame][None].float(), size, mode="area")[0]
    return small.round().to(torch.uint8).permute(1, 2, 0).contiguous()

"""Two eyes from one film: the source's camera, moved by half the eyes' distance to either side.

The eyes look the same way and their pictures are shifted, not turned in: turned cameras would see
straight things at different heights (keystone), which no eyes can bring together. With sharp
outlines, what both eyes miss is made up for the left one and lent to the right one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.completers import open_completer, resolve_config
from recam.completion.completer import Completer
from recam.completion.streaming import Collector, complete_pieces
from recam.configs import RigConfig, StereoConfig, StereoLayout
from recam.geometry import se3
from recam.media.stereo_mode import StereoMode
from recam.render import render, render_windows
from recam.runtime.versions import versions
from recam.scene_memory import made_up_frame
from recam.tasks.reshoot import path_times_s
from recam.tasks.stereo_gaps import close_gaps
from recam.tasks.stereo_rows import row_windows
from recam.trajectories import focus_depth
from recam.types import (
    CameraPath,
    Cameras,
    Evidence,
    PartialVideo,
    Progress,
    Rendering,
    Result,
    Scene,
    Video,
    no_progress,
)

FAR_SHARE, NEAR_SHARE = 0.02, 0.98
"""Of the clip's inverse depths: what counts as farthest and nearest."""
MAX_INTERAXIAL = 0.05
"""In focus depths: wider would make a shallow scene look like a model of itself."""
MODES: dict[StereoLayout, StereoMode] = {
    "side-by-side": "left-right",
    "half-side-by-side": "left-right",
    "top-bottom": "top-bottom",
    "half-top-bottom": "top-bottom",
}
"""What a film's file says of each layout that holds both eyes."""
DUBOIS = (
    ((0.456, 0.500, 0.176), (-0.040, -0.038, -0.016), (-0.015, -0.021, -0.005)),
    ((-0.043, -0.088, -0.002), (0.378, 0.734, -0.018), (-0.072, -0.113, 1.226)),
)
"""Red and cyan from the left and the right eye, least ghosting. Source: Dubois 2001."""


Seen = tuple[PartialVideo, Tensor]
"""What an eye was shown of some frames, and how they were completed."""


@dataclass(frozen=True)
class StereoRig:
    """interaxial, convergence_depth in scene units; nearest, farthest: disparity of the nearest and
    the farthest things as shares of the picture's width, negative before the screen."""

    interaxial: float
    convergence_depth: float
    nearest: float
    farthest: float

    def describe(self, metres_per_unit: float | None) -> str:
        apart = f"{self.interaxial / self.convergence_depth:.3f} of the distance to the screen"
        if metres_per_unit:
            apart = f"{100 * self.interaxial * metres_per_unit:.1f} cm"
        return (
            f"eyes {apart} apart; disparity {100 * self.nearest:+.1f} % (nearest) to "
            f"{100 * self.farthest:+.1f} % (farthest) of the picture's width"
        )


@dataclass(frozen=True)
class StereoResult:
    """left, right: what each eye sees; the eye that the film itself is has everything known."""

    left: Result
    right: Result
    rig: StereoRig
    layout: StereoLayout

    @property
    def video(self) -> Video:
        """Both packed as ``layout`` says. Raises ValueError for "separate"."""
        return replace(
            self.left.video,
            frames=packed(self.left.video.frames, self.right.video.frames, self.layout),
        )


def check_rig(config: RigConfig) -> None:
    """Raises ValueError for limits or distances that are not positive."""
    for name in ("behind", "in_front", "convergence", "interaxial", "focus_depth"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value:g}; expected more than 0")


def stereo_rig(scene: Scene, config: RigConfig) -> StereoRig:
    """One rig for the whole clip, so that depth does not pump.

    Disparity of depth z with focal f px, width w and interaxial b: f·b/w·(1/convergence − 1/z).
    Raises ValueError as ``check_rig``.
    """
    check_rig(config)
    focus = focus_depth(scene) if config.focus_depth is None else config.focus_depth
    on_screen = config.convergence * focus
    inverse = (
        1
        / scene.depth[scene.valid & (scene.depth > 0)][:: max(1, scene.depth.numel() // 2_000_000)]
    )
    limits = torch.tensor([FAR_SHARE, NEAR_SHARE])
    far, near = (float(v) for v in torch.quantile(inverse, limits))
    focal = float((scene.cameras.intrinsics[:, 0, 0] / scene.cameras.width).max())
    behind, before = 1 / on_screen - far, near - 1 / on_screen
    interaxial = MAX_INTERAXIAL * focus
    if behind > 0:
        interaxial = min(interaxial, config.behind / (focal * behind))
    if before > 0:
        interaxial = min(interaxial, config.in_front / (focal * before))
    if config.interaxial is not None:
        interaxial = config.interaxial * focus
    return StereoRig(
        interaxial, on_screen, -focal * interaxial * before, focal * interaxial * behind
    )


def eye_paths(scene: Scene, rig: StereoRig, config: RigConfig) -> tuple[CameraPath, CameraPath]:
    """Cameras of the left and the right eye, at the video's size; see the module."""
    source = scene.cameras.resized(scene.video.height, scene.video.width)
    share = {None: (-0.5, 0.5), "left": (0.0, 1.0), "right": (-1.0, 0.0)}[config.keep]
    frames = torch.arange(len(scene))
    left, right = (
        CameraPath(_shifted(source, s * rig.interaxial, rig.convergence_depth), frames)
        for s in share
    )
    return left, right


def _shifted(cameras: Cameras, right: float, convergence_depth: float) -> Cameras:
    """Cameras moved to their right; a point at the convergence depth stays where it is seen."""
    n = len(cameras)
    move = torch.tensor([-right, 0.0, 0.0], dtype=torch.float64).expand(n, 3)
    moved = se3(torch.eye(3, dtype=torch.float64).expand(n, 3, 3), move) @ cameras.cam_from_world
    k = cameras.intrinsics.clone()
    k[:, 0, 2] += k[:, 0, 0] * right / convergence_depth
    return replace(cameras, cam_from_world=moved, intrinsics=k)


def stereo(
    scene: Scene,
    config: StereoConfig,
    progress: Progress = no_progress,
    completer: Completer | None = None,
) -> StereoResult:
    """Both eyes of a scene's film. completer: as in ``reshoot``."""
    completer = completer or open_completer(resolve_config(config.complete, "reshoot"))
    rig = stereo_rig(scene, config.rig)
    paths = eye_paths(scene, rig, config.rig)
    timings_s: dict[str, float] = {}
    made = {eye: Collector(len(scene)) for eye in ("left", "right") if eye != config.rig.keep}
    for left, right in stereo_pieces(scene, paths, config, completer, timings_s, progress):
        for eye, collector in made.items():
            collector.add(*(left if eye == "left" else right))
    eyes = {"left": _film_itself(scene, config), "right": _film_itself(scene, config)}
    for eye, collector in made.items():
        partial, frames = collector.whole()
        video = Video(frames, *path_times_s(scene, paths[0]))
        eyes[eye] = Result(
            video, partial, config, timings_s, versions(), completer.weights_sha256
        )  # fmt: skip
    return StereoResult(eyes["left"], eyes["right"], rig, config.layout)


def stereo_pieces(
    scene: Scene,
    paths: tuple[CameraPath, CameraPath],
    config: StereoConfig,
    completer: Completer,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
) -> Iterator[tuple[Seen, Seen]]:
    """What the left and the right eye see of consecutive frames, so that memory does not grow with
    the film's length. Of an eye that is the film itself everything is known.

    paths: of ``eye_paths``. Seconds spent are added to timings_s.
    """
    windows = completer.plan(len(scene), paths[0].cameras.height, paths[0].cameras.width)

    def made(eye: int, other: Iterator[Tensor] | None = None) -> Iterator[Seen]:
        """One eye, completed; ``other``: the frames of the one that was made before it."""
        if config.outlines == "soft":
            pieces = row_windows(scene, paths[eye], windows.new)
        else:
            before = None if other is None else (paths[1 - eye], other)
            pieces = _sharp(scene, paths[eye], config, windows.new, before)
        what = f"{('left', 'right')[eye]} eye"
        for part, frames in complete_pieces(
            pieces, len(scene), completer, windows, timings_s, progress, what
        ):
            yield _observed(part), frames

    if config.rig.keep == "left":
        yield from _beside_the_film(scene, made(1, iter(scene.video.frames)))
    elif config.rig.keep == "right":
        for film, left in _beside_the_film(scene, made(0)):
            yield left, film
    elif config.outlines == "soft":
        yield from zip(made(0), made(1))
    else:
        lefts, ahead = itertools.tee(made(0))
        yield from zip(lefts, made(1, itertools.chain.from_iterable(done for _, done in ahead)))


def _beside_the_film(scene: Scene, parts: Iterator[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """The film's own frames, and the part of an eye for each."""
    first = 0
    for part, frames in parts:
        own = scene.video.frames[first : first + len(frames)]
        yield (PartialVideo(own, torch.ones_like(part.known)), own), (part, frames)
        first += len(frames)


def _sharp(
    scene: Scene,
    path: CameraPath,
    config: StereoConfig,
    window: int,
    other: tuple[CameraPath, Iterator[Tensor]] | None,
) -> Iterator[Rendering]:
    """The eye as any new camera is rendered, torn at depth's edges; ``other``: the path and the
    frames of the one that was made before it."""
    pieces = render_windows(scene, path, config.render, window)
    if other is not None:
        before = render_windows(scene, other[0], config.render, window)
        pieces = _made_up_once(scene, pieces, before, other[1], config)
    if config.gaps == "behind":
        pieces = (_closed(piece, config.render.edge_margin) for piece in pieces)
    return pieces


def _made_up_once(
    scene: Scene,
    pieces: Iterator[Rendering],
    before: Iterator[Rendering],
    filled: Iterator[Tensor],
    config: StereoConfig,
) -> Iterator[Rendering]:
    """``pieces`` with what was made up for the other eye, where they lack it as well: behind thin
    things both eyes miss the same place, and must not see two things there.

    before, filled: the other eye as it was rendered, and its frames as they were completed.
    """
    for seen, lacked in zip(pieces, before):
        evidence = _evidence(seen)
        for i in range(len(seen)):
            one = slice(i, i + 1)
            holes, whole = seen.known[i] < 0.5, next(filled)
            if not (bool(holes.any()) and bool((lacked.known[i] < 0.5).any())):
                continue
            view = Rendering(
                lacked.frames[one], lacked.known[one], lacked.depth[one], lacked.cameras[one]
            )
            made_up = made_up_frame(scene, view, whole[None])
            moved = CameraPath(seen.cameras[one], torch.zeros(1, dtype=torch.int64))
            shown = render(made_up, moved, config.render)
            lent = holes & (shown.known[0] > 0.5)
            seen.frames[i][:, lent] = shown.frames[0][:, lent]
            seen.known[i][lent], seen.depth[i][lent] = 1.0, shown.depth[0][lent]
            evidence[i][lent] = Evidence.MADE_UP
        yield replace(seen, evidence=evidence)


def _closed(seen: Rendering, edge_margin: int) -> Rendering:
    """With narrow gaps filled from behind."""
    seen = replace(seen, evidence=_evidence(seen))
    close_gaps(seen, edge_margin)
    return seen


def _evidence(seen: Rendering) -> Tensor:
    if seen.evidence is not None:
        return seen.evidence
    known = seen.known > 0.5
    return torch.where(known, Evidence.THIS_MOMENT, Evidence.NONE).to(torch.uint8)


def _observed(part: Rendering) -> PartialVideo:
    """What the film itself showed, without geometry: not what was made up for the other eye."""
    known = part.known
    if part.evidence is not None:
        known = torch.where(part.evidence == Evidence.MADE_UP, 0.0, known)
    return PartialVideo(part.frames, known)


def _film_itself(scene: Scene, config: StereoConfig) -> Result:
    """The source's frames, of which everything is known."""
    frames = scene.video.frames
    known = torch.ones(1, 1, 1).expand(len(frames), *frames.shape[2:])
    return Result(scene.video, PartialVideo(frames, known), config, {}, versions())


def packed(left: Tensor, right: Tensor, layout: StereoLayout) -> Tensor:
    """uint8 [t, 3, h', w'] of two eyes [t, 3, h, w] in one picture."""
    height, width = left.shape[2:]
    match layout:
        case "side-by-side":
            return torch.cat([left, right], 3)
        case "top-bottom":
            return torch.cat([left, right], 2)
        case "half-side-by-side":
            return torch.cat([_resized(eye, height, width // 2) for eye in (left, right)], 3)
        case "half-top-bottom":
            return torch.cat([_resized(eye, height // 2, width) for eye in (left, right)], 2)
        case "anaglyph":
            mixed = torch.zeros(left.shape)
            for matrix, eye in zip(DUBOIS, (left, right)):
                mixed += torch.einsum("ij,tjhw->tihw", torch.tensor(matrix), eye.float())
            return mixed.round().clamp(0, 255).to(torch.uint8)
    raise ValueError(f"layout {layout!r} is not one picture")


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    sized = torch.nn.functional.interpolate(
        frames.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return sized.round().clamp(0, 255).to(torch.uint8)

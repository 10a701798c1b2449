"""Results to be scored: made by recam's own pipeline, or read from a folder of anyone's."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import write_cameras
from recam.completers import MaskedCompleter, complete, open_completer, resolve_config
from recam.completion.weights import find_weights, weights_sha256
from recam.configs import CompleteConfig, ReconstructConfig
from recam.covisibility import double_reproject, make_pairs, novel_cameras, random_2d_known
from recam.evaluation.cameras import camera_errors
from recam.evaluation.configs import MethodConfig
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.evaluation.depth import depth_errors
from recam.geometry import align_similarity, project, se3
from recam.media import read_video
from recam.media.convert import resized
from recam.reconstruct import load_scene, reconstruct, save_scene
from recam.reconstruct.scene_cache import SCENE_VERSION
from recam.render import render
from recam.runtime.cache import listing_hash
from recam.training.adapt.masked import finetune
from recam.trajectories import focus_depth
from recam.types import (
    CameraPath,
    Cameras,
    Pair,
    PartialVideo,
    Progress,
    RecamError,
    Scene,
    Video,
    no_progress,
)

SELF_VIEWS = {"near": 10.0, "far": 30.0}
"""Degrees of the orbits that single videos are seen from and back, to be compared with."""
FAR = 1e3
"""Depths beyond are sky (SKY_DEPTH of synthetic scenes), about which scale says nothing."""
FILM = (".mp4", ".mkv", ".mov", ".webm", ".avi")


@dataclass(frozen=True)
class Prediction:
    """frames: uint8 [n, 3, h, w]. known: float32 [n, h, w], what the method itself was shown
    (None: not said). seconds by stage. notes: for the reader of the scores."""

    frames: Tensor
    known: Tensor | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceScene:
    """A sample's scene as a method has it, and how it lies to the true one.

    scale: units of the scene per unit of the true cameras' world. errors: of what was estimated,
    where the truth is known (``geometry_errors``).
    """

    scene: Scene
    scale: float
    seconds: dict[str, float]
    notes: tuple[str, ...]
    errors: dict[str, float] = field(default_factory=dict)


def open_source(
    sample: EvaluationSample,
    method: MethodConfig,
    video: Video,
    kept: Path | None = None,
    progress: Progress = no_progress,
) -> SourceScene:
    """The scene of a sample's source video (its first len(video) frames).

    True parts come from the data set; the others are estimated by ``reconstruct``. kept: folder
    in which an estimated scene is kept for the next method. Raises RecamError when a true part is
    asked for that the data set does not have.
    """
    n = len(video)
    for name, there in (("cameras", sample.cameras), ("depth", sample.read_depth)):
        if getattr(method, name) == "true" and there is None:
            raise RecamError(
                f"{sample.name} has no true {name}; use --{name} estimated for this data set"
            )
    true_depth = None if sample.read_depth is None else sample.read_depth()
    given = method.cameras == "true" and method.depth == "true"
    if given and sample.read_dynamic is not None and true_depth is not None:
        assert sample.cameras is not None
        depth, valid = (part[:n] for part in true_depth)
        scene = Scene(
            video, sample.cameras[:n].resized(*depth.shape[1:]), depth, valid,
            _at_size(sample.read_dynamic()[:n], depth.shape[1], depth.shape[2]),
            torch.ones_like(depth), sample.metres_per_unit,
        )  # fmt: skip
        return SourceScene(scene, 1.0, {}, ("cameras, depth and moving areas are true",))
    clock = time.perf_counter()
    scene = _reconstructed(sample, method, video, true_depth, kept, progress)
    seconds = {"reconstruct": time.perf_counter() - clock}
    scale, how = _scale(sample, method, scene, true_depth)
    said = [f"cameras {method.cameras}", f"depth {method.depth}", "moving areas estimated", how]
    errors = geometry_errors(sample, method, scene, true_depth)
    return SourceScene(scene, scale, seconds, (", ".join(s for s in said if s),), errors)


def geometry_errors(
    sample: EvaluationSample,
    method: MethodConfig,
    scene: Scene,
    true_depth: tuple[Tensor, Tensor] | None,
) -> dict[str, float]:
    """rotation_deg, path_error (fraction of the path's length; NaN for cameras that stand) and
    focal_error of estimated cameras; abs_rel, delta1 of estimated depth, at one scale a video."""
    n, errors = len(scene), {}
    if method.cameras == "estimated" and sample.cameras is not None:
        found = camera_errors(scene.cameras, sample.cameras[:n])
        errors = {
            "rotation_deg": found.rotation_deg, "path_error": found.translation_fraction,
            "focal_error": found.focal_fraction,
        }  # fmt: skip
    if method.depth == "estimated" and true_depth is not None:
        h, w = scene.depth.shape[1:]
        depth = torch.nn.functional.interpolate(true_depth[0][:n, None], (h, w))[:, 0]
        valid = scene.valid & _at_size(true_depth[1][:n], h, w) & (depth < FAR)
        if bool(valid.any()):
            compared = depth_errors(scene.depth, depth, valid)
            errors |= {"abs_rel": compared.abs_rel, "delta1": compared.delta1}
    return errors


def _reconstructed(
    sample: EvaluationSample,
    method: MethodConfig,
    video: Video,
    true_depth: tuple[Tensor, Tensor] | None,
    kept: Path | None,
    progress: Progress,
) -> Scene:
    """The scene by recam, with the true parts handed to it as a user would: in files."""
    version = f"cameras-{method.cameras}-depth-{method.depth}-{SCENE_VERSION}"
    folder = None if kept is None else kept / version
    if folder is not None and (folder / "scene.json").is_file():
        return load_scene(folder, video)
    with tempfile.TemporaryDirectory() as name:
        config = ReconstructConfig()
        if method.cameras == "true":
            assert sample.cameras is not None
            config = replace(config, cameras=f"{name}/cameras.json")
            write_cameras(
                sample.cameras[: len(video)], f"{name}/cameras.json",
                times_s=video.times_s, metres_per_unit=sample.metres_per_unit,
            )  # fmt: skip
        if method.depth == "true":
            assert true_depth is not None
            depth, valid = true_depth
            config = replace(config, depth=f"{name}/given.npz")
            np.savez(f"{name}/given.npz", depth=(depth * valid)[: len(video)].numpy())
        scene = reconstruct(video, config, progress)
    if folder is not None:
        save_scene(scene, folder)
    return scene


def _scale(
    sample: EvaluationSample,
    method: MethodConfig,
    scene: Scene,
    true_depth: tuple[Tensor, Tensor] | None,
) -> tuple[float, str]:
    """Units of the scene per true unit, and how it was found.

    A video alone does not tell its scale, and a new camera can only be asked for in true units.
    """
    measured = scene.depth_source not in ("assumed", "predicted")
    if method.depth == "true" or (method.cameras == "true" and measured):
        return 1.0, ""
    n = len(scene)
    if true_depth is not None:
        h, w = scene.depth.shape[1:]
        depth = torch.nn.functional.interpolate(true_depth[0][:n, None], (h, w))[:, 0]
        usable = scene.valid & _at_size(true_depth[1][:n], h, w) & (depth > 0)
        return float((scene.depth[usable] / depth[usable]).median()), (
            "scale of the scene from the median of the true depth"
        )
    if sample.read_points is not None and sample.cameras is not None:
        scale = _scale_of_points(sample.read_points(), sample.cameras[:n], scene)
        if scale is not None:
            return scale, "scale of the scene from the true places of some points"
    if sample.cameras is not None and method.cameras == "estimated":
        true, found = sample.cameras[:n].centers, scene.cameras.centers
        if min(float((c - c.mean(0)).norm(dim=1).max()) for c in (true, found)) > 1e-6:
            return align_similarity(true, found)[0], "scale of the scene from the true camera path"
    return 1.0, "the scale of the scene could not be known: 1 is taken"


def _scale_of_points(points: tuple[Tensor, Tensor], cameras: Cameras, scene: Scene) -> float | None:
    """Median of the scene's depth over the true depth at points that the video shows; None when it
    shows none."""
    frames, world = points
    frames, world = frames[frames < len(scene)], world[frames < len(scene)]
    if not len(frames):
        return None
    h, w = scene.depth.shape[1:]
    uv, depth = project(world[:, None], cameras.resized(h, w)[frames])
    x, y = uv[:, 0].floor().long().unbind(-1)
    seen = (depth[:, 0] > 0) & (x >= 0) & (y >= 0) & (x < w) & (y < h)
    frames, x, y, depth = frames[seen], x[seen], y[seen], depth[seen, 0]
    usable = scene.valid[frames, y, x]
    ratios = scene.depth[frames, y, x][usable] / depth[usable]
    return float(ratios.median()) if len(ratios) else None


def carried_path(path: CameraPath, sample: EvaluationSample, source: SourceScene) -> CameraPath:
    """A path of the true world in the scene's: each camera keeps its motion and its view relative
    to the source camera of its moment."""
    assert sample.cameras is not None
    index = path.source_frames
    there = path.cameras.cam_from_world @ sample.cameras.world_from_cam[index]
    there = se3(there[:, :3, :3], source.scale * there[:, :3, 3])
    height, width = path.cameras.height, path.cameras.width
    true = sample.cameras.resized(height, width).intrinsics[index]
    own = source.scene.cameras.resized(height, width).intrinsics[index]
    cameras = Cameras(
        there @ source.scene.cameras.cam_from_world[index],
        path.cameras.intrinsics @ torch.linalg.inv(true) @ own, height, width,
    )  # fmt: skip
    return CameraPath(cameras, index)


class MethodCompleter:
    """Fills partial videos of one source by a method; adapts the masked model at most once."""

    def __init__(self, method: MethodConfig, scene: Scene, progress: Progress = no_progress):
        self.method = method
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        self.completer = open_completer(resolve_config(method.complete))
        if not isinstance(self.completer, MaskedCompleter):
            return
        if method.finetune.minutes > 0 and method.finetune.steps > 0:
            clock = time.perf_counter()
            adapted = finetune(
                self.completer.model.float(), training_pairs(scene, method), method.finetune,
                method.complete.model_side, progress=progress,
            )  # fmt: skip
            self.notes.append(adapted.describe())
            self.seconds["adapt"] = time.perf_counter() - clock
            self.completer = replace(self.completer, model=adapted.model)

    def __call__(self, partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
        return complete(partial, progress=progress, completer=self.completer).frames


def training_pairs(scene: Scene, method: MethodConfig) -> Iterator[Pair]:
    """Pairs of a scene to adapt to, by the method's kind of holes."""
    rng = np.random.default_rng(method.finetune.seed)
    if method.pair_masks == "reprojected":
        yield from make_pairs(scene, rng, render_config=method.render)
    frames = scene.video.frames
    while True:
        known = random_2d_known(rng, len(scene), scene.video.height, scene.video.width)
        yield Pair(PartialVideo(frames * (known > 0)[:, None], known), scene.video)


def predict(
    sample: EvaluationSample,
    view: TargetView,
    source: SourceScene,
    completer: MethodCompleter,
    progress: Progress = no_progress,
) -> Prediction:
    """What recam makes of a view: rendered and completed, at the true pictures' size."""
    path = carried_path(view.path, sample, source)
    clock = time.perf_counter()
    partial = render(source.scene, path, completer.method.render, progress)
    rendered = time.perf_counter()
    frames = completer(partial, progress)
    seconds = {"render": rendered - clock, "complete": time.perf_counter() - rendered}
    return Prediction(frames, partial.known, seconds, (*source.notes, *completer.notes))


def predict_self(
    source: SourceScene,
    yaw_deg: float,
    completer: MethodCompleter,
    progress: Progress = no_progress,
) -> Prediction:
    """A video seen from an orbit and back, then completed: to be compared with the video itself.

    What single videos without other views can be scored by. Source: CogNVS's training pairs.
    """
    scene = source.scene
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    rising = torch.linspace(0, yaw_deg, len(scene), dtype=torch.float64)
    zero = torch.zeros_like(rising)
    clock = time.perf_counter()
    novel = novel_cameras(own, rising, zero, zero, focus_depth(scene))
    seen = double_reproject(scene, novel, completer.method.render)
    known = seen.visible.float()
    rendered = time.perf_counter()
    frames = completer(PartialVideo(scene.video.frames * seen.visible[:, None], known), progress)
    seconds = {"render": rendered - clock, "complete": time.perf_counter() - rendered}
    return Prediction(frames, known, seconds, (*source.notes, *completer.notes))


def prediction_path(folder: Path, sample: str, view: str) -> Path:
    """The file or folder of a prediction. Raises RecamError when there is none.

    <sample>/<view>.mp4, <sample>/<view>/ (pictures), <sample>_<view>.mp4 or <sample>_<view>/;
    slashes in names are written as underscores.
    """
    sample, view = sample.replace("/", "_"), view.replace("/", "_")
    for stem in (folder / sample / view, folder / f"{sample}_{view}"):
        if stem.is_dir():
            return stem
        for suffix in FILM:
            film = stem.with_name(stem.name + suffix)
            if film.is_file():
                return film
    raise RecamError(
        f"{folder} has no prediction {sample}/{view}: expected {sample}/{view}.mp4, a folder "
        f"{sample}/{view} of pictures, or {sample}_{view}.mp4"
    )


def read_prediction(path: Path, num_frames: int, height: int, width: int) -> Prediction:
    """Frames that any system made, brought to the truth's size.

    Raises RecamError when there are fewer frames than the truth has; later ones are left out.
    """
    frames = read_video(path).frames
    notes = []
    if len(frames) < num_frames:
        raise RecamError(f"{path} has {len(frames)} frames; the true view has {num_frames}")
    if len(frames) > num_frames:
        notes.append(f"{len(frames) - num_frames} frames after the truth's end left out")
    frames = frames[:num_frames]
    if frames.shape[2:] != (height, width):
        notes.append(f"resized from {frames.shape[3]}×{frames.shape[2]} to {width}×{height}")
        frames = torch.stack([torch.from_numpy(resized(f.numpy(), height, width)) for f in frames])
    return Prediction(frames, None, {}, tuple(notes))


def method_key(method: MethodConfig | Path) -> str:
    """Hash of all that a result depends on besides the data: options and weights, or files."""
    if isinstance(method, Path):
        return listing_hash(method)
    completing = method.complete
    masked = completing.model == "masked"
    if not masked:  # what is about the model alone does not matter
        completing = CompleteConfig(
            completing.model, completing.weights, completing.foundation,
            steady=completing.steady, window=completing.window, overlap=completing.overlap,
        )  # fmt: skip
        method = replace(MethodConfig(), cameras=method.cameras, depth=method.depth,
                         render=method.render)  # fmt: skip
    fields = asdict(replace(method, complete=completing, label=""))
    if masked:
        fields["weights"] = weights_sha256(find_weights(completing.weights))
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _at_size(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask [t, h, w] on another grid, by nearest pixel."""
    if mask.shape[1:] == (height, width):
        return mask.bool()
    return torch.nn.functional.interpolate(mask[:, None].float(), (height, width))[:, 0] > 0.5

"""The nodes: open a scene, draw a path, render it with its mask, reshoot, complete, two eyes.

ComfyUI's IMAGE is float [frames, height, width, 3] in [0, 1], its MASK float [frames, height,
width]. Here a mask's 1 is what is missing and shall be made, as its video nodes take it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

import recam
from recam.camera_files import write_cameras
from recam.configs import (
    CompleteConfig,
    CompletionModel,
    Fit,
    Generator,
    InputConfig,
    PathConfig,
    PathPreset,
    ReconstructConfig,
)
from recam.drawing import draw_depth, nearest_shown
from recam.tasks.reshoot import path_times_s
from recam.trajectories import path_for_scene
from recam.types import Progress, Scene, Video, no_progress

CATEGORY = "recam"
OWN_SIZE = "as the video"
"""Render with the video's size, all frames and black holes."""


def video_from_images(images: Tensor, fps: float) -> Video:
    """A Video of an IMAGE; an alpha channel is left out."""
    planar = (images[..., :3].clamp(0, 1) * 255).round().to(torch.uint8).movedim(-1, 1)
    times_s = torch.arange(len(images), dtype=torch.float64) / fps
    return Video(planar.contiguous().cpu(), times_s)


def images_from_frames(frames: Tensor) -> Tensor:
    """The IMAGE of uint8 [t, 3, h, w]."""
    return frames.movedim(1, -1).float() / 255


def missing_from_known(known: Tensor) -> Tensor:
    """The MASK, 1 = missing, of known [t, h, w]."""
    return (known <= 0.5).float()


def progress_bar() -> Progress:
    """ComfyUI's own bar and stop button, where it is there."""
    try:
        import comfy.model_management
        import comfy.utils
    except ImportError:
        return no_progress
    bar = comfy.utils.ProgressBar(100)

    def show(what: str, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, max(total, 1))

    return show


def number(default: float, least: float, most: float, step: float = 0.01) -> tuple[str, dict]:
    return ("FLOAT", {"default": default, "min": least, "max": most, "step": step})


def whole(default: int, least: int = 0, most: int = 100_000) -> tuple[str, dict]:
    return ("INT", {"default": default, "min": least, "max": most})


class RecamOpenScene:
    """A film, a folder of pictures, or a folder that ``recam reconstruct`` wrote."""

    CATEGORY, FUNCTION = CATEGORY, "open"
    RETURN_TYPES = ("RECAM_SCENE", "IMAGE")
    RETURN_NAMES = ("scene", "frames")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"path": ("STRING", {"default": ""})},
            "optional": {
                "start": whole(0),
                "num_frames": whole(0),
                "stride": whole(1, 1),
                "max_side": whole(0),
                "fov_deg": number(0, 0, 170),
            },
        }

    def open(
        self, path: str, start: int = 0, num_frames: int = 0, stride: int = 1, max_side: int = 0,
        fov_deg: float = 0.0,
    ) -> tuple[Scene, Tensor]:  # fmt: skip
        """0 stands for all frames, the video's own size, and a field of view to be found out."""
        scene = recam.open_scene(
            path, input=InputConfig(start, num_frames or None, stride, max_side or None),
            reconstruct=ReconstructConfig(fov=fov_deg or None), progress=progress_bar(),
        )  # fmt: skip
        return scene, images_from_frames(scene.video.frames)


class RecamSceneFromImages:
    """The scene of frames from other nodes: worked out anew every time."""

    CATEGORY, FUNCTION = CATEGORY, "reconstruct"
    RETURN_TYPES = ("RECAM_SCENE",)
    RETURN_NAMES = ("scene",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"images": ("IMAGE",), "fps": number(24, 1, 240)},
            "optional": {"fov_deg": number(0, 0, 170)},
        }

    def reconstruct(self, images: Tensor, fps: float, fov_deg: float = 0.0) -> tuple[Scene]:
        config = ReconstructConfig(fov=fov_deg or None)
        video = video_from_images(images, fps)
        return (recam.open_scene(video, reconstruct=config, progress=progress_bar()),)


class RecamPath:
    """A preset, or a file of cameras or keyframes. An amount of 0 (zoom: 1) is not named; with none
    named the preset takes its own."""

    CATEGORY, FUNCTION = CATEGORY, "make"
    RETURN_TYPES = ("RECAM_PATH",)
    RETURN_NAMES = ("path",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"preset": (list(get_args(PathPreset)), {"default": "orbit"})},
            "optional": {
                "yaw_deg": number(0, -180, 180),
                "pitch_deg": number(0, -90, 90),
                "roll_deg": number(0, -180, 180),
                "distance": number(0, -10, 10),
                "zoom": number(1, 0.1, 10),
                "file": ("STRING", {"default": ""}),
            },
        }

    def make(
        self, preset: str, yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0,
        distance: float = 0.0, zoom: float = 1.0, file: str = "",
    ) -> tuple[PathConfig]:  # fmt: skip
        path = PathConfig(
            file or preset, yaw=yaw_deg or None, pitch=pitch_deg or None, roll=roll_deg or None,
            distance=distance or None, zoom=None if zoom == 1 else zoom,
        )  # fmt: skip
        return (path,)


class RecamRender:
    """What the new camera can see, and what is missing there, for a model of ComfyUI's."""

    CATEGORY, FUNCTION = CATEGORY, "render"
    RETURN_TYPES = ("IMAGE", "MASK", "IMAGE", "INT", "INT", "INT")
    RETURN_NAMES = ("render", "missing", "depth", "width", "height", "length")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        generators = ["comfyui", *(g for g in get_args(Generator) if g != "comfyui"), OWN_SIZE]
        return {
            "required": {"scene": ("RECAM_SCENE",), "path": ("RECAM_PATH",)},
            "optional": {
                "made_for": (generators, {"default": "comfyui"}),
                "fit": (list(get_args(Fit)), {"default": "crop"}),
                "piece": whole(1, 1),
            },
        }

    def render(
        self, scene: Scene, path: PathConfig, made_for: str = "comfyui", fit: Fit = "crop",
        piece: int = 1,
    ) -> tuple[Tensor, Tensor, Tensor, int, int, int]:  # fmt: skip
        """depth: near is bright, unknown is black. piece: of a path longer than is taken."""
        generator: Any = None if made_for == OWN_SIZE else made_for
        seen = recam.render_path(
            scene, path, generator=generator, fit=fit, piece=piece, progress=progress_bar()
        )
        frames = seen.frames
        if generator is None:
            frames = torch.where(seen.known[:, None] > 0.5, frames, 0)
        depth = images_from_frames(draw_depth(seen.depth, nearest_shown(seen.depth)))
        height, width = frames.shape[2:]
        missing = missing_from_known(seen.known)
        return images_from_frames(frames), missing, depth, width, height, len(frames)


class RecamReshoot:
    """recam's own result: rendered and completed."""

    CATEGORY, FUNCTION = CATEGORY, "reshoot"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("images", "made_up")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"scene": ("RECAM_SCENE",), "path": ("RECAM_PATH",)},
            "optional": {"model": (list(get_args(CompletionModel)), {"default": "auto"})},
        }

    def reshoot(
        self, scene: Scene, path: PathConfig, model: CompletionModel = "auto"
    ) -> tuple[Tensor, Tensor]:
        result = recam.reshoot(scene, path, complete=CompleteConfig(model), progress=progress_bar())
        return images_from_frames(result.video.frames), missing_from_known(result.partial.known)


class RecamComplete:
    """Fill a mask in any frames."""

    CATEGORY, FUNCTION = CATEGORY, "complete"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"images": ("IMAGE",), "missing": ("MASK",)},
            "optional": {"model": (list(get_args(CompletionModel)), {"default": "auto"})},
        }

    def complete(
        self, images: Tensor, missing: Tensor, model: CompletionModel = "auto"
    ) -> tuple[Tensor]:
        result = recam.complete(
            video_from_images(images, 24), 1 - missing.cpu(), config=CompleteConfig(model),
            progress=progress_bar(),
        )  # fmt: skip
        return (images_from_frames(result.video.frames),)


class RecamStereo:
    """Two eyes from one film."""

    CATEGORY, FUNCTION = CATEGORY, "stereo"
    RETURN_TYPES = ("IMAGE", "IMAGE")
    RETURN_NAMES = ("left", "right")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"scene": ("RECAM_SCENE",)},
            "optional": {"model": (list(get_args(CompletionModel)), {"default": "auto"})},
        }

    def stereo(self, scene: Scene, model: CompletionModel = "auto") -> tuple[Tensor, Tensor]:
        result = recam.stereo(scene, complete=CompleteConfig(model), progress=progress_bar())
        left, right = (eye.video.frames for eye in (result.left, result.right))
        return images_from_frames(left), images_from_frames(right)


class RecamSaveCameras:
    """The path's cameras in a file, in the format of its name: .json, .usda, .chan, .glb, .py."""

    CATEGORY, FUNCTION, OUTPUT_NODE = CATEGORY, "save", True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("file",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "scene": ("RECAM_SCENE",),
                "path": ("RECAM_PATH",),
                "file": ("STRING", {"default": "cameras.usda"}),
            }
        }

    def save(self, scene: Scene, path: PathConfig, file: str) -> tuple[str]:
        along = path_for_scene(scene, path)
        times_s, _ = path_times_s(scene, along)
        write_cameras(
            along.cameras, Path(file), times_s=times_s, metres_per_unit=scene.metres_per_unit
        )
        return (file,)


NODES = (
    RecamOpenScene, RecamSceneFromImages, RecamPath, RecamRender, RecamReshoot, RecamComplete,
    RecamStereo, RecamSaveCameras,
)  # fmt: skip
NODE_CLASS_MAPPINGS = {node.__name__: node for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {
    "RecamOpenScene": "recam: open scene",
    "RecamSceneFromImages": "recam: scene from images",
    "RecamPath": "recam: camera path",
    "RecamRender": "recam: render and mask",
    "RecamReshoot": "recam: reshoot",
    "RecamComplete": "recam: complete",
    "RecamStereo": "recam: two eyes",
    "RecamSaveCameras": "recam: save cameras",
}

"""Video to scene: what is read, and how cameras, depth and motion are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recam.configs.paths import CameraFormat

LensKind = Literal["auto", "pinhole"]
Quality = Literal["draft", "normal", "best"]
WORKING_SIDE_PX: dict[Quality, int] = {"draft": 256, "normal": 512, "best": 768}
DepthKind = Literal["auto", "depth", "inverse"]
CameraMotion = Literal["auto", "static", "rotating", "moving"]
DepthModel = Literal[
    "auto", "shipped", "stage", "depth-anything-v2", "depth-pro", "depth-anything-3", "moge",
    "vggt",
]  # fmt: skip


@dataclass(frozen=True)
class ReconstructRules:
    """One switch a heuristic of the reconstruction; ``recam eval ablations --tables reconstruct``
    prints what each is worth."""

    relief_restarts: bool = True
    """Where no network guesses the relief, start the cameras also from the relief turned inside
    out, and from nearer points."""
    manhattan_focal: bool = True
    """Where motion does not tell the focal length, ask lines at right angles."""
    learned_focal: bool = True
    """Where motion does not tell the focal length, the depth network's guess counts."""
    guessed_relief: bool = True
    """With learned_focal: start the cameras also from the depth that the network guesses."""
    short_baselines: bool = True
    """A camera that moves too little for depth to be measured counts as turning in place."""
    sky: bool = True
    """A smooth blue patch up to the picture's top is far and still."""
    horizon_shift: bool = True
    """Level lines tell the shift of predicted inverse depth."""
    frames_between: bool = True
    """Where little changes from a frame to the next, depth is measured in every other one."""
    view_consistency: bool = True
    """Other frames vote on what moves (second pass)."""
    shadow_rejection: bool = True
    """What lies in a moving shadow is still."""
    photometric_refinement: bool = True
    """Cameras are fitted to patches in frames far apart (second pass)."""
    local_plane_sweep: bool = True
    """Depth is matched again in frames far apart (second pass)."""
    instances: bool = True
    """Touching things that move are told apart, instead of one thing a connected region."""
    ground_contact: bool = True
    """What moves stands where its foot touches the ground."""
    prior_of_moving: bool = True
    """How near the depth network sees what moves is weighed against where its foot touches."""
    scale_change: bool = True
    """How much nearer a thing comes is read off its points."""
    round_outlines: bool = True
    """Where depth is measured, of a ball it is read off its outline, and it is as near as where it
    is seen nearest."""


ALL_RULES = ReconstructRules()


@dataclass(frozen=True)
class ReconstructConfig:
    """Video to scene."""

    quality: Quality = "normal"
    """draft: geometry at 256 px without the second pass, to aim by. best: at 768 px."""
    size: int | None = None
    """Longer side, in pixels, that geometry is worked out at (default by quality: 256, 512, 768);
    the result keeps the video's size."""
    motion: CameraMotion = "auto"
    """What the source camera did; auto finds out."""
    cameras: str | None = None
    """File or folder with the source's own cameras; they are used instead of estimated."""
    cameras_format: CameraFormat = "auto"
    fov: float | None = None
    """Horizontal field of view of the source in degrees, if known."""
    lens: LensKind = "auto"
    """auto: if the video's motion shows that the lens bends straight lines, this is undone, and the
    scene's video is the straightened one (not where depth or masks are given, which are of the
    video as it is). pinhole: the lens is taken to be straight."""
    depth: str | None = None
    """Depth of the source: MegaSAM npz, CogNVS, GEN3C, Vista4D, ViPE or dense COLMAP folder,
    nerfstudio's transforms.json, npz, npy, a film, or PNG/TIFF/EXR/PFM/npy files, one or a folder
    of them."""
    depth_kind: DepthKind = "auto"
    """depth, or inverse: the values are 1 / depth (disparity; large is near). auto goes by names,
    and asks where it could be both."""
    depth_unit: str | None = None
    """Metres that a depth of 1 stands for: m, cm, mm, or a number such as 0.0002 or 1/5000 (TUM).
    Default: mm for 16-bit pictures, else the scene's own unit."""
    depth_range: tuple[float, float] | None = None
    """Depths that the values of a film or of 8-bit pictures stand for, nearest and farthest: with
    depth_kind inverse white is the nearest, with depth the farthest."""
    masks: str | None = None
    """Folder or video of masks, white = moving, or one picture for all frames; used instead of
    found. Also labels of things (DAVIS), and pictures whose alpha channel is the mask."""
    mask_label: int | None = None
    """Of labels: the one thing that moves; default: all of them."""
    depth_model: DepthModel = "auto"
    """What says how deep things are where the video's own motion does not: the best that is
    installed, recam's own network (shipped), a level ground with a backdrop (stage), or a model of
    others."""
    depth_weights: str | None = None
    """Folder or Hub name of the depth model's weights; default: the published ones."""
    mask_weights: str | None = None
    """Folder or Hub name of a SAM 2 checkpoint that outlines what was found to move."""
    rules: ReconstructRules = ALL_RULES
    """A switch for each heuristic."""
    refine_minutes: float | None = None
    """Time for a second round over cameras, depth and what moves, with frames far apart, if the
    camera moves: no step is begun after it; 0 = none. Default: as long as it takes."""
    scale: float | None = None
    """Metres from the first camera to what the middle of its picture shows: makes a scene metric
    that nothing else does."""


@dataclass(frozen=True)
class InputConfig:
    """Which part of the video is used, and at what size."""

    start: int = 0
    """First source frame."""
    num_frames: int | None = None
    """How many frames; default all."""
    stride: int = 1
    """Use every stride-th frame."""
    max_side: int | None = None
    """Scale the video down to this longer side before anything else; default: its own size."""

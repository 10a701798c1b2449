"""Every option, as plain dataclasses. Standard library only, so that ``recam --help`` is fast.

The command line, the web page and Python callers build the same objects; a run writes them to its
``config.json``. Degrees appear only here, at the user's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PathPreset = Literal[
    "static", "stabilise", "orbit", "arc", "dolly", "truck", "pedestal", "pan", "tilt", "roll",
    "zoom", "dolly-zoom", "spiral", "handheld", "freeze",
]  # fmt: skip
Speed = Literal["linear", "ease", "ease-in", "ease-out", "there-and-back"]
CameraFormat = Literal[
    "auto", "recam", "cognvs", "trajectorycrafter", "viewcrafter", "nerfstudio", "camera-path",
    "colmap", "re10k", "recammaster", "gen3c", "megasam", "vipe", "vista4d", "tum", "llff",
    "7scenes", "keyframes", "3dgs", "ns-export", "record3d", "polycam", "arkit", "dycheck", "kitti",
    "euroc", "depth-anything-3", "metashape", "realitycapture", "realitycapture-xmp", "chan", "usd",
    "gltf", "blender",
]  # fmt: skip
SceneFormat = Literal["ply", "colmap", "nerfstudio", "megasam", "3dgs", "usd", "gltf", "exr"]
Generator = Literal["cognvs", "vace", "trajectorycrafter", "gen3c", "comfyui"]
Fit = Literal["crop", "pad"]
Eye = Literal["left", "right"]
StereoLayout = Literal[
    "side-by-side", "half-side-by-side", "top-bottom", "half-top-bottom", "anaglyph", "separate"
]
StereoGaps = Literal["behind", "model"]
LensKind = Literal["auto", "pinhole"]
Quality = Literal["draft", "normal", "best"]
WORKING_SIDE_PX: dict[Quality, int] = {"draft": 256, "normal": 512, "best": 768}
DepthKind = Literal["auto", "depth", "inverse"]
CameraMotion = Literal["auto", "static", "rotating", "moving"]
DepthModel = Literal[
    "auto", "shipped", "stage", "depth-anything-v2", "depth-pro", "depth-anything-3", "moge",
    "vggt",
]  # fmt: skip
CompletionModel = Literal[
    "auto", "copy", "propagate", "masked", "none", "cogvideox", "wan22", "ltx", "vace"
]
Placement = Literal["auto", "resident", "swap", "fp8", "int4", "stream"]
AdaptMethod = Literal["lora", "whole"]
Quantize = Literal["none", "int8", "int8-dynamic"]
FeatureCache = Literal["none", "first-block", "taylorseer", "pyramid"]
Schedule = Literal["own", "ddim", "euler", "unipc"]
Aspect = Literal["stretch", "pad"]


@dataclass(frozen=True)
class PathConfig:
    """Where the new camera goes. With no amount given a preset takes its defaults; naming one sets
    the preset's others to none (orbit with a pitch orbits up only)."""

    path: str = "orbit"
    """A preset (static, stabilise, orbit, arc, dolly, truck, pedestal, pan, tilt, roll, zoom,
    dolly-zoom, spiral, handheld, freeze) or a file of cameras or keyframes."""
    yaw: float | None = None
    """Degrees to the right that the camera orbits or pans by the end of the path; an arc is
    centred on the source's view; handheld: typical shake."""
    pitch: float | None = None
    """Degrees upward that the camera orbits, arcs, tilts or shakes."""
    roll: float | None = None
    """Degrees clockwise that the camera rolls or shakes."""
    distance: float | None = None
    """Travel of dolly (+forward), truck (+right), pedestal (+up), how much nearer an orbit comes,
    the spiral's radius or the handheld shake, as a fraction of the focus depth."""
    zoom: float | None = None
    """Factor on the focal length for zoom and dolly-zoom (2 = twice as long)."""
    focus_depth: float | None = None
    """Depth of the point that orbits turn about, in scene units; default: from the scene."""
    speed: Speed = "ease"
    """How a preset's camera starts and stops."""
    at_frame: int | None = None
    """static: hold this frame's camera. freeze: the frame whose moment is frozen."""
    amount: float | None = None
    """stabilise: how much of the shake goes, 0 to 1; default all of it."""
    smoothness: float | None = None
    """stabilise: seconds that the path is smoothed over (a Gaussian's standard deviation); default
    0.7: motion slower than some 4 s stays, shake of 1 Hz and more goes."""
    file_format: CameraFormat = "auto"
    """Convention of a path file; auto recognises those that name themselves."""
    file_video: str | None = None
    """Which one's cameras, where a path file has those of several videos or folders."""
    file_scale: float | None = None
    """Scene units per unit of a path file's translations; default 1, or by the scene's scale where
    the file is in metres."""
    shake_seed: int = 0
    """Of the handheld shake."""
    max_unseen: str | None = None
    """Share of a frame that may be shown though no frame of the video shows it, such as 15%: a
    preset's amounts are scaled down until no frame needs more. Default: no limit."""


@dataclass(frozen=True)
class ReconstructRules:
    """One switch a heuristic of the reconstruction; ``recam eval ablations --tables reconstruct``
    prints what each is worth."""

    relief_restarts: bool = True
    """Start the cameras also from the relief turned inside out, and from nearer points."""
    manhattan_focal: bool = True
    """Where motion does not tell the focal length, ask lines at right angles."""
    learned_focal: bool = True
    """Where motion does not tell the focal length, the depth network's guess counts."""
    guessed_relief: bool = True
    """With learned_focal: start the cameras also from the depth that the network guesses."""
    sky: bool = True
    """A smooth blue patch up to the picture's top is far and still."""
    horizon_shift: bool = True
    """Level lines tell the shift of predicted inverse depth."""
    view_consistency: bool = True
    """Other frames vote on what moves (second pass)."""
    texture_consistency: bool = True
    """They vote by texture as well, once depth is matched."""
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
    """Where no foot is seen, it is as near as the depth network says."""
    scale_change: bool = True
    """How much nearer a thing comes is read off its points."""


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
class RenderConfig:
    """Scene to co-visible pixels."""

    aggregate_static: bool = True
    """Let what one frame saw of the static scene fill what another did not."""
    num_static_frames: int = 12
    """How many source frames are merged into the static points at most."""
    edge_threshold: float = 0.05
    """Relative depth step between neighbours beyond which a surface is torn there."""
    edge_margin: int = 2
    """Pixels behind a depth edge, of mixed colour, that are left out where a hole opens beside
    them."""
    max_stretch: float = 4.0
    """How many times its size a slanted pixel may grow before it no longer counts as observed."""
    device: str = "cpu"
    """cpu: compiled, a frame per core. cuda (or cuda:1 …): plain torch, no compiler needed."""


@dataclass(frozen=True)
class PairConfig:
    """Training pairs from a scene: what a camera on a random path would have seen, seen back."""

    num_frames: int | None = None
    """Frames of a pair at most; default: the whole video."""
    max_stride: int = 1
    """Every k-th frame is used, k random up to this."""
    yaw: float = 15.0
    """Paths stay within so many degrees to either side, …"""
    pitch: float = 10.0
    """… up and down, …"""
    distance: float = 0.1
    """… and within this fraction of the focus depth forward and back."""
    wide_fraction: float = 0.25
    """Share of paths that may go wide_factor times as far."""
    wide_factor: float = 3.0
    resampled_fraction: float = 0.5
    """Share of pairs whose known colours went there and back (so are a little blurred) rather
    than staying the source's own."""
    alone_fraction: float = 0.0
    """Share of pairs in which other frames' static points do not fill in."""


Conditioning = Literal["clean-tokens", "concat", "both"]
Fill = Literal[
    "pull-push", "past", "future", "propagate", "traced-past", "traced-future", "around",
    "flow", "flow-past", "flow-future", "flow-around", "telea",
]  # fmt: skip
"""Classical fills that the masked model starts from (completion/fills.py)."""
SEARCHED: tuple[Fill, ...] = (
    "propagate", "traced-past", "traced-future", "around",
    "flow", "flow-past", "flow-future", "flow-around", "telea",
)  # fmt: skip
"""Those that estimate motion or march along borders: propagate with the rendering's depth, what it
found in the past, in the future and around; the same by flow alone; and Telea's inpainting."""
MaskSource = Literal[
    "reprojected", "random-2d", "first-frame", "endpoints", "tracks", "border", "everything",
    "identity",
]  # fmt: skip
Sampler = Literal["anchored", "stochastic"]


@dataclass(frozen=True)
class FoundationConfig:
    """Foundation models only (see docs/backbones.md)."""

    prompt: str = ""
    """What the video shows; empty is what completers were trained with, and half the work."""
    guidance: float | None = None
    """How far away from the empty prompt; default: the model's own. Unused with an empty prompt."""
    base: str | None = None
    """Folder or Hub name of the VAE, scheduler and text encoder; default: the weights' own, or the
    published ones of the model."""
    placement: Placement = "auto"
    """resident: everything on the GPU. swap: one part at a time. fp8, int4: weights kept at 8 bits,
    or 4 (by bitsandbytes). stream: blocks copied to the GPU as they run. auto: the first of these
    that fits."""
    work_side: int | None = None
    """Longer side that models of free size (wan22, ltx, vace) work at; default: the model's own."""
    aspect: Aspect = "stretch"
    """How a video becomes the one size of cogvideox. stretch: as its authors train and run it. pad:
    scaled whole, the edge repeated around it, which it was not trained on."""
    model_device: str = "auto"
    """cpu, cuda, cuda:1 …; auto takes the GPU if there is one."""
    quantize: Quantize = "none"
    """int8: weights of the blocks at 8 bits. int8-dynamic: what they are multiplied with as well.
    Needs torchao."""
    compile: bool = False
    """Compile the transformer's blocks (torch.compile): minutes first, faster from then on."""
    feature_cache: FeatureCache = "none"
    """first-block: steps that change little reuse what the blocks gave before. taylorseer: four of
    five steps extrapolate it. pyramid: every second step reuses the attention, between noise levels
    0.8 and 0.1. All change the answer."""
    cache_threshold: float = 0.05
    """How much counts as little, for first-block."""
    keep_known: int = 1
    """wan22, ltx: only one of so many steps computes known tokens anew; the others compute those of
    holes alone, which attend to the keys and values that known ones had. 1: all, every step."""
    hole_context: int | None = None
    """wan22, ltx, vace: send only frames with holes and so many beside them; default: all of a
    window. Windows without holes are never sent."""
    lora: str | None = None
    """File of a low-rank adapter that is added to the weights first, such as one that was distilled
    for few --sampling-steps."""
    schedule: Schedule = "own"
    """own: as published (cogvideox DPM, wan22 and vace UniPC, ltx Euler). ddim: of cogvideox.
    euler: of the others; wan22 needs it for --sampler stochastic. unipc: made for few steps."""
    shift: float | None = None
    """wan22, vace, ltx: more than 1 spends more steps at high noise; default: the checkpoint's
    (vace: 3 by its config, but 16 in its publishers' scripts)."""
    adapt_method: AdaptMethod = "lora"
    """What --adapt-minutes trains. lora: a low-rank adapter of megabytes. whole: every weight, with
    the optimiser's states at 8 bits (needs torchao)."""
    adapt_steps: int = 200
    """At most, within --adapt-minutes."""
    adapt_devices: int = 1
    """GPUs that adapt together, each on examples of its own; with adapt_method whole the weights
    are split over them (FSDP)."""


@dataclass(frozen=True)
class CompleteConfig:
    """Partial video to video."""

    model: CompletionModel = "auto"
    """auto: copy; masked where weights are given. copy: what another frame saw is fetched along the
    motion, what none saw is made up once by copies. propagate: the same, but paint where none saw.
    masked: the masked video model. none: leave holes black. cogvideox, wan22, ltx, vace: foundation
    models (they need the foundation extra, a GPU and --weights)."""
    weights: str | None = None
    """masked: weight file, or folder with its parts; default: those of the package. Foundation
    models: folder or Hub name, such as kaihuac/cognvs_ckpt_inpaint (@ and a commit's hash after it
    fetches that revision and no other), or a transformer's weights as one file, the rest from
    --base."""
    foundation: FoundationConfig = field(default_factory=FoundationConfig)
    adapt_minutes: float | None = None
    """masked and foundation models: time for adapting the model to this video first, kept for the
    next run; 0 = off. Default: 3 for foundation models; 0 for masked, which gains little by it
    (docs/log.md)."""
    sampler: Sampler = "anchored"
    """masked: anchored keeps evidence clean throughout; stochastic re-noises it early and denoises
    it with the rest, which corrects noise and jittering depth, and costs where evidence is good."""
    threshold: float = 0.9
    """masked, stochastic: the noise level in (0, 1) from which evidence is denoised too."""
    eta: float = 0.0
    """masked: fresh noise a pass, 0 = none (DDIM), 1 = as much as keeps the distribution (DDPM)."""
    sampling_steps: int | None = None
    """Network passes; default 1 for masked (the mean of what could be there; more give detail), 30
    to 50 for foundation models."""
    model_side: int = 512
    """masked: longer side that the network works at; its correction is enlarged to the video's."""
    steady: int | None = None
    """copy, masked, propagate: passes of a filter over time, along the motion, over what was filled
    in (copy: what other frames showed), so that frames agree, at the cost of detail; default 1 for
    copy, 8 for masked, 0 for the others."""
    planes: bool = True
    """copy: planes that bound a scene (ground, walls, ceiling) go on where no frame looked, each
    with its own colours and its texture in perspective."""
    window: int = 48
    """New frames that are completed together; longer videos go by overlapping windows."""
    overlap: int = 8
    """Frames of the window before that come on top of them: finished ones, which enter as known,
    and some that are filled again and cross-faded."""
    seed: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """The masked video transformer. Stored with its weights."""

    patch: int = 16
    """Side of a token in pixels; 8, 16 or 32."""
    hidden: int = 256
    heads: int = 4
    blocks: int = 6
    """Cycling through attention within a frame, along time, and to anchor frames."""
    stem: int = 48
    """Channels at a quarter of the resolution; twice as many at every halving before the tokens."""
    convs: int = 2
    """Pairs of convolutions at each of these resolutions, on the way down and on the way up."""
    num_anchors: int = 8
    """Frames that every token may attend to in full; the cost is linear in the video's length."""
    conditioning: Conditioning = "both"
    """How evidence enters: as clean tokens, as channels beside the noisy ones, or both."""
    fills: tuple[Fill, ...] = SEARCHED
    """Full-resolution fills to start from; the untrained model's output is their mean."""
    caution: float = 0.0
    """Share of the mean of the trusted fills in an answer to pure noise, less at lower levels: real
    videos are not quite like what was trained on."""
    residual_std: float = 0.25
    """Expected distance of the truth from the first fill, in units where frames span [-1, 1]."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What one training step asks of the network."""

    masks: tuple[MaskSource, ...] = (
        *("reprojected",) * 6, "random-2d", "tracks", "border",
        "first-frame", "endpoints", "everything", "identity",
    )  # fmt: skip
    """Mask sources, drawn with equal chance; repeat one to draw it more often."""
    degrade: float = 0.2
    """Chance that a sample's evidence is degraded as warps degrade it."""
    joint: float = 0.15
    """Chance that a sample's evidence is denoised too, as the stochastic sampler will ask."""
    drop_condition: float = 0.02
    """Chance that a sample's evidence channels and fills are withheld."""
    pure_noise: float = 0.8
    """Chance that a sample's holes are at the highest noise level, where sampling starts."""
    own_levels: float = 0.1
    """Chance that every token of a sample has a noise level of its own."""
    hole_weight: float = 4.0
    """Weight of unknown pixels against known ones in tokens that are denoised."""


@dataclass(frozen=True)
class PretrainConfig:
    """Training the masked video transformer."""

    out: str = "pretrain"
    """Folder of checkpoints, curves and weights; run again to resume."""
    start: str | None = None
    """Weights to begin from instead of from scratch: a file, or a folder with its parts."""
    minutes: float | None = None
    """Stop after so much time, with everything written; run again to go on."""
    finish: bool = False
    """With minutes: the learning rate falls to its end within them (for the last session)."""
    part_mb: int = 0
    """Also write the weights in parts of so many megabytes at most; 0 = no parts."""
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    videos: str | None = None
    """Folder of videos to learn from beside the layered clips made on the fly."""
    data: str | None = None
    """Folder or URL of shards that `recam pairs` wrote, to learn from as well, streamed."""
    data_window: int = 256
    """Pairs of the shards that are kept in memory, of which a step draws; each step brings as many
    new ones as it has clips."""
    synthetic_share: float = 0.1
    """With videos, scenes or shards: share of samples that are layered clips all the same."""
    num_scenes: int = 0
    """Also learn from so many random 3D scenes, with holes as a reshoot leaves them; made once."""
    workers: int = 0
    """Processes that make the scenes; 0 = one per processor core."""
    pairs_per_video: int = 0
    """Reconstruct each video (kept in the cache) and learn from so many pairs of it with holes as
    a reshoot leaves them, too; 0 = drawn masks only."""
    panned_per_video: int = 0
    """Also so many pairs of each video through a window that pans over it, with holes of the random
    scenes."""
    steps: int = 2000
    batch: int = 4
    """Clips a step and device."""
    num_frames: int = 5
    height: int = 112
    width: int = 176
    lr: float = 6e-4
    warmup: int = 50
    weight_decay: float = 0.01
    ema: float = 0.995
    grad_checkpoint: bool = False
    compile: bool = False
    devices: int = 0
    """Processes that learn together, which torchrun or accelerate's launcher starts (see `python -m
    recam.train`). Default: as many as were started."""
    accumulate: int = 1
    """Batches of each device that make one step. So many devices with so many batches each give
    what any other division of as many batches gives."""
    split_weights: bool = False
    """Split weights, gradients and the optimizer's states over the devices (FSDP)."""
    device: str = "auto"
    """auto takes the GPU if there is one and says so."""
    checkpoint_every: int = 100
    evaluate_every: int = 200
    num_heldout: int = 6
    seed: int = 0


@dataclass(frozen=True)
class DepthTrainConfig:
    """Training the depth network."""

    out: str = "pretrain-depth"
    """Folder of checkpoint, curve and weights; run again to resume."""
    start: str | None = None
    """Weights to begin from instead of from scratch, e.g. the shipped ones."""
    minutes: float | None = None
    """Stop after so much time, with everything written; run again to go on."""
    finish: bool = False
    """With minutes: the learning rate falls to its end within them (for the last session)."""
    steps: int = 6000
    encoder: str | None = None
    """ImageNet weights of the encoder to begin from (runs/convert_encoder.py makes the file)."""
    encoder_lr: float = 0.1
    """Learning rate of the encoder as a part of ``lr``."""
    frozen: float = 0.6
    """Part of the steps during which the encoder stays as it is."""
    batch: int = 12
    """Crops of ``area`` pixels a step; more of smaller ones, fewer of larger ones."""
    area: int = 144 * 192
    """Pixels of the usual crop; others are half and twice as large, and their aspect varies."""
    num_chunks: int = 200
    """The pool's size at the end, in chunks of 6 scenes (up to 60 pictures)."""
    first_chunks: int = 8
    """With so many it begins; it has all chunks when two thirds of the steps are done."""
    devices: int = 0
    """Processes that learn together, as in PretrainConfig."""
    accumulate: int = 1
    """Batches of each device that make one step."""
    split_weights: bool = False
    """Split weights, gradients and the optimizer's states over the devices (FSDP)."""
    photos: str | None = None
    """Folder of photographs of which some of the scenes' surfaces are made."""
    workers: int = 1
    """Processes that make the pool meanwhile."""
    lr: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.02
    ema: float = 0.998
    device: str = "auto"
    """auto takes the GPU if there is one and says so."""
    checkpoint_every: int = 100
    seed: int = 0


@dataclass(frozen=True)
class FoundationTrainConfig:
    """Adapting a published video model to the pairs of shards."""

    data: str | None = None
    """Folder or URL of shards that `recam pairs` wrote (needed)."""
    out: str = "pretrain-foundation"
    """Folder of checkpoint and adapter; run again to resume."""
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    """Which model, from which weights; also the seed."""
    method: AdaptMethod = "lora"
    """lora: a low-rank adapter. whole: every weight, split over the devices (FSDP) where there are
    several."""
    num_pairs: int = 64
    """Pairs of the shards, two of them held back to check on."""
    steps: int = 1000
    minutes: float = 60.0
    """At most."""
    evaluate_every: int = 50
    """Steps; a checkpoint is written then, too."""
    accumulate: int = 1
    """Examples of each device that make one step, as in PretrainConfig."""
    device: str = "auto"


@dataclass(frozen=True)
class FinetuneConfig:
    """Adapting the model to one video."""

    minutes: float = 3.0
    """Time budget; 0 = do not adapt."""
    steps: int = 300
    """At most, within the budget."""
    num_pairs: int = 6
    """Pairs made from the video, two of them held back to check on."""
    method: AdaptMethod = "whole"
    rank: int = 16
    """Of the low-rank adapter."""
    lr: float = 3e-4
    batch: int = 1
    num_frames: int = 8
    crop: int = 160
    """Side of the square crops trained on, pixels; a smaller video is used whole."""
    evaluate_every: int = 50
    devices: int = 1
    """GPUs that adapt a foundation model together."""
    seed: int = 0


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


@dataclass(frozen=True)
class EngineConfig:
    """Where many rows of work are done, and what happens when one fails."""

    engine: Literal["local", "ray"] = "local"
    """local: processes on this machine. ray: Ray Data, on a cluster or here."""
    address: str = "auto"
    """Of the Ray cluster. auto: the one that this machine belongs to. local: begin one here, for
    this batch alone. Or ray://HOST:10001."""
    workers: int = 1
    """Rows that are done at the same time, each in a process of its own."""
    threads: int | None = None
    """Of each worker. Default: its share of this machine's cores; with ray, --cpus."""
    cpus: int = 1
    """ray: cores that a worker takes up."""
    gpus: float = 0.0
    """ray: GPUs that a worker takes up. Local workers share the GPUs that there are in turn."""
    memory_gb: float | None = None
    """ray: memory that a worker takes up."""
    shard: str | None = None
    """i/n: only every n-th row, from the i-th (of 0 to n - 1). Default: what a scheduler sets, such
    as SLURM_ARRAY_TASK_ID; else all."""
    retries: int = 1
    """More tries for rows that failed for a reason that may pass: a crash, a full disk, the
    network, too little memory, the time limit. They come after all others."""
    timeout: float | None = None
    """Seconds that a row may take; then its process is ended."""
    limit: int | None = None
    """Do so many rows at most."""
    fail_fast: bool = False
    """Stop at the first row that fails."""


@dataclass(frozen=True)
class PairsConfig:
    """Training pairs of many films, and what is not worth learning from."""

    num_frames: int = 12
    """Frames of a pair; shorter shots give none."""
    max_side: int = 400
    """Films are scaled down to this longer side."""
    shot_frames: int = 24
    """A shot is reconstructed in parts of so many frames, …"""
    parts_per_shot: int = 2
    """… of which it gives at most so many, evenly apart."""
    pairs_per_part: int = 3
    films_per_shard: int = 8
    """Films that are done together, as one row of work."""
    min_activity: float = 0.001
    """Gate "static": how far the pixel moves from frame to frame that only one in twenty outruns,
    in picture widths, at least. A camera that stands is welcome where something moves."""
    max_motion: float = 0.06
    """Gate "motion": how far the median pixel moves, at most."""
    min_sharpness: float = 0.05
    """Gate "blur": share of a picture's contrast that is in its finest detail, at least."""
    max_text: float = 0.02
    """Gate "text": share of the picture that writing takes which stands still, at most."""
    min_parallax: float = 0.0
    """Gate "parallax": the camera's way from its mean place, in focus depths, at least. 0 = cameras
    that stand or turn are welcome too: their depth is estimated."""
    min_holes: float = 0.005
    """Gate "holes": share of a pair that is unknown, at least, …"""
    max_holes: float = 0.8
    """… and at most."""
    seed: int = 0


@dataclass(frozen=True)
class ReshootConfig:
    """A whole run: read, reconstruct, render along a path, complete."""

    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    memory: int = 0
    """Views along the path that are completed first and then stay in the scene, and in its folder:
    frames, windows and later paths see the same made-up things. 0 = none: what was made up is
    carried along the motion within a window, and handed on to the next."""


EditContent = Literal["surface", "background"]


@dataclass(frozen=True)
class EditConfig:
    """An edit of one frame, carried through the video."""

    content: EditContent = "surface"
    """What the edited frame shows in its region. surface: something that sticks to what was there
    (recoloured, retextured, put on it). background: what lies behind the thing taken out."""
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    mask_weights: str | None = None
    """Folder or Hub name of a SAM 2 checkpoint that outlines what was followed."""
    track_weights: str | None = None
    """CoTracker checkpoint file; it follows points where the flow is not sure. It needs the package
    cotracker."""


@dataclass(frozen=True)
class RigConfig:
    """Two eyes: how far apart they stand, and what lies on the screen."""

    keep: Eye | None = None
    """The eye that is the film itself, so that only the other one is new. Default: both are new,
    half the distance to either side, so that both are alike."""
    behind: float = 0.02
    """How far behind the screen the farthest things may lie: their disparity as a share of the
    picture's width. The eyes stand as far apart as this and --in-front allow."""
    in_front: float = 0.015
    """How far before the screen the nearest things may come, likewise."""
    convergence: float = 1.0
    """Depth of what lies on the screen, in focus depths: what the shot is about, by default."""
    interaxial: float | None = None
    """Distance of the eyes in focus depths; by default what --behind and --in-front allow."""
    focus_depth: float | None = None
    """In scene units; default: from the scene."""


@dataclass(frozen=True)
class StereoConfig:
    """Two eyes from one film."""

    rig: RigConfig = field(default_factory=RigConfig)
    layout: StereoLayout = "side-by-side"
    """How the two are packed. half: each squeezed to half, so that the picture keeps its size.
    anaglyph: for red and cyan glasses. separate: two files."""
    gaps: StereoGaps = "model"
    """Narrow gaps beside things are filled by the model, as all others, or by what borders them on
    the far side: better where depth is exact (given, rendered), worse where outlines are found."""
    outline_px: int = 0
    """How far things reach beyond their outlines, in depth pixels: outlines that were found lie a
    little inside the things, whose rims stay behind. 2 often helps where depth was guessed."""
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)


@dataclass(frozen=True)
class InterpolateConfig:
    """New frames between two or more views."""

    frames: int = 15
    """New frames between each two neighbouring views."""
    size: int = 768
    """Longer side, in pixels, that motion between the views is found at."""
    complete: CompleteConfig = field(default_factory=CompleteConfig)


@dataclass(frozen=True)
class ImageConfig:
    """A camera path through one picture."""

    frames: int = 48
    """Frames of the video."""
    memory: int = 6
    """Views along the path that are completed first and then stay in the scene, so that what was
    made up once is seen again; 0 = every frame is completed from the picture alone."""
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)

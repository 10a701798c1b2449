"""Render and complete: what is shown of a scene, and who fills what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
    smooth_outlines: bool = True
    """No stairs along outlines that meet other surfaces than in the source."""
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

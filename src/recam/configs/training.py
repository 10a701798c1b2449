"""Networks, their training, and the machines that it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recam.configs.completion import (
    SEARCHED,
    AdaptMethod,
    CompleteConfig,
    Conditioning,
    Fill,
    MaskSource,
)


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

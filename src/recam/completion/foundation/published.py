"""The published models that run here: what each was trained at, and the shape of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published model.

    weights, base: Hub names of its weights, and of what comes with a transformer alone (VAE,
    scheduler, text encoder). transformer, vae, pipeline: classes of diffusers.
    frames, side: of the longest clip and its longer side. tokens: of that clip. vae_bytes: of a
    number in the VAE, as its publishers load it. vae_work_gb: what coding one tile keeps, an
    estimate. shapes: the published configs of transformer and VAE, as far as they differ from
    diffusers' defaults.
    """

    weights: str
    base: str
    transformer: str
    vae: str
    pipeline: str
    frames: int
    side: int
    tokens: int
    steps: int
    guidance: float
    text_length: int
    vae_bytes: int
    vae_work_gb: float
    shapes: tuple[dict[str, Any], dict[str, Any]]


COGNVS: dict[str, Any] = {
    "num_layers": 42, "num_attention_heads": 48, "attention_head_dim": 64, "in_channels": 32,
    "out_channels": 16, "patch_size": 2, "sample_frames": 49, "sample_height": 60,
    "sample_width": 90, "text_embed_dim": 4096, "max_text_seq_length": 226, "time_embed_dim": 512,
    "temporal_compression_ratio": 4, "spatial_interpolation_scale": 1.875,
    "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": True,
}  # fmt: skip
"""Config of the published CogNVS transformer, which is that of CogVideoX-5B-I2V."""
WAN22: dict[str, Any] = {
    "num_layers": 30, "num_attention_heads": 24, "attention_head_dim": 128, "in_channels": 48,
    "out_channels": 48, "ffn_dim": 14336, "freq_dim": 256, "text_dim": 4096,
    "patch_size": [1, 2, 2], "added_kv_proj_dim": None,
}  # fmt: skip
WAN22_VAE: dict[str, Any] = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "patch_size": 2,
    "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16, "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}  # fmt: skip
VACE: dict[str, Any] = {
    "num_layers": 30, "num_attention_heads": 12, "attention_head_dim": 128, "in_channels": 16,
    "out_channels": 16, "ffn_dim": 8960, "freq_dim": 256, "text_dim": 4096,
    "patch_size": [1, 2, 2], "added_kv_proj_dim": None, "vace_layers": list(range(0, 30, 2)),
    "vace_in_channels": 96,
}  # fmt: skip
LTX: dict[str, Any] = {
    "num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 64, "in_channels": 128,
}  # fmt: skip

MODELS = {
    "cogvideox": Published(
        "kaihuac/cognvs_ckpt_inpaint", "zai-org/CogVideoX-5b-I2V", "CogVideoXTransformer3DModel",
        "AutoencoderKLCogVideoX", "CogVideoXImageToVideoPipeline", frames=49,
        side=720, tokens=13 * 30 * 45 + 226, steps=50, guidance=6.0,
        text_length=226, vae_bytes=2, vae_work_gb=4.5, shapes=(COGNVS, {}),
    ),
    "wan22": Published(
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        "WanTransformer3DModel", "AutoencoderKLWan", "WanPipeline", frames=121, side=1280,
        tokens=31 * 22 * 40, steps=50, guidance=5.0, text_length=512, vae_bytes=4, vae_work_gb=6.0,
        shapes=(WAN22, WAN22_VAE),
    ),
    "ltx": Published(
        "Lightricks/LTX-Video", "Lightricks/LTX-Video", "LTXVideoTransformer3DModel",
        "AutoencoderKLLTXVideo", "LTXPipeline", frames=161, side=704, tokens=21 * 15 * 22,
        steps=40, guidance=3.0, text_length=256, vae_bytes=2, vae_work_gb=4.0, shapes=(LTX, {}),
    ),
    "vace": Published(
        "Wan-AI/Wan2.1-VACE-1.3B-diffusers", "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        "WanVACETransformer3DModel", "AutoencoderKLWan", "WanVACEPipeline", frames=81, side=832,
        tokens=21 * 30 * 52, steps=50, guidance=5.0, text_length=512, vae_bytes=4, vae_work_gb=6.0,
        shapes=(VACE, {}),
    ),
}  # fmt: skip
"""By the names that --model gives them."""

"""Tiny random checkpoints in the layout of the published ones, saved for the tests."""

from pathlib import Path

import torch

SEED = 5


def save_cogvideox(folder: Path, **transformer: object) -> Path:
    """A whole CogVideoX image-to-video pipeline of 9 frames of 64×96; returns the folder."""
    import diffusers

    torch.manual_seed(SEED)
    save_cogvideox_transformer(folder / "transformer", **transformer)
    vae = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
        scaling_factor=0.7,
    )  # fmt: skip
    _randomise(vae)
    vae.save_pretrained(folder / "vae")
    diffusers.CogVideoXDDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=1.0,
        set_alpha_to_one=True, timestep_spacing="trailing",
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    save_t5(folder, 32)
    (folder / "model_index.json").write_text('{"_class_name": "CogVideoXImageToVideoPipeline"}')
    return folder


def save_cogvideox_transformer(folder: Path, shard: str = "10GB", **other: object) -> Path:
    """A transformer alone, as CogNVS publishes its checkpoint."""
    import diffusers

    config: dict = dict(
        num_attention_heads=2, attention_head_dim=16, in_channels=8, out_channels=4,
        time_embed_dim=16, text_embed_dim=32, num_layers=2, sample_width=12, sample_height=8,
        sample_frames=9, patch_size=2, max_text_seq_length=8,
        use_rotary_positional_embeddings=True, use_learned_positional_embeddings=True,
    )  # fmt: skip
    transformer = diffusers.CogVideoXTransformer3DModel(**{**config, **other})
    _randomise(transformer)
    transformer.save_pretrained(folder, max_shard_size=shard)
    return folder


def save_t5(folder: Path, width: int) -> None:
    """A T5 encoder and a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "bear": 4, "walks": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder / "tokenizer")
    config = T5Config(
        vocab_size=8, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    T5EncoderModel(config).save_pretrained(folder / "text_encoder")


def _randomise(model: torch.nn.Module) -> None:
    """Values of a spread at which every parameter has a say in the output."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, p in model.named_parameters():
            spread = 0.3 if p.dim() < 2 else 1.2 / p[0].numel() ** 0.5
            offset = 1.0 if p.dim() < 2 and name.endswith("weight") else 0.0
            p.copy_(offset + spread * torch.randn(p.shape, generator=generator))

"""Tiny random checkpoints in the layout of the published ones, saved for the tests."""

import json
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


def save_wan(folder: Path, model: str) -> Path:
    """A whole Wan pipeline: wan22 (latents of 16×16 pixels, two-pixel patches) or vace (8×8)."""
    import diffusers

    torch.manual_seed(SEED)
    shape: dict = dict(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, text_dim=32,
        freq_dim=16, ffn_dim=32, num_layers=2, rope_max_seq_len=32,
    )  # fmt: skip
    small: dict = dict(
        base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.1] * 4, latents_std=[1.5] * 4,
        z_dim=4,
    )  # fmt: skip
    if model == "vace":
        transformer = diffusers.WanVACETransformer3DModel(
            **shape, in_channels=4, out_channels=4, vace_layers=[0], vace_in_channels=8 + 64
        )
        vae = diffusers.AutoencoderKLWan(**small)
    else:
        transformer = diffusers.WanTransformer3DModel(**shape, in_channels=4, out_channels=4)
        vae = diffusers.AutoencoderKLWan(
            **small, decoder_base_dim=8, is_residual=True, patch_size=2, in_channels=12,
            out_channels=12, scale_factor_spatial=16,
        )  # fmt: skip
    _save_parts(folder, transformer, vae)
    diffusers.UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=4.0
    ).save_pretrained(folder / "scheduler")
    save_t5(folder, 32, "UMT5")
    return folder


def save_ltx(
    folder: Path, timestep_conditioning: bool = False, dynamic_shifting: bool = True
) -> Path:
    """A whole LTX-Video pipeline (latents of 32×32 pixels and 8 frames)."""
    import diffusers

    torch.manual_seed(SEED)
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=12,
        cross_attention_dim=24, num_layers=2, caption_channels=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8), layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1), timestep_conditioning=timestep_conditioning,
    )  # fmt: skip
    _save_parts(folder, transformer, vae)
    diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=dynamic_shifting,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        shift_terminal=0.1 if dynamic_shifting else None,
    ).save_pretrained(folder / "scheduler")
    save_t5(folder, 32)
    return folder


def _save_parts(folder: Path, transformer: torch.nn.Module, vae: torch.nn.Module) -> None:
    for name, part in {"transformer": transformer, "vae": vae}.items():
        _randomise(part)
        part.save_pretrained(folder / name)


def save_t5(folder: Path, width: int, kind: str = "T5") -> None:
    """A text encoder and its tokenizer: T5's as a sentencepiece model alone, UMT5's as
    tokenizer.json, as the published checkpoints have them."""
    import transformers

    (save_spiece if kind == "T5" else _save_word_tokenizer)(folder / "tokenizer")
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=256, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    getattr(transformers, f"{kind}EncoderModel")(config).save_pretrained(folder / "text_encoder")


def save_spiece(folder: Path) -> None:
    """A small sentencepiece tokenizer with T5's special pieces, in the files of CogVideoX."""
    import io

    import sentencepiece

    lines = ["a bear walks over stones", "the camera turns about the bear", "two boats at sea"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 4), model_writer=model, vocab_size=28, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    config = {
        "tokenizer_class": "T5Tokenizer", "extra_ids": 100, "model_max_length": 226,
        "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _save_word_tokenizer(folder: Path) -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "bear": 4, "walks": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def _randomise(model: torch.nn.Module) -> None:
    """Values of a spread at which every parameter has a say in the output."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, p in model.named_parameters():
            spread = 0.3 if p.dim() < 2 else 1.2 / p[0].numel() ** 0.5
            offset = 1.0 if p.dim() < 2 and name.endswith("weight") else 0.0
            p.copy_(offset + spread * torch.randn(p.shape, generator=generator))

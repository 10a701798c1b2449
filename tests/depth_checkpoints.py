"""Tiny random checkpoints of depth and segmentation models, as their projects publish them."""

import json
from pathlib import Path

import torch

SEED = 3
FOV_DEG = 60.0
"""That the tiny Depth Pro says."""


def _dinov2(**more: object) -> dict:
    return {
        "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 4,
        "num_attention_heads": 2, "mlp_ratio": 2, **more,
    }  # fmt: skip


def save_depth_anything(folder: Path, **more: object) -> Path:
    """Depth Anything V2 with its image processor's file; returns the folder."""
    import transformers
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    torch.manual_seed(SEED)
    backbone = transformers.Dinov2Config(
        **{k: v for k, v in _dinov2(image_size=70, patch_size=14).items() if k != "model_type"},
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4, patch_size=14, **more,
    )  # fmt: skip
    model = transformers.DepthAnythingForDepthEstimation(config)
    _randomise(model)
    model.save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": 70, "width": 70}, ensure_multiple_of=14, keep_aspect_ratio=True,
        resample=3, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_depth_pro(folder: Path, fov: bool = True) -> Path:
    """Depth Pro with the fields of its published preprocessor_config.json (its image processor
    itself needs torchvision); returns the folder."""
    import transformers

    torch.manual_seed(SEED)
    sub = _dinov2(image_size=32, patch_size=16)
    config = transformers.DepthProConfig(
        fusion_hidden_size=8, patch_size=32, intermediate_hook_ids=[3, 1],
        intermediate_feature_dims=[8, 8], scaled_images_feature_dims=[16, 16, 8],
        merge_padding_value=0, use_fov_model=fov, num_fov_head_layers=2,
        image_model_config=dict(sub), patch_model_config=dict(sub), fov_model_config=dict(sub),
    )  # fmt: skip
    model = transformers.DepthProForDepthEstimation(config)
    _randomise(model)
    if fov:  # an angle that a lens may have
        last = [m for m in model.fov_model.modules() if isinstance(m, torch.nn.Conv2d)][-1]
        torch.nn.init.constant_(last.weight, 0.0)
        torch.nn.init.constant_(last.bias, FOV_DEG)
    model.save_pretrained(folder)
    about = {
        "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "DepthProImageProcessorFast", "resample": 2,
        "rescale_factor": 1 / 255, "size": {"height": 128, "width": 128},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder


def save_sam2(folder: Path, video: bool = False) -> Path:
    """SAM 2 at 128 px, the image model or the video model; returns the folder."""
    import transformers

    torch.manual_seed(SEED)
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8, image_size=[128, 128], num_query_pool_stages=3,
        blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1], window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
    )  # fmt: skip
    vision: dict = dict(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]], fpn_hidden_size=32,
    )  # fmt: skip
    prompt: dict = dict(hidden_size=32, image_size=128, patch_size=16, mask_input_channels=4)
    decoder: dict = dict(
        hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16,
        num_hidden_layers=2,
    )  # fmt: skip
    if video:
        memory: dict = dict(
            memory_attention_hidden_size=32, memory_attention_num_layers=1,
            memory_attention_num_attention_heads=1, memory_attention_feed_forward_hidden_size=32,
            memory_encoder_hidden_size=32, memory_encoder_output_channels=16,
            mask_downsampler_embed_dim=32, memory_fuser_embed_dim=32,
            memory_fuser_intermediate_dim=32, memory_fuser_num_layers=1,
            memory_attention_rope_feat_sizes=[8, 8], image_size=128,
        )  # fmt: skip
        config = transformers.Sam2VideoConfig(
            vision_config=transformers.Sam2VisionConfig(**vision).to_dict(),
            prompt_encoder_config=prompt, mask_decoder_config=decoder, **memory,
        )  # fmt: skip
        model = transformers.Sam2VideoModel(config)
    else:
        config = transformers.Sam2Config(
            vision_config=transformers.Sam2VisionConfig(**vision).to_dict(),
            prompt_encoder_config=prompt, mask_decoder_config=decoder,
        )  # fmt: skip
        model = transformers.Sam2Model(config)
    model.save_pretrained(folder)
    return folder


def _randomise(model: torch.nn.Module) -> None:
    """Weights that let every part show in the output."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                fan = max(1, parameter[0].numel())
                parameter.copy_(noise * (1.5 / fan**0.5))
            elif "bias" in name:
                parameter.copy_(0.2 * noise.abs())
            else:
                parameter.copy_(1 + 0.2 * noise)

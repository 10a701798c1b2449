"""Outlines of what moves by SAM 2 (Ravi et al. 2024), through transformers.

What moves is found from residuals, roughly; SAM 2 knows where things end. Each region's box is the
prompt, frame by frame, and of the masks that it answers with the one most like the region is
taken, if it is like it at all.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from recam.arrays import F64, U8, Mask
from recam.reconstruct.external.pictures import PictureRecipe, prepared
from recam.runtime.checkpoints import (
    best_device,
    find_checkpoint,
    load_whole,
    model_type,
    require_transformers,
)
from recam.types import Progress, RecamError, no_progress

MIN_LIKENESS = 0.5
"""Intersection over union with what was found, below which an answer is about something else."""
MIN_AREA = 0.0006
MARGIN = 0.05
"""Boxes are widened by this part of their sides: what was found may fall short."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def outlined_by_sam2(
    rgb: U8,
    dynamic: Mask,
    weights: str,
    progress: Progress = no_progress,
) -> tuple[Mask, float]:
    """``dynamic`` [t, h, w] with its regions' borders where SAM 2 has them.

    rgb: uint8 [t, h, w, 3]. weights: folder or Hub name of a SAM 2 checkpoint (image or video).
    Returns the masks, and the part of the regions that SAM 2 knew. Raises RecamError for weights
    that are missing, broken or of another model.
    """
    folder = find_checkpoint(weights)
    kind = model_type(folder)
    if kind not in ("sam2", "sam2_video"):
        raise RecamError(f"{weights}: holds a {kind} model; expected sam2 or sam2_video")
    # A video checkpoint has a memory as well, which looking at single frames does without.
    model = load_whole(require_transformers().Sam2Model, folder, more_is_fine=kind != "sam2")
    model = model.to(best_device())
    side = model.config.prompt_encoder_config.image_size
    side = int(side if isinstance(side, int) else side[0])
    recipe = PictureRecipe((side, side), MEAN, STD, bicubic=False)
    out = dynamic.copy()
    known = total = 0
    for i in range(len(rgb)):
        regions = _regions(dynamic[i])
        if regions:
            answers = _asked(model, rgb[i], regions, recipe)
            kept = dynamic[i].copy()
            for region in regions:
                kept &= ~region
            for region, answer in zip(regions, answers):
                like = _likeness(answer, region)
                known += like >= MIN_LIKENESS
                kept |= answer if like >= MIN_LIKENESS else region
            total += len(regions)
            out[i] = kept
        progress("outlining by SAM 2", i + 1, len(rgb))
    return out, known / max(total, 1)


def _regions(found: Mask) -> list[Mask]:
    num, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    least = MIN_AREA * found.size
    return [labels == k for k in range(1, num) if stats[k, cv2.CC_STAT_AREA] >= least]


@torch.no_grad()
def _asked(model: Any, picture: U8, regions: list[Mask], recipe: PictureRecipe) -> list[Mask]:
    """For each region the mask that is most like it, at the picture's size."""
    h, w = picture.shape[:2]
    scale = np.array([recipe.size[1] / w, recipe.size[0] / h] * 2)
    boxes = np.stack([_box(region) for region in regions]) * scale
    device = next(model.parameters()).device
    out = model(
        pixel_values=prepared(torch.from_numpy(picture).permute(2, 0, 1), recipe).to(device),
        input_boxes=torch.from_numpy(boxes).float()[None].to(device), multimask_output=True,
    )  # fmt: skip
    logits = out.pred_masks[0].float().cpu()  # [regions, 3, h', w']
    masks = torch.nn.functional.interpolate(logits, (h, w), mode="bilinear") > 0
    best = []
    for region, three in zip(regions, masks.numpy()):
        likeness = [_likeness(one, region) for one in three]
        best.append(three[int(np.argmax(likeness))])
    return best


def _box(region: Mask) -> F64:
    """x0 y0 x1 y1 in pixels, with a margin."""
    y, x = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    box = np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], np.float64)
    sides = box[[2, 3]] - box[[0, 1]]
    h, w = region.shape
    return np.clip(box + MARGIN * np.concatenate([-sides, sides]), 0, [w, h, w, h])


def _likeness(a: Mask, b: Mask) -> float:
    return float((a & b).sum()) / max(float((a | b).sum()), 1.0)

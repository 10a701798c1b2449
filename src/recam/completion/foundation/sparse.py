"""What completing one short clip costs by what is left out: operations counted, nothing run."""

from __future__ import annotations

from recam.completion.foundation.published import MODELS
from recam.completion.foundation.size import TransformerSize, clip_tokens, meta_transformer
from recam.completion.foundation.speedups import PYRAMID_TIMES, taylor_passes

FRAMES, HOLES = 49, 0.15
"""Of the clip, and the share of its tokens that have holes."""
FEW_STEPS, KEEP, HOLED_FRAMES = 8, 5, 17
"""What the table takes as an example: steps of a distilled adapter, --keep-known, and the frames
that have holes or lie beside one."""

Row = tuple[str, float, str]
"""What is done, its PFLOP, and what becomes of the answer."""


def sparse_rows(model: str, size: TransformerSize, steps: int) -> list[Row]:
    """PFLOP of a clip of FRAMES frames, HOLES of it to complete, at the model's own size."""
    published = MODELS[model]
    tokens = clip_tokens(model, published, FRAMES)
    one = size.flop(tokens)
    fewer = clip_tokens(model, published, HOLED_FRAMES)
    # Every second pass between two times reuses the attention; times fall evenly, unshifted.
    reused = steps * (PYRAMID_TIMES[1] - PYRAMID_TIMES[0]) / 1000 / 2
    pyramid = (steps - reused) * one + reused * size.flop(tokens, attention=0.0)
    rows: list[Row] = [
        (f"two prompts, {steps} steps (guided)", 2 * steps * one, "as published"),
        (f"one prompt, {steps} steps (an empty prompt; default)", steps * one, "the same"),
        (f"--lora of {FEW_STEPS} steps, --guidance 1", FEW_STEPS * one, "the adapter's own"),
        ("--feature-cache pyramid", pyramid, "changes"),
    ]
    if model != "vace":
        rows.append(("--feature-cache taylorseer", taylor_passes(steps) * one, "changes"))
    if model in ("wan22", "ltx"):
        whole = len(range(0, steps, KEEP))
        kept = whole * one + (steps - whole) * size.flop(tokens, computed=HOLES)
        few_whole = len(range(0, FEW_STEPS, KEEP))
        few = few_whole * one + (FEW_STEPS - few_whole) * size.flop(tokens, computed=HOLES)
        rows += [
            (f"--keep-known {KEEP}", kept, "changes"),
            (f"--keep-known {KEEP} and a --lora of {FEW_STEPS} steps", few, "changes"),
        ]
    if model != "cogvideox":
        part = f"--hole-context, {HOLED_FRAMES} of {FRAMES} frames sent"
        rows.append((part, steps * size.flop(fewer), "changes"))
    rows.append(("a window without holes", 0.0, "the same"))
    return [(what, flop / 1e15, answer) for what, flop, answer in rows]


def sparse_lines(model: str, size: TransformerSize, steps: int) -> list[str]:
    """The table as lines; beside each its share of the reference's work on the same clip (CogNVS:
    50 steps of two equal prompts)."""
    cog = MODELS["cogvideox"]
    reference = meta_transformer(cog.transformer, cog.shapes[0], cog.tokens)
    whole = 2 * cog.steps * reference.pass_flop / 1e15
    lines = [
        f"{FRAMES} frames, holes in {HOLES:.0%} of the tokens, in PFLOP counted, not measured "
        f"(beside it: of the {whole:.1f} of CogNVS as published); what becomes of the answer"
    ]
    for what, pflop, answer in sparse_rows(model, size, steps):
        lines.append(f"{pflop:6.2f}  {pflop / whole:5.3f}x  {what}: {answer}")
    return lines

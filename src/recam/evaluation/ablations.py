"""Tables of variants: what each part of the method is worth, with the baselines in every table.

After the ablations of the two seed documents (CogNVS: finetuning on the video, 3D-aware masks;
multi-view masked diffusion: conditioning, stochastic conditioning), at the scale of Synth4D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recam.completion.temporal_filter import PASSES
from recam.configs import CompleteConfig, FinetuneConfig, RenderConfig
from recam.evaluation.benchmark import run_method
from recam.evaluation.configs import MethodConfig, ScoreConfig, method_name
from recam.evaluation.datasets.sample import EvaluationSample
from recam.evaluation.report import Record, write_report
from recam.types import Progress, no_progress

RENDER_ONLY = MethodConfig(CompleteConfig("none"), label="render only")
CLASSICAL = MethodConfig(label="propagate")


def ablation_tables(
    weights: str | None = None,
    conditioning_weights: Sequence[str] = (),
    steps: Sequence[int] = (50, 100, 200),
    thresholds: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    passes: int = 8,
    minutes: float = 30.0,
) -> dict[str, list[MethodConfig]]:
    """The variants of every table; the first two rows of each are the baselines.

    weights: of the masked model; None leaves out the tables that are about it. minutes: limit of
    one adaptation; give enough that the number of steps decides.
    """
    model = None
    if weights is not None:
        model = MethodConfig(CompleteConfig("masked", weights), label="model")
    filled = [CLASSICAL] if model is None else [CLASSICAL, model]
    tables = {
        "geometry": [
            replace(m, cameras=c, depth=d, label=f"{_label(m)}, cameras {c}, depth {d}")
            for m in filled
            for c in ("true", "estimated")
            for d in ("true", "estimated")
            if (c, d) != ("true", "true")
        ],
        "static": [
            replace(m, render=RenderConfig(aggregate_static=False), label=f"{_label(m)}, no static")
            for m in (RENDER_ONLY, *filled)
        ],
    }
    if model is not None:
        tables["geometry"].insert(0, model)
        tables["static"].insert(0, model)
        tables |= _model_tables(model, steps, thresholds, passes, minutes)
        others = [
            replace(
                model, complete=CompleteConfig("masked", path), label=f"model {Path(path).stem}"
            )
            for path in conditioning_weights
        ]
        if others:
            tables["conditioning"] = [model, *others]
    return {name: [RENDER_ONLY, CLASSICAL, *rows] for name, rows in tables.items()}


def _model_tables(
    model: MethodConfig,
    steps: Sequence[int],
    thresholds: Sequence[float],
    passes: int,
    minutes: float,
) -> dict[str, list[MethodConfig]]:
    def adapted(num: int, masks: Any) -> MethodConfig:
        config = FinetuneConfig(minutes=minutes, steps=num)
        return replace(
            model, finetune=config, pair_masks=masks, label=f"adapted {num} steps, {masks} masks"
        )

    def sampled(threshold: float) -> MethodConfig:
        return completed(
            f"stochastic, threshold {threshold:g}", sampler="stochastic",
            sampling_steps=passes, threshold=threshold,
        )  # fmt: skip

    def completed(label: str, **options: Any) -> MethodConfig:
        return replace(model, complete=replace(model.complete, **options), label=label)

    steadied = CompleteConfig("propagate", steady=PASSES)
    many = completed(f"anchored, {passes} passes", sampling_steps=passes)
    return {
        "steady": [
            replace(CLASSICAL, complete=steadied, label="propagate, steadied"),
            completed("model, not steadied", steady=0),
            model,
        ],
        "finetune-steps": [model, *(adapted(n, "reprojected") for n in steps)],
        "masks": [model, *(adapted(max(steps), m) for m in ("reprojected", "random-2d"))],
        "sampling": [model, many, *(sampled(t) for t in thresholds)],
    }


def run_ablations(
    samples: Sequence[EvaluationSample],
    tables: Mapping[str, Sequence[MethodConfig]],
    out: Path,
    config: ScoreConfig,
    about: Mapping[str, Any],
    progress: Progress = no_progress,
) -> str:
    """Score every variant once (those of several tables too) and write all tables into ``out``.

    Variants that were scored before are only read. Returns the Markdown. The table of what is
    missing names the tables that need weights.
    """
    results: dict[str, list[Record]] = {}
    for rows in tables.values():
        for method in rows:
            name = method_name(method)
            if name not in results:
                folder = name.replace(",", "").replace(" ", "-")
                results[name] = list(run_method(samples, method, folder, out, config, progress))
    headings = {name: [method_name(m) for m in rows] for name, rows in tables.items()}
    text = write_report(out, f"Ablations, {len(samples)} scenes", results, about, tables=headings)
    missing = [
        t
        for t in ("steady", "finetune-steps", "masks", "sampling", "conditioning")
        if t not in tables
    ]
    if missing:
        needed = {"conditioning": "--conditioning-weights"}
        said = ", ".join(f"{t} (needs {needed.get(t, '--weights')})" for t in missing)
        text += f"\nNot run: {said}.\n"
        (out / "table.md").write_text(text, encoding="utf-8")
    return text


def _label(method: MethodConfig) -> str:
    return method_name(method)

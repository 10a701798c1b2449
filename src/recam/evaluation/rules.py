"""What each heuristic of the reconstruction is worth: all of them, then each turned off in turn.

Scenes are synthetic, of seeds that nothing else uses, so that no rule was chosen on them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from recam.configs import ALL_RULES, ReconstructConfig, ReconstructRules
from recam.evaluation.cameras import camera_errors
from recam.evaluation.depth import depth_errors
from recam.reconstruct import reconstruct
from recam.runtime.files import parse_json
from recam.runtime.records import Record, jsonable
from recam.synthetic import CAMERA_KINDS, SCENE_KINDS, synthetic_clip
from recam.types import Progress, Scene, no_progress

FIRST_SEED = 880_000
"""Seeds from here on are used by this table alone."""
FAR = 100.0
"""Depth, in scene units, beyond which no depth is judged (sky)."""
EVERYTHING = "all rules"
METRICS = ("abs_rel", "delta1", "delta1_moving", "rotation_deg", "iou", "seconds")


def rule_ablations(
    out: Path,
    num_scenes: int = 12,
    num_frames: int = 24,
    height: int = 192,
    width: int = 288,
    rules: Sequence[str] = (),
    progress: Progress = no_progress,
) -> str:
    """Reconstruct every scene with all rules and without each; write tables into ``out``.

    rules: only these. What was scored before, for the same sizes, is only read. Returns the
    Markdown. Raises ValueError for a rule that does not exist.
    """
    known = [rule.name for rule in fields(ReconstructRules)]
    if unknown := sorted(set(rules) - set(known)):
        raise ValueError(f"no rule {unknown[0]}; there are {', '.join(known)}")
    variants = {EVERYTHING: ALL_RULES}
    variants |= {rule: replace(ALL_RULES, **{rule: False}) for rule in rules or known}
    out.mkdir(parents=True, exist_ok=True)
    scores = _Scores(out / "reconstruct.jsonl", (num_frames, height, width))
    for number in range(num_scenes):
        progress("scenes", number, num_scenes)
        camera = CAMERA_KINDS[number % len(CAMERA_KINDS)]
        kind = SCENE_KINDS[number % len(SCENE_KINDS)]
        missing = [name for name in variants if not scores.has(number, name)]
        if not missing:
            continue
        seed = FIRST_SEED + number
        truth, _ = synthetic_clip(seed, num_frames, height, width, camera, kind)
        for name in missing:
            clock = time.process_time()
            found = reconstruct(truth.video, ReconstructConfig(rules=variants[name]))
            scores.add(number, name, scene_scores(found, truth, time.process_time() - clock))
    progress("scenes", num_scenes, num_scenes)
    text = _table(scores.of, list(variants), range(num_scenes))
    (out / "reconstruct.md").write_text(text, encoding="utf-8")
    return text


def scene_scores(found: Scene, truth: Scene, seconds: float = math.nan) -> dict[str, float]:
    """A reconstruction beside the truth, depth at one scale a clip. seconds: of the processor."""
    near = truth.depth < FAR
    depth = depth_errors(found.depth, truth.depth, near)
    moving = near & truth.dynamic
    moves = math.nan
    if bool(moving.any()):
        moves = depth_errors(depth.scale * found.depth, truth.depth, moving, "none").delta1
    union = float((found.dynamic | truth.dynamic).sum())
    return {
        "abs_rel": depth.abs_rel,
        "delta1": depth.delta1,
        "delta1_moving": moves,
        "rotation_deg": camera_errors(found.cameras, truth.cameras).rotation_deg,
        "iou": float((found.dynamic & truth.dynamic).sum()) / union if union else math.nan,
        "seconds": seconds,
    }


class _Scores:
    """Scores by scene and variant, a line of JSON each, so that a stopped run goes on."""

    def __init__(self, path: Path, size: tuple[int, int, int]) -> None:
        self.path, self.size = path, list(size)
        self.of: dict[tuple[int, str], dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                row = Record(parse_json(line, path), path)
                scores = row.record("scores")
                key = row.whole("scene", 0, 1_000_000), row.text("variant")
                measured = {name: scores.measured(name) for name in scores.value}
            except ValueError:
                continue  # a line that was being written when the run was stopped
            if row.value.get("size") == self.size:
                self.of[key] = measured

    def has(self, scene: int, variant: str) -> bool:
        return (scene, variant) in self.of

    def add(self, scene: int, variant: str, scores: dict[str, float]) -> None:
        self.of[scene, variant] = scores
        row = {"scene": scene, "variant": variant, "size": self.size, "scores": scores}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(jsonable(row)) + "\n")


def _table(
    scores: dict[tuple[int, str], dict[str, Any]], variants: Sequence[str], scenes: Sequence[int]
) -> str:
    """Means with all rules; then, for each rule off, the mean change and its standard error."""
    head = "| | " + " | ".join(METRICS) + " |\n|---|" + "---:|" * len(METRICS)
    lines = [head, _row(EVERYTHING, lambda m: _mean([scores[s, EVERYTHING][m] for s in scenes]))]
    for name in variants[1:]:

        def change(metric: str, name: str = name) -> str:
            steps = [scores[s, name][metric] - scores[s, EVERYTHING][metric] for s in scenes]
            steps = [step for step in steps if not math.isnan(step)]
            if not steps:
                return "–"
            error = stdev(steps) / math.sqrt(len(steps)) if len(steps) > 1 else math.nan
            return f"{fmean(steps):+.3f} ± {error:.3f}"

        lines.append(_row(f"without {name}", change))
    return "\n".join(lines) + "\n"


def _row(name: str, cell: Callable[[str], str]) -> str:
    return f"| {name} | " + " | ".join(cell(metric) for metric in METRICS) + " |"


def _mean(values: Sequence[float]) -> str:
    there = [value for value in values if not math.isnan(value)]
    return f"{fmean(there):.3f}" if there else "–"

"""What each heuristic of the reconstruction is worth: all of them, then each turned off in turn.

Scenes are synthetic, of seeds that nothing else uses, so that no rule was chosen on them.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from recam.completion.pull_push import pull_push
from recam.configs import ALL_RULES, ReconstructConfig, ReconstructRules
from recam.evaluation.cameras import camera_errors
from recam.evaluation.depth import depth_errors
from recam.evaluation.metrics import psnr
from recam.reconstruct import reconstruct
from recam.reconstruct.checkpoint import Arrays, Checkpoint
from recam.render import render
from recam.runtime.files import parse_json
from recam.runtime.records import Record, jsonable
from recam.synthetic import CAMERA_KINDS, SCENE_KINDS, synthetic_clip
from recam.types import CameraPath, Cameras, Progress, Scene, no_progress

FIRST_SEED = 880_000
"""Seeds from here on are used by this table alone."""
FAR = 100.0
"""Depth, in scene units, beyond which no depth is judged (sky)."""
EVERYTHING = "all rules"
METRICS = ("abs_rel", "delta1", "delta1_moving", "rotation_deg", "iou", "known_db", "seconds")
ASIDE = 0.1
"""How far to the right the view is that shows what the geometry is worth, of the median depth."""
STEPS = (
    "cameras", "straight cameras", "depth", "voted", "refined", "matched-0", "matched-1",
)  # fmt: skip
"""The steps that a reconstruction keeps, in their order."""
CHANGES_FIRST = {
    "sky": "depth", "view_consistency": "voted", "shadow_rejection": "voted",
    "photometric_refinement": "refined", "local_plane_sweep": "matched-0",
    "horizon_shift": "", "instances": "",
    "ground_contact": "", "prior_of_moving": "", "scale_change": "", "round_outlines": "",
}  # fmt: skip
"""The first step that a rule changes ("": what comes after all of them). Rules that are not named
may change all."""
SAME_CAMERAS_SAME_REST = ("relief_restarts", "manhattan_focal", "guessed_relief")
"""Rules that change nothing else where they do not change the cameras."""


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
        shutil.rmtree(out / "steps", ignore_errors=True)
        all_steps = _Steps(out / "steps" / f"{number}")
        if EVERYTHING not in missing:  # its steps are not there, so no other can begin from them
            reconstruct(truth.video, ReconstructConfig(), kept=all_steps)
        for name in missing:
            steps = all_steps if name == EVERYTHING else all_steps.until(name)
            clock = time.process_time()
            found = reconstruct(truth.video, ReconstructConfig(rules=variants[name]), kept=steps)
            spent = time.process_time() - clock + steps.spared_s()
            scores.add(number, name, scene_scores(found, truth, spent))
        shutil.rmtree(out / "steps", ignore_errors=True)
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
    aside = ASIDE * float(truth.depth[near].median())
    return {
        "abs_rel": depth.abs_rel,
        "delta1": depth.delta1,
        "delta1_moving": moves,
        "rotation_deg": camera_errors(found.cameras, truth.cameras).rotation_deg,
        "iou": float((found.dynamic & truth.dynamic).sum()) / union if union else math.nan,
        "known_db": _known_db(found, truth, aside, depth.scale),
        "seconds": seconds,
    }


def _known_db(found: Scene, truth: Scene, aside: float, scale: float) -> float:
    """PSNR of a view from ``aside`` to the right, where the truth knows it. scale: of the truth's
    depth over what was found."""
    target = render(truth, _to_the_right(truth.cameras, aside))
    shown = render(found, _to_the_right(found.cameras, aside / scale))
    return psnr(pull_push(shown), target.frames, target.known)


def _to_the_right(cameras: Cameras, distance: float) -> CameraPath:
    pose = cameras.cam_from_world.clone()
    pose[:, 0, 3] -= distance
    return CameraPath(replace(cameras, cam_from_world=pose), torch.arange(len(cameras)))


@dataclass(frozen=True)
class _Steps(Checkpoint):
    """Keeps every step of a reconstruction, and what each cost in processor seconds.

    base: the steps with all rules, of which this one, in ``folder``, has the first. adopts: if the
    cameras turn out to be base's, all other steps are base's as well.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    base: _Steps | None = None
    adopts: bool = False

    def until(self, rule: str) -> _Steps:
        """The steps that a run without the rule shares with this one."""
        assert self.folder is not None
        steps = _Steps(self.folder.with_name(f"{self.folder.name}-{rule}"), {}, self,
                       rule in SAME_CAMERAS_SAME_REST)  # fmt: skip
        first = CHANGES_FIRST.get(rule, STEPS[0])
        steps._take(STEPS[: STEPS.index(first)] if first else STEPS)
        return steps

    def _take(self, names: Sequence[str]) -> None:
        assert self.base is not None and self.base.folder is not None and self.folder is not None
        for name in names:
            if self.base.has(name) and not self.has(name):
                shutil.copytree(self.base.folder / name, self.folder / name)

    def spared_s(self) -> float:
        """What the steps cost that were taken from base."""
        of = {} if self.base is None else self.base.seconds
        return sum(cost for name, cost in of.items() if self.has(name) and name not in self.seconds)

    def arrays(self, name: str, work: Callable[[], Arrays]) -> Arrays:
        def timed() -> Arrays:
            clock = time.process_time()
            made = work()
            self.seconds[name] = time.process_time() - clock
            return made

        made = super().arrays(name, timed)
        if self.adopts and self.base is not None and name == STEPS[0]:
            with_all = self.base.arrays(name, dict)
            if all(k in with_all and np.array_equal(made[k], with_all[k]) for k in made):
                self._take(STEPS)
        return made

    def forget(self, *names: str) -> None:
        """All are kept."""

    def forget_all(self) -> None:
        """Until the scene is done."""


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

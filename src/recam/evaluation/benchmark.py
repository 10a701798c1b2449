"""Running methods over the samples of a data set: scores kept view by view, so that it resumes.

<out>/<method>/<sample>/<view>.json     scores, seconds, notes, and what they depend on
<out>/<method>/<sample>/<view>.png      source, result, truth and error, for looking at
<out>/table.md, scores.csv, results.json, plots.png     of the methods of one run
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import recam
from recam.configs import CompleteConfig
from recam.evaluation.chamfer import consistency_scores
from recam.evaluation.color import apply_color, fit_color
from recam.evaluation.configs import MethodConfig, ScoreConfig
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.evaluation.methods import (
    SELF_VIEWS,
    MethodCompleter,
    Prediction,
    SourceScene,
    carried_path,
    method_key,
    open_source,
    predict,
    predict_self,
    prediction_path,
    read_prediction,
)
from recam.evaluation.metrics import psnr
from recam.evaluation.scores import (
    SET_METRICS,
    check_networks,
    cognvs_scores,
    features_path,
    file_name,
    perceptual_scores,
    picture_parts,
    set_features,
    view_scores,
    warping_scores,
)
from recam.media import MediaWarning, contact_sheet, write_image, write_video
from recam.runtime.cache import content_hash
from recam.runtime.files import read_json
from recam.runtime.records import Record, write_json
from recam.runtime.workers import worker_pool
from recam.types import CameraPath, Progress, RecamError, Video, no_progress

VERSION = 1
"""Raised when scores of the same result change, so that kept ones are made anew."""
SHEET_COLUMNS = 5


@dataclass(frozen=True)
class Job:
    """One sample, by one method (recam's own, or a folder of predictions), into ``folder``."""

    sample: EvaluationSample
    method: MethodConfig | Path
    config: ScoreConfig
    folder: Path
    kept: Path


def run_method(
    samples: Sequence[EvaluationSample],
    method: MethodConfig | Path,
    name: str,
    out: Path,
    config: ScoreConfig,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Score a method on samples; returns a record for each view, in order.

    method: recam's own, or a folder of predictions (``prediction_path`` says how it is laid out).
    What was scored before with the same options is read from ``out/name``. config.jobs: processes.
    Raises RecamError for what the data set or the folder lacks.
    """
    check_networks(config.perceptual)
    if isinstance(method, Path) and not method.is_dir():
        raise RecamError(f"there is no folder {method}")
    kept = out / ".scenes"
    jobs = [
        Job(s, method, config, out / name / file_name(s.name), kept / file_name(s.name))
        for s in samples
    ]
    found: dict[int, list[dict[str, Any]]] = {}
    what = f"{name}: scenes"
    progress(what, 0, len(jobs))
    if config.jobs > 1 and len(jobs) > 1:
        with worker_pool(min(config.jobs, len(jobs))) as pool:
            futures = {pool.submit(run_in_process, j, config.jobs): i for i, j in enumerate(jobs)}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                progress(what, len(found), len(jobs))
    else:
        for i, job in enumerate(jobs):
            found[i] = run_sample(job, progress)
            progress(what, len(found), len(jobs))
    return [record for i in range(len(jobs)) for record in found[i]]


def run_in_process(job: Job, num_processes: int) -> list[dict[str, Any]]:
    """``run_sample`` with this process's share of the cores."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // num_processes))
    return run_sample(job)


def run_sample(job: Job, progress: Progress = no_progress) -> list[dict[str, Any]]:
    """Score all views of one sample; those that are there already are only read."""
    views = _views(job)
    key = _key(job)
    records = [_read_record(job.folder / f"{file_name(v.name)}.json", key) for v in views]
    if all(record is not None for record in records):
        return [r for r in records if r is not None]
    video = job.sample.read_video()
    if job.config.num_frames is not None:
        video = video[: job.config.num_frames]
    maker = None if isinstance(job.method, Path) else _Maker(job, video, progress)
    job.folder.mkdir(parents=True, exist_ok=True)
    return [
        record or _run_view(job, view, video, maker, key, progress)
        for view, record in zip(views, records)
    ]


class _Maker:
    """Recam's pipeline on one sample: the scene and the adapted model serve all of its views."""

    def __init__(self, job: Job, video: Video, progress: Progress):
        assert isinstance(job.method, MethodConfig)
        self.sample = job.sample
        self.source: SourceScene = open_source(
            job.sample, job.method, video, _kept_scenes(job, video), progress
        )
        self.completer = MethodCompleter(job.method, self.source.scene, progress)
        self.shared_s = {**self.source.seconds, **self.completer.seconds}

    def make(self, view: TargetView, progress: Progress) -> Prediction:
        if not self.sample.views:
            return predict_self(self.source, SELF_VIEWS[view.name], self.completer, progress)
        return predict(self.sample, view, self.source, self.completer, progress)


def _kept_scenes(job: Job, video: Video) -> Path:
    """The folder of this sample's estimated scenes, for as long as its files stay the same."""
    return job.kept / f"{len(video)}{job.sample.files[:12]}"


def _given_source(job: Job, video: Video, progress: Progress) -> SourceScene:
    """The sample's scene where the results are someone else's: true where that is known."""
    known = job.sample.cameras is not None, job.sample.read_depth is not None
    cameras, depth = ("true" if k else "estimated" for k in known)
    method = MethodConfig(CompleteConfig("none"), cameras=cameras, depth=depth)  # type: ignore[arg-type]
    return open_source(job.sample, method, video, _kept_scenes(job, video), progress)


def _views(job: Job) -> list[TargetView]:
    """The views to score, cut to the frames that are used."""
    views = list(job.sample.views)
    if not views:
        if isinstance(job.method, Path):
            raise RecamError(f"{job.sample.name} has no other views to compare predictions with")
        views = [_self_view(job.sample, name) for name in SELF_VIEWS]
    if job.config.views:
        views = [v for v in views if v.name in job.config.views]
        if not views:
            raise RecamError(f"{job.sample.name} has no view {', '.join(job.config.views)}")
    return views


def _self_view(sample: EvaluationSample, name: str) -> TargetView:
    """A single video as its own truth (see ``predict_self``); the path is not used."""
    from recam.types import Cameras

    none = Cameras(
        torch.zeros(0, 4, 4, dtype=torch.float64), torch.zeros(0, 3, 3, dtype=torch.float64), 1, 1
    )
    path = CameraPath(none, torch.zeros(0, dtype=torch.int64))
    return TargetView(name, path, sample.read_video)


def _run_view(
    job: Job,
    view: TargetView,
    video: Video,
    maker: _Maker | None,
    key: str,
    progress: Progress,
) -> dict[str, Any]:
    """Make (or read) one result, score it, write its record."""
    n = len(video)
    itself = not job.sample.views
    used = torch.arange(n) if itself else (view.path.source_frames < n).nonzero()[:, 0]
    if not len(used):
        raise RecamError(f"{job.sample.name} {view.name}: no frame within the first {n}")

    def part(read: Any) -> Tensor | None:
        return None if read is None else read()[used]

    truth = view.read_video()[used]
    cut = view if itself else TargetView(view.name, view.path[used], view.read_video)
    if maker is None:
        assert isinstance(job.method, Path)
        path = prediction_path(job.method, job.sample.name, view.name)
        made = read_prediction(path, len(view.path), truth.height, truth.width)
        made = Prediction(made.frames[used], None, {}, made.notes)
    else:
        made = maker.make(cut, progress)
    frames, notes = made.frames, [*job.sample.notes, *made.notes]
    counted = part(view.read_counted)
    if job.config.fit_color:
        where = torch.ones(len(truth), *frames.shape[2:]) if counted is None else counted.float()
        frames, note = _with_fitted_color(frames, truth.frames, where, made.known)
        notes.append(note)
    dynamic, seen = part(view.read_dynamic), part(view.read_seen)
    if itself and job.sample.read_dynamic is not None:
        dynamic = job.sample.read_dynamic()[:n]
    if itself:
        notes.append("a single video: seen from an orbit and back, compared with itself")
    scores = view_scores(frames, truth.frames, seen, made.known, dynamic, counted)
    scores |= {} if maker is None else maker.source.errors
    if job.config.cognvs:
        scores |= cognvs_scores(frames, truth.frames)
    if job.config.warping:
        scores |= warping_scores(frames, truth, _true_flow(view, used))
    if job.config.consistency:
        source = maker.source if maker else _given_source(job, video, progress)
        wanted = source.scene.cameras
        if not itself:
            wanted = carried_path(cut.path, job.sample, source).cameras
        found, note = consistency_scores(Video(frames, truth.times_s), wanted, source.scene)
        scores |= found
        notes += [note] if note else []
    parts = picture_parts(truth.frames, seen, made.known, dynamic, counted)
    scores |= perceptual_scores(
        frames, truth.frames, job.config.perceptual, counted, progress,
        {name: weights for name, weights in parts.items() if name},
    )  # fmt: skip
    stem = job.folder / file_name(view.name)
    if any(name in SET_METRICS for name in job.config.perceptual):
        features = set_features(frames, truth.frames, job.config.perceptual, progress)
        kept = features_path(job.folder.parent, job.sample.name, view.name)
        np.savez(kept, allow_pickle=False, **features)
    shown = video.frames if itself else video.frames[view.path.source_frames[used]]
    _write_sheet(stem.with_name(f"{stem.name}.png"), shown, frames, truth.frames, seen)
    if job.config.save_videos:
        write_video(Video(frames, truth.times_s), stem.with_name(f"{stem.name}.mp4"))
    record = {
        "key": key, "sample": job.sample.name, "split": job.sample.split, "view": view.name,
        "num_frames": len(truth), "scores": scores,
        "seconds": {**(maker.shared_s if maker else {}), **made.seconds}, "notes": notes,
        "code": code_hash(),
    }  # fmt: skip
    write_json(stem.with_name(f"{stem.name}.json"), record)
    return record


def _true_flow(view: TargetView, used: Tensor) -> tuple[Tensor, Tensor] | None:
    """The view's own flow between the frames that are used, where it has one and they follow each
    other from its first frame on."""
    if view.read_flow is None or not torch.equal(used, torch.arange(len(used))):
        return None
    flow, visible = view.read_flow()
    return flow[: len(used) - 1], visible[: len(used) - 1]


def _with_fitted_color(
    frames: Tensor, target: Tensor, counted: Tensor, known: Tensor | None
) -> tuple[Tensor, str]:
    """Frames in the truth's colours, and what was done.

    Pixels are fitted to the pixels at the same place: where the geometry is far off, that fits
    nothing, and the map that is found can be worse than none. It is then not used.
    """
    fit = fit_color(frames, target, counted if known is None else counted * known)
    mapped = apply_color(frames, fit)
    if psnr(mapped, target, counted) > psnr(frames, target, counted):
        return mapped, "colour fitted to the truth before scoring"
    return frames, "colour not fitted: the best map on known pixels makes the whole worse"


def _write_sheet(
    path: Path, source: Tensor, result: Tensor, truth: Tensor, seen: Tensor | None
) -> None:
    index = torch.linspace(0, len(truth) - 1, min(SHEET_COLUMNS, len(truth))).round().long()
    rows = {"source": source[index], "result": result[index], "truth": truth[index]}
    error = (result[index].short() - truth[index].short()).abs().amax(1).float() / 128
    rows["error (white = 128 levels)"] = error.clamp(max=1)
    if seen is not None:
        rows["seen by the source (white: now, grey: at another moment)"] = seen[index].float() / 2
    write_image(contact_sheet(rows, SHEET_COLUMNS, 256), path)


def _key(job: Job) -> str:
    """What a record depends on. Jobs, limits and labels are left out: they change no score."""
    config = {
        k: v
        for k, v in asdict(job.config).items()
        if k in ("num_frames", "perceptual", "fit_color", "warping")
        or (k in ("consistency", "cognvs") and v)  # scores from before they were there stay good
    }
    fields = [VERSION, job.sample.name, job.sample.files, method_key(job.method), config]
    if job.config.warping and any(view.read_flow for view in job.sample.views):
        fields.append("true flow")
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Of recam's own source: tables say when their rows were made by different ones."""
    return content_hash(*sorted(Path(recam.__file__).parent.rglob("*.py")))[:12]


def _read_record(path: Path, key: str) -> dict[str, Any] | None:
    """A row that an earlier run kept; None where none of this key is there whole."""
    if not path.is_file():
        return None
    try:
        record = Record(read_json(path), path)
        if record.text("key") != key:
            return None
        scores = record.record("scores")
        return record.value | {"scores": {name: scores.measured(name) for name in scores.value}}
    except (ValueError, RecamError) as error:
        warnings.warn(f"{error}; it is worked out again", MediaWarning, stacklevel=2)
        return None

"""What each ``recam eval`` command does; eval_cli.py holds their options."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recam.apps.eval_options import AblationOptions, Evaluation
from recam.apps.progress import show_progress
from recam.apps.runs import check_writable, machine
from recam.completion.weights import find_weights
from recam.evaluation.benchmark import run_method
from recam.evaluation.cognvs import cognvs_pairs, score_pairs
from recam.evaluation.configs import MethodConfig, ScoreConfig, method_name
from recam.evaluation.datasets import EvaluationSample, load_samples
from recam.evaluation.report import COLUMNS, write_report
from recam.evaluation.scores import check_networks, gathered_set_scores
from recam.evaluation.synth4d import (
    differing_scenes,
    make_synth4d,
    synth4d_folder,
    synth4d_samples,
)
from recam.runtime.cache import listing_hash
from recam.runtime.versions import versions
from recam.types import RecamError


def say(text: str) -> None:
    """A line for the user on stderr."""
    print(text, file=sys.stderr)


def num_jobs(wanted: int | None) -> int:
    """Processes: as wanted, else one for each core."""
    check_counts(jobs=wanted)
    return wanted if wanted is not None else os.cpu_count() or 1


def check_counts(**options: int | None) -> None:
    """Raise RecamError for an option that counts something and is below one."""
    for name, count in options.items():
        if count is not None and count < 1:
            raise RecamError(f"--{name.replace('_', '-')} {count}; expected 1 or more")


def make(
    data: Path | None, limit: int | None, jobs: int | None, quiet: bool
) -> tuple[Path, dict[str, Any]]:
    """Make what is missing of Synth4D, and say whether it is the published one."""
    folder = data or synth4d_folder()
    check_counts(limit=limit, jobs=jobs)
    check_writable(folder)
    with show_progress(quiet) as progress:
        manifest = make_synth4d(folder, limit, num_jobs(jobs), progress)
    differing = differing_scenes(manifest)
    if differing:
        say(
            f"Synth4D: {len(differing)} of {len(manifest['scenes'])} scenes differ from those of "
            f"the published tables ({', '.join(differing[:3])} …): another version of torch or "
            "another processor; compare scores within this machine"
        )
    print(folder / "manifest.json")
    return folder, manifest


def synth4d(options: Evaluation, data: Path | None) -> None:
    """Score methods on Synth4D, made first where it is not there."""
    folder, manifest = make(data, options.limit, options.jobs, options.quiet)
    samples = list(synth4d_samples(folder, options.limit))
    about = {"differs from the published scenes": differing_scenes(manifest)}
    score(options, "synth4d", samples, about)


def folder(options: Evaluation, name: str, data: Path) -> None:
    """Score methods on a data set in a user's folder."""
    check_counts(limit=options.limit)
    protocol = getattr(options, "protocol", "own")
    read = load_samples(name, data, protocol)  # type: ignore[arg-type]
    samples = list(itertools.islice(read, options.limit))
    out = options.out or Path("recam-eval")
    files = listing_hash(data, leave_out=out.resolve())
    samples = [replace(sample, files=files) for sample in samples]
    title = name if protocol == "own" else f"{name}, {protocol}"
    score(options, name, samples, {"data": str(data)}, title, protocol == "cognvs")


def score(
    options: Evaluation,
    name: str,
    samples: Sequence[EvaluationSample],
    about: dict[str, Any],
    heading: str = "",
    cognvs: bool = False,
) -> None:
    """Run all methods that the options name, and write the tables.

    name: of the folder, and in the title unless there is a heading. cognvs: see ScoreConfig.
    """
    out = options.out or Path("recam-eval") / name
    check_counts(num_frames=options.num_frames)
    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    config = ScoreConfig(
        options.limit, options.num_frames, options.views, options.perceptual, options.warping,
        options.consistency, cognvs, options.fit_color, options.save_videos, num_jobs(options.jobs),
    )  # fmt: skip
    own = options.method or (() if options.predictions else ("propagate",))
    methods: dict[str, MethodConfig | Path] = {path.name: path for path in options.predictions}
    for model in own:
        completing = replace(options.complete, model=model, weights=options.weights)
        method = MethodConfig(
            completing, options.cameras, options.depth, options.render, options.finetune
        )
        methods[method_name(method)] = method
    if len(methods) < len(own) + len(options.predictions):
        raise RecamError("two results share a name, which is what tables call them; rename one")
    results = {}
    with show_progress(options.quiet) as progress:
        for label, how in methods.items():
            results[label] = run_method(samples, how, label, out, config, progress)
    extra = {
        m: gathered_set_scores(out / m, records, options.perceptual)
        for m, records in results.items()
    }
    geometry = f"source cameras {options.cameras}, source depth {options.depth}"
    title = f"{heading or name}: {len(samples)} scenes" + (f", {geometry}" if own else "")
    about |= {"command": sys.argv[1:], "options": options, "versions": versions()}
    print(write_report(out, title, results, about | {"machine": machine()}, extra))
    print(out / "table.md")


def cognvs(
    data: Path,
    dataset: Any,
    methods: Sequence[str],
    perceptual: Sequence[Any],
    out: Path,
    quiet: bool,
) -> None:
    """Score released results by CogNVS's protocol."""
    check_writable(out)
    check_networks(perceptual)
    out.mkdir(parents=True, exist_ok=True)
    names = [name for name in COLUMNS if name in ("psnr", "ssim", *perceptual)]
    lines = [
        "| method | frames | " + " | ".join(COLUMNS[name][0] for name in names) + " |",
        "| --- |" + " ---: |" * (len(names) + 1),
    ]
    with show_progress(quiet) as progress:
        for method in methods:
            got = score_pairs(cognvs_pairs(data, dataset, method), dataset, perceptual, progress)
            cells = [f"{got['num_frames']:.0f}", *(f"{got[n]:{COLUMNS[n][1]}}" for n in names)]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    text = f"# {dataset}, CogNVS's protocol\n\n" + "\n".join(lines) + "\n"
    (out / f"{dataset}.md").write_text(text, encoding="utf-8")
    print(text)
    print(out / f"{dataset}.md")


def _rule_ablations(options: AblationOptions) -> None:
    """The table of the reconstruction's heuristics."""
    from recam.evaluation.rules import rule_ablations

    check_writable(options.out)
    with show_progress(options.quiet) as progress:
        frames = 24 if options.num_frames is None else options.num_frames
        scenes = 12 if options.limit is None else options.limit
        print(rule_ablations(options.out, scenes, frames, progress=progress))
    print(options.out / "reconstruct.md")


def ablations(options: AblationOptions) -> None:
    """All tables of variants on Synth4D."""
    from recam.evaluation.ablations import ablation_tables, run_ablations

    check_counts(num_frames=options.num_frames, passes=options.passes)
    if options.tables == ("reconstruct",):
        _rule_ablations(options)
        return
    data, _ = make(options.data, options.limit, options.jobs, options.quiet)
    check_writable(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        weights: str | None = str(find_weights(options.weights))
    except RecamError as error:
        if options.weights is not None:
            raise
        weights = None
        say(f"{error}: only what needs no model is run")
    tables = ablation_tables(
        weights, options.conditioning_weights, options.steps, options.thresholds,
        options.passes, options.minutes,
    )  # fmt: skip
    if options.tables:
        unknown = set(options.tables) - set(tables)
        if unknown:
            raise RecamError(f"no table {sorted(unknown)[0]}; there are {', '.join(tables)}")
        tables = {name: tables[name] for name in options.tables}
    config = ScoreConfig(
        options.limit, options.num_frames, options.views, jobs=num_jobs(options.jobs)
    )
    samples = list(synth4d_samples(data, options.limit))
    about = {"command": sys.argv[1:], "options": options, "versions": versions()}
    about["machine"] = machine()
    with show_progress(options.quiet) as progress:
        text = run_ablations(samples, tables, options.out, config, about, progress)
    print(text)
    print(options.out / "table.md")

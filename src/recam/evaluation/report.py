"""Tables and plots of scores: for people (Markdown, PNG) and for programs (CSV, JSON)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recam.runtime.records import write_json
from recam.types import RecamError

Record = Mapping[str, Any]

COLUMNS = {
    "psnr": ("PSNR ↑", ".2f"), "psnr_known": ("known ↑", ".2f"), "psnr_holes": ("holes ↑", ".2f"),
    "psnr_unseen": ("unseen ↑", ".2f"), "psnr_dynamic": ("dynamic ↑", ".2f"),
    "psnr_static": ("static ↑", ".2f"), "ssim": ("SSIM ↑", ".4f"),
    "ssim_holes": ("SSIM holes ↑", ".4f"), "psnr_frames": ("PSNR by frame ↑", ".2f"),
    "ssim_uniform": ("SSIM 7×7 ↑", ".4f"), "mpsnr": ("mPSNR ↑", ".2f"), "mssim": ("mSSIM ↑", ".4f"),
    "lpips": ("LPIPS ↓", ".4f"), "mlpips": ("mLPIPS ↓", ".4f"), "dists": ("DISTS ↓", ".4f"),
    "lpips_known": ("LPIPS known ↓", ".4f"), "lpips_holes": ("LPIPS holes ↓", ".4f"),
    "lpips_unseen": ("LPIPS unseen ↓", ".4f"), "detail_holes": ("detail holes → 1", ".2f"),
    "detail_unseen": ("detail unseen → 1", ".2f"), "patches_holes": ("patches holes ↓", ".2f"),
    "patches_unseen": ("patches unseen ↓", ".2f"),
    "fid": ("FID ↓", ".2f"), "kid": ("KID ↓", ".5f"), "fvd": ("FVD ↓", ".1f"),
    "rotation_deg": ("rotation, ° ↓", ".2f"), "path_error": ("path, % ↓", ".1%"),
    "focal_error": ("focal, % ↓", ".1%"),
    "abs_rel": ("AbsRel ↓", ".3f"), "delta1": ("δ1 ↑", ".3f"),
    "chamfer": ("3D, % ↓", ".2%"),
    "warping": ("warping ×1000 ↓", ".2f"), "flicker": ("flicker ↓", ".2f"),
    "flicker_holes": ("flicker holes ↓", ".2f"),
    "holes_fraction": ("holes, %", ".1%"),
}  # fmt: skip


def mean_scores(records: Iterable[Record]) -> dict[str, float]:
    """Mean of every score over records, NaN left out; "seconds": of making one view.

    Means of decibels are means of decibels, as published tables have them. What was done once for
    all views of a scene counts fully in each.
    """
    gathered: dict[str, list[float]] = {}
    for record in records:
        seconds = {"seconds": sum(record["seconds"].values())}
        for name, value in {**record["scores"], **seconds}.items():
            gathered.setdefault(name, []).append(float(value))
    means = {}
    for name, values in gathered.items():
        told = [v for v in values if not math.isnan(v)]
        means[name] = sum(told) / len(told) if told else math.nan
    return means


def groups_of(records: Sequence[Record]) -> dict[str, Callable[[Record], bool]]:
    """Parts of the records that a table has rows for: all, splits, views (if there are several)."""
    groups: dict[str, Callable[[Record], bool]] = {"all": lambda r: True}
    for key in ("split", "view"):
        values = list(dict.fromkeys(r[key] for r in records))
        if 1 < len(values) <= 6:
            for value in values:
                groups[value] = lambda r, key=key, value=value: r[key] == value  # type: ignore[misc]
    return groups


def markdown_table(
    results: Mapping[str, Sequence[Record]],
    extra: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """A row for every method and part of the data set.

    results: records by method. extra: scores of whole methods (FID …), shown in the "all" rows.
    Raises ValueError when there is no record.
    """
    every = [r for records in results.values() for r in records]
    if not every:
        raise ValueError("there are no records to make a table of")
    extra = extra or {}
    present = {k for r in every for k, v in r["scores"].items() if not math.isnan(v)}
    present |= {k for scores in extra.values() for k in scores}
    columns = {k: v for k, v in COLUMNS.items() if k in present}
    lines = [
        "| method | on | videos | " + " | ".join(c[0] for c in columns.values()) + " | s a video |",
        "| --- | --- |" + " ---: |" * (len(columns) + 2),
    ]
    for group, chosen in groups_of(every).items():
        for method, records in results.items():
            part = [r for r in records if chosen(r)]
            if not part:
                continue
            means = mean_scores(part) | (dict(extra.get(method, {})) if group == "all" else {})
            cells = [_shown(means.get(k, math.nan), form) for k, (_, form) in columns.items()]
            cells.append(f"{means['seconds']:.1f}" if means["seconds"] else "–")
            lines.append(f"| {method} | {group} | {len(part)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(value: float, form: str) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else format(value, form).rstrip("%")


def csv_text(results: Mapping[str, Sequence[Record]]) -> str:
    """A line for every view of every method."""
    names = list(dict.fromkeys(k for rs in results.values() for r in rs for k in r["scores"]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["method", "sample", "split", "view", "num_frames", *names, "seconds"])
    for method, records in results.items():
        for r in records:
            row = [method, r["sample"], r["split"], r["view"], r["num_frames"]]
            values = [r["scores"].get(k, "") for k in names]
            writer.writerow([*row, *values, round(sum(r["seconds"].values()), 3)])
    return file.getvalue()


def write_report(
    folder: Path,
    title: str,
    results: Mapping[str, Sequence[Record]],
    about: Mapping[str, Any],
    extra: Mapping[str, Mapping[str, float]] | None = None,
    tables: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """table.md, scores.csv, results.json and, where matplotlib is there, plots.png.

    about: what the run was (options, versions, machine), for results.json. tables: headings with
    the methods below each; default: one table of all. Returns the Markdown.
    """
    notes = dict.fromkeys(
        f"{method}: {note}" for method, rs in results.items() for r in rs for note in r["notes"]
    )
    text = [f"# {title}\n"]
    for heading, methods in (tables or {"": list(results)}).items():
        if heading:
            text.append(f"## {heading}\n")
        text.append(markdown_table({m: results[m] for m in methods}, extra) + "\n")
    if len({r.get("code") for rs in results.values() for r in rs}) > 1:
        text.append("These rows were made by different versions of recam's code.\n")
    if notes:
        text.append("Notes:\n" + "\n".join(f"- {note}" for note in list(notes)[:40]) + "\n")
    try:
        write_plots(folder / "plots.png", title, results)
        text.append("![scores](plots.png)\n")
    except RecamError as error:
        text.append(f"No plots: {error}.\n")
    markdown = "\n".join(text)
    (folder / "table.md").write_text(markdown, encoding="utf-8")
    (folder / "scores.csv").write_text(csv_text(results), encoding="utf-8")
    means = {
        method: {
            group: mean_scores([r for r in rs if chosen(r)])
            for group, chosen in groups_of(rs).items()
        }
        for method, rs in results.items()
    }
    content = {"about": dict(about), "means": means, "sets": extra or {}, "records": dict(results)}
    write_json(folder / "results.json", content)
    return markdown


def write_plots(path: Path, title: str, results: Mapping[str, Sequence[Record]]) -> None:
    """PSNR by part of the picture, and over how much of each view is hidden from the source.

    Raises RecamError when matplotlib is missing.
    """
    figure_of, save = plotting()
    figure = figure_of(figsize=(9.5, 3.6), layout="constrained")
    bars, dots = figure.subplots(1, 2)
    parts = {
        "psnr": "all", "psnr_known": "known", "psnr_holes": "holes", "psnr_unseen": "unseen",
        "psnr_dynamic": "dynamic", "psnr_static": "static",
    }  # fmt: skip
    width = 0.8 / max(len(results), 1)
    for i, (method, records) in enumerate(results.items()):
        means = mean_scores(records)
        told = {k: v for k in parts if math.isfinite(v := means.get(k, math.nan))}
        at = [list(parts).index(k) + (i + 0.5) * width - 0.4 for k in told]
        bars.bar(at, list(told.values()), width, label=method)
        x = [100 * r["scores"].get("holes_fraction", math.nan) for r in records]
        y = [r["scores"]["psnr"] for r in records]
        good = np.isfinite(x) & np.isfinite(y)
        dots.plot(np.array(x)[good], np.array(y)[good], ".", markersize=5, label=method)
    bars.set_xticks(range(len(parts)), parts.values(), fontsize=8)
    bars.set_ylabel("PSNR, dB")
    bars.set_ylim(bottom=5)
    dots.set_xlabel("hidden from the source at that moment, % of the view")
    dots.set_ylabel("PSNR of the whole frame, dB")
    for axis in (bars, dots):
        axis.grid(alpha=0.3)
    bars.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def plotting() -> tuple[Any, Callable[[Any, Path], None]]:
    """matplotlib's Figure, and a function that saves one; no window system is asked for.

    Raises RecamError when matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RecamError("plots need matplotlib; pip install 'recam[eval]'") from error

    def save(figure: Any, path: Path) -> None:
        FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})

    return Figure, save

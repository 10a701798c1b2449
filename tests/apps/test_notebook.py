"""Results show themselves in a notebook; the example notebook runs from first to last cell."""

import ast
import base64
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import recam
from recam.configs import CompleteConfig
from recam.media import probe, read_video
from recam.types import Rendering, Result
from studio_scene import small_clip

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook.ipynb"


def films(html: str, folder: Path) -> list[Path]:
    """The films in a piece of HTML, as files."""
    found = re.findall(r"data:video/mp4;base64,([^']+)", html)
    paths = [folder / f"{i}.mp4" for i in range(len(found))]
    for path, data in zip(paths, found):
        path.write_bytes(base64.b64decode(data))
    return paths


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/jpeg;base64,([^']+)", html)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(d), np.uint8), 1) for d in found]


def test_results_show_their_film_and_frames(tmp_path: Path) -> None:
    scene = small_clip()
    rendering = recam.render_path(scene, recam.orbit(yaw_deg=15))
    result = recam.reshoot(
        scene, recam.orbit(yaw_deg=15), complete=CompleteConfig(model="propagate")
    )
    assert isinstance(rendering, Rendering) and isinstance(result, Result)
    for shown, num_pictures in ((scene, 2), (rendering, 1), (result, 1)):
        html = shown._repr_html_()
        (film,) = films(html, tmp_path)
        assert probe(film).num_frames == 8
        assert len(pictures(html)) == num_pictures
        assert "http" not in html  # nothing is fetched
    last = read_video(films(result._repr_html_(), tmp_path)[0]).frames[-1].float()
    assert (last - result.video.frames[-1].float()).abs().mean() < 12  # the result, encoded
    assert "seen, the rest made up" in html


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return None


def test_the_example_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if "recam.studio" in source and importlib.util.find_spec("viser") is None:
            break
        value = run_cell(source.replace("16, 144, 256", "8, 72, 128"), names)
        if hasattr(value, "_repr_html_"):
            shown.append(value._repr_html_())
    assert len(shown) >= 3 and all("<" in html for html in shown)
    assert len(read_video(tmp_path / "orbit.mp4")) == 8
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"])

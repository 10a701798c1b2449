"""The shape of the code: which module may import which, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "recam"

# Each part may import those to its right and itself. OPEN_TO_ALL are open to all.
MAY_IMPORT = {
    "types": set(),
    "configs": set(),
    "runtime": set(),
    "geometry": set(),
    "path_presets": set(),
    "flow": set(),
    "trajectories": {"geometry", "camera_files"},
    "drawing": {"geometry", "trajectories"},
    "camera_files": {"geometry"},
    "media": {"geometry"},
    "synthetic": {"geometry", "trajectories"},
    "reconstruct": {"geometry", "camera_files", "media", "flow"},
    "render": {"geometry"},
    "covisibility": {"geometry", "trajectories", "render"},
    "completion": {"geometry", "flow"},
    "training": {
        "geometry", "trajectories", "render", "covisibility", "completion", "synthetic", "media",
        "reconstruct",
    },
    "tasks": {
        "geometry", "trajectories", "camera_files", "media", "flow", "reconstruct", "render",
        "covisibility", "completion", "training",
    },
}  # fmt: skip
MAY_IMPORT["api"] = MAY_IMPORT["tasks"] | {"tasks"}
MAY_IMPORT["evaluation"] = MAY_IMPORT["tasks"] | {"tasks", "synthetic"}
MAY_IMPORT["apps"] = MAY_IMPORT["evaluation"] | {"evaluation", "drawing", "api"}
OPEN_TO_ALL = {"types", "configs", "runtime"}


def _imports(path: Path) -> set[str]:
    """Parts of recam that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "recam":
                names = [f"recam.{alias.name}" for alias in node.names]
            else:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("recam.")}
    return found


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_imports_point_down(part: str) -> None:
    files = [SRC / f"{part}.py"] if (SRC / f"{part}.py").exists() else (SRC / part).rglob("*.py")
    for path in files:
        wrong = _imports(path) - MAY_IMPORT[part] - OPEN_TO_ALL - {part, "__version__"}
        assert not wrong, f"{path.relative_to(SRC)} imports {sorted(wrong)}"


def test_every_part_has_a_place_in_the_order() -> None:
    parts = {p.stem for p in SRC.glob("*.py")} | {p.parent.name for p in SRC.glob("*/__init__.py")}
    assert parts - {"__init__", "__main__"} <= set(MAY_IMPORT)


def test_configs_and_package_import_without_torch() -> None:
    code = (
        "import sys, recam, recam.configs, recam.apps.cli;"
        "heavy = {'torch', 'numpy', 'cv2', 'av', 'numba', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

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
    "arrays": set(),
    "configs": set(),
    "runtime": set(),
    "geometry": set(),
    "path_presets": set(),
    "flow": {"geometry"},
    "trajectories": {"geometry", "camera_files"},
    "drawing": {"geometry", "trajectories"},
    "camera_files": {"geometry"},
    "media": {"geometry"},
    "synthetic": {"geometry", "trajectories"},
    "reconstruct": {"geometry", "camera_files", "media", "flow"},
    "render": {"geometry"},
    "covisibility": {"geometry", "trajectories", "render"},
    "scene_memory": {"geometry", "render", "flow", "completion"},
    "completion": {"geometry", "flow"},
    "training": {
        "geometry", "trajectories", "render", "covisibility", "completion", "synthetic", "media",
        "reconstruct", "flow",
    },
    "completers": {"completion", "training"},
    "tasks": {
        "geometry", "trajectories", "camera_files", "media", "flow", "reconstruct", "render",
        "covisibility", "completion", "completers", "scene_memory",
    },
}  # fmt: skip
MAY_IMPORT["api"] = MAY_IMPORT["tasks"] | {"tasks"}
MAY_IMPORT["evaluation"] = MAY_IMPORT["tasks"] | {"tasks", "training", "synthetic"}
MAY_IMPORT["apps"] = MAY_IMPORT["evaluation"] | {"evaluation", "drawing", "api"}
MAY_IMPORT["train"] = {"apps"}
OPEN_TO_ALL = {"types", "configs", "runtime", "arrays"}

# Inside reconstruct/, likewise. What several rooms use lies beside them.
ROOM_MAY_IMPORT: dict[str, set[str]] = {
    "io": set(),
    "matching": set(),
    "external": set(),
    "cameras": {"matching"},
    "depth": set(),
    "motion_segmentation": {"depth"},
    "depth_prior": {"external", "cameras", "depth", "motion_segmentation"},
    "object_depth": {"depth", "motion_segmentation"},
}
SHARED_BY_ROOMS = {"warping", "temporal_windows", "robust", "coarse"}


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


def _rooms(path: Path) -> set[str]:
    """Rooms and modules of recam.reconstruct that a file imports, anywhere in it."""
    return {
        node.module.split(".")[2]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith("recam.reconstruct.")
    }


@pytest.mark.parametrize("room", sorted(ROOM_MAY_IMPORT))
def test_imports_inside_reconstruct_point_down(room: str) -> None:
    for path in (SRC / "reconstruct" / room).glob("*.py"):
        wrong = _rooms(path) - ROOM_MAY_IMPORT[room] - SHARED_BY_ROOMS - {room}
        assert not wrong, f"{path.relative_to(SRC)} imports {sorted(wrong)}"


def test_every_room_of_reconstruct_has_a_place_in_the_order() -> None:
    rooms = {p.parent.name for p in (SRC / "reconstruct").glob("*/__init__.py")}
    assert rooms == set(ROOM_MAY_IMPORT)


def test_every_part_has_a_place_in_the_order() -> None:
    parts = {p.stem for p in SRC.glob("*.py")} | {p.parent.name for p in SRC.glob("*/__init__.py")}
    assert parts - {"__init__", "__main__"} <= set(MAY_IMPORT)


def _modules() -> dict[str, Path]:
    """Every module of recam by its dotted name."""
    found = {}
    for path in SRC.rglob("*.py"):
        parts = ("recam", *path.relative_to(SRC).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imported_modules(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of recam that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules)
            found |= submodules or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(modules)


def test_no_modules_import_each_other() -> None:
    modules = _modules()
    graph = {name: _imported_modules(path, modules) - {name} for name, path in modules.items()}
    while ready := {name for name, needs in graph.items() if not needs & set(graph)}:
        graph = {name: needs for name, needs in graph.items() if name not in ready}
    # What is left is in a circle, or stands on one.
    assert not graph, {name: sorted(needs & set(graph)) for name, needs in graph.items()}


def test_a_package_s_init_only_hands_names_on() -> None:
    for path in SRC.rglob("__init__.py"):
        if path.parent == SRC:
            continue  # loads what is asked for, so that importing recam costs nothing
        for node in ast.parse(path.read_text()).body:
            is_doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            imports = isinstance(node, ast.Import | ast.ImportFrom)
            assert is_doc or is_all or imports, f"{path.relative_to(SRC)}: line {node.lineno}"


def test_configs_and_package_import_without_torch() -> None:
    code = (
        "import sys, recam, recam.configs, recam.apps.cli;"
        "heavy = {'torch', 'numpy', 'cv2', 'av', 'numba', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_stage_reads_what_is_said_to_people() -> None:
    """Decisions travel in typed fields; a report is prose and figures for apps and benchmarks."""
    reads = []
    for path in SRC.rglob("*.py"):
        part = path.relative_to(SRC).parts[0]
        if part in ("apps", "evaluation"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = node.value if isinstance(node, ast.Subscript) else node
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = node.func.value if node.func.attr in ("get", "pop", "items") else node
            is_read = named is not node and isinstance(named, ast.Attribute)
            if is_read and named.attr == "report":
                reads.append(f"{path.relative_to(SRC)}:{node.lineno}")
    assert not reads, f"report is read in {reads}"


def test_models_are_told_apart_in_one_place() -> None:
    """completers/choose.py opens what a config names; nobody else asks for a model's class."""
    asked = []
    for name, path in _modules().items():
        if name.startswith(("recam.completers.", "recam.completion.foundation")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
            if is_call and "VideoTransformer" in ast.unparse(node):
                asked.append(f"{name}: line {node.lineno}")
    assert not asked

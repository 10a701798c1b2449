"""recam's nodes for ComfyUI, without ComfyUI: its protocol, its tensors, and what they do."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from recam.camera_files import read_cameras
from recam.media import write_video
from recam.reconstruct import save_scene
from recam.types import Scene
from reconstruct_scene import render_world

FOLDER = Path(__file__).resolve().parents[1] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def pack() -> ModuleType:
    """As ComfyUI imports a folder of nodes."""
    spec = importlib.util.spec_from_file_location(
        "recam_comfyui", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["recam_comfyui"] = module
    spec.loader.exec_module(module)
    return module


def run(pack: ModuleType, name: str, **inputs: Any) -> tuple:
    """Call a node as the program does: by its FUNCTION, with inputs of its INPUT_TYPES only."""
    node = pack.NODE_CLASS_MAPPINGS[name]
    types = node.INPUT_TYPES()
    known = types["required"] | types.get("optional", {})
    assert set(types["required"]) <= set(inputs) <= set(known)
    result = getattr(node(), node.FUNCTION)(**inputs)
    assert isinstance(result, tuple) and len(result) == len(node.RETURN_TYPES)
    for value, kind in zip(result, node.RETURN_TYPES):
        if kind == "IMAGE":
            assert value.dtype == torch.float32 and value.ndim == 4 and value.shape[-1] == 3
            assert float(value.min()) >= 0 and float(value.max()) <= 1
        if kind == "MASK":
            assert value.dtype == torch.float32 and value.ndim == 3
    return result


@pytest.fixture
def scene() -> Scene:
    world = render_world(6, slide=0.05)
    depth, dynamic = torch.from_numpy(world.depth), torch.from_numpy(world.moving)
    valid = torch.ones_like(dynamic)
    return Scene(world.video, world.cameras, depth, valid, dynamic, valid.float())


def test_every_node_says_what_it_takes(pack: ModuleType) -> None:
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    for node in pack.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(node, node.FUNCTION)) and node.CATEGORY == "recam"
        assert len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
        for group in node.INPUT_TYPES().values():
            for kind in group.values():
                assert isinstance(kind, tuple) and isinstance(kind[0], str | list)


def test_from_a_scene_to_render_and_mask(pack: ModuleType, scene: Scene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path / "scene")
    opened, frames = run(pack, "RecamOpenScene", path=str(tmp_path / "scene"))
    assert torch.equal((frames * 255).round().to(torch.uint8).movedim(-1, 1), scene.video.frames)
    (path,) = run(pack, "RecamPath", preset="truck", distance=0.3)
    assert (path.path, path.distance, path.yaw, path.zoom) == ("truck", 0.3, None, None)
    render, missing, depth, width, height, length = run(
        pack, "RecamRender", scene=opened, path=path
    )
    assert tuple(render.shape) == (length, height, width, 3) == (5, 64, 112, 3)
    assert render.shape == depth.shape and missing.shape == render.shape[:3]
    assert 0.01 < float(missing.mean()) < 0.6
    assert bool((render[missing == 1] == 128 / 255).all())
    assert bool((depth[missing == 0].amax(-1) > 0).all())
    own = run(pack, "RecamRender", scene=opened, path=path, made_for="as the video")
    assert tuple(own[0].shape) == (6, 72, 112, 3) and bool((own[0][own[1] == 1] == 0).all())
    (file,) = run(pack, "RecamSaveCameras", scene=opened, path=path, file=str(tmp_path / "c.json"))
    assert len(read_cameras(file)) == 6
    run(pack, "RecamSaveCameras", scene=opened, path=path, file=str(tmp_path / "c.usda"))
    rate = f"framesPerSecond = {opened.video.fps:.12g}\n"
    assert rate in (tmp_path / "c.usda").read_text()


def test_reshoot_complete_and_two_eyes(pack: ModuleType, scene: Scene) -> None:
    (path,) = run(pack, "RecamPath", preset="truck", distance=0.2)
    images, made_up = run(pack, "RecamReshoot", scene=scene, path=path, model="propagate")
    assert tuple(images.shape) == (6, 72, 112, 3) and made_up.shape == images.shape[:3]
    hole = torch.zeros(6, 72, 112)
    hole[:, 30:40, 50:60] = 1
    film = scene.video.frames.movedim(1, -1).float() / 255
    (filled,) = run(pack, "RecamComplete", images=film, missing=hole, model="propagate")
    assert torch.equal(filled[hole == 0], film[hole == 0])
    assert float((filled - film)[hole == 1].abs().mean()) < 0.2
    left, right = run(pack, "RecamStereo", scene=scene, model="propagate")
    assert left.shape == right.shape == film.shape and not torch.equal(left, right)


def test_a_film_is_a_scene_of_its_own(
    pack: ModuleType, scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the nodes hand to recam, without the minutes that working out a scene takes."""
    import recam

    asked: list[Any] = []

    def note(video: Any, **options: Any) -> Scene:
        asked.append((video, options))
        return scene

    monkeypatch.setattr(recam, "open_scene", note)
    write_video(scene.video, tmp_path / "a.mp4")
    options = {"start": 1, "num_frames": 3, "max_side": 64, "fov_deg": 50.0}
    run(pack, "RecamOpenScene", path=str(tmp_path / "a.mp4"), **options)
    given = asked[0][1]
    assert (given["input"].start, given["input"].num_frames) == (1, 3)
    assert given["input"].max_side == 64 and given["reconstruct"].fov == 50.0
    images = scene.video.frames.movedim(1, -1).float() / 255
    with_alpha = torch.cat([images, torch.ones_like(images[..., :1])], -1)
    run(pack, "RecamSceneFromImages", images=with_alpha, fps=12.0)
    assert torch.equal(asked[1][0].frames, scene.video.frames) and asked[1][0].fps == 12

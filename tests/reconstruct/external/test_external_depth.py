"""Depth models of others: real code on tiny random checkpoints, or on stand-ins of a package's
interface."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from depth_checkpoints import FOV_DEG, save_depth_anything, save_depth_pro
from recam.configs import ReconstructConfig
from recam.reconstruct import reconstruct
from recam.reconstruct.external import choose
from recam.reconstruct.external.choose import (
    DepthChoice,
    choose_depth_model,
    external_depth,
    models_used,
)
from recam.reconstruct.external.pictures import prepared, read_recipe, target_size
from recam.reconstruct.external.prior_depth import PriorDepth, inverse_of
from recam.runtime.checkpoints import in_hub_cache
from recam.types import RecamError, video_from_frames

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(2, 3, 6, 10, generator=generator)
    big = torch.nn.functional.interpolate(small, (48, 80), mode="bilinear")
    return (255 * big).to(torch.uint8)


@pytest.fixture(scope="module")
def depth_anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_depth_anything(tmp_path_factory.mktemp("da"))


@pytest.fixture(scope="module")
def depth_pro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_depth_pro(tmp_path_factory.mktemp("dp"))


def test_pictures_are_prepared_as_the_library_does(
    depth_anything: Path, frames: torch.Tensor
) -> None:
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    theirs = DPTImageProcessorPil.from_pretrained(depth_anything)
    recipe = read_recipe(depth_anything, 518)
    for size in ((48, 80), (100, 61), (200, 300)):
        picture = torch.nn.functional.interpolate(frames[:1], size)[0]
        expected = theirs(picture.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
        got = prepared(picture, recipe)
        assert got.shape == expected.shape
        level = 1 / 255 / min(recipe.std)
        assert float((got - expected).abs().max()) < 1.5 * level  # one level of rounding


def test_target_sizes_are_multiples_near_the_size_asked(depth_anything: Path) -> None:
    recipe = read_recipe(depth_anything, 518)
    assert target_size(480, 854, recipe) == (70, 126)
    assert target_size(854, 480, recipe) == (126, 70)
    assert target_size(480, 854, replace(recipe, keep_aspect=False)) == (70, 70)


def test_depth_anything_gives_what_its_network_says(
    depth_anything: Path, frames: torch.Tensor
) -> None:
    said = external_depth(DepthChoice("depth-anything-v2", str(depth_anything), ""), frames)
    assert said.inverse_depth.shape == (2, 48, 80) and not said.metric
    assert said.drift == "scale-and-shift"
    model = transformers.DepthAnythingForDepthEstimation.from_pretrained(depth_anything)
    with torch.no_grad():
        raw = model(prepared(frames[1], read_recipe(depth_anything, 518))).predicted_depth
    back = torch.nn.functional.interpolate(raw[None], (48, 80), mode="bilinear", antialias=True)
    assert torch.allclose(said.inverse_depth[1], back[0, 0].clamp(min=0), atol=1e-5)


def test_metric_depth_anything_is_inverted(tmp_path: Path, frames: torch.Tensor) -> None:
    folder = save_depth_anything(tmp_path, depth_estimation_type="metric", max_depth=20)
    said = external_depth(DepthChoice("depth-anything-v2", str(folder), ""), frames)
    assert said.metric and said.drift == "scale"
    shown = said.inverse_depth[said.inverse_depth > 0]
    assert float(shown.min()) == pytest.approx(1 / 20, rel=0.05)  # the farthest that it can say


def test_depth_pro_is_metric_by_its_field_of_view(depth_pro: Path, frames: torch.Tensor) -> None:
    choice = DepthChoice("depth-pro", str(depth_pro), "")
    said = external_depth(choice, frames)
    assert said.metric and said.fov_deg == pytest.approx(FOV_DEG, abs=0.1)
    wider = external_depth(choice, frames, fov_deg=90)
    inside = (said.inverse_depth > 1e-3) & (wider.inverse_depth > 1e-3)
    ratio = (wider.inverse_depth / said.inverse_depth)[inside]
    expected = math.tan(math.radians(45)) / math.tan(math.radians(FOV_DEG / 2))
    assert torch.allclose(ratio, torch.full_like(ratio, expected), rtol=1e-3)


def test_depth_pro_without_angle_has_no_scale(tmp_path: Path, frames: torch.Tensor) -> None:
    said = external_depth(
        DepthChoice("depth-pro", str(save_depth_pro(tmp_path, False)), ""), frames
    )
    assert not said.metric and said.fov_deg is None and said.drift == "scale"


def test_broken_and_foreign_checkpoints_are_refused(
    depth_anything: Path, depth_pro: Path, tmp_path: Path, frames: torch.Tensor
) -> None:
    with pytest.raises(RecamError, match="depth_pro model; expected depth_anything"):
        external_depth(DepthChoice("depth-anything-v2", str(depth_pro), ""), frames)
    with pytest.raises(RecamError, match="no such folder"):
        external_depth(DepthChoice("depth-pro", str(tmp_path / "none"), ""), frames)
    with pytest.raises(RecamError, match=r"no config\.json"):
        external_depth(DepthChoice("depth-pro", str(tmp_path), ""), frames)
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((depth_anything / name).read_bytes())
    weights = load_file(depth_anything / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecamError, match="1 missing parameters"):
        external_depth(DepthChoice("depth-anything-v2", str(tmp_path), ""), frames)


def _module(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> None:
    parts = name.split(".")
    for k in range(1, len(parts) + 1):
        part = ".".join(parts[:k])
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    vars(sys.modules[name]).update(content)


class _Loaded:
    """What the packages' models have in common."""

    loaded_from = ""

    @classmethod
    def from_pretrained(cls, name: str) -> "_Loaded":
        if name == "broken":
            raise OSError("no such weights")
        model = cls()
        model.loaded_from = name
        return model

    def to(self, device: torch.device) -> "_Loaded":
        return self

    def eval(self) -> "_Loaded":
        return self


class _DepthAnything3(_Loaded):
    def inference(self, image: list[np.ndarray]) -> SimpleNamespace:
        assert all(p.dtype == np.uint8 and p.shape == (48, 80, 3) for p in image)
        depth = np.full((len(image), 24, 40), 4.0, np.float32)
        return SimpleNamespace(depth=depth, conf=np.full_like(depth, 2.0), is_metric=1)


class _MoGe(_Loaded):
    def infer(self, image: torch.Tensor, fov_x: float | None = None) -> dict[str, torch.Tensor]:
        assert image.shape == (3, 48, 80) and float(image.max()) <= 1
        mask = torch.ones(48, 80, dtype=torch.bool)
        mask[:10] = False
        depth = torch.where(mask, 2.0, torch.inf)
        focal = 0.5 / math.tan(math.radians(fov_x or 70.0) / 2)
        return {"depth": depth, "mask": mask, "intrinsics": torch.diag(torch.tensor([focal] * 3))}


class _VGGT(_Loaded):
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        s, _, h, w = images.shape
        assert h % 14 == 0 and w % 14 == 0 and max(h, w) == 518
        depth = torch.full((1, s, h, w, 1), 5.0)
        return {"depth": depth, "depth_conf": torch.full((1, s, h, w), 5.0)}


def test_depth_anything_3_by_its_interface(
    monkeypatch: pytest.MonkeyPatch, frames: torch.Tensor
) -> None:
    _module(monkeypatch, "depth_anything_3.api", DepthAnything3=_DepthAnything3)
    said = external_depth(DepthChoice("depth-anything-3", "some/model", ""), frames)
    assert said.metric and said.drift == "none"
    assert torch.allclose(said.inverse_depth, torch.full((2, 48, 80), 0.25))
    assert torch.allclose(said.confidence, torch.full((2, 48, 80), 0.5))
    with pytest.raises(RecamError, match="no such weights"):
        external_depth(DepthChoice("depth-anything-3", "broken", ""), frames)


def test_moge_by_its_interface(monkeypatch: pytest.MonkeyPatch, frames: torch.Tensor) -> None:
    _module(monkeypatch, "moge.model.v2", MoGeModel=_MoGe)
    said = external_depth(DepthChoice("moge", "some/model", ""), frames)
    assert said.metric and said.fov_deg == pytest.approx(70, abs=0.01)
    assert bool((said.inverse_depth[:, :10] == 0).all())  # sky
    assert bool((said.inverse_depth[:, 10:] == 0.5).all())
    asked = external_depth(DepthChoice("moge", "some/model", ""), frames, fov_deg=40)
    assert asked.fov_deg == pytest.approx(40, abs=0.01)


def test_moge_1_alone_is_not_metric(monkeypatch: pytest.MonkeyPatch, frames: torch.Tensor) -> None:
    _module(monkeypatch, "moge.model.v1", MoGeModel=_MoGe)
    monkeypatch.setitem(sys.modules, "moge.model.v2", None)
    assert not external_depth(DepthChoice("moge", "some/model", ""), frames).metric


def test_vggt_by_its_interface(monkeypatch: pytest.MonkeyPatch, frames: torch.Tensor) -> None:
    _module(monkeypatch, "vggt.models.vggt", VGGT=_VGGT)
    said = external_depth(DepthChoice("vggt", "some/model", ""), frames)
    assert not said.metric and said.inverse_depth.shape == (2, 48, 80)
    assert torch.allclose(said.inverse_depth, torch.full((2, 48, 80), 0.2))
    assert torch.allclose(said.confidence, torch.full((2, 48, 80), 0.8))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, frames: torch.Tensor) -> None:
    for model, package in (("vggt", "vggt"), ("moge", "moge")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(RecamError, match=f"{package} is not installed"):
            external_depth(DepthChoice(model, "some/model", ""), frames)  # type: ignore[arg-type]


def test_choice_follows_weights_then_what_is_here(
    monkeypatch: pytest.MonkeyPatch, depth_anything: Path, depth_pro: Path, tmp_path: Path
) -> None:
    auto = ReconstructConfig()
    assert choose_depth_model(replace(auto, depth_weights=str(depth_pro))).model == "depth-pro"
    found = choose_depth_model(replace(auto, depth_weights=str(depth_anything)))
    assert found.model == "depth-anything-v2"
    monkeypatch.setattr(choose, "in_hub_cache", lambda name: False)
    monkeypatch.setattr(choose, "shipped_available", lambda: False)
    assert choose_depth_model(auto).model == "stage"
    monkeypatch.setattr(choose, "shipped_available", lambda: True)
    monkeypatch.setattr(choose, "shipped_is_better", lambda: False)
    assert choose_depth_model(auto).model == "stage"
    monkeypatch.setattr(choose, "shipped_is_better", lambda: True)
    assert choose_depth_model(auto).model == "shipped"
    monkeypatch.setattr(choose, "in_hub_cache", lambda name: name == "apple/DepthPro-hf")
    chosen = choose_depth_model(auto)
    assert chosen.model == "depth-pro" and "installed" in chosen.why
    assert choose_depth_model(replace(auto, depth_model="stage")).model == "stage"
    with pytest.raises(RecamError, match="takes no --depth-weights"):
        choose_depth_model(replace(auto, depth_model="stage", depth_weights="x/y"))
    with pytest.raises(RecamError, match="by --depth-model"):
        choose_depth_model(replace(auto, depth_weights="some/thing"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(RecamError, match="kind bert"):
        choose_depth_model(replace(auto, depth_weights=str(tmp_path)))


def test_what_is_in_the_hubs_cache_is_found_without_fetching(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert not in_hub_cache("apple/DepthPro-hf")
    snapshot = tmp_path / "models--apple--DepthPro-hf" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert not in_hub_cache("apple/DepthPro-hf")  # a config alone is no model
    (snapshot / "model.safetensors").write_bytes(b"0")
    assert in_hub_cache("apple/DepthPro-hf") and not in_hub_cache("facebook/VGGT-1B")


def test_a_tripod_shot_is_reconstructed_with_a_checkpoint(depth_anything: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    small = torch.rand(1, 3, 12, 20, generator=generator)
    picture = torch.nn.functional.interpolate(small, (72, 120), mode="bilinear")
    video = video_from_frames((255 * picture).to(torch.uint8).expand(4, -1, -1, -1).contiguous())
    scene = reconstruct(video, ReconstructConfig(depth_weights=str(depth_anything)))
    assert scene.depth_source == "predicted"
    assert any(f"depth-anything-v2 ({depth_anything})" in note for note in scene.report["notes"])
    assert torch.equal(scene.depth[0], scene.depth[3]) and bool(scene.valid.all())


def test_a_scene_depends_on_the_models_that_made_it(
    monkeypatch: pytest.MonkeyPatch, depth_anything: Path, depth_pro: Path
) -> None:
    monkeypatch.setattr(choose, "in_hub_cache", lambda name: False)
    monkeypatch.setattr(choose, "shipped_available", lambda: False)
    auto = ReconstructConfig()
    stage = models_used(auto)
    by_weights = [
        models_used(replace(auto, depth_weights=str(f))) for f in (depth_anything, depth_pro)
    ]
    assert stage != by_weights[0] != by_weights[1]
    monkeypatch.setattr(choose, "in_hub_cache", lambda name: name == "apple/DepthPro-hf")
    assert models_used(auto) not in (stage, *by_weights)
    assert models_used(auto) == models_used(auto)
    assert "stage" not in models_used(replace(auto, depth="depth.npz"))  # nothing is guessed then


def test_inverse_of_far_and_broken_depth_is_zero() -> None:
    depth = torch.tensor([[[2.0, torch.inf, torch.nan, 0.0, -1.0]]])
    assert inverse_of(depth).tolist() == [[[0.5, 0.0, 0.0, 0.0, 0.0]]]
    with pytest.raises(ValueError, match="finite"):
        PriorDepth(torch.full((1, 1, 1), torch.nan), torch.zeros(1, 1, 1), False, "none")
    with pytest.raises(ValueError, match="same shape"):
        PriorDepth(torch.zeros(1, 1, 1), torch.zeros(1, 1, 2), False, "none")

"""The contract that Wan2.2-TI2V, Wan2.1-VACE and LTX-Video keep, on tiny random checkpoints."""

import shutil
import warnings
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import Tensor

from completion_clips import moving_hole, panned

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore::recam.completion.foundation.windows.FitNote")

from foundation_checkpoints import save_ltx, save_wan  # noqa: E402
from recam.apps.cli import main  # noqa: E402
from recam.completion.backbone import Backbone, Condition  # noqa: E402
from recam.completion.foundation import PER_TOKEN, flow, load_foundation, parts  # noqa: E402
from recam.completion.foundation.flow import FlowVideo  # noqa: E402
from recam.completion.foundation.placement import ModelNote, pick_device  # noqa: E402
from recam.completion.foundation.predict import costs, predict  # noqa: E402
from recam.completion.foundation.published import MODELS as PUBLISHED  # noqa: E402
from recam.completion.foundation.wan import _vace_control  # noqa: E402
from recam.configs import CompleteConfig, CompletionModel, FoundationConfig  # noqa: E402
from recam.types import RecamError  # noqa: E402
from small_models import complete_published  # noqa: E402

MODELS: tuple[CompletionModel, ...] = ("wan22", "vace", "ltx")
SIDE = 96


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("flow")
    wan = {name: save_wan(folder / name, name) for name in ("wan22", "vace")}
    return {**wan, "ltx": save_ltx(folder / "ltx")}


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("RECAM_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def config_for(name: CompletionModel, weights: Path, **other: object) -> CompleteConfig:
    foundation = FoundationConfig(
        model_device="cpu", work_side=SIDE, prompt=str(other.pop("prompt", ""))
    )
    return CompleteConfig(name, str(weights), foundation, sampling_steps=2, overlap=2, **other)  # type: ignore[arg-type]


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> tuple:
    config = config_for(request.param, checkpoints[request.param])
    model = load_foundation(config)
    assert isinstance(model, FlowVideo)
    return config, model


@pytest.mark.parametrize(
    "num, height, width", [(9, 64, 96), (1, 50, 90), (6, 70, 33), (12, 32, 180)]
)
def test_any_length_and_aspect(case: tuple, num: int, height: int, width: int) -> None:
    config, model = case
    model.max_frames = 9
    holed = moving_hole(panned(num, 1, height, width), 1, size_px=12, left_px=10)
    filled = complete_published(model, holed, config).frames
    known = (holed.known == 1)[:, None].expand_as(filled)
    assert filled.shape == holed.frames.shape
    assert torch.equal(filled[known], holed.frames[known])
    assert bool((filled[~known] != 0).any())


def test_seeds(case: tuple) -> None:
    config, model = case
    holed = moving_hole(panned(9, 1, 64, 96), 1, size_px=30)

    def run(seed: int) -> Tensor:
        return complete_published(model, holed, replace(config, seed=seed)).frames

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_stochastic_sampling_denoises_what_is_known_too(
    case: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models of one level per token keep clean tokens as they are unless asked not to."""
    config, model = case
    holed = moving_hole(panned(9, 1, 64, 96), 0, size_px=20)
    shown, known = holed.frames[None] / 127.5 - 1, holed.known[None, :, None]
    latents: list[Tensor] = []
    decode = FlowVideo.decode
    monkeypatch.setattr(FlowVideo, "decode", lambda m, z: (latents.append(z), decode(m, z))[1])
    for stochastic in (False, True):
        model.sample(shown, known, 3, 0, stochastic=stochastic)
    clean = (model.token_levels(known) >= 1).repeat_interleave(model.patch, 2)
    clean = clean.repeat_interleave(model.patch, 3)[:, :, None].expand_as(latents[0])
    anchored, joint = (z[clean] for z in latents)
    assert bool(clean.any()) and torch.isfinite(joint).all()
    assert torch.equal(anchored, joint) == (not model.per_token_noise)
    assert (config.model in PER_TOKEN) == model.per_token_noise


def test_per_token_noise_or_a_clear_refusal(case: tuple) -> None:
    _, model = case
    assert isinstance(model, Backbone)
    frames = torch.rand(1, 9, 3, 64, 96) * 2 - 1
    known = torch.ones(1, 9, 1, 64, 96)
    condition = Condition(frames, known, frames[:, None][:, :0])
    z = model.encode(frames)
    levels = model.token_levels(known)
    assert model.decode(z).shape == frames.shape
    sigma = torch.full_like(levels, 0.7)
    assert torch.isfinite(model.denoise(z, sigma, condition)).all()
    sigma[:, 0] = 0
    if not model.per_token_noise:
        with pytest.raises(ValueError, match="one noise level"):
            model.denoise(z, sigma, condition)
        with pytest.raises(ValueError, match="condition"):
            model.denoise(z, sigma * 0, None)
        return
    x0 = model.denoise(z, sigma, None)
    assert torch.equal(x0[:, 0], z[:, 0]) and not torch.equal(x0[:, 1], z[:, 1])
    # The others are told the time of every token: a change of one token's own time changes them.
    other = sigma.clone()
    other[:, -1, 0, 0] = 0.1
    assert not torch.equal(model.denoise(z, other, None)[:, 1], x0[:, 1])


def test_a_prompt_is_optional_and_guided(case: tuple) -> None:
    config, model = case
    assert model.negative is None
    prompted = load_foundation(config_for(config.model, Path(config.weights), prompt="a bear"))
    assert isinstance(prompted, FlowVideo) and prompted.negative is not None
    frames = torch.rand(1, 5 if model.time == 4 else 9, 3, 64, 96) * 2 - 1
    known = torch.ones_like(frames[:, :, :1])
    condition = Condition(frames, known, frames[:, None][:, :0])
    z = model.encode(frames)
    sigma = torch.full_like(model.token_levels(known), 0.7)
    once = model.denoise(z, sigma, condition)
    model.negative = model.prompt  # equal prompts: the same answer at twice the work
    assert torch.equal(model.denoise(z, sigma, condition), once)
    assert not torch.allclose(prompted.denoise(z, sigma, condition), once)


def test_evidence_is_seen(case: tuple) -> None:
    """What is generated depends on what is known around it."""
    _, model = case
    holed = moving_hole(panned(9, 1, 64, 96), 0, size_px=30)
    other = moving_hole(panned(9, 1, 64, 96, seed=1), 0, size_px=30)
    shown, known = holed.frames[None].float() / 127.5 - 1, holed.known[None, :, None]
    made = model.sample(shown, known, 2, 0)
    changed = model.sample(other.frames[None].float() / 127.5 - 1, known, 2, 0)
    hole = (known == 0).expand_as(made)
    assert float((made - changed)[hole].abs().mean()) > 1e-3


def test_tokens_count_as_known_only_where_all_their_pixels_are(case: tuple) -> None:
    _, model = case
    known = torch.ones(1, 9, 1, 64, 96)
    known[0, 6, 0, 40, 40] = 0
    levels = model.token_levels(known)
    side, late = model.pixel_multiple, (6 - 1) // model.time + 1
    assert int((levels < 1).sum()) == 1 and float(levels[0, late, 40 // side, 40 // side]) < 1


def test_vace_control_is_what_its_publishers_give_it(checkpoints: dict[str, Path]) -> None:
    """Against diffusers' own pipeline, which takes the same video and mask."""
    import diffusers

    vae = diffusers.AutoencoderKLWan.from_pretrained(checkpoints["vace"] / "vae")
    transformer = diffusers.WanVACETransformer3DModel.from_pretrained(
        checkpoints["vace"] / "transformer"
    )
    scheduler = diffusers.UniPCMultistepScheduler()
    pipe = diffusers.WanVACEPipeline(None, None, vae, scheduler, transformer)
    video = torch.rand(1, 9, 3, 64, 96) * 2 - 1
    known = torch.ones(1, 9, 1, 64, 96)
    known[:, 2:7, :, 10:30, 40:70] = 0
    grey = video * known
    mask = (1 - known).transpose(1, 2).expand(-1, 3, -1, -1, -1)
    latents = pipe.prepare_video_latents(grey.transpose(1, 2), mask, [[]], device="cpu")
    theirs = torch.cat([latents, pipe.prepare_masks(mask, [[]])], 1)
    with torch.no_grad():
        ours = _vace_control(pipe.vae, grey, known)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_ltx_decoder_that_is_told_its_noise(tmp_path: Path) -> None:
    model = load_foundation(config_for("ltx", save_ltx(tmp_path, timestep_conditioning=True)))
    assert isinstance(model, FlowVideo)
    z = model.encode(torch.rand(1, 9, 3, 64, 96) * 2 - 1)
    assert torch.equal(model.decode(z), model.decode(z))


def test_weights_of_another_model_are_refused(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(RecamError, match="holds a WanVACETransformer3DModel"):
        load_foundation(config_for("wan22", checkpoints["vace"]))
    with pytest.raises(RecamError, match="needs --weights"):
        load_foundation(CompleteConfig("ltx"))


@pytest.mark.parametrize(
    "change, match",
    [
        ({"drop": "vae"}, "a transformer alone, and its VAE and text encoder are missing"),
        ({"drop": "text_encoder"}, "has no text_encoder"),
        ({"drop": "transformer/diffusion_pytorch_model.safetensors"}, "has no weights"),
        ({"write": "{"}, "not JSON"),
        ({"write": "[]"}, "expected a JSON object"),
        ({"write": '{"_class_name": "LTXVideoTransformer3DModel"}'}, "takes 128 latent channels"),
        (
            {"write": '{"_class_name": "LTXVideoTransformer3DModel", "num_layers": "two"}'},
            "config.json: no LTXVideoTransformer3DModel",
        ),
        ({"damage": 1000}, "cannot be read as LTXVideoTransformer3DModel"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    change: dict, match: str, checkpoints: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "ltx"
    shutil.copytree(checkpoints["ltx"], folder)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    if "damage" in change:
        weights.write_bytes(weights.read_bytes()[: change["damage"]])
    if "write" in change:
        (folder / "transformer" / "config.json").write_text(change["write"])
    if "drop" in change:
        dropped = folder / change["drop"]
        shutil.rmtree(dropped) if dropped.is_dir() else dropped.unlink()
    with pytest.raises(RecamError, match=match) as caught:
        load_foundation(config_for("ltx", folder))
    assert "\n" not in str(caught.value)


def test_only_what_is_used_is_fetched(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a Hub repository that also holds other models, as LTX-Video's does."""
    names = [str(p.relative_to(checkpoints["ltx"])) for p in checkpoints["ltx"].rglob("*.*")]
    names += ["ltxv-13b-0.9.7-dev.safetensors", "media/demo.mp4"]
    fetched: set[str] = set()

    def snapshot(name: str, allow_patterns: list[str], revision: object) -> str:
        fetched.update(n for n in names if any(fnmatch(n, p) for p in allow_patterns))
        return str(checkpoints["ltx"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    load_foundation(config_for("ltx", Path("owner/model"), prompt="a bear"))
    used = {"transformer", "vae", "scheduler", "tokenizer", "text_encoder"}
    assert all(n.endswith(".json") or n.split("/")[0] in used for n in fetched)
    assert {n.split("/")[0] for n in fetched if n.endswith(".safetensors")} == {
        "transformer", "vae", "text_encoder",
    }  # fmt: skip
    fetched.clear()
    predict(config_for("ltx", Path("owner/model")))
    assert all(n.endswith(".json") for n in fetched)


@pytest.mark.parametrize(
    "option, match",
    [
        ({"work_side": 0}, "--work-side must lie between 1"),
        ({"guidance": float("nan")}, "--guidance must lie"),
        ({"schedule": "ddim"}, "ddim is of cogvideox"),
        ({"adapt_devices": 0}, "--adapt-devices must"),
    ],
)
def test_options_out_of_range_are_refused(option: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        load_foundation(CompleteConfig("ltx", "nowhere", FoundationConfig(**option)))
    with pytest.raises(ValueError, match="--sampling-steps must"):
        load_foundation(CompleteConfig("ltx", "nowhere", sampling_steps=0))


def test_doctor_ends_badly_where_there_is_no_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--model", "ltx", "--weights", str(tmp_path / "gone")])
    assert stop.value.code == 1 and "gone: no such folder" in capsys.readouterr().err


def test_a_placement_that_memory_forces_is_said(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for("ltx", checkpoints["ltx"])
    _, need, _ = costs(config)
    # The tiny VAE needs the most, so the two would need the same.
    least = replace(need, vae=0.0, vae_work=0.0)
    monkeypatch.setattr(parts, "memory_need", lambda *_: least)
    monkeypatch.setattr(parts, "free_gb", lambda device: least.of("fp8") * 1.0001)
    with pytest.warns(parts.ModelNote, match="so placement is fp8: transformer's weights"):
        assert load_foundation(config).placement == "fp8"  # type: ignore[attr-defined]
    monkeypatch.setattr(parts, "free_gb", lambda device: 0.0)
    with pytest.raises(RecamError, match="A smaller model would fit"):
        load_foundation(config)


@pytest.mark.parametrize("device, match", [("foo", "expected auto"), ("meta", "expected auto")])
def test_a_device_that_is_none_is_refused(device: str, match: str) -> None:
    with pytest.raises(RecamError, match=match):
        pick_device(device)


@pytest.mark.parametrize("name", ["wan22", "ltx"])
def test_vae_in_tiles_where_memory_asks_for_it(
    name: str, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture wider than a tile goes whole, or in several that overlap, nearly as in one."""
    monkeypatch.setattr(flow, "TILE", 256)  # of 512 pixels, which take a CPU a minute
    monkeypatch.setattr(flow, "TILE_STEP", 192)
    model = load_foundation(config_for(name, checkpoints[name]))  # type: ignore[arg-type]
    assert isinstance(model, FlowVideo)
    frames = panned(9, 2, 64, 1056)[None] / 127.5 - 1
    model.tile_gb = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelNote)
        whole = model.encode(frames)
    monkeypatch.setattr(flow, "free_gb", lambda device: 1.0)
    with pytest.warns(ModelNote, match="tiles of 256 pixels: whole frames need about 1 GB"):
        tiled = model.encode(frames)
    assert whole.shape == tiled.shape and not torch.equal(whole, tiled)
    assert float((whole - tiled).std()) < 0.2 * float(whole.std())
    calls: list[int] = []

    def short(vae, z):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("no more")
        return torch.zeros(1)

    monkeypatch.setattr(flow, "free_gb", lambda device: 9.0)
    model.family = replace(model.family, decode=short)
    with pytest.warns(ModelNote, match="tiles"):
        model.decode(whole)
    assert len(calls) == 2


@pytest.mark.parametrize("name", MODELS)
def test_doctor_reads_the_config_alone(
    name: CompletionModel, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    for file in checkpoints[name].rglob("config.json"):  # no weights there at all
        copy = tmp_path / file.relative_to(checkpoints[name])
        copy.parent.mkdir(parents=True)
        copy.write_text(file.read_text())
    lines = predict(config_for(name, tmp_path))
    assert "billion parameters" in lines[0] and any(": 2 passes of" in line for line in lines)
    guided = predict(config_for(name, tmp_path, prompt="a bear"))
    assert any(": 4 passes of" in line for line in guided)


@pytest.mark.parametrize(
    "name, billions", [("cogvideox", 5.57), ("wan22", 5.0), ("vace", 2.15), ("ltx", 1.92)]
)
def test_doctor_knows_the_published_models(name: CompletionModel, billions: float) -> None:
    """Without weights, on the meta device: their known sizes, and the least memory of each."""
    size, need, frames = costs(CompleteConfig(name))
    assert size.params / 1e9 == pytest.approx(billions, rel=0.01)
    assert frames == PUBLISHED[name].frames and need.of("stream") < need.of("resident")
    options = FoundationConfig(model_device="cpu")
    lines = predict(CompleteConfig(name, foundation=options, sampling_steps=1))
    assert any("the smallest memory that it runs in: about" in line for line in lines)

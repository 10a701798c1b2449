"""CogVideoX completers: against a plain run of the published recipe, on tiny random checkpoints."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from completion_clips import moving_hole, panned, with_known

pytestmark = pytest.mark.filterwarnings("ignore::recam.completion.foundation.windows.FitNote")
diffusers = pytest.importorskip("diffusers")

from foundation_checkpoints import save_cogvideox, save_cogvideox_transformer  # noqa: E402
from recam.apps.cli import main  # noqa: E402
from recam.completers import FoundationCompleter, resolve_config  # noqa: E402
from recam.completion.backbone import Backbone, Condition  # noqa: E402
from recam.completion.foundation import (  # noqa: E402
    FitNote,
    describe_length,
    placement,
)
from recam.completion.foundation import text as text_module  # noqa: E402
from recam.completion.foundation.cogvideox import (  # noqa: E402
    CogVideoX,
    load_cogvideox,
    predict,
    sample,
)
from recam.completion.foundation.fit import fit_fixed, to_model  # noqa: E402
from recam.completion.foundation.placement import (  # noqa: E402
    Need,
    _streams,
    choose_placement,
)
from recam.completion.foundation.published import COGNVS  # noqa: E402
from recam.configs import CompleteConfig, FoundationConfig, ReshootConfig  # noqa: E402
from recam.media import read_video, write_video  # noqa: E402
from recam.reconstruct import save_scene  # noqa: E402
from recam.synthetic import synthetic_clip  # noqa: E402
from recam.tasks import reshoot as reshoot_task  # noqa: E402
from recam.types import PartialVideo, RecamError, video_from_frames  # noqa: E402
from small_models import complete_published  # noqa: E402

STEPS = 3
CPU = FoundationConfig(model_device="cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_cogvideox(tmp_path_factory.mktemp("cogvideox"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(checkpoint: Path) -> CogVideoX:
    return load_cogvideox(str(checkpoint), CPU)


@pytest.fixture
def clip() -> PartialVideo:
    return moving_hole(panned(9, 2, 90, 150), 5)


def reference_recipe(folder: Path, partial: PartialVideo, seed: int) -> Tensor:
    """The published way, step by step as written: 8-bit frames shrunk by areas to the model's size
    and to [-1, 1]; T5 run on two empty prompts; the posterior drawn, scaled; both halves of the
    guidance in one batch of two, 16-bit throughout. [1, t, 3, h, w] in [-1, 1]."""
    from diffusers import AutoencoderKLCogVideoX, CogVideoXDPMScheduler, CogVideoXTransformer3DModel
    from diffusers.models.embeddings import get_3d_rotary_pos_embed
    from transformers import AutoTokenizer, T5EncoderModel

    half = torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = T5EncoderModel.from_pretrained(folder / "text_encoder", dtype=half)
    vae = AutoencoderKLCogVideoX.from_pretrained(folder / "vae", torch_dtype=half)
    transformer = CogVideoXTransformer3DModel.from_pretrained(
        folder / "transformer", torch_dtype=half
    )
    scheduler = CogVideoXDPMScheduler.from_pretrained(
        folder / "scheduler", timestep_spacing="trailing"
    )
    vae.enable_slicing()
    vae.enable_tiling()
    small = [
        cv2.resize(f.permute(1, 2, 0).contiguous().numpy(), (48, 32), interpolation=cv2.INTER_AREA)
        for f in partial.frames
    ]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)[None].float() / 127.5 - 1.0
    tokens = tokenizer(
        ["", ""], padding="max_length", max_length=8, truncation=True, return_tensors="pt"
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        prompts = text_encoder(tokens.input_ids)[0].to(half)
        posterior = vae.encode(pixels.to(half).permute(0, 2, 1, 3, 4).contiguous()).latent_dist
        given = posterior.sample(generator).permute(0, 2, 1, 3, 4) * vae.config.scaling_factor
        latents = torch.randn(given.shape, generator=generator, dtype=half)
        rotary = get_3d_rotary_pos_embed(16, ((0, 0), (2, 3)), (2, 3), 3)
        scheduler.set_timesteps(STEPS)
        before = None
        for i, t in enumerate(scheduler.timesteps):
            both = torch.cat([torch.cat([latents] * 2), torch.cat([given] * 2)], 2)
            noise = transformer(both, prompts, t.expand(2), image_rotary_emb=rotary).sample.float()
            uncond, cond = noise.chunk(2)
            noise = uncond + 6.0 * (cond - uncond)
            latents, before = scheduler.step(
                noise, before, t, scheduler.timesteps[i - 1] if i else None, latents,
                generator=generator, return_dict=False,
            )  # fmt: skip
            latents = latents.to(half)
        frames = vae.decode(1 / vae.config.scaling_factor * latents.permute(0, 2, 1, 3, 4)).sample
    return frames.permute(0, 2, 1, 3, 4).float()


def test_same_as_the_published_recipe(tmp_path: Path, clip: PartialVideo) -> None:
    """At 16 bits, which some CPUs are slow at: 32×48 pixels."""
    checkpoint = save_cogvideox(tmp_path / "small", sample_height=4, sample_width=6)
    model = load_cogvideox(str(checkpoint), CPU, torch.bfloat16)
    shown, _ = to_model(clip.frames, clip.known, fit_fixed(90, 150, (32, 48)), 9)
    ours = sample(model, shown[None], STEPS, seed=3)
    theirs = reference_recipe(checkpoint, clip, seed=3)
    spread = float(theirs.std())
    assert spread > 0.02  # a checkpoint whose output says nothing would prove nothing
    assert torch.equal(ours, theirs)


def test_equal_prompts_need_no_second_pass(model: CogVideoX) -> None:
    torch.manual_seed(0)
    x, beside = torch.randn(2, 1, 3, 4, 8, 12)
    t = torch.tensor([500])
    assert model.negative is None
    once = predict(model, x, beside, t)
    model.negative = model.prompt.clone()
    assert torch.equal(predict(model, x, beside, t), once)


def test_other_prompts_are_guided(checkpoint: Path, model: CogVideoX) -> None:
    guided = load_cogvideox(str(checkpoint), FoundationConfig("a bear", 6.0, model_device="cpu"))
    assert guided.negative is not None and not torch.equal(guided.negative, guided.prompt)
    x, beside = torch.randn(2, 1, 3, 4, 8, 12)
    t = torch.tensor([500])
    away = predict(model, x, beside, t)
    text_only = load_cogvideox(str(checkpoint), FoundationConfig("a bear", 1.0, model_device="cpu"))
    assert text_only.negative is None
    toward = predict(text_only, x, beside, t)
    assert torch.allclose(predict(guided, x, beside, t), away + 6 * (toward - away))


def test_text_encoder_is_loaded_once_in_a_life(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_cogvideox(str(checkpoint), CPU)

    def refuse(*_: object) -> None:
        raise AssertionError("the text encoder was loaded again")

    monkeypatch.setattr(text_module, "read_encoder", refuse)
    assert torch.equal(load_cogvideox(str(checkpoint), CPU).prompt, first.prompt)
    with pytest.raises(AssertionError, match="again"):
        load_cogvideox(str(checkpoint), FoundationConfig("a bear", model_device="cpu"))


def test_each_part_runs_as_often_as_it_must(
    model: CogVideoX, clip: PartialVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"encode": 0, "decode": 0, "transformer": 0}

    def counted(name: str, function):  # type: ignore[no-untyped-def]
        def call(*args: object, **named: object) -> object:
            calls[name] += 1
            return function(*args, **named)

        return call

    monkeypatch.setattr(model.vae, "encode", counted("encode", model.vae.encode))
    monkeypatch.setattr(model.vae, "decode", counted("decode", model.vae.decode))
    monkeypatch.setattr(
        model.transformer, "forward", counted("transformer", model.transformer.forward)
    )
    complete_published(model, clip, CompleteConfig("cogvideox", sampling_steps=STEPS))
    assert calls == {"encode": 1, "decode": 1, "transformer": STEPS}


@pytest.mark.parametrize(
    "num, height, width", [(9, 64, 96), (1, 90, 150), (5, 120, 60), (21, 33, 47)]
)
def test_any_length_and_aspect(model: CogVideoX, num: int, height: int, width: int) -> None:
    holed = moving_hole(panned(num, 1, height, width), 1, size_px=12, left_px=10)
    config = CompleteConfig("cogvideox", sampling_steps=1, overlap=2)
    filled = complete_published(model, holed, config).frames
    assert filled.shape == holed.frames.shape
    known = (holed.known == 1)[:, None].expand_as(filled)
    assert torch.equal(filled[known], holed.frames[known])
    assert bool((filled[~known] != 0).any())


def test_what_was_done_to_the_video_is_said() -> None:
    assert fit_fixed(480, 720, (480, 720)).describe() == ""
    assert "stretched from 1920×1080 to 720×480" in fit_fixed(1080, 1920, (480, 720)).describe()
    stretched = fit_fixed(1920, 1080, (480, 720))  # portrait too, as the original does
    assert stretched.inner == stretched.size == (480, 720)
    assert "stretched from 1080×1920 to 720×480" in stretched.describe()
    portrait = fit_fixed(1920, 1080, (480, 720), "pad")
    assert portrait.size == (480, 720) and portrait.inner == (480, 270)
    assert "scaled from 1080×1920 and padded" in portrait.describe()


def test_what_was_done_to_the_length_is_said(model: CogVideoX) -> None:
    for num, said in [
        (9, ""), (5, "5 frames padded to 9"), (1, "1 frames padded to 9"),
        (21, "21 frames go by windows of 9 that share 2"),
    ]:  # fmt: skip
        assert describe_length(model, num, 2).startswith(said)
        assert bool(describe_length(model, num, 2)) == bool(said)
    holed = moving_hole(panned(5, 1, 64, 96), 1, size_px=12, left_px=10)
    with pytest.warns(FitNote, match="5 frames padded to 9"):
        complete_published(model, holed, CompleteConfig("cogvideox", sampling_steps=1))


def test_seeds(model: CogVideoX, clip: PartialVideo) -> None:
    def run(seed: int) -> Tensor:
        config = CompleteConfig("cogvideox", sampling_steps=2, seed=seed)
        return complete_published(model, clip, config).frames

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_windows_have_their_own_noise_and_share_frames(model: CogVideoX) -> None:
    still = panned(1, 0, 64, 96).expand(16, -1, -1, -1).contiguous()
    known = torch.ones(16, 64, 96)
    known[:, 20:44, 30:60] = 0
    config = CompleteConfig("cogvideox", sampling_steps=2, overlap=2)
    filled = complete_published(model, with_known(still, known), config).frames
    assert not torch.equal(filled[:7], filled[9:16])


def test_known_pixels_may_change_with_the_stochastic_sampler(
    model: CogVideoX, clip: PartialVideo
) -> None:
    config = CompleteConfig("cogvideox", sampling_steps=2, sampler="stochastic")
    filled = complete_published(model, clip, config).frames
    assert bool((filled != clip.frames).float().mean() > 0.5)


def test_backbone_contract(model: CogVideoX) -> None:
    assert isinstance(model, Backbone) and not model.per_token_noise
    frames = torch.rand(1, 9, 3, 64, 96) * 2 - 1
    known = torch.ones(1, 9, 1, 64, 96)
    known[:, 3:5, :, 20:40, 20:40] = 0
    condition = Condition(frames * known, known, frames[:, None, :, :, :, :][:, :0].transpose(1, 1))
    z = model.encode(frames)
    assert z.shape == (1, 3, 4, 8, 12) and model.decode(z).shape == frames.shape
    levels = model.token_levels(known)
    assert levels.shape == (1, 3, 4, 6) and levels[0, 1].min() < 1 and levels[0, 0].min() == 1
    uniform = torch.full((1, 3, 4, 6), 0.5)
    assert torch.isfinite(model.denoise(z.float(), uniform, condition)).all()
    assert torch.equal(model.denoise(z.float(), uniform * 0, condition), z.float())
    with pytest.raises(ValueError, match="one noise level"):
        model.denoise(z.float(), uniform.cumsum(1), condition)
    with pytest.raises(ValueError, match="condition"):
        model.denoise(z.float(), uniform, None)


def test_transformer_alone_and_in_shards(
    checkpoint: Path, tmp_path: Path, clip: PartialVideo
) -> None:
    """As CogNVS and users' checkpoints of a sequence are: config, index, shards, nothing else."""
    alone = save_cogvideox_transformer(tmp_path / "checkpoint-200_transformer", "20KB")
    assert len(list(alone.glob("*.safetensors"))) > 1
    options = FoundationConfig(base=str(checkpoint), model_device="cpu")
    theirs = load_cogvideox(str(alone), options)
    whole = load_cogvideox(str(checkpoint), CPU)
    for (name, a), b in zip(theirs.transformer.named_parameters(), whole.transformer.parameters()):
        assert torch.equal(a, b), name


def test_a_training_state_is_explained(tmp_path: Path) -> None:
    (tmp_path / "zero_to_fp32.py").write_text("")
    with pytest.raises(RecamError, match="zero_to_fp32"):
        load_cogvideox(str(tmp_path), CPU)


def test_parts_that_are_missing_or_do_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    options = FoundationConfig(base=str(checkpoint), model_device="cpu")
    alone = save_cogvideox_transformer(tmp_path / "a")
    file = next(alone.glob("*.safetensors"))
    tensors = load_file(file)
    tensors.pop("transformer_blocks.1.ff.net.2.bias")
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(RecamError, match="1 missing parameters, such as transformer_blocks"):
        load_cogvideox(str(alone), options)
    text_to_video = save_cogvideox_transformer(tmp_path / "b", in_channels=4)
    with pytest.raises(RecamError, match="text-to-video"):
        load_cogvideox(str(text_to_video), options)
    with pytest.raises(RecamError, match="no such folder"):
        load_cogvideox(str(tmp_path / "nowhere"), options)
    config = json.loads((alone / "config.json").read_text())
    (alone / "config.json").write_text(json.dumps({**config, "_class_name": "UNet2DModel"}))
    with pytest.raises(RecamError, match="holds a UNet2DModel"):
        load_cogvideox(str(alone), options)


def test_weights_at_eight_bits(checkpoint: Path, model: CogVideoX, clip: PartialVideo) -> None:
    options = FoundationConfig(placement="fp8", model_device="cpu")
    small = load_cogvideox(str(checkpoint), options)
    linear = small.transformer.transformer_blocks[0].attn1.to_q
    assert linear.weight.dtype == torch.float8_e4m3fn
    shown, _ = to_model(clip.frames, clip.known, fit_fixed(90, 150, (64, 96)), 9)
    a, b = (sample(m, shown[None], 1, seed=0) for m in (small, model))
    assert not torch.equal(a, b) and float((a - b).std()) < 0.5 * float(b.std())


REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference"


def _published_names_and_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = diffusers.CogVideoXTransformer3DModel.from_config(config)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _expected_shape(name: str) -> tuple[int, ...]:
    """Of a CogVideoX-5B parameter, from its name: width 3072, 48 heads of 64, time width 512."""
    kind, part = name.rsplit(".", 1)
    kind = kind.split(".", 2)[-1] if kind.startswith("transformer_blocks") else kind
    if name == "patch_embed.pos_embedding":
        return (1, 226 + 13 * 30 * 45, 3072)
    out, into = {
        "patch_embed.proj": (3072, 32 * 2 * 2), "patch_embed.text_proj": (3072, 4096),
        "time_embedding.linear_1": (512, 3072), "time_embedding.linear_2": (512, 512),
        "norm_final": (3072, 0), "norm_out.linear": (2 * 3072, 512), "norm_out.norm": (3072, 0),
        "proj_out": (16 * 2 * 2, 3072), "attn1.norm_q": (64, 0), "attn1.norm_k": (64, 0),
        "attn1.to_q": (3072, 3072), "attn1.to_k": (3072, 3072), "attn1.to_v": (3072, 3072),
        "attn1.to_out.0": (3072, 3072), "ff.net.0.proj": (4 * 3072, 3072),
        "ff.net.2": (3072, 4 * 3072), "norm1.linear": (6 * 3072, 512), "norm1.norm": (3072, 0),
        "norm2.linear": (6 * 3072, 512), "norm2.norm": (3072, 0),
    }[kind]  # fmt: skip
    return (out, into) if part == "weight" and into else (out,)


def test_published_config_has_the_published_parameters() -> None:
    shapes = _published_names_and_shapes(COGNVS)
    assert len(shapes) == 1025
    for name, shape in shapes.items():
        flat = (shape[0], int(np.prod(shape[1:]))) if name == "patch_embed.proj.weight" else shape
        assert flat == _expected_shape(name), name
    assert sum(int(np.prod(s)) for s in shapes.values()) == pytest.approx(5.62e9, rel=0.01)


def test_names_are_those_of_the_published_checkpoint() -> None:
    if not REFERENCE.is_dir():
        pytest.skip("the published checkpoint's names in ../shared/reference are not here")
    config = json.loads((REFERENCE / "cognvs_transformer_config.json").read_text())
    assert {name: config[name] for name in COGNVS} == COGNVS
    names = (REFERENCE / "cognvs_parameter_names.txt").read_text().split()
    shapes = _published_names_and_shapes(config)
    assert set(shapes) == set(names)
    assert shapes == _published_names_and_shapes(COGNVS)


def test_doctor_predicts_before_loading(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--model", "cogvideox", "--model-device", "cpu"])
    said = capsys.readouterr().out
    assert "5.57 billion parameters, 17776 tokens" in said and "50 passes of 0.33 PFLOP" in said
    assert all(placement in said for placement in ("resident", "swap", "fp8", "stream"))


NEED = Need(linear=9.0, others=2.1, transformer_work=1.5, vae=0.4, vae_work=4.5, block=0.26)


@pytest.mark.parametrize(
    "free, expected", [(80, "resident"), (14, "swap"), (9, "fp8"), (6.7, "int4"), (6, "stream")]
)
def test_placement_follows_the_memory(
    free: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = NEED
    monkeypatch.setattr(placement, "find_spec", lambda name: True)
    assert choose_placement(need, free, "auto", on_cpu=False) == expected
    assert choose_placement(need, free, "resident", on_cpu=False) == "resident"
    monkeypatch.setattr(placement, "find_spec", lambda name: None)  # no bitsandbytes here
    expected = "stream" if expected == "int4" else expected
    assert choose_placement(need, free, "auto", on_cpu=False) == expected


def test_too_little_memory_says_what_would_fit() -> None:
    with pytest.raises(RecamError, match=r"about 4.9 GB even with .* stream .*--model masked"):
        choose_placement(NEED, 3.0, "auto", on_cpu=False)
    with pytest.raises(RecamError, match="there is none here"):
        choose_placement(NEED, 80, "stream", on_cpu=True)


def test_command_line(
    checkpoint: Path, clip: PartialVideo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(video_from_frames(clip.frames), tmp_path / "video")
    masks = (clip.known * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()
    write_video(video_from_frames(masks), tmp_path / "mask")
    argv = ["complete", f"{tmp_path}/video", "--known", f"{tmp_path}/mask", "-o", f"{tmp_path}/out"]
    argv += ["--model", "cogvideox", "--sampling-steps", "1", "--quiet"]
    with pytest.raises(SystemExit):
        main(argv)
    assert "needs --weights" in capsys.readouterr().err
    main([*argv, "--weights", str(checkpoint), "--model-device", "cpu", "--adapt-minutes", "0"])
    filled = read_video(tmp_path / "out").frames
    known = (clip.known == 1)[:, None].expand_as(filled)
    assert torch.equal(filled[known], clip.frames[known])


def test_reshoot_of_more_frames_than_the_model_takes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, _ = synthetic_clip(3, 14, 64, 96, "orbit")
    save_scene(scene, tmp_path / "scene")
    main([
        "reshoot", str(tmp_path / "scene"), "--path", "truck", "--distance", "0.2", "--model",
        "cogvideox", "--weights", str(checkpoint), "--sampling-steps", "1", "--overlap", "3",
        "--model-device", "cpu", "--adapt-minutes", "0", "-o", str(tmp_path / "out"), "--quiet",
    ])  # fmt: skip
    assert len(read_video(tmp_path / "out" / "result.mp4")) == 14
    assert f"model: {checkpoint}, not adapted" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "config.json").read_text())
    assert record["config"]["complete"]["model"] == "cogvideox"


def test_a_path_of_one_clip_is_one_window(
    model: CogVideoX, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []
    original = CogVideoX.sample

    def counted(self: CogVideoX, shown: Tensor, *args: object) -> Tensor:
        lengths.append(shown.shape[1])
        return original(self, shown, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(CogVideoX, "sample", counted)
    completing = CompleteConfig("cogvideox", str(checkpoint), CPU, sampling_steps=1, overlap=3)
    for frames, windows in ((9, 1), (13, 3)):
        scene, _ = synthetic_clip(3, frames, 64, 96, "orbit")
        lengths.clear()
        completer = FoundationCompleter(model, resolve_config(completing))
        options = ReshootConfig(complete=completing)
        result = reshoot_task.reshoot(scene, options, completer=completer)
        assert len(result.video) == frames and lengths == [9] * windows


def test_vae_in_tiles_at_the_published_size(model: CogVideoX) -> None:
    """480×720 goes in four overlapping tiles and comes out whole."""
    frames = torch.rand(1, 1, 3, 480, 720) * 2 - 1
    z = model.encode(frames)
    assert model.vae.use_tiling and z.shape == (1, 1, 4, 60, 90)
    assert model.decode(z).shape == frames.shape


def test_a_transformer_that_streams_is_not_moved_as_a_whole(checkpoint: Path) -> None:
    transformer = load_cogvideox(str(checkpoint), CPU).transformer
    assert not _streams(transformer)
    transformer.enable_group_offload(
        onload_device=torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1
    )
    assert _streams(transformer)

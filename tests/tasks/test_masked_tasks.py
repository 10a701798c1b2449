"""The masked model in whole runs: weights found or asked for, adapted, kept for the next path."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from command_line import fails
from recam.apps import doctor
from recam.apps.cli import main
from recam.completers import complete
from recam.completion import weights
from recam.completion.flow_propagation import propagate
from recam.completion.transformer import VideoTransformer
from recam.configs import CompleteConfig, ModelConfig
from recam.media import read_video, write_video
from recam.reconstruct import save_scene
from recam.synthetic import synthetic_clip
from recam.tasks.fill import adapted_completer
from recam.training.adapt.examples import MAX_FRAMES, encode_hidden, frames_to_learn
from recam.training.validation import layered_pairs
from recam.types import PartialVideo, RecamError, video_from_frames

TINY = ModelConfig(patch=8, hidden=32, heads=2, blocks=3, stem=8, fills=("propagate",))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of an untrained model and the scene of a clip."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    weights.save_model(VideoTransformer(TINY), folder / "tiny.safetensors", steps="0")
    scene, _ = synthetic_clip(3, 8, 64, 96, "orbit")
    save_scene(scene, folder / "scene")
    return folder


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))


def test_reshoot_adapts_once_and_reuses_the_adapter(files: Path, capsys) -> None:
    options = [
        str(files / "scene"), "--model", "masked", "--weights", str(files / "tiny.safetensors"),
        "--adapt-minutes", "0.1", "--path", "truck", "--quiet",
    ]  # fmt: skip
    main(["reshoot", *options, "--distance", "0.1", "-o", "a"])
    first = capsys.readouterr().err
    assert "model: adapt" in first and "(found in" not in first
    kept = list(Path("cache/adapters").glob("*/adapter.safetensors"))
    assert len(kept) == 1
    record = json.loads(Path("a/config.json").read_text())
    assert record["weights_sha256"] == weights.weights_sha256(files / "tiny.safetensors")
    assert record["adaptation"] in first
    seconds = json.loads(Path("a/timings.json").read_text())["seconds"]["adapt"]
    assert len(read_video(Path("a/result.mp4"))) == 8
    main(["reshoot", *options, "--distance", "-0.1", "-o", "b"])  # another path of the same scene
    assert f"(found in {kept[0].parent.resolve()})" in capsys.readouterr().err
    assert json.loads(Path("b/timings.json").read_text())["seconds"]["adapt"] < seconds
    main(["reshoot", *options, "--adapt-minutes", "0", "-o", "c"])
    assert "not adapted" in capsys.readouterr().err
    assert len(list(Path("cache/adapters").iterdir())) == 1


def test_complete_adapts_to_the_known_pixels(files: Path, capsys) -> None:
    pair = layered_pairs((1, 8, 48, 64), 3)[0]
    write_video(video_from_frames(pair.partial.frames), Path("input"))
    mask = (pair.partial.known * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()
    write_video(video_from_frames(mask), Path("mask"))
    options = [
        "input", "--known", "mask", "--model", "masked", "--weights",
        str(files / "tiny.safetensors"), "--adapt-minutes", "0.1", "--quiet",
    ]  # fmt: skip
    main(["complete", *options, "-o", "a"])
    assert "(found in" not in capsys.readouterr().err
    result = read_video(Path("a")).frames
    known = (pair.partial.known == 1)[:, None].expand_as(result)
    assert torch.equal(result[known], pair.partial.frames[known])
    main(["complete", *options, "-o", "b"])
    assert "found in" in capsys.readouterr().err
    assert torch.equal(read_video(Path("b")).frames, result)


def test_missing_weights_end_in_a_line_before_any_work(files: Path) -> None:
    assert not weights.SHIPPED.exists() or weights.find_weights(None) == weights.SHIPPED
    line = fails(
        "reshoot", str(files / "scene"), "--model", "masked", "--weights", "none.safetensors",
        "-o", "a",
    )  # fmt: skip
    assert line == "recam: none.safetensors: no such file" and not Path("a").exists()


def test_no_weights_in_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "masked.safetensors")
    with pytest.raises(RecamError, match="--weights FILE"):
        weights.find_weights(None)
    assert "no weights" in doctor.report()["weights"][0]
    torch.manual_seed(0)
    weights.save_model(VideoTransformer(TINY), weights.SHIPPED, steps="12")
    assert weights.find_weights(None) == weights.SHIPPED
    line = doctor.report()["weights"][0]
    assert str(weights.SHIPPED) in line and "12 steps" in line
    weights.SHIPPED.write_bytes(b"broken")
    assert "not a whole safetensors file" in doctor.report()["weights"][0]


def test_complete_loads_the_weights_that_its_config_names(files: Path) -> None:
    partial = layered_pairs((1, 4, 40, 56), 1)[0].partial
    config = CompleteConfig(model="masked", weights=str(files / "tiny.safetensors"), steady=0)
    difference = complete(partial, config).frames.int() - propagate(partial).int()
    assert int(difference.abs().max()) <= 4  # untrained, in bf16: its fill
    with pytest.raises(RecamError, match="no such file"):
        complete(partial, replace(config, weights="none"))


def test_too_few_frames_are_not_adapted_to(files: Path) -> None:
    partial = layered_pairs((1, 2, 40, 56), 1)[0].partial
    config = CompleteConfig("masked", str(files / "tiny.safetensors"), adapt_minutes=1)
    opened = adapted_completer(partial, ("two frames",), config)
    assert "too few" in opened.note
    assert adapted_completer(partial, (), CompleteConfig("propagate")).note == ""


def test_all_examples_show_the_same_frames() -> None:
    assert frames_to_learn(5).tolist() == [0, 1, 2, 3, 4]
    for length in (32, 33, 63, 64, 95, 96, 1000):
        index = frames_to_learn(length)
        assert len(index) == MAX_FRAMES
        assert int(index[0]) >= 0 and int(index[-1]) < length
        assert abs(int(index[0]) - (length - 1 - int(index[-1]))) <= 1
        assert index.diff().unique().tolist() == [min(length // MAX_FRAMES, 3)]


def test_large_videos_are_shrunk_before_they_are_filled() -> None:
    partial = layered_pairs((1, 5, 64, 96), 4)[0].partial
    examples = encode_hidden(partial, 3, ("pull-push",), 48, 0)
    assert all(e.target.shape == (5, 3, 32, 48) for e in examples)
    late = encode_hidden(partial, 8, ("pull-push",), 48, 0, seconds=0)
    assert len(late) == 3
    nothing = PartialVideo(partial.frames, torch.zeros_like(partial.known))
    with pytest.raises(RecamError, match="nothing to adapt to"):
        encode_hidden(nothing, 3, ("pull-push",), 48, 0)

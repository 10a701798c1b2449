"""recam doctor on a downloaded checkpoint: damage is named before it costs an hour."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

from foundation_checkpoints import save_cogvideox, save_ltx, save_wan
from recam.apps.cli import main
from recam.completion.foundation.check import check_checkpoint
from recam.configs import CompleteConfig, FoundationConfig


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("check")
    return {
        "cogvideox": save_cogvideox(folder / "c"), "wan22": save_wan(folder / "w", "wan22"),
        "vace": save_wan(folder / "v", "vace"), "ltx": save_ltx(folder / "l", True),
    }  # fmt: skip


def config_of(name: str, folder: Path) -> CompleteConfig:
    return CompleteConfig(name, str(folder), FoundationConfig(model_device="cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cogvideox", "wan22", "vace", "ltx"])
def test_a_whole_checkpoint(name: str, folders: dict[str, Path]) -> None:
    lines, wrong = check_checkpoint(config_of(name, folders[name]))
    assert wrong == 0 and all(line.startswith("ok") for line in lines)
    assert [line.split()[1].rstrip(":") for line in lines] == [
        "transformer", "vae", "text", "tokenizer", "scheduler",
    ]  # fmt: skip
    assert "comes back with" in lines[1] and "dB" in lines[1]


def _cut_off(folder: Path) -> None:
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _other_shape(folder: Path) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cross_attention_dim": 48}))


def _shard_missing(folder: Path) -> None:
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    path = folder / "text_encoder" / "model.safetensors.index.json"
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    "damage, said",
    [
        (_cut_off, "WRONG  transformer: .*damaged or not whole"),
        (_other_shape, "WRONG  transformer: .*but its config says"),
        (_shard_missing, "WRONG  text encoder: .*2 files missing, such as part-1"),
        (lambda f: (f / "tokenizer" / "spiece.model").write_bytes(b"x"), "WRONG  tokenizer: "),
        (lambda f: shutil.rmtree(f / "tokenizer"), "WRONG  tokenizer: .*has no tokenizer"),
        (lambda f: shutil.rmtree(f / "vae"), "WRONG  .*its VAE and text encoder are missing"),
    ],
)
def test_damage_is_named(  # type: ignore[no-untyped-def]
    damage, said: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "ltx"
    shutil.copytree(folders["ltx"], folder)
    damage(folder)
    lines, wrong = check_checkpoint(config_of("ltx", folder))
    named = [line for line in lines if line.startswith("WRONG")]
    assert wrong == len(named) == 1 and re.search(said, named[0]) and "\n" not in named[0]


def test_the_command_ends_badly(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ltx"
    shutil.copytree(folders["ltx"], folder)
    _cut_off(folder)
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--model", "ltx", "--weights", str(folder), "--model-device", "cpu"])
    out, said = capsys.readouterr()
    assert stop.value.code == 1 and "parts that are wrong: 1" in said
    assert "WRONG  transformer" in out and "ok     vae" in out and "PFLOP counted" in out

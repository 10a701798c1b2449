"""``recam eval`` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from command_line import fails
from recam.apps.cli import main
from recam.apps.eval_cli import EVALUATIONS, Caliscope, CogNVS, DyCheck, FromFolder, Synth4D, parse
from recam.evaluation.datasets import Dataset
from recam.media import write_video
from recam.types import video_from_frames


def test_every_data_set_has_a_command() -> None:
    commands = {n for n, c in EVALUATIONS.items() if issubclass(c, FromFolder)}
    assert commands == set(Dataset.__args__)  # type: ignore[attr-defined]
    for name in commands:
        options = parse([name, "--data", "somewhere", "--limit", "3"])
        assert isinstance(options, FromFolder) and options.data == Path("somewhere")


def test_options() -> None:
    options = parse(
        ["synth4d", "--method", "propagate", "none", "--depth", "estimated", "--views", "far"]
    )
    assert isinstance(options, Synth4D)
    assert options.method == ("propagate", "none") and options.views == ("far",)
    assert (options.cameras, options.depth) == ("true", "estimated")
    webcams = parse(["caliscope", "--data", "x"])
    assert isinstance(webcams, Caliscope) and webcams.fit_color and webcams.depth == "estimated"
    phones = parse(["dycheck", "--data", "x", "--protocol", "cognvs"])
    assert isinstance(phones, DyCheck) and phones.protocol == "cognvs"
    released = parse(["cognvs", "--data", "x", "--dataset", "dycheck", "--method", "cognvs", "gcd"])
    assert isinstance(released, CogNVS) and released.method == ("cognvs", "gcd")


def test_single_videos_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    wide = F.interpolate(torch.rand(1, 3, 16, 40, generator=generator), (64, 160), mode="bicubic")
    wide = (wide[0].clamp(0, 1) * 255).to(torch.uint8)
    frames = torch.stack([wide[..., 3 * i : 3 * i + 96] for i in range(6)])
    (tmp_path / "films").mkdir()
    write_video(video_from_frames(frames), tmp_path / "films" / "pan.mp4")
    main(
        [
            "eval",
            "folder",
            "--data",
            "films",
            "--method",
            "propagate",
            "none",
            "--jobs",
            "1",
            "--quiet",
        ]
    )
    out = Path(capsys.readouterr().out.splitlines()[-1])
    assert out == Path("recam-eval/folder/table.md")
    text = out.read_text()
    assert "| propagate-estimated-cameras-depth | all | 2 |" in text
    assert "source cameras estimated, source depth estimated" in text
    records = json.loads((out.parent / "results.json").read_text())["records"]
    assert {r["view"] for r in records["none-estimated-cameras-depth"]} == {"near", "far"}
    assert len((out.parent / "scores.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("eval dycheck --data nowhere", "there is no folder nowhere"),
        ("eval folder --data . --predictions theirs", "holds no videos"),
        ("eval cognvs --data . --dataset dycheck --method a", "holds no true videos"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in fails(*command.split())


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from recam.apps.eval_cli import parse;"
        "parse(['synth4d', '--limit', '2']);"
        "heavy = {'torch', 'numpy', 'cv2', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_by_their_former_names_still_work(capsys: pytest.CaptureFixture[str]) -> None:
    old = ["--sampling.steps", "4", "--sampling.max-side=256", "--sampling.threshold", "0.4"]
    command = parse(["synth4d", *old])
    assert isinstance(command, Synth4D)
    assert command.complete.sampling_steps == 4 and command.complete.model_side == 256
    assert command.complete.threshold == 0.4
    assert "--sampling.steps is now called --complete.sampling-steps" in capsys.readouterr().err

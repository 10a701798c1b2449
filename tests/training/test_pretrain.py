"""Pretraining: what it writes, and that a killed run ends as an undisturbed one."""

import csv
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recam.apps import learning
from recam.completion.weights import join_parts, load_model, read_metadata, split_file
from recam.configs import SEARCHED, ModelConfig, PretrainConfig
from recam.training import optim, scenes
from recam.training.curves import Curve, draw_curves
from recam.training.pretrain import pretrain
from recam.training.self_check import self_check
from recam.training.validation import hold_out, layered_pairs, model_psnr
from recam.types import RecamError

TINY = PretrainConfig(
    model=ModelConfig(
        patch=8, hidden=32, heads=2, blocks=3, stem=8, fills=("pull-push", "past", "future")
    ),
    steps=6,
    batch=2,
    num_frames=3,
    height=16,
    width=24,
    warmup=2,
    device="cpu",
    checkpoint_every=2,
    evaluate_every=3,
    num_heldout=1,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))


def test_it_writes_weights_curves_and_figures(tmp_path: Path) -> None:
    said: list[str] = []
    path = pretrain(replace(TINY, out=str(tmp_path)), say=said.append)
    assert read_metadata(path)["steps"] == "6"
    load_model(path)
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(i) for i in range(1, 7)]
    assert all(float(row["loss"]) > 0 and float(row["samples_per_s"]) > 0 for row in rows)
    assert [bool(row["hole_psnr"]) for row in rows] == [False, False, True] * 2
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert any("best classical" in line for line in said)
    assert any(line.startswith("share of peak") and line.endswith("%") for line in said)


def test_resuming_gives_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    whole = pretrain(replace(TINY, out=str(tmp_path / "a")))

    class Stopped(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what == "training" and done == 5:  # a step after the last checkpoint
            raise Stopped

    config = replace(TINY, out=str(tmp_path / "b"))
    with pytest.raises(Stopped):
        pretrain(config, progress=stop)
    said: list[str] = []
    resumed = pretrain(config, say=said.append)
    assert any("from step 4" in line for line in said)
    assert resumed.read_bytes() == whole.read_bytes()
    states = [optim.load_checkpoint(p.parent / "checkpoint.pt") for p in (whole, resumed)]
    for a, b in zip(states[0]["model"].values(), states[1]["model"].values(), strict=True):
        assert torch.equal(a, b)
    again = pretrain(config, say=said.append)
    assert "already at step 6" in said[-1] and again.read_bytes() == whole.read_bytes()


def test_what_cannot_be_trained_ends_in_one_line(tmp_path: Path) -> None:
    weights = pretrain(replace(TINY, out=str(tmp_path / "a")))
    with pytest.raises(RecamError, match="6 steps already"):
        pretrain(replace(TINY, out=str(tmp_path / "b"), start=str(weights)))
    with pytest.raises(RecamError, match="whole patches of"):
        pretrain(replace(TINY, out=str(tmp_path / "c"), height=TINY.height + 1))
    assert not (tmp_path / "c").exists()


def test_a_killed_process_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        code = (
            "import sys, torch; torch.set_num_threads(1); sys.path.insert(0, sys.argv[2]);"
            "from dataclasses import replace; from test_pretrain import TINY;"
            "from recam.training.pretrain import pretrain;"
            "pretrain(replace(TINY, out=sys.argv[1], steps=30, num_heldout=0))"
        )
        return [sys.executable, "-c", code, str(out), str(Path(__file__).parent)]

    subprocess.run(command(tmp_path / "a"), check=True)
    process = subprocess.Popen(command(tmp_path / "b"))
    checkpoint = tmp_path / "b" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert checkpoint.exists()
    subprocess.run(command(tmp_path / "b"), check=True)
    results = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert results[0] == results[1]


def test_a_run_may_begin_from_the_parts_of_another_s_weights(tmp_path: Path) -> None:
    config = replace(TINY, out=str(tmp_path / "a"), steps=2, num_heldout=0)
    whole = pretrain(config)
    size = whole.stat().st_size
    assert len(split_file(whole, size // 3 + 1)) == 3
    for part in split_file(whole, size // 2 + 1):  # takes the place of the three
        (tmp_path / "parts").mkdir(exist_ok=True)
        part.rename(tmp_path / "parts" / part.name)
    said: list[str] = []
    further = replace(config, out=str(tmp_path / "b"), start=str(tmp_path / "parts"), steps=5)
    assert read_metadata(pretrain(further, say=said.append))["steps"] == "5"
    assert any("from step 2" in line for line in said)
    assert "already" in (pretrain(further, say=said.append), said[-1])[1]
    with pytest.raises(RecamError, match="other options"):
        pretrain(replace(further, out=str(tmp_path / "c"), model=replace(TINY.model, blocks=1)))
    part = next((tmp_path / "parts").glob("*.2of2"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(RecamError, match="damaged"):
        join_parts(tmp_path / "parts")
    part.unlink()
    with pytest.raises(RecamError, match="missing"):
        join_parts(tmp_path / "parts")


def test_a_time_budget_ends_a_run_with_everything_written(tmp_path: Path) -> None:
    config = replace(TINY, out=str(tmp_path), minutes=0.0, part_mb=1, steps=100)
    said: list[str] = []
    path = pretrain(config, say=said.append)
    assert read_metadata(path)["steps"] == "1"
    assert "hole_psnr" in optim.load_checkpoint(tmp_path / "checkpoint.pt")["rows"][-1]
    assert len(list(tmp_path.glob("weights.safetensors.*.1of1"))) == 1
    summary = (tmp_path / "summary.txt").read_text()
    assert "1 of 100" in summary and "share of peak" in summary
    assert read_metadata(pretrain(replace(config, steps=2)))["steps"] == "2"
    hurried = replace(config, out=str(tmp_path / "b"), steps=10_000, minutes=0.1, finish=True)
    pretrain(hurried)
    rates = [r["lr"] for r in optim.load_checkpoint(tmp_path / "b" / "checkpoint.pt")["rows"]]
    assert max(rates) > 2 * rates[-1] and len(rates) < 5000


def test_pairs_of_scenes_are_made_once_and_some_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "SIZE", (5, 32, 48))
    monkeypatch.setattr(scenes, "KEPT_FRAMES", 4)
    config = replace(TINY, out=str(tmp_path / "a"), steps=1, num_scenes=1, workers=1)
    fills: tuple = ("propagate", "pull-push")
    config = replace(config, model=replace(TINY.model, fills=fills), synthetic_share=0.0)
    path = learning.pretrain(config, quiet=True)
    assert {"hole_psnr", "hole_psnr_scenes"} <= set(read_metadata(path))
    files = list((tmp_path / "cache" / "pairs").iterdir())
    assert len(files) == 2
    monkeypatch.setattr(scenes, "scene_pairs", None)  # the next run finds them
    again = learning.pretrain(replace(config, out=str(tmp_path / "b")), quiet=True)
    assert again.read_bytes() == path.read_bytes()
    for pair in next(scenes.many_scene_pairs(1, config.seed, 1)):
        assert pair.target.frames.shape == pair.partial.frames.shape == (4, 3, 32, 48)
        assert pair.filled.shape == (len(SEARCHED), 4, 4, 32, 48)
        known = (pair.partial.known == 1)[:, None].expand(4, 3, 32, 48)
        assert bool(known.any()) and not bool(known.all())
        for fill in pair.filled[:, :, :3]:
            assert torch.equal(fill[known], pair.partial.frames[known])


def test_the_device_checks_itself() -> None:
    assert "0 from the CPU" in self_check(torch.device("cpu"))


def test_other_options_are_another_run(tmp_path: Path) -> None:
    config = replace(TINY, out=str(tmp_path), steps=2, num_heldout=0)
    pretrain(config)
    with pytest.raises(RecamError, match=r"other options \(lr\)"):
        pretrain(replace(config, lr=1.0, steps=4))
    pretrain(replace(config, steps=3))


def test_folder_of_videos(tmp_path: Path) -> None:
    from recam.media import write_video
    from recam.types import video_from_frames

    config = replace(TINY, out=str(tmp_path / "run"), videos=str(tmp_path / "film"), steps=1)
    (tmp_path / "film").mkdir()
    with pytest.raises(RecamError, match="no video"):
        pretrain(config)
    frames = torch.randint(0, 255, (6, 3, 32, 48), dtype=torch.uint8)
    write_video(video_from_frames(frames), tmp_path / "film" / "a.mp4")
    assert pretrain(replace(config, synthetic_share=0.0)).exists()


def test_several_devices_need_their_launcher(tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="torchrun --nproc-per-node 2"):
        pretrain(replace(TINY, out=str(tmp_path), devices=2))


def test_a_gpu_that_is_not_there_is_not_replaced() -> None:
    assert optim.pick_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert optim.pick_device("auto").type == "cpu"
        with pytest.raises(ValueError, match="sees no GPU"):
            optim.pick_device("cuda")


def test_the_untrained_model_equals_its_fill_on_held_out_clips() -> None:
    from recam.completion.transformer import VideoTransformer

    pairs = layered_pairs((2, 4, 24, 32))
    classical = hold_out(pairs).classical
    assert set(classical) == {
        "hold nearest", "Telea", "Navier-Stokes", "pull-push", "propagate",
    }  # fmt: skip
    model = VideoTransformer(replace(TINY.model, fills=("pull-push",))).eval()
    assert model_psnr(model, pairs) == pytest.approx(classical["pull-push"], abs=0.05)


def test_learning_rate_rises_then_falls() -> None:
    rates = [optim.learning_rate(i, 100, 1.0, 10) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_a_step_that_is_not_finite_is_skipped() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = optim.new_optimizer([weight], 0.1, 0.0)
    weight.grad = torch.full((2, 2), float("nan"))
    optim.update(optimizer, [weight], 0.1)
    assert torch.equal(weight, torch.ones(2, 2))


def test_curves_with_gaps_and_constants(tmp_path: Path) -> None:
    curves = [Curve("a", [1, 2, 3], [1.0, float("nan"), 2.0]), Curve("b", [0], [1.5])]
    draw_curves(tmp_path / "c.png", {"both": curves, "none": [Curve("x", [], [])]})
    assert (tmp_path / "c.png").stat().st_size > 1000

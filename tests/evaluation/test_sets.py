"""Metrics of whole sets of results (FID, KID, FVD) from the command line to the table, with small
networks in place of the large ones, so that every number can be worked out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from command_line import fails
from recam.apps.cli import main
from recam.evaluation import cognvs, perceptual
from recam.evaluation.benchmark import run_method
from recam.evaluation.configs import Perceptual, ScoreConfig
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.evaluation.perceptual import clip_features, frechet_distance, inception_features, kid
from recam.evaluation.scores import gathered_set_scores
from recam.media import write_image, write_video
from recam.types import CameraPath, Cameras, Video, video_from_frames

T, H, W = 16, 8, 12
NAMES: tuple[Perceptual, ...] = ("fid", "kid", "fvd")


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Means of quarters of the picture for Inception, of the clip's channels for I3D."""

    def inception(picture: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(picture, 2).flatten(1)

    def i3d(clip: Tensor) -> Tensor:
        return torch.cat([clip.mean((1, 2, 3)), clip.std((1, 2, 3))], -1)

    monkeypatch.setattr(perceptual, "_inception_model", lambda _: (inception, lambda x: x / 255))
    monkeypatch.setattr(
        perceptual, "_i3d_model", lambda _: (i3d, lambda x: torch.from_numpy(x).float() / 255)
    )
    yield


def some_frames(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (T, 3, H, W), dtype=torch.uint8, generator=generator)


def sample_of(name: str, truth: Tensor) -> EvaluationSample:
    k = torch.tensor([[9.0, 0, W / 2], [0, 9, H / 2], [0, 0, 1]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64).expand(T, 4, 4).clone()
    cameras = Cameras(pose, k.expand(T, 3, 3).clone(), H, W)
    video = video_from_frames(truth)

    def read() -> Video:
        return video

    view = TargetView("far", CameraPath(cameras, torch.arange(T)), read)
    return EvaluationSample(name, read, cameras, (view,))


def features_of(frames: list[Tensor], kind: Any) -> Tensor:
    return torch.cat([kind(f) for f in frames])


def test_features_of_all_views_make_one_number(tmp_path: Path) -> None:
    truths = [some_frames(i) for i in range(3)]
    results = [(t.float() * 0.6 + 40).to(torch.uint8) for t in truths]
    for i, result in enumerate(results):
        for j, frame in enumerate(result):
            write_image(frame, tmp_path / "theirs" / f"s{i}" / "far" / f"{j:02d}.png")
    samples = [sample_of(f"s{i}", t) for i, t in enumerate(truths)]
    config = ScoreConfig(perceptual=NAMES)
    out = tmp_path / "out"
    every = run_method(samples, tmp_path / "theirs", "theirs", out, config)
    got = gathered_set_scores(out / "theirs", every, NAMES)
    a, b = (features_of(f, inception_features) for f in (results, truths))
    assert got["fid"] == pytest.approx(frechet_distance(a, b)) and got["fid"] > 0.01
    assert got["kid"] == pytest.approx(kid(a, b))
    a, b = (features_of(f, clip_features) for f in (results, truths))
    assert got["fvd"] == pytest.approx(frechet_distance(a, b))
    # A smaller run after it counts its own scenes only, though more features lie there.
    two = run_method(samples[:2], tmp_path / "theirs", "theirs", out, config)
    a, b = (features_of(f[:2], inception_features) for f in (results, truths))
    fewer = gathered_set_scores(out / "theirs", two, NAMES)["fid"]
    assert fewer == pytest.approx(frechet_distance(a, b)) and fewer != pytest.approx(got["fid"])
    assert gathered_set_scores(out / "theirs", two, ("lpips",)) == {}


def test_released_results_have_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cognvs, "SIZES", {"dycheck-360p": (48, 32)})
    monkeypatch.chdir(tmp_path)

    def flat(levels: list[int]) -> Video:
        grey = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None]
        return video_from_frames(grey.expand(-1, 3, 48, 32).contiguous())

    root = tmp_path / "dycheck"  # at 480 × 360 its truth lies in target_gt, not in target_gt_1x
    write_video(flat([60, 80, 100]), root / "target_gt" / "dycheck_apple_gt_cam1.mp4")
    write_video(flat([70, 90, 110]), root / "mine" / "dycheck_apple_mine_cam1.mp4")
    command = "eval cognvs --data . --dataset dycheck-360p --method mine --perceptual fid kid"
    main([*command.split(), "--quiet"])
    table = (tmp_path / "recam-eval" / "cognvs" / "dycheck-360p.md").read_text()
    head, _, row = table.strip().splitlines()[-3:]
    assert head == "| method | frames | PSNR ↑ | SSIM ↑ | FID ↓ | KID ↓ |"
    cells = dict(zip(head.split(" | "), row.split(" | ")))
    # Grey by 10 of 255 in all twelve features: 12 · (10/255)², and the same spread.
    assert float(cells["FID ↓"]) == pytest.approx(12 * (10 / 255) ** 2, abs=0.006)
    assert float(cells["PSNR ↑"]) == pytest.approx(28.1, abs=0.9)


@pytest.mark.parametrize("option", ["--limit 0", "--limit -2", "--jobs 0"])
def test_counts_below_one_are_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path))
    for command in ("synth4d", "synth4d-make", "ablations"):
        name, count = option.split()
        assert f"{name} {count}; expected 1 or more" in fails("eval", command, name, count)
    assert json.dumps([f.name for f in tmp_path.iterdir()]) == "[]"

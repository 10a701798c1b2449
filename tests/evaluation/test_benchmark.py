"""The harness, on results whose scores are known by hand, and on recam's own pipeline."""

import csv
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import pytest
import torch

from recam.completion.transformer import VideoTransformer
from recam.completion.weights import save_model
from recam.configs import CompleteConfig, Conditioning, FinetuneConfig, ModelConfig, RenderConfig
from recam.evaluation import benchmark, chamfer
from recam.evaluation.ablations import ablation_tables, run_ablations
from recam.evaluation.benchmark import run_method
from recam.evaluation.configs import MethodConfig, ScoreConfig, method_name
from recam.evaluation.datasets.caliscope import caliscope_samples, read_camera_array
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.evaluation.methods import (
    SourceScene,
    _scale_of_points,
    carried_path,
    open_source,
    training_pairs,
)
from recam.evaluation.metrics import psnr
from recam.evaluation.report import csv_text, markdown_table, write_report
from recam.geometry import se3, so3_exp, unproject
from recam.media import write_image, write_video
from recam.render import render
from recam.runtime.cache import listing_hash
from recam.synthetic import synthetic_clip, true_view
from recam.trajectories import relative_path
from recam.types import CameraPath, Cameras, RecamError, Scene, Video, video_from_frames

T, H, W = 5, 24, 40
TRUE = ScoreConfig()


def still_cameras(n: int = T, height: int = H, width: int = W) -> Cameras:
    pose = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    k = torch.tensor([[30.0, 0, width / 2], [0, 30, height / 2], [0, 0, 1]], dtype=torch.float64)
    return Cameras(pose, k.repeat(n, 1, 1), height, width)


def _video(frames: torch.Tensor) -> Video:
    return video_from_frames(frames)


def _same(value: torch.Tensor) -> torch.Tensor:
    return value


def sample_of(truth: torch.Tensor, seen: torch.Tensor | None = None) -> EvaluationSample:
    path = CameraPath(still_cameras(len(truth)), torch.arange(len(truth)))
    view = TargetView(
        "far", path, partial(_video, truth),
        read_seen=None if seen is None else partial(_same, seen),
    )  # fmt: skip
    cameras = still_cameras(len(truth))
    return EvaluationSample("place", partial(_video, truth), cameras, (view,), split="easy")


def score_pictures(tmp_path: Path, result: torch.Tensor, sample: EvaluationSample) -> dict:
    """The scores of a folder of PNG pictures."""
    for i, frame in enumerate(result):
        (tmp_path / "theirs" / "place" / "far").mkdir(parents=True, exist_ok=True)
        write_image(frame, tmp_path / "theirs" / "place" / "far" / f"{i:03d}.png")
    (record,) = run_method([sample], tmp_path / "theirs", "theirs", tmp_path / "out", TRUE)
    return record["scores"]


def ramp() -> torch.Tensor:
    """Two grey levels a pixel to the right."""
    return (2 * torch.arange(W, dtype=torch.uint8)).expand(T, 3, H, W).contiguous()


def test_the_truth_scores_perfect(tmp_path: Path) -> None:
    truth = torch.randint(0, 256, (T, 3, H, W), dtype=torch.uint8)
    scores = score_pictures(tmp_path, truth, sample_of(truth))
    assert scores["psnr"] == math.inf
    assert scores["ssim"] == pytest.approx(1, abs=1e-9)
    assert scores["flicker"] == 0


def test_shifted_by_a_pixel(tmp_path: Path) -> None:
    truth = ramp()
    shifted = torch.cat([truth[..., :1], truth[..., :-1]], -1)
    scores = score_pictures(tmp_path, shifted, sample_of(truth))
    mse = 2**2 * (W - 1) / W  # two levels in all columns but the first
    assert scores["psnr"] == pytest.approx(10 * math.log10(255**2 / mse))
    assert scores["flicker"] == 0


def test_frozen(tmp_path: Path) -> None:
    truth = (10 * torch.arange(T, dtype=torch.uint8))[:, None, None, None].expand(T, 3, H, W)
    scores = score_pictures(tmp_path, truth[:1].expand(T, 3, H, W), sample_of(truth.contiguous()))
    mse = sum((10 * i) ** 2 for i in range(T)) / T
    assert scores["psnr"] == pytest.approx(10 * math.log10(255**2 / mse))
    assert scores["flicker"] == pytest.approx(10)


def test_as_cognvs_reports_it(tmp_path: Path) -> None:
    truth = torch.full((T, 3, H, W), 100, dtype=torch.uint8)
    for i, frame in enumerate(
        truth + torch.arange(1, T + 1, dtype=torch.uint8)[:, None, None, None]
    ):
        write_image(frame, tmp_path / "theirs" / "place" / "far" / f"{i}.png")
    config = ScoreConfig(cognvs=True)
    (record,) = run_method([sample_of(truth)], tmp_path / "theirs", "a", tmp_path / "out", config)
    # Off by 1, 2, 3, 4, 5 levels: the mean of decibels is above the decibels of the mean.
    each = [20 * math.log10(255 / i) for i in range(1, T + 1)]
    assert record["scores"]["psnr_frames"] == pytest.approx(sum(each) / T)
    assert record["scores"]["psnr"] == pytest.approx(10 * math.log10(255**2 / 11))
    c1 = (0.01 * 255) ** 2
    flat = [(2 * 100 * b + c1) / (100**2 + b**2 + c1) for b in range(101, 101 + T)]
    assert record["scores"]["ssim_uniform"] == pytest.approx(sum(flat) / T)
    assert "PSNR by frame ↑ | SSIM 7×7 ↑" in markdown_table({"a": [record]})


def test_black_holes(tmp_path: Path) -> None:
    truth = torch.full((T, 3, H, W), 100, dtype=torch.uint8)
    seen = torch.full((T, H, W), 2, dtype=torch.uint8)
    seen[..., : W // 4], seen[..., : W // 8] = 1, 0
    black = truth * (seen == 2)[:, None]
    scores = score_pictures(tmp_path, black, sample_of(truth, seen))
    assert scores["psnr_holes"] == pytest.approx(20 * math.log10(255 / 100))
    assert scores["psnr_unseen"] == scores["psnr_holes"]
    assert scores["psnr_known"] == math.inf
    assert scores["psnr"] == pytest.approx(10 * math.log10(255**2 / (100**2 / 4)))
    assert scores["holes_fraction"] == pytest.approx(1 / 4)
    assert scores["unseen_fraction"] == pytest.approx(1 / 8)


def test_film_of_another_size_and_what_is_wrong_with_predictions(tmp_path: Path) -> None:
    sample = sample_of(ramp())
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with pytest.raises(RecamError, match=r"place/far\.mp4"):
        run_method([sample], theirs, "theirs", tmp_path / "out", TRUE)
    large = torch.nn.functional.interpolate(ramp().float(), scale_factor=2.0, mode="bilinear")
    write_video(_video(large.to(torch.uint8)), theirs / "place_far.mp4")
    (record,) = run_method([sample], theirs, "theirs", tmp_path / "out", TRUE)
    assert record["scores"]["psnr"] > 35
    assert any("resized from 80×48" in note for note in record["notes"])
    write_video(_video(large.to(torch.uint8)[:2]), theirs / "place_far.mp4")
    with pytest.raises(RecamError, match="2 frames; the true view has 5"):
        run_method([sample], theirs, "theirs", tmp_path / "out", TRUE)


def test_finished_scenes_are_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = ramp()
    before = score_pictures(tmp_path, truth, sample_of(truth))

    def never(*_: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(benchmark, "view_scores", never)
    (record,) = run_method(
        [sample_of(truth)], tmp_path / "theirs", "theirs", tmp_path / "out", TRUE
    )
    assert record["scores"] == before  # inf came back from the file as inf
    with pytest.raises(AssertionError, match="scored again"):  # other options, another score
        run_method(
            [sample_of(truth)], tmp_path / "theirs", "theirs", tmp_path / "out",
            ScoreConfig(num_frames=3),
        )  # fmt: skip


def test_reports_can_be_read_by_programs(tmp_path: Path) -> None:
    truth = ramp()
    score_pictures(tmp_path, truth, sample_of(truth))
    results = {
        "theirs": run_method(
            [sample_of(truth)], tmp_path / "theirs", "theirs", tmp_path / "out", TRUE
        )
    }
    text = write_report(tmp_path / "out", "title", results, {})
    assert "| theirs | all | 1 | ∞ |" in text

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    content = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=refuse)
    assert content["means"]["theirs"]["all"]["psnr"] == "inf"
    lines = csv_text(results).splitlines()
    assert len(lines) == 2 and len(lines[0].split(",")) == len(lines[1].split(","))


@pytest.fixture(scope="module")
def synthetic_sample() -> EvaluationSample:
    scene, world = synthetic_clip(3, 6, 48, 72, "orbit", "room")
    zero = torch.zeros(6, dtype=torch.float64)
    moved = relative_path(zero + 15, zero, zero, 3.0) @ scene.cameras.cam_from_world
    path = CameraPath(Cameras(moved, scene.cameras.intrinsics, 48, 72), torch.arange(6))
    truth = true_view(world, path, scene.video.times_s)
    view = TargetView(
        "far", path, partial(_same, Video(truth.frames, scene.video.times_s)),  # type: ignore[arg-type]
        read_dynamic=partial(_same, truth.dynamic),
    )  # fmt: skip
    return EvaluationSample(
        "room", partial(_same, scene.video), scene.cameras, (view,),  # type: ignore[arg-type]
        partial(_same, (scene.depth, scene.valid)), partial(_same, scene.dynamic), 1.0,  # type: ignore[arg-type]
    )  # fmt: skip


def test_methods_of_recam(tmp_path: Path, synthetic_sample: EvaluationSample) -> None:
    results = {
        m: run_method([synthetic_sample], MethodConfig(CompleteConfig(m)), m, tmp_path, TRUE)  # type: ignore[arg-type]
        for m in ("none", "propagate")
    }
    none, filled = (results[m][0]["scores"] for m in ("none", "propagate"))
    assert filled["psnr_holes"] > none["psnr_holes"] + 3
    assert filled["psnr_known"] > 20
    assert "| propagate | all | 1 |" in markdown_table(results)
    assert (tmp_path / "propagate" / "room" / "far.png").is_file()


def test_estimated_depth_is_asked_for_and_said(
    tmp_path: Path, synthetic_sample: EvaluationSample
) -> None:
    method = MethodConfig(CompleteConfig("none"), depth="estimated")
    (record,) = run_method([synthetic_sample], method, method_name(method), tmp_path, TRUE)
    assert any("depth estimated" in note for note in record["notes"])
    assert record["seconds"]["reconstruct"] > 0
    without = EvaluationSample("bare", synthetic_sample.read_video)
    with pytest.raises(RecamError, match="no true cameras; use --cameras estimated"):
        open_source(without, MethodConfig(), synthetic_sample.read_video())


def test_paths_are_carried_into_the_estimated_world(synthetic_sample: EvaluationSample) -> None:
    scene = open_source(synthetic_sample, MethodConfig(), synthetic_sample.read_video()).scene
    path, scale = synthetic_sample.views[0].path, 2.5
    # The same scene in a world that is turned, shifted and 2.5 times as large.
    turn = so3_exp(torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64))
    world = se3(turn, torch.tensor([1.0, 2, 3], dtype=torch.float64))

    def moved(cameras: Cameras) -> Cameras:
        pose = cameras.cam_from_world.clone()
        pose[:, :3, 3] *= scale
        return Cameras(pose @ torch.linalg.inv(world), cameras.intrinsics, 48, 72)

    other = SourceScene(
        type(scene)(
            scene.video, moved(scene.cameras), scene.depth * scale, scene.valid, scene.dynamic,
            scene.confidence,
        ), scale, {}, (),
    )  # fmt: skip
    carried = carried_path(path, synthetic_sample, other).cameras
    expected = moved(path.cameras)
    torch.testing.assert_close(carried.cam_from_world, expected.cam_from_world)
    torch.testing.assert_close(carried.intrinsics, expected.intrinsics)


def test_scale_from_true_points(synthetic_sample: EvaluationSample) -> None:
    scene = open_source(synthetic_sample, MethodConfig(), synthetic_sample.read_video()).scene
    world = unproject(scene.depth.double(), scene.cameras)
    frames = torch.tensor([0, 0, 3, 5])
    points = world[frames, [10, 30, 20, 40], [50, 20, 36, 11]]
    behind = scene.cameras.centers[:1] - 1e3 * scene.cameras.cam_from_world[0, 2, :3]
    given = torch.cat([frames, torch.tensor([0])]), torch.cat([points, behind])
    larger = replace(scene, depth=2.5 * scene.depth)
    assert _scale_of_points(given, scene.cameras, larger) == pytest.approx(2.5, rel=1e-5)
    assert _scale_of_points((frames[:0], points[:0]), scene.cameras, larger) is None


def test_the_board_of_the_webcams_is_where_they_saw_it(shared_data: Path) -> None:
    folder = shared_data / "multiview" / "caliscope_post_optimization"
    (sample,) = caliscope_samples(folder, ((3, 0),))
    assert sample.read_points is not None and sample.cameras is not None
    frames, world = sample.read_points()
    camera, lens = read_camera_array(folder / "camera_array.toml")[3]
    assert lens is not None
    pose = camera.cam_from_world[0].numpy()
    turn, shift, k = cv2.Rodrigues(pose[:3, :3])[0], pose[:3, 3], camera.intrinsics[0].numpy()
    bent = cv2.projectPoints(world.numpy(), turn, shift, k, lens.numpy())[0][:, 0]
    rows = csv.DictReader((folder / "calibration/extrinsic/xy.csv").read_text().splitlines())
    seen = {
        (int(r["sync_index"]) - 35, int(r["keypoint_id"])): (r["img_loc_x"], r["img_loc_y"])
        for r in rows if r["cam_id"] == "3"
    }  # fmt: skip
    table = (folder / "calibration/extrinsic/CHARUCO/xyz_CHARUCO.csv").read_text().splitlines()
    ids = [int(r["keypoint_id"]) for r in csv.DictReader(table)]
    errors = [
        math.dist(bent[i].tolist(), [float(v) for v in seen[int(frames[i]), ids[i]]])
        for i in range(len(ids)) if (int(frames[i]), ids[i]) in seen
    ]  # fmt: skip
    assert len(errors) > 50 and sorted(errors)[len(errors) // 2] < 2


def test_single_videos_are_compared_with_themselves(
    tmp_path: Path, synthetic_sample: EvaluationSample
) -> None:
    alone = EvaluationSample(
        "alone", synthetic_sample.read_video, synthetic_sample.cameras, (),
        synthetic_sample.read_depth, synthetic_sample.read_dynamic,
    )  # fmt: skip
    records = run_method(
        [alone], MethodConfig(CompleteConfig("propagate")), "propagate", tmp_path, TRUE
    )
    assert [r["view"] for r in records] == ["near", "far"]
    near, far = (r["scores"] for r in records)
    assert near["psnr_known"] == math.inf  # what was seen there and back stays as it was
    assert 0 < near["holes_fraction"] < far["holes_fraction"] < 1


def test_ablations_have_the_baselines_in_every_table(
    tmp_path: Path, synthetic_sample: EvaluationSample
) -> None:
    tables = ablation_tables("model.safetensors", ("concat.safetensors",), (2, 4))
    assert set(tables) == {
        "geometry", "static", "steady", "finetune-steps", "masks", "sampling", "conditioning",
    }  # fmt: skip
    for rows in tables.values():
        assert [method_name(m) for m in rows[:2]] == ["render only", "propagate"]
        assert len({method_name(m) for m in rows}) == len(rows)
    masks = {m.pair_masks for m in tables["masks"] if m.finetune.minutes > 0}
    assert masks == {"reprojected", "random-2d"}
    steps = [m.finetune.steps for m in tables["finetune-steps"] if m.finetune.minutes > 0]
    assert steps == [2, 4]
    static = {"static": ablation_tables()["static"]}
    text = run_ablations([synthetic_sample], static, tmp_path, TRUE, {})
    assert text.count("| propagate") == 2 and "Not run: steady (needs --weights)" in text


def _tiny_weights(path: Path, conditioning: Conditioning = "both") -> str:
    config = ModelConfig(
        patch=8, hidden=32, heads=2, blocks=2, stem=8, fills=("pull-push", "past", "future"),
        conditioning=conditioning,
    )  # fmt: skip
    model = VideoTransformer(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # as built it returns its first fill, whatever the sampler does
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator)
    save_model(model, path)
    return str(path)


def test_ablations_of_a_model_run_through(
    tmp_path: Path, synthetic_sample: EvaluationSample
) -> None:
    """Steps and masks of adapting, ways of conditioning, the stochastic sampler's threshold."""
    weights = _tiny_weights(tmp_path / "tiny.safetensors")
    concat = _tiny_weights(tmp_path / "concat.safetensors", "concat")
    tables = ablation_tables(weights, (concat,), (2,), (0.3, 0.7), passes=2, minutes=1)
    only = {k: tables[k] for k in ("steady", "finetune-steps", "masks", "sampling", "conditioning")}
    text = run_ablations([synthetic_sample], only, tmp_path / "out", ScoreConfig(num_frames=4), {})
    records = json.loads((tmp_path / "out" / "results.json").read_text())["records"]
    assert set(records) == {
        "render only", "propagate", "model", "adapted 2 steps, reprojected masks",
        "adapted 2 steps, random-2d masks", "anchored, 2 passes", "stochastic, threshold 0.3",
        "stochastic, threshold 0.7", "model concat", "propagate, steadied", "model, not steadied",
    }  # fmt: skip
    scores = {name: rows[0]["scores"] for name, rows in records.items()}
    assert all(math.isfinite(s["psnr"]) for s in scores.values())
    assert scores["anchored, 2 passes"]["psnr"] != scores["stochastic, threshold 0.3"]["psnr"]
    for name in ("propagate", "model"):
        other = "propagate, steadied" if name == "propagate" else "model, not steadied"
        assert scores[name]["flicker"] != scores[other]["flicker"]
    adapted = records["adapted 2 steps, random-2d masks"][0]
    assert adapted["seconds"]["adapt"] > 0 and adapted["notes"]
    assert "Not run" not in text and text.count("## ") == 5


def test_scores_are_made_anew_when_the_data_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = torch.full((T, 3, H, W), 90, dtype=torch.uint8)
    data = tmp_path / "data"
    write_image(truth[0], data / "scene" / "0.png")
    made = []
    plain = benchmark._run_view
    monkeypatch.setattr(benchmark, "_run_view", lambda *a: made.append(1) or plain(*a))
    predictions = tmp_path / "theirs"
    for i in range(T):
        write_image(truth[i], predictions / "place" / "far" / f"{i}.png")

    def run() -> int:
        sample = replace(sample_of(truth), files=listing_hash(data, leave_out=data / "out"))
        run_method([sample], predictions, "theirs", tmp_path / "out", TRUE)
        return len(made)

    assert [run(), run()] == [1, 1]
    write_image(truth[0], data / "out" / "sheet.png")  # its own results do not count
    assert run() == 1
    write_image(truth[0], data / "scene" / "1.png")
    assert [run(), run()] == [2, 2]


def test_space_of_results_is_compared_with_that_of_the_source(
    tmp_path: Path, synthetic_sample: EvaluationSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(synthetic_sample, MethodConfig(), synthetic_sample.read_video()).scene
    view = synthetic_sample.views[0]
    true = synthetic_sample.cameras
    assert true is not None

    def found(video: Video, progress: object = None) -> Scene:
        """The source's own space at half its size, as a reconstruction of other views has it."""
        scale = 0.5
        pose = view.path.cameras.cam_from_world.clone()
        pose[:, :3, 3] *= scale
        cameras = replace(view.path.cameras.resized(*source.depth.shape[1:]), cam_from_world=pose)
        near = render(source, view.path, RenderConfig(aggregate_static=False))
        size = source.depth.shape[1:]
        depth = torch.nn.functional.interpolate(near.depth[:, None], size)[:, 0]
        still = torch.zeros_like(source.dynamic)
        return Scene(video, cameras, scale * depth, depth > 0, still, torch.ones_like(depth))

    monkeypatch.setattr(chamfer, "reconstruct", found)
    config = ScoreConfig(consistency=True)
    (record,) = run_method(
        [synthetic_sample], MethodConfig(CompleteConfig("none")), "none", tmp_path, config
    )
    assert 0 <= record["scores"]["chamfer"] < 0.04
    (kept,) = run_method(
        [synthetic_sample], MethodConfig(CompleteConfig("none")), "none", tmp_path, TRUE
    )
    assert "chamfer" not in kept["scores"]  # another question, so another key

    def fails(video: Video, progress: object = None) -> Scene:
        raise RecamError("nothing to hold on to")

    monkeypatch.setattr(chamfer, "reconstruct", fails)
    (record,) = run_method(
        [synthetic_sample], MethodConfig(CompleteConfig("none")), "b", tmp_path, config
    )
    assert math.isnan(record["scores"]["chamfer"])
    assert any("nothing to hold on to" in note for note in record["notes"])


def test_masked_model_is_adapted_once_a_scene(
    tmp_path: Path, synthetic_sample: EvaluationSample
) -> None:
    weights = _tiny_weights(tmp_path / "tiny.safetensors")
    adapt = FinetuneConfig(minutes=1, steps=2, num_pairs=2, num_frames=3, crop=32, evaluate_every=2)
    plain = MethodConfig(CompleteConfig("masked", weights))
    adapted = MethodConfig(
        CompleteConfig("masked", plain.complete.weights), finetune=adapt, pair_masks="random-2d"
    )
    (record,) = run_method([synthetic_sample], adapted, "adapted", tmp_path / "out", TRUE)
    assert record["seconds"]["adapt"] > 0 and record["scores"]["psnr_known"] > 20
    assert any("adapt" in note for note in record["notes"])
    (without,) = run_method([synthetic_sample], plain, "plain", tmp_path / "out", TRUE)
    assert "adapt" not in without["seconds"] and without["key"] != record["key"]


def test_colour_is_fitted_only_where_that_helps() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(60, 200, (2, 3, H, W), dtype=torch.uint8, generator=generator)
    counted = torch.ones(2, H, W)
    dull = (0.6 * truth.float() + 30).round().to(torch.uint8)
    fitted, note = benchmark._with_fitted_color(dull, truth, counted, None)
    assert psnr(fitted, truth) > 45 > psnr(dull, truth) + 10 and "colour fitted" in note
    # A known strip that shows the wrong thing: what takes it to the truth spoils the rest.
    wrong = truth.clone()
    wrong[..., :8] = 255 - truth[..., :8]
    known = torch.zeros(2, H, W)
    known[..., :8] = 1
    kept, note = benchmark._with_fitted_color(wrong, truth, counted, known)
    assert torch.equal(kept, wrong) and "colour not fitted" in note


def test_pairs_of_both_kinds(synthetic_sample: EvaluationSample) -> None:
    scene = open_source(synthetic_sample, MethodConfig(), synthetic_sample.read_video()).scene
    for masks in ("reprojected", "random-2d"):
        method = MethodConfig(
            CompleteConfig("masked"), pair_masks=masks, finetune=FinetuneConfig(seed=1)
        )  # type: ignore[arg-type]
        pair = next(training_pairs(scene, method))
        assert 0 < float(pair.partial.known.mean()) < 1
        assert torch.equal(pair.target.frames, scene.video.frames)


def test_names_tell_methods_apart() -> None:
    methods = [
        MethodConfig(), MethodConfig(depth="estimated"), MethodConfig(cameras="estimated"),
        MethodConfig(render=RenderConfig(aggregate_static=False)),
    ]  # fmt: skip
    assert len({method_name(m) for m in methods}) == 4

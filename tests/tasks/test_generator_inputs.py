"""What other generators take: sizes, lengths, rates, colours of holes, polarity of masks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recam.apps import render_commands
from recam.apps.cli import main
from recam.camera_files import read_cameras
from recam.configs import Generator, ReshootConfig
from recam.geometry import project
from recam.media import probe, read_video
from recam.reconstruct import save_scene
from recam.tasks.generator_inputs import (
    RULES,
    FittedPath,
    fit_cameras,
    fit_frames,
    fitted_size,
    mask_frames,
    pick_frames,
    with_holes,
)
from recam.types import (
    CameraPath,
    Cameras,
    PartialVideo,
    Scene,
    no_progress,
    video_from_frames,
)
from reconstruct_scene import render_world

F64 = torch.float64


@pytest.mark.parametrize("num", [1, 4, 5, 6, 30, 48, 49, 50, 80, 81, 82, 200])
@pytest.mark.parametrize("generator", RULES)
@pytest.mark.parametrize("rate", [12.0, 16.0, 24.0, 30000 / 1001, 60.0])
def test_lengths_and_rates(generator: Generator, num: int, rate: float) -> None:
    rules = RULES[generator]
    times_s = 3.0 + torch.arange(num, dtype=F64) / rate
    picked, fps, notes = pick_frames(times_s, rules)
    assert (len(picked) - 1) % rules.lengths == 0 and 2 <= len(picked) <= rules.max_frames
    assert bool((picked[1:] >= picked[:-1]).all()) and int(picked[-1]) < num
    if rules.fps and num > 1:
        assert fps <= rules.fps * 1.021
    # What is shown keeps its speed: frame k of the result is at k / fps of the source.
    moving = picked[: int((picked < picked[-1]).sum()) + 1]
    if num > 1:
        late = (times_s[moving] - times_s[0] - torch.arange(len(moving)) / fps).abs()
        assert float(late.max()) <= 0.51 / min(rate, fps) + 0.02 * len(moving) / fps
    assert len(picked) == num or notes


@pytest.mark.parametrize("num", [82, 161, 162, 300])
def test_pieces_of_a_long_path_join_at_one_frame(num: int) -> None:
    times_s = torch.arange(num, dtype=F64) / 16
    rules, shown = RULES["vace"], [0]
    pieces = -(-(num - 1) // 80)
    for piece in range(1, pieces + 1):
        picked, _, notes = pick_frames(times_s, rules, piece)
        assert f"piece {piece} of {pieces}" in notes[0] and int(picked[0]) == shown[-1]
        shown += picked[1:].tolist()
    whole = shown[: num - (num - 1) % 4]  # the end holds, or leaves out up to three
    assert whole == list(range(len(whole))) and num - len(whole) < 4
    with pytest.raises(ValueError, match=f"make {pieces} of at most 81"):
        pick_frames(times_s, rules, pieces + 1)


def test_sizes() -> None:
    assert fitted_size(1080, 1920, RULES["cognvs"]) == (480, 720)
    assert fitted_size(1920, 1080, RULES["cognvs"]) == (480, 720)  # it knows one size
    assert fitted_size(1920, 1080, RULES["vace"]) == (832, 480)
    assert fitted_size(361, 645, RULES["comfyui"]) == (352, 640)
    assert fitted_size(720, 1280, RULES["gen3c"]) == (704, 1280)
    assert fitted_size(720, 1280, RULES["trajectorycrafter"]) == (384, 672)


def test_a_fitted_camera_sees_the_fitted_picture() -> None:
    """A 100 × 60 picture whose middle shows the axis, for 48 × 48."""
    k = torch.tensor([[[80.0, 0, 50], [0, 80, 30], [0, 0, 1]]], dtype=F64)
    cameras = Cameras(torch.eye(4, dtype=F64)[None], k, 60, 100)
    point = torch.tensor([[0.1, 0.05, 1.0]], dtype=F64)  # at (58, 34)
    for fit, scale in [("crop", 0.8), ("pad", 0.48)]:
        fitted = fit_cameras(cameras, 48, 48, fit)  # type: ignore[arg-type]
        seen = project(point, fitted)[0][0, 0].tolist()
        assert seen == pytest.approx([24 + scale * 8, 24 + scale * 4])
        shown = torch.zeros(1, 3, 60, 100, dtype=torch.uint8)
        shown[..., 32:36, 56:60] = 255  # a spot centred on the point
        spot = fit_frames(shown, 48, 48, fit, 128)[0, 0].float()  # type: ignore[arg-type]
        spot = torch.where(spot == 128, 0.0, spot)
        x = (spot.sum(0) * (torch.arange(48) + 0.5)).sum() / spot.sum()
        y = (spot.sum(1) * (torch.arange(48) + 0.5)).sum() / spot.sum()
        assert (float(x), float(y)) == pytest.approx(tuple(seen), abs=0.6)  # whole pixels


def test_holes_and_masks() -> None:
    frames = torch.full((1, 3, 1, 3), 200, dtype=torch.uint8)
    partial = PartialVideo(frames, torch.tensor([[[1.0, 0.4, 0.0]]]))
    assert with_holes(partial, RULES["vace"])[0, 0, 0].tolist() == [200, 128, 128]
    assert with_holes(partial, RULES["cognvs"])[0, 0, 0].tolist() == [200, 0, 0]
    assert mask_frames(partial.known, RULES["vace"])[0, 0, 0].tolist() == [0, 255, 255]
    assert mask_frames(partial.known, RULES["trajectorycrafter"])[0, 0, 0].tolist() == [255, 0, 0]


@pytest.fixture
def scene_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    world = render_world(6, slide=0.05)
    depth, dynamic = torch.from_numpy(world.depth), torch.from_numpy(world.moving)
    valid = torch.ones_like(dynamic)
    scene = Scene(world.video, world.cameras, depth, valid, dynamic, valid.float())
    save_scene(scene, tmp_path / "scene")
    return tmp_path / "scene"


@pytest.mark.parametrize("generator", RULES)
def test_the_command(generator: Generator, scene_folder: Path) -> None:
    rules = RULES[generator]
    path = ["--path", "truck", "--distance", "0.3", "--speed", "linear"]
    main(["render", str(scene_folder), *path, "--for", generator, "-o", "out", "--quiet"])
    out = Path("out")
    record = json.loads((out / "config.json").read_text())
    num = len(record["frames"])
    expected = {
        "cognvs": ["gt_rgb.mp4", "eval_render1.mp4"],
        "trajectorycrafter": ["input.mp4", "render.mp4", "mask.mp4"],
        "vace": ["src_video.mp4", "src_mask.mp4"],
        "gen3c": ["rgb.mp4", "depth.npz", "mask.npz", "camera.npz"],
        "comfyui": ["source", "control_video", "control_masks"],
    }[generator]
    for name in expected:
        assert (out / name).exists()
        if name.endswith(".mp4") or (out / name).is_dir():
            info = probe(out / name)
            height, width = (rules.height or info.height), (rules.width or info.width)
            assert (info.height, info.width) == (height, width) and height % 16 == 0
            assert len(read_video(out / name)) == num
    file = read_cameras(out / "cameras.json")
    assert len(file) == num and (file.height, file.width) == (info.height, info.width)
    if generator == "comfyui":  # PNG: exact
        holes = read_video(out / "control_masks").frames[:, 0] == 255
        shown = read_video(out / "control_video").frames.movedim(1, -1)
        assert 0.01 < float(holes.float().mean()) < 0.5
        assert bool((shown[holes] == 128).all())
    if generator == "gen3c":
        depth = np.load(out / "depth.npz")["depth"]
        mask = np.load(out / "mask.npz")["mask"]
        assert depth.dtype == np.float16
        assert mask.dtype == bool
        assert depth.shape == mask.shape == (num, info.height, info.width)
        assert bool((depth[mask] > 0).all()) and 0.5 < mask.mean() < 0.999
        assert read_cameras(out / "camera.npz").format == "gen3c"


def test_depth_beyond_half_precision_stays_finite(tmp_path: Path) -> None:
    """Of a scene in millimetres whose wall is 100 m away; the last frame is held."""
    k = torch.tensor([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]], dtype=F64).expand(2, 3, 3)
    cameras = Cameras(torch.eye(4, dtype=F64).repeat(2, 1, 1), k, 48, 64)
    there = torch.ones(2, 48, 64, dtype=torch.bool)
    video = video_from_frames(torch.full((2, 3, 48, 64), 90, dtype=torch.uint8), fps=24)
    scene = Scene(video, cameras, torch.full((2, 48, 64), 1e5), there, ~there, there.float())
    rules = replace(RULES["gen3c"], width=64, height=48, lengths=8, max_frames=9)
    path = CameraPath(cameras, torch.arange(2))
    picked, fps, _ = pick_frames(video.times_s, rules)
    fitted = FittedPath(path[picked], picked, fps, ())
    render_commands._write_for(
        tmp_path, scene, fitted, "gen3c", "crop", ReshootConfig(), False, no_progress
    )
    depth = np.load(tmp_path / "depth.npz")["depth"]
    assert depth.shape == (9, 48, 64) and depth.dtype == np.float32
    np.testing.assert_allclose(depth[np.load(tmp_path / "mask.npz")["mask"]], 1e5, rtol=1e-5)
    assert len(read_video(tmp_path / "rgb.mp4")) == 9


def test_the_plain_command_writes_exr_of_depth(scene_folder: Path) -> None:
    from recam.reconstruct.io.exr import read_exr

    main(["render", str(scene_folder), "--path", "static", "--exr", "-o", "out", "--quiet"])
    depth = read_exr(Path("out/depth/000000.exr").read_bytes(), "d")
    known = read_exr(Path("out/known/000000.exr").read_bytes(), "k", ("Y",))
    assert bool((depth[known == 1] > 0).all()) and set(np.unique(known)) <= {0, 1}


def test_fit_without_a_generator_is_refused(
    scene_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["render", str(scene_folder), "--fit", "pad", "-o", "out"])
    assert stopped.value.code not in (0, None) and "--for" in capsys.readouterr().err
    assert not Path("out").exists()

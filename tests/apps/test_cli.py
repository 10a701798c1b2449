"""The command line as a user runs it: small real runs, and every kind of bad input."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from command_line import fails, left_behind
from recam.apps.cli import main
from recam.apps.runs import choose_folder
from recam.camera_files import read_cameras, write_cameras
from recam.configs import InputConfig, PathConfig, ReconstructConfig, ReshootConfig
from recam.geometry import intrinsics_from_fov
from recam.media import read_video, write_image, write_video
from recam.media.input import read_input
from recam.reconstruct.scene_cache import open_scene
from recam.runtime.records import write_json
from recam.tasks import reshoot as reshoot_task
from recam.types import Cameras, RecamError, Video, video_from_frames

HEIGHT, WIDTH, NUM_FRAMES = 96, 160, 8


def _textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture uint8 [h, w, 3] with detail at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for sigma in (1.5, 4, 12):  # fine detail is grey, as in nature; codecs keep little other
        num_colors = 3 if sigma > 10 else 1
        noise = rng.standard_normal((height, width, num_colors))
        noise = cv2.GaussianBlur(noise, (0, 0), sigma).reshape(height, width, num_colors)
        picture += noise / noise.std()
    return np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)


def moving_clip(num_frames: int = NUM_FRAMES, height: int = HEIGHT, width: int = WIDTH) -> Video:
    """Two textured layers that pass at different speeds: a camera that moves sideways."""
    far = _textured(height, width + 8 * num_frames, 1)
    near = _textured(height // 3, width + 8 * num_frames, 2)
    frames = []
    for i in range(num_frames):
        frame = far[:, i : i + width].copy()
        frame[-len(near) :] = near[:, 3 * i : 3 * i + width]
        frames.append(torch.from_numpy(frame).permute(2, 0, 1))
    return video_from_frames(torch.stack(frames), fps=12)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(moving_clip(), path)
    return path


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))


def test_reshoot_leaves_everything_and_reuses_the_scene(clip: Path, tmp_path: Path) -> None:
    main(["reshoot", str(clip), "--path", "truck", "--distance", "0.05", "-o", "a", "--quiet"])
    names = {p.name for p in Path("a").iterdir()}
    assert names >= {
        "result.mp4", "preview.mp4", "known.mp4", "contact_sheet.png", "path.png", "cameras.json",
        "config.json", "timings.json",
    }  # fmt: skip
    assert not [n for n in names if n.startswith(".")]
    result = read_video(Path("a/result.mp4"))
    assert result.frames.shape == (NUM_FRAMES, 3, HEIGHT, WIDTH)
    assert "reconstruct" in json.loads(Path("a/timings.json").read_text())["seconds"]
    main(["reshoot", str(clip), "--path", "static", "--at-frame", "0", "-o", "b", "--quiet"])
    assert "reuse scene" in json.loads(Path("b/timings.json").read_text())["seconds"]


def test_the_same_command_gives_the_same_frames(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReshootConfig(path=PathConfig("orbit", yaw=5.0))
    frames = []
    for cache in ("first", "first", "second"):  # made, found again, made anew
        monkeypatch.setenv("RECAM_CACHE", str(tmp_path / cache))
        opened = open_scene(clip, config.input, config.reconstruct)
        frames.append(reshoot_task.reshoot(opened.scene, config).video.frames)
    assert torch.equal(frames[0], frames[1]) and torch.equal(frames[0], frames[2])


def test_cameras_of_a_part_of_the_source_and_a_lens_found_again(clip: Path, tmp_path: Path) -> None:
    """--cameras for all of the source also fits a part; the straightened frames are kept."""
    times = torch.arange(NUM_FRAMES) / 12
    poses = torch.eye(4, dtype=torch.float64).repeat(NUM_FRAMES, 1, 1)
    poses[:, 0, 3] = 0.05 * torch.arange(NUM_FRAMES) ** 2
    k = intrinsics_from_fov(50, HEIGHT, WIDTH).repeat(NUM_FRAMES, 1, 1)
    k[:, 0, 2] += 3
    lens = torch.tensor([0.2, 0, 0, 0, 0], dtype=torch.float64)
    write_cameras(Cameras(poses, k, HEIGHT, WIDTH), Path("c.json"), times_s=times, distortion=lens)
    part = InputConfig(start=2, num_frames=3, stride=2)
    config = ReconstructConfig(cameras="c.json", motion="static")
    made = open_scene(clip, part, config)
    found = open_scene(clip, part, config)
    torch.testing.assert_close(made.scene.cameras.cam_from_world, poses[[2, 4, 6]])
    assert found.reused and torch.equal(found.scene.video.frames, made.scene.video.frames)
    assert not torch.equal(made.scene.video.frames, read_input(clip, part).frames)
    # What is written of a part has the source's frame numbers, so that it fits the same part.
    again = ["reconstruct", str(clip), "--start", "2", "--num-frames", "3", "--stride", "2"]
    again += ["--cameras", "c.json", "--motion", "static", "--quiet"]
    main([*again, "-o", "s", "--cameras-out", "part.json"])
    file = read_cameras("part.json")
    assert file.frame_indices is not None and file.frame_indices.tolist() == [2, 4, 6]
    torch.testing.assert_close(file.cam_from_world, poses[[2, 4, 6]])
    main([*again, "-o", "s", "--cameras-out", "part.usda"])
    stage = Path("part.usda").read_text()
    assert "startTimeCode = 3" in stage and "framesPerSecond = 12\n" in stage
    assert "middle" not in fails(*again, "-o", "no", "--cameras-out", "off.chan")
    assert not Path("no").exists() and not Path("off.chan").exists()
    assert "--scale" in fails("render", "s", "--scale", "2", "-o", "no")  # a scene is done


def test_results_have_the_source_size_however_small_the_geometry(clip: Path) -> None:
    small = ["--size", "80", "--motion", "static"]
    main(["reshoot", str(clip), "--path", "pan", "--yaw", "2", *small, "-o", "a", "--quiet"])
    for name in ("result.mp4", "known.mp4"):
        shown = read_video(Path("a") / name)
        assert (shown.height, shown.width) == (HEIGHT, WIDTH)
    file = read_cameras(Path("a/cameras.json"))
    assert (file.height, file.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["cognvs", "nerfstudio"])
def test_a_path_can_be_written_for_other_programs(clip: Path, kind: str) -> None:
    path = ["--path", "orbit", "--yaw", "10", "--speed", "linear"]
    out = "p.txt" if kind == "cognvs" else "p.json"
    written = ["--cameras-out", out, "--cameras-out-format", kind]
    main(["paths", str(clip), *path, *written, "-o", "p.png", "--quiet"])
    file = read_cameras(Path(out), kind)  # type: ignore[arg-type]
    assert len(file) == NUM_FRAMES if kind == "nerfstudio" else file.orbit is not None


def test_identity_path_reproduces_the_source(clip: Path) -> None:
    main(["reshoot", str(clip), "--path", "orbit", "--yaw", "0", "-o", "a", "--quiet"])
    source, result = read_video(clip).frames.float(), read_video(Path("a/result.mp4")).frames
    mse = float((source - result.float()).square().mean())
    assert 10 * np.log10(255**2 / mse) > 38


def test_reconstruct_render_and_paths(clip: Path) -> None:
    solve = ["--export", "ply", "--cameras-out", "solve.usda"]
    main(["reconstruct", str(clip), "-o", "scene", *solve, "--quiet"])
    assert 'upAxis = "Y"' in Path("solve.usda").read_text()
    assert Path("scene/scene.json").exists() and Path("scene/points.ply").stat().st_size > 1000
    main(["render", "scene", "--path", "dolly", "--distance", "0.1", "-o", "r", "--quiet"])
    assert len(read_video(Path("r/render.mp4"))) == NUM_FRAMES
    main(
        ["paths", "scene", "--path", "spiral", "-o", "p.png", "--cameras-out", "c.json", "--quiet"]
    )
    assert cv2.imread("p.png") is not None
    assert len(json.loads(Path("c.json").read_text())["frames"]) == NUM_FRAMES
    main(["reshoot", "scene", "--path", "c.json", "-o", "again", "--quiet"])
    assert Path("again/result.mp4").exists()


@pytest.mark.parametrize("out", ["filled.mp4", "filled"])
def test_complete_keeps_what_is_known(out: str) -> None:
    video = moving_clip()
    write_video(video, Path("input"))
    known = torch.ones(NUM_FRAMES, HEIGHT, WIDTH)
    for i in range(NUM_FRAMES):
        known[i, 30:60, 40 + 4 * i : 60 + 4 * i] = 0
    mask = (known * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    write_video(video_from_frames(mask.contiguous()), Path("input-mask"))
    main(["complete", "input", "--known", "input-mask", "-o", out, "--quiet"])
    result = read_video(Path(out))
    assert result.frames.shape == video.frames.shape
    if out == "filled":  # PNG is exact
        kept = known.bool()[:, None].expand(-1, 3, -1, -1)
        assert torch.equal(result.frames[kept], video.frames[kept])


def test_help_is_fast_and_needs_no_torch() -> None:
    code = (
        "import sys, time\n"
        "from recam.apps.cli import main\n"
        "try: main(['reshoot', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
        "print(time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--yaw" in done.stdout
    assert float(done.stderr) < 0.5  # of the processor: CI may run much beside it


def test_doctor_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = capsys.readouterr().out
    assert f"torch {version('torch')}" in out and "device" in out


def _bad(name: str, folder: Path, clip: Path) -> Path:
    """One input of each kind that people bring by mistake."""
    path = folder / "input.mp4"
    match name:
        case "missing":
            pass
        case "text":
            path.write_text("this is not a video\n" * 100)
        case "zero-byte":
            path.touch()
        case "truncated-to-nothing":
            path.write_bytes(clip.read_bytes()[:300])
        case "one-frame":
            write_video(moving_clip(1), path)
        case "empty-folder":
            path = folder / "input"
            path.mkdir()
        case "sizes-differ":
            path = folder / "input"
            path.mkdir()
            for i, side in enumerate((64, 80)):
                write_image(torch.zeros(3, side, side, dtype=torch.uint8), path / f"{i}.png")
    return path


@pytest.mark.parametrize(
    "name",
    ["missing", "text", "zero-byte", "truncated-to-nothing", "empty-folder", "sizes-differ"],
)
def test_bad_video_ends_in_one_line(name: str, clip: Path, tmp_path: Path) -> None:
    path = _bad(name, tmp_path, clip)
    assert path.name in fails("reshoot", str(path), "-o", "out")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("num_frames", [2, 3])
def test_very_short_videos_work(num_frames: int) -> None:
    write_video(moving_clip(num_frames), Path("input.mp4"))
    main(["reshoot", "input.mp4", "--path", "orbit", "--yaw", "5", "-o", "out", "--quiet"])
    assert len(read_video(Path("out/result.mp4"))) == num_frames


def test_black_video_is_refused_or_done_plainly(tmp_path: Path) -> None:
    black = video_from_frames(torch.zeros(6, 3, 64, 96, dtype=torch.uint8))
    write_video(black, Path("input.mp4"))
    try:
        main(["reshoot", "input.mp4", "-o", "out", "--quiet"])
    except SystemExit as stop:
        assert "internal error" not in str(stop.value)
        assert left_behind(tmp_path) == []
    else:
        assert int(read_video(Path("out/result.mp4")).frames.max()) < 32


def test_depth_of_nans_and_wrong_cameras(clip: Path, tmp_path: Path) -> None:
    np.savez("input.npz", depth=np.full((NUM_FRAMES, HEIGHT, WIDTH), np.nan, np.float32))
    assert "input.npz" in fails("reshoot", str(clip), "--depth", "input.npz", "-o", "out")
    camera = {"K": [[100, 0, 80], [0, 100, 48], [0, 0, 1]], "w": WIDTH, "h": HEIGHT}
    frames = [{**camera, "w2c": np.eye(4).tolist()} for _ in range(NUM_FRAMES + 5)]
    Path("input.json").write_text(json.dumps({"frames": frames}))
    assert "input.json" in fails("reshoot", str(clip), "--cameras", "input.json", "-o", "out")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("task", ["reshoot", "render", "image", "paths"])
def test_a_path_that_cannot_be_stops_before_the_work(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read: the film is not there either, and the path is what is named."""
    monkeypatch.chdir(tmp_path)
    assert "sideways" in fails(task, "none.mp4", "--path", "sideways")
    assert "amount" in fails(task, "none.mp4", "--path", "stabilise", "--amount", "2")
    assert "does not use zoom" in fails(task, "none.mp4", "--path", "orbit", "--zoom", "2")
    assert not left_behind(tmp_path)


def test_bad_path_options(clip: Path, tmp_path: Path) -> None:
    assert "sideways" in fails("reshoot", str(clip), "--path", "sideways", "-o", "out")
    assert "999" in fails("reshoot", str(clip), "--path", "static", "--at-frame", "999", "-o", "o")
    assert left_behind(tmp_path) == []


def test_bad_masks(clip: Path, tmp_path: Path) -> None:
    write_image(torch.zeros(3, 10, 10, dtype=torch.uint8), Path("input.png"))
    assert "10" in fails("complete", str(clip), "--known", "input.png", "-o", "out.mp4")
    write_image(torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), Path("input.png"))
    fails("complete", str(clip), "--known", "input.png", "-o", "out.mp4")  # nothing is known
    assert "out.txt" in fails("complete", str(clip), "--known", "input.png", "-o", "out.txt")
    assert left_behind(tmp_path) == []


def test_output_folder_is_protected(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "input-things").mkdir()
    (tmp_path / "input-things" / "thesis.txt").write_text("years of work")
    with pytest.raises(RecamError, match="holds other files"):
        choose_folder(tmp_path / "input-things", "x")
    assert "thesis" not in fails("reshoot", str(clip), "-o", "input-things")
    Path("taken").mkdir()
    assert choose_folder(None, "taken") == Path("taken-2")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(number: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RecamError, match="the disk is full"):
        write_json(tmp_path / "config.json", {})
    assert list(tmp_path.glob("*.json*")) == [] and list(tmp_path.glob(".*.tmp")) == []


def test_pictures_too_large_for_the_memory(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recam.media.input.PICTURE_BYTES", 1e9)
    line = fails("reshoot", str(clip), "-o", "out")
    assert f"{WIDTH}×{HEIGHT}" in line and re.search(r"--max-side \d+$", line)
    assert left_behind(tmp_path) == []


def test_a_run_that_fails_leaves_no_folder(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*args: object) -> None:
        raise RecamError("the disk is full")

    monkeypatch.setattr("recam.apps.commands.write_image", no_space)
    assert "full" in fails("reshoot", str(clip), "-o", "out")
    assert left_behind(tmp_path) == [] and not Path("out").exists()


def test_command_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recam.apps.cli", "reshoot", "nowhere.mp4"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "recam: nowhere.mp4: no such file or folder"

"""Two eyes from one film: where the cameras stand, what they see, how they are packed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import recam
from recam.apps import stereo_command
from recam.apps.cli import main
from recam.camera_files import read_cameras
from recam.completers import open_completer, resolve_config
from recam.completion.completer import Windows
from recam.configs import CompleteConfig, Eye, RigConfig, StereoConfig, StereoLayout, StereoOutlines
from recam.geometry import intrinsics_from_fov, project
from recam.media import read_image, read_video
from recam.reconstruct import save_scene
from recam.tasks.stereo import eye_paths, packed, stereo, stereo_pieces, stereo_rig
from recam.tasks.stereo_rows import moved_rows
from recam.types import Cameras, PartialVideo, Scene, Video, video_from_frames
from reconstruct_scene import render_world

H, W, NUM = 48, 96, 3
QUICK = CompleteConfig("propagate")


def wall(depth: float = 4.0) -> Scene:
    """A textured wall square to the camera; the left third is twice as far, a corner half."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, H // 4, W // 4, generator=generator)
    picture = torch.nn.functional.interpolate(picture, (H, W), mode="bicubic").clamp(0, 1)
    frames = (picture * 255).to(torch.uint8).expand(NUM, -1, -1, -1).contiguous()
    z = torch.full((NUM, H, W), depth)
    z[:, :, : W // 3] = 2 * depth
    z[:, :16, -24:] = depth / 2
    k = intrinsics_from_fov(60, H, W).expand(NUM, 3, 3)
    cameras = Cameras(torch.eye(4, dtype=torch.float64).repeat(NUM, 1, 1), k.clone(), H, W)
    there = torch.ones_like(z, dtype=torch.bool)
    return Scene(video_from_frames(frames), cameras, z, there, ~there, there.float())


def disparities(scene: Scene, config: RigConfig, depths: list[float]) -> list[float]:
    """Right minus left, as shares of the width, of points straight ahead; heights must agree."""
    rig = stereo_rig(scene, config)
    points = torch.tensor([[0.3 * z, 0.2 * z, z] for z in depths], dtype=torch.float64)
    left, right = (
        project(points, path.cameras[:1])[0][0] for path in eye_paths(scene, rig, config)
    )
    torch.testing.assert_close(left[:, 1], right[:, 1], rtol=0, atol=1e-9)
    return ((right - left)[:, 0] / scene.video.width).tolist()


@pytest.mark.parametrize("keep", [None, "left", "right"])
def test_the_limits_hold_and_what_the_shot_is_about_is_on_the_screen(keep: str | None) -> None:
    scene, config = wall(4.0), RigConfig(keep, focus_depth=4.0)  # type: ignore[arg-type]
    far, focus, near = disparities(scene, config, [8.0, 4.0, 2.0])
    assert focus == pytest.approx(0, abs=1e-12)
    # The near corner is twice as far from the screen's plane in disparity as the far wall.
    assert near == pytest.approx(-config.in_front) and far == pytest.approx(config.in_front / 2)
    rig = stereo_rig(scene, config)
    assert (rig.nearest, rig.farthest) == pytest.approx((near, far))


def test_a_tighter_limit_brings_the_eyes_together() -> None:
    scene = wall()
    near, far = (
        stereo_rig(scene, RigConfig(focus_depth=4.0, in_front=0.01)),
        stereo_rig(scene, RigConfig(focus_depth=4.0, behind=0.002)),
    )
    assert near.nearest == pytest.approx(-0.01) and far.farthest == pytest.approx(0.002)
    given = stereo_rig(scene, RigConfig(focus_depth=4.0, interaxial=0.01))
    assert given.interaxial == pytest.approx(0.04)
    flat = replace(scene, depth=torch.full_like(scene.depth, 4.0))
    assert stereo_rig(flat, RigConfig()).interaxial == pytest.approx(0.05 * 4)


@pytest.mark.parametrize("name", ["behind", "in_front", "convergence", "interaxial"])
def test_distances_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        stereo_rig(wall(), RigConfig(**{name: 0.0}))  # type: ignore[arg-type]


def test_the_eye_that_is_the_film_is_the_film() -> None:
    scene = wall()
    config = StereoConfig(RigConfig("left", focus_depth=4.0), complete=QUICK)
    result = stereo(scene, config)
    assert torch.equal(result.left.video.frames, scene.video.frames)
    assert bool((result.left.partial.known == 1).all())
    # The wall at the screen's depth stays; the far one moves right, the near corner left.
    rig = stereo_rig(scene, config.rig)
    right = result.right.video.frames.float()
    film = scene.video.frames.float()
    middle = (slice(None), slice(None), slice(20, H), slice(W // 2, W - 4))
    assert float((right - film)[middle].abs().mean()) < 1
    moved = round(rig.farthest * W)
    assert moved >= 1
    far = (right[..., 20:, moved : W // 3 - 4] - film[..., 20:, : W // 3 - 4 - moved]).abs().mean()
    still = (right[..., 20:, moved : W // 3 - 4] - film[..., 20:, moved : W // 3 - 4]).abs().mean()
    assert float(far) < 0.6 * float(still)


@pytest.mark.parametrize("outlines", ["soft", "sharp"])
@pytest.mark.parametrize("keep", [None, "left", "right"])
def test_eyes_come_piece_by_piece(keep: Eye | None, outlines: StereoOutlines) -> None:
    """A film of six frames by windows of two: the first comes before the last is looked at."""
    once = wall()
    twice = torch.arange(2 * NUM) % NUM
    video = Video(once.video.frames[twice], torch.arange(2 * NUM) / 24)
    scene = replace(
        once, video=video, cameras=once.cameras[twice], depth=once.depth[twice],
        valid=once.valid[twice], dynamic=once.dynamic[twice], confidence=once.confidence[twice],
    )  # fmt: skip
    config = StereoConfig(
        RigConfig(keep=keep), outlines=outlines,
        complete=CompleteConfig("propagate", window=2, overlap=1),
    )  # fmt: skip
    completer = open_completer(resolve_config(config.complete, "reshoot"))
    paths = eye_paths(scene, stereo_rig(scene, config.rig), config.rig)
    seen: list[int] = []
    pieces = stereo_pieces(
        scene, paths, config, completer, {}, lambda what, done, total: seen.append(done)
    )
    parts = [next(pieces)]
    assert max(seen) < 2 * NUM
    parts += pieces
    whole = stereo(scene, config)
    for eye, result in enumerate((whole.left, whole.right)):
        frames = torch.cat([part[eye][1] for part in parts])
        assert torch.equal(frames, result.video.frames)
        known = torch.cat([part[eye][0].known for part in parts])
        assert torch.equal(known, result.partial.known.expand_as(known))


def test_both_eyes_have_holes_of_one_size() -> None:
    """The corner hides as much of the wall from one eye as from the other."""
    scene = wall()
    z = torch.full_like(scene.depth, 4.0)
    z[:, 12:36, 36:60] = 2.0
    result = stereo(
        replace(scene, depth=z),
        StereoConfig(RigConfig(focus_depth=2.0), outlines="sharp", complete=QUICK),
    )
    lacking = [
        float((eye.partial.known < 0.5)[:, 12:36].float().mean())
        for eye in (result.left, result.right)
    ]
    assert lacking[0] > 0.005 and lacking[0] == pytest.approx(lacking[1], rel=0.35)


def test_layouts() -> None:
    left = torch.zeros(2, 3, 4, 6, dtype=torch.uint8)
    right = torch.full((2, 3, 4, 6), 255, dtype=torch.uint8)
    sizes: dict[StereoLayout, tuple[int, int]] = {
        "side-by-side": (4, 12), "half-side-by-side": (4, 6), "top-bottom": (8, 6),
        "half-top-bottom": (4, 6),
    }  # fmt: skip
    for layout, size in sizes.items():
        both = packed(left, right, layout)
        assert tuple(both.shape) == (2, 3, *size)
        half = both.shape[3] // 2 if "side" in layout else both.shape[2] // 2
        first = both[..., :half] if "side" in layout else both[:, :, :half]
        assert bool((first == 0).all()) and float(both.float().mean()) == pytest.approx(127.5)
    # Grey stays grey; the left eye is red, the right one cyan.
    grey = torch.full((1, 3, 2, 2), 90, dtype=torch.uint8)
    assert bool(((packed(grey, grey, "anaglyph").float() - 90).abs() <= 1).all())
    only_left = packed(right[:1], left[:1], "anaglyph")[0, :, 0, 0].tolist()
    assert only_left[0] > 200 and max(only_left[1:]) < 30
    with pytest.raises(ValueError, match="separate"):
        packed(left, right, "separate")


@pytest.fixture
def scene_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    world = render_world(4, slide=0.05)
    depth, dynamic = torch.from_numpy(world.depth), torch.from_numpy(world.moving)
    valid = torch.ones_like(dynamic)
    save_scene(
        Scene(world.video, world.cameras, depth, valid, dynamic, valid.float()), tmp_path / "scene"
    )
    return tmp_path / "scene"


@pytest.mark.parametrize(
    ("layout", "files", "width"),
    [("side-by-side", ["result.mp4"], 224), ("anaglyph", ["result.mp4"], 112),
     ("separate", ["left.mp4", "right.mp4"], 112)],
)  # fmt: skip
def test_the_command(
    layout: str, files: list[str], width: int, scene_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    main(
        [
            "stereo",
            str(scene_folder),
            "--layout",
            layout,
            "--model",
            "propagate",
            "-o",
            "o",
            "--quiet",
        ]
    )
    out = Path("o")
    for name in files:
        video = read_video(out / name)
        assert (len(video), video.height, video.width) == (4, 72, width)
    assert (b"st3d" in (out / files[0]).read_bytes()) == (layout == "side-by-side")
    said = capsys.readouterr()
    assert "disparity" in said.err and said.out.strip() == f"o/{files[0]}"
    assert read_image(out / "contact_sheet.png").shape[0] == 3
    rig = json.loads((out / "config.json").read_text())["rig"]
    cameras = [read_cameras(out / f"{eye}.cameras.json").cameras for eye in ("left", "right")]
    assert cameras[0] is not None and cameras[1] is not None
    apart = (cameras[1].centers - cameras[0].centers).norm(dim=1)
    assert apart.tolist() == pytest.approx([rig["interaxial"]] * 4)


def test_a_refusal_leaves_nothing(scene_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["stereo", str(scene_folder), "--behind", "-1", "-o", "o"])
    assert stopped.value.code not in (0, None) and "behind is -1" in capsys.readouterr().err
    assert not Path("o").exists()


def test_a_run_that_fails_at_its_end_leaves_nothing(
    scene_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(stereo_command, "write_record", full)
    with pytest.raises(SystemExit):
        main(["stereo", str(scene_folder), "--model", "none", "-o", "o", "--quiet"])
    assert [path.name for path in scene_folder.parent.iterdir()] == ["scene"]


def test_from_python(tmp_path: Path) -> None:
    result = recam.stereo(wall(), layout="half-top-bottom", complete=QUICK)
    path = recam.save(result, tmp_path / "both.mkv")
    assert len(read_video(path)) == NUM and bytes([0x53, 0xB8, 0x81, 3]) in path.read_bytes()
    recam.save(replace(result, layout="separate"), tmp_path / "two.mp4")
    assert (tmp_path / "two-left.mp4").exists() and (tmp_path / "two-right.mp4").exists()


class Painter:
    """A completer whose every window has a colour of its own."""

    note, weights_sha256, identity = "", None, ("painter",)

    def __init__(self) -> None:
        self.colors = iter([[255, 0, 0], [0, 255, 0]])

    def plan(self, total: int, height: int, width: int) -> Windows:
        return Windows(total, 0, 0)

    def fill(self, window: PartialVideo, first: int = 0, progress: object = None) -> torch.Tensor:
        color = torch.tensor(next(self.colors), dtype=torch.uint8)[:, None, None]
        return torch.where(window.known[:, None] > 0.5, window.frames, color)


@pytest.mark.parametrize("width", [2, 24])
def test_what_both_eyes_miss_is_made_up_once(width: int) -> None:
    """A pole before a wall. Behind a thin one both miss the same place, and the right eye shows
    what was made up for the left one (red); a broad one hides a place of its own from each."""
    scene = wall()
    z = torch.full_like(scene.depth, 4.0)
    z[:, :, 40 : 40 + width] = 1.0
    rig = RigConfig(focus_depth=4.0, in_front=0.15)
    result = stereo(
        replace(scene, depth=z), StereoConfig(rig, outlines="sharp"), completer=Painter()
    )  # type: ignore[arg-type]
    made_up = {}
    for name, eye in (("left", result.left), ("right", result.right)):
        hole = eye.partial.known[1] < 0.5
        hole[:, : W // 8] = hole[:, -W // 8 :] = False  # borders of the picture
        shown = eye.video.frames[1]
        made_up[name] = [int((hole & (shown[c] > 200)).sum()) for c in (0, 1)]
    assert made_up["left"][0] > 100 and made_up["left"][1] == 0
    if width == 2:
        assert made_up["right"][0] > 2 * made_up["right"][1]
    else:
        assert made_up["right"][1] > 100 and made_up["right"][0] < 0.1 * made_up["right"][1]


def test_narrow_gaps_go_on_from_behind() -> None:
    """A pole before a wall of stripes along rows: beside it the wall goes on, row by row, without a
    completer; nothing of the pole's colour gets there. What was filled does not count as seen."""
    scene = wall()
    stripes = (torch.arange(H) * 5 % 200)[None, None, :, None].expand(NUM, 3, H, W)
    frames = stripes.to(torch.uint8).clone()
    frames[..., 40:64] = 255
    z = torch.full_like(scene.depth, 4.0)
    z[:, :, 40:64] = 2.0
    scene = replace(scene, depth=z, video=replace(scene.video, frames=frames))
    rig = RigConfig("left", focus_depth=2.0, behind=0.03)
    result = stereo(
        scene,
        StereoConfig(rig, outlines="sharp", gaps="behind", complete=replace(QUICK, model="none")),
    )
    eye = result.right
    gap = (eye.partial.known < 0.5)[:, :, W // 8 : -W // 8]
    assert 0 < float(gap.float().mean()) < 0.1
    shown = eye.video.frames[..., W // 8 : -W // 8]
    wanted = stripes[..., W // 8 : -W // 8]
    assert float((shown.int() - wanted).abs()[gap[:, None].expand_as(shown)].float().mean()) < 2


def test_rows_move_by_hand() -> None:
    """A row of ten pixels moves by two; the near ones from 4 to 6 by none, before the others."""
    frame = torch.arange(10, 110, 10, dtype=torch.uint8).expand(3, 1, 10).contiguous()
    move, near = torch.full((1, 10), 2.0), torch.full((1, 10), 0.5)
    picture, came = moved_rows(frame, move, near)
    assert picture[0, 0].tolist() == [0, 0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert came[0, 2:].tolist() == list(range(8)) and bool(came[0, :2].isnan().all())
    move[0, 4:7], near[0, 4:7] = 0.0, 1.0
    picture, came = moved_rows(frame, move, near)
    # What lies behind is hidden on one side (40), and stretched on the other.
    assert picture[0, 0, 2:7].tolist() == [10, 20, 50, 60, 70] and came[0, 7] == pytest.approx(
        6.333, abs=1e-3
    )
    half = moved_rows(frame, torch.full((1, 10), 0.5), torch.full((1, 10), 0.5))[0]
    assert half[0, 0, 3:7].tolist() == [35, 45, 55, 65]


def boxed() -> Scene:
    """A white box before a grey wall, whose depth ends three pixels within its colour."""
    scene = wall()
    frames = torch.full((NUM, 3, H, W), 90, dtype=torch.uint8)
    frames[:, :, 12:36, 36:60] = 255
    z = torch.full_like(scene.depth, 4.0)
    z[:, 12:36, 39:57] = 2.0
    return replace(scene, depth=z, video=replace(scene.video, frames=frames))


def test_soft_outlines_leave_no_crumbs() -> None:
    """In each row the box stays one piece; torn at its depth's edge it leaves some of its rim."""
    rig = RigConfig("left", focus_depth=4.0, in_front=0.06)
    pieces = {}
    for outlines in ("soft", "sharp"):
        config = StereoConfig(rig, outlines=outlines, complete=replace(QUICK, model="none"))  # type: ignore[arg-type]
        eye = stereo(boxed(), config).right
        known = eye.partial.known[0] > 0.5
        white = (known & (eye.video.frames[0, 1] > 170))[14:34].int()
        pieces[outlines] = ((white[:, 1:] - white[:, :-1]) == 1).sum(1).tolist()
        if outlines == "soft":
            assert float(white.sum()) == pytest.approx(20 * 24, rel=0.12)
            assert bool(known[:, 8:-8].all())
    assert pieces["soft"] == [1] * 20 and pieces["sharp"] == [2] * 20

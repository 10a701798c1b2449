"""What was made up once is seen again: by other views, after what was filmed, and on disk."""

from pathlib import Path

import pytest
import torch

from recam.configs import PathConfig, RenderConfig, ReshootConfig
from recam.geometry import intrinsics_from_fov
from recam.reconstruct.io.scene_files import load_scene
from recam.render import render
from recam.scene_memory import joined, made_up_part, remember
from recam.tasks.reshoot import reshoot, with_memory
from recam.trajectories import path_for_scene
from recam.types import CameraPath, Cameras, Evidence, Rendering, Scene, Video, video_from_frames
from task_clips import texture

PAN = PathConfig("pan", yaw=12.0, speed="linear")


def wall(num: int = 3) -> Scene:
    """A still camera before a textured wall that fills its picture."""
    h, w = 72, 112
    frames = torch.from_numpy(texture(h, w, 3)).permute(2, 0, 1)[None].repeat(num, 1, 1, 1)
    video: Video = video_from_frames(frames, fps=12)
    nothing = torch.zeros(num, h, w, dtype=torch.bool)
    cameras = Cameras(
        torch.eye(4, dtype=torch.float64).repeat(num, 1, 1),
        intrinsics_from_fov(60.0, h, w).repeat(num, 1, 1), h, w,
    )  # fmt: skip
    depth = torch.full((num, h, w), 4.0)
    return Scene(video, cameras, depth, ~nothing, nothing, torch.ones_like(depth))


def red(view: Rendering) -> torch.Tensor:
    """Fills holes with red."""
    paint = torch.tensor([250, 10, 10], dtype=torch.uint8)[None, :, None, None]
    return torch.where(view.known[:, None] > 0.5, view.frames, paint)


def test_other_views_see_what_one_view_was_given() -> None:
    scene = wall()
    path = path_for_scene(scene, PAN)
    before = render(scene, path)
    after_scene = remember(scene, path, 2, red, RenderConfig())
    assert 0 < after_scene.num_made_up <= 2 and len(after_scene) == 3 + after_scene.num_made_up
    after = render(after_scene, path)
    was_hole = before.known[1] < 0.5
    assert float(was_hole.float().mean()) > 0.02
    assert float((after.known[1][was_hole] > 0.5).float().mean()) > 0.9
    shown = after.frames[1][:, was_hole & (after.known[1] > 0.5)].float()
    assert float(shown[0].mean()) > 200 and float(shown[1].mean()) < 60
    assert after.evidence is not None and before.evidence is not None
    made_up = was_hole & (after.known[1] > 0.5)
    assert float((after.evidence[1][made_up] == Evidence.MADE_UP).float().mean()) > 0.95
    assert not bool((before.evidence == Evidence.MADE_UP).any())
    assert torch.equal(before.evidence == Evidence.NONE, before.known <= 0.5)
    filmed = before.known > 0.5
    same = (after.frames.float() - before.frames.float()).abs().amax(1)[filmed]
    assert float((same <= 1).float().mean()) > 0.99


def test_what_was_filmed_takes_made_up_things_away() -> None:
    scene = wall()
    view = path_for_scene(scene, PAN)[2:]
    wrong = remember(scene, view, 1, red, RenderConfig())
    wrong.valid[-1] = True
    wrong.depth[-1] = 1.0  # something in front of the wall, seen through by all that was filmed
    seen = render(wrong, CameraPath(scene.cameras[:1], torch.tensor([0])))
    assert float((seen.frames.float() - scene.video.frames[:1].float()).abs().mean()) < 2


def test_a_scene_keeps_it(tmp_path: Path) -> None:
    scene, config = wall(), ReshootConfig(path=PAN, memory=2)
    path = path_for_scene(scene, PAN)

    class Painter:
        identity = ("red",)
        calls = 0

        def fill(self, window: Rendering) -> torch.Tensor:
            self.calls += 1
            return red(window)

    painter = Painter()
    first = with_memory(scene, path, config, painter, folder=tmp_path)  # type: ignore[arg-type]
    made = painter.calls
    assert made == first.num_made_up > 0
    again = with_memory(scene, path, config, painter, folder=tmp_path)  # type: ignore[arg-type]
    assert painter.calls == made and again.num_made_up == made
    assert torch.equal(again.video.frames[:], first.video.frames[:])
    part = made_up_part(first)
    assert part is not None and made_up_part(scene) is None
    kept = load_scene(next(tmp_path.glob("memory-*")))
    assert torch.equal(kept.depth, part.depth) and torch.equal(kept.valid, part.valid)
    with pytest.raises(ValueError, match="do not belong"):
        joined(wall(), Scene(
            video_from_frames(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), part.cameras[:1],
            part.depth[:1], part.valid[:1], part.dynamic[:1], part.confidence[:1],
        ))  # fmt: skip


def test_reshoot_with_memory_has_the_path_s_frames() -> None:
    result = reshoot(wall(), ReshootConfig(path=PAN, memory=2))
    assert len(result.video) == 3 and torch.equal(result.video.times_s, wall().video.times_s)

"""Previews are the renderer's pictures, small; what is counted on them is true of them."""

from dataclasses import replace

import pytest
import torch

from recam.apps.studio.preview import PITCHES_DEG, Previewer, small_scene, spread
from recam.configs import PathConfig, RenderConfig
from recam.render import render
from recam.trajectories import focus_depth
from studio_scene import small_clip


@pytest.fixture(scope="module")
def previewer() -> Previewer:
    clip = small_clip()
    made = Previewer(small_scene(clip), focus_depth(clip))
    made.prepare()
    return made


def test_a_preview_is_what_the_renderer_shows(previewer: Previewer) -> None:
    path = previewer.path(PathConfig("orbit", yaw=15.0))
    whole = render(previewer.scene, path, RenderConfig())
    for i in (0, 5, 7):
        preview = previewer.frame(path, i)
        seen = whole.known[i] > 0.5
        assert torch.equal(preview.known, whole.known[i])
        assert torch.equal(preview.picture[:, seen], whole.frames[i][:, seen])
        assert preview.never_seen == pytest.approx(1 - float(seen.float().mean()))
        hole = preview.picture[:, preview.known == 0]
        assert (hole == torch.tensor([[64], [0], [64]])).all()


def test_the_source_path_is_all_seen(previewer: Previewer) -> None:
    path = previewer.path(PathConfig("orbit", yaw=0.0))
    preview = previewer.frame(path, 3)
    assert preview.never_seen == 0 and not preview.elsewhere.any()
    assert torch.equal(preview.picture, previewer.scene.video.frames[3])
    assert max(previewer.graph(path)[1]) == 0


def test_what_is_seen_elsewhere_is_what_the_other_frames_add(previewer: Previewer) -> None:
    path = previewer.path(PathConfig("orbit", yaw=20.0))
    alone = render(previewer.scene, path[7:8], RenderConfig(aggregate_static=False))
    preview = previewer.frame(path, 7)
    added = (preview.known > 0.5) & (alone.known[0] <= 0.5)
    assert added.any() and torch.equal(preview.elsewhere, added)


def test_the_graph_agrees_with_the_pictures(previewer: Previewer) -> None:
    path = previewer.path(PathConfig("orbit", yaw=20.0))
    frames, shares = previewer.graph(path)
    assert frames == list(range(8))
    full = [previewer.frame(path, i).never_seen for i in frames]
    assert max(abs(a - b) for a, b in zip(shares, full)) < 0.03  # counted at a smaller size


def test_a_limit_is_kept_and_not_missed_by_much(previewer: Previewer) -> None:
    config = PathConfig("orbit", yaw=40.0, speed="linear")
    cut = previewer.within(config, 0.1)
    assert cut.yaw is not None and 0 < cut.yaw < 40
    worst = max(previewer.never_seen(previewer.path(cut), range(8)))
    assert 0.05 < worst <= 0.1
    assert previewer.within(replace(config, yaw=0.5), 0.1) == replace(config, yaw=0.5)
    static = PathConfig("static")
    assert previewer.within(static, 0.0) == static


def test_the_dome_is_clear_where_the_source_is(previewer: Previewer) -> None:
    shares = [previewer.dome_row(pitch) for pitch in PITCHES_DEG]
    flat = [share for row in shares for share in row]
    assert min(flat) == shares[2][5] == 0  # pitch 0, yaw 0
    assert shares[2][0] > 0.2 and shares[2][-1] > 0.2


def test_small_scenes_are_small_and_keep_their_depth() -> None:
    clip = small_clip()
    small = small_scene(clip, 72)
    assert (small.video.height, small.video.width) == (48, 72)
    assert small.depth.shape[1:] == (48, 72)
    assert set(small.depth.flatten()[::50].tolist()) <= set(clip.depth.flatten().tolist())
    assert focus_depth(small) == pytest.approx(focus_depth(clip), rel=0.03)


def test_spread_has_both_ends() -> None:
    assert spread(1, 5) == [0] and spread(3, 9) == [0, 1, 2] and spread(100, 3) == [0, 50, 99]

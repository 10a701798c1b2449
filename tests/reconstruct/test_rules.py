"""Every heuristic has a switch, and the quality sets the size of the geometry."""

from dataclasses import fields, replace

import pytest
import torch

from recam.configs import ALL_RULES, ReconstructConfig
from recam.reconstruct import reconstruct
from recam.types import Scene, Video
from reconstruct_scene import render_world

T, H, W = 9, 72, 112


@pytest.fixture(scope="module")
def clip() -> Video:
    return render_world(T, H, W, slide=-0.12).video


@pytest.fixture(scope="module")
def whole(clip: Video) -> Scene:
    return reconstruct(clip)


@pytest.mark.parametrize("rule", ["view_consistency", "photometric_refinement", "ground_contact"])
def test_a_rule_that_is_off_changes_the_scene(rule: str, clip: Video, whole: Scene) -> None:
    without = reconstruct(clip, ReconstructConfig(rules=replace(ALL_RULES, **{rule: False})))
    same_depth = torch.equal(without.depth, whole.depth)
    same_cameras = torch.equal(without.cameras.cam_from_world, whole.cameras.cam_from_world)
    assert not (same_depth and same_cameras and torch.equal(without.dynamic, whole.dynamic))


def test_all_rules_off_still_gives_a_scene(clip: Video) -> None:
    none = replace(ALL_RULES, **{rule.name: False for rule in fields(ALL_RULES)})
    scene = reconstruct(clip, ReconstructConfig(rules=none))
    assert bool(torch.isfinite(scene.depth).all()) and scene.camera_motion == "moving"


def test_a_draft_has_no_second_pass_and_a_smaller_geometry() -> None:
    large = render_world(4, 160, 288, slide=0.08).video
    draft = reconstruct(large, ReconstructConfig(quality="draft"))
    assert (draft.cameras.height, draft.cameras.width) == (142, 256)
    assert "refining" in draft.report["seconds"] and draft.report["seconds"]["refining"] < 1
    own = reconstruct(large, ReconstructConfig(quality="draft", size=96))
    assert own.cameras.width == 96

"""Synth4D: the same bytes again, and truth that agrees with itself."""

import json
from pathlib import Path

import pytest
import torch

from recam.evaluation.scores import warping_scores
from recam.evaluation.synth4d import REFERENCE, SPECS, make, read, scenes
from recam.evaluation.synth4d.make import NEVER_SEEN, SEEN_NOW, make_synth4d, seen_by_source
from recam.evaluation.synth4d.read import synth4d_samples
from recam.evaluation.synth4d.scenes import VIEWS, build_scene, source_cameras, view_cameras
from recam.evaluation.temporal import warping_error
from recam.synthetic import render_synthetic
from recam.synthetic.cameras import clearance


def test_twenty_scenes_half_of_them_hard() -> None:
    assert len(SPECS) == len({s.name for s in SPECS}) == 20
    hard = [s.moved_px for s in SPECS if s.split == "hard"]
    easy = [s.moved_px for s in SPECS if s.split == "easy"]
    assert len(hard) == len(easy) == 10 and min(hard) > max(easy)
    assert all(abs(s.near) <= 12 and 25 <= abs(s.far) <= 40 for s in SPECS)
    assert {s.kind for s in SPECS} == {"room", "hall", "street", "park"}
    assert len({s.camera for s in SPECS}) == 5
    reference = json.loads(REFERENCE.read_text())
    assert list(reference["scenes"]) == sorted(s.name for s in SPECS)


@pytest.mark.parametrize("index", [0, 6, 13])
def test_new_cameras_are_in_free_air_and_start_where_they_should(index: int) -> None:
    spec = SPECS[index]
    scene = build_scene(spec)
    source = source_cameras(spec, scene)
    for name in VIEWS:
        cameras = view_cameras(spec, scene, source, name)
        assert clearance(scene, cameras.centers, scenes.times_s()) >= 0.25
    gradual = view_cameras(spec, scene, source, "gradual")
    torch.testing.assert_close(gradual.cam_from_world[0], source.cam_from_world[0])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark at a size for tests."""
    for module in (scenes, read):
        monkeypatch.setattr(module, "NUM_FRAMES", 3)
        monkeypatch.setattr(module, "HEIGHT", 32)
        monkeypatch.setattr(module, "WIDTH", 48)
    monkeypatch.setattr(make, "times_s", lambda n=3: scenes.times_s(n))
    monkeypatch.setattr(read, "times_s", lambda n=3: scenes.times_s(n))
    monkeypatch.setattr(make, "_OTHER_FRAMES", (0, 2))


def test_the_same_bytes_again(small: None, tmp_path: Path) -> None:
    first = make_synth4d(tmp_path / "a", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = make_synth4d(tmp_path / "b", 1)
    finally:
        torch.set_num_threads(threads)
    assert first == second
    (entry,) = first["scenes"].values()
    assert {"source/frames", "source/depth", "near/seen", "far/frames"} <= set(entry["arrays"])
    a, b = ((tmp_path / n / "manifest.json").read_bytes() for n in "ab")
    assert a == b
    before = (tmp_path / "a" / SPECS[0].name / "hashes.json").stat().st_mtime_ns
    make_synth4d(tmp_path / "a", 1)  # resumes: nothing is made again
    assert (tmp_path / "a" / SPECS[0].name / "hashes.json").stat().st_mtime_ns == before


def test_read_as_made(small: None, tmp_path: Path) -> None:
    make_synth4d(tmp_path, 1)
    (sample,) = synth4d_samples(tmp_path, 1)
    spec = SPECS[0]
    scene = build_scene(spec)
    source = source_cameras(spec, scene)
    assert sample.cameras is not None and sample.read_depth is not None
    assert torch.equal(sample.cameras.cam_from_world, source.cam_from_world)  # to the last bit
    shot = render_synthetic(scene, source, scenes.times_s(3))
    assert torch.equal(sample.read_video().frames, shot.frames)
    torch.testing.assert_close(sample.read_depth()[0], shot.depth, rtol=1.3e-4, atol=0)
    assert [v.name for v in sample.views] == list(VIEWS)
    assert sample.split == spec.split
    far = sample.views[1]
    assert far.read_seen is not None and far.read_dynamic is not None
    assert set(far.read_seen().unique().tolist()) <= {0, 1, 2}
    assert far.read_seen().shape == far.read_dynamic().shape == (3, 32, 48)


def test_true_flow_takes_each_frame_to_the_next(small: None, tmp_path: Path) -> None:
    make_synth4d(tmp_path, 1)
    (sample,) = synth4d_samples(tmp_path, 1)
    view = sample.views[0]
    assert view.read_flow is not None
    flow, visible = view.read_flow()
    assert flow.shape == (2, 32, 48, 2) and visible.shape == (2, 32, 48)
    assert float(visible.float().mean()) > 0.8 and float(flow.abs().max()) > 1
    frames = view.read_video().frames
    still = warping_error(frames, torch.zeros_like(flow), visible)
    assert warping_error(frames, flow, visible) < 0.5 * still
    truth = view.read_video()
    scores = warping_scores(truth.frames, truth, (flow, visible))
    assert scores["warping"] == scores["warping_truth"]


def test_seen_by_source_agrees_with_geometry() -> None:
    spec = SPECS[0]  # whose textures are painted already
    scene = build_scene(spec)
    times = scenes.times_s(2)
    source = source_cameras(spec, scene)[:2].resized(48, 72)
    shot = render_synthetic(scene, source, times)
    kept, make._OTHER_FRAMES = make._OTHER_FRAMES, (0,)
    try:
        same = seen_by_source(scene, shot, source, source, shot.depth)
        far = view_cameras(spec, scene, source, "far")
        truth = render_synthetic(scene, far, times)
        other = seen_by_source(scene, truth, far, source, shot.depth)
    finally:
        make._OTHER_FRAMES = kept
    assert float((same == SEEN_NOW).float().mean()) > 0.999
    assert 0.1 < float((other == NEVER_SEEN).float().mean()) < 0.9

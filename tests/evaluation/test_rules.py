"""The table of the reconstruction's heuristics: what it scores, and that a stopped run goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recam.evaluation import rules
from recam.evaluation.rules import EVERYTHING, rule_ablations, scene_scores
from recam.synthetic import synthetic_clip


def test_the_truth_scores_perfectly() -> None:
    truth, _ = synthetic_clip(3, 4, 48, 72)
    found = scene_scores(truth, truth)
    assert found["abs_rel"] == pytest.approx(0, abs=1e-6) and found["delta1"] == 1
    assert found["rotation_deg"] == pytest.approx(0, abs=1e-4)


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(video: object, config: object, kept: object) -> object:
        made.append(config)
        return truths[-1]

    truths = []
    real = rules.synthetic_clip

    def clip(*args: object) -> object:
        truths.append(real(*args)[0])
        return truths[-1], None

    monkeypatch.setattr(rules, "reconstruct", counted)
    monkeypatch.setattr(rules, "synthetic_clip", clip)
    first = rule_ablations(tmp_path, 1, 3, 48, 72, ["sky"])
    assert len(made) == 2 and f"| {EVERYTHING} |" in first and "| without sky |" in first
    with (tmp_path / "reconstruct.jsonl").open("a") as file:
        file.write('{"scene": 1, "vari')  # killed while it wrote
    again = rule_ablations(tmp_path, 1, 3, 48, 72, ["sky"])
    assert len(made) == 2 and again == first
    rows = (tmp_path / "reconstruct.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["variant"] == EVERYTHING


def test_an_unknown_rule_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rule skies; there are relief_restarts"):
        rule_ablations(tmp_path, rules=["skies"])


def test_a_rule_is_turned_off_from_the_step_on_that_it_changes(tmp_path: Path) -> None:
    base = rules._Steps(tmp_path / "0")
    for number, name in enumerate(rules.STEPS):
        base.arrays(name, lambda number=number: {"x": np.array([number])})
    without = base.until("local_plane_sweep")
    shared = ("cameras", "straight cameras", "depth", "voted", "refined")
    assert [name for name in rules.STEPS if without.has(name)] == list(shared)
    assert without.spared_s() == pytest.approx(sum(base.seconds[name] for name in shared))
    for cameras, same in ((0, True), (1, False)):  # base's cameras hold 0
        anew = base.until("guessed_relief")
        shutil.rmtree(tmp_path / "0-guessed_relief", ignore_errors=True)
        anew.arrays("cameras", lambda cameras=cameras: {"x": np.array([cameras])})
        assert anew.has("matched-1") == same
    assert base.until("instances").has("matched-1")

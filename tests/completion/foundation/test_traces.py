"""Against numbers kept of the models' own pipelines: see foundation_traces.py."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")

from foundation_checkpoints import save_ltx
from foundation_traces import FILE, SIZES, build, ours
from recam.completion.foundation.schedules import FlowSchedule, ltx_schedule

pytestmark = pytest.mark.filterwarnings("ignore::recam.completion.foundation.placement.ModelNote")


@pytest.mark.parametrize("case", SIZES)
def test_steps_are_the_publishers(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the transformer is given at every step (noisy latents, condition latents, times), its
    first answer, and the latent that is decoded."""
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    made = ours(case, build(case, tmp_path / case))
    with np.load(FILE, allow_pickle=False) as file:
        kept = {name.split("/")[1]: file[name] for name in file if name.startswith(f"{case}/")}
    assert set(made) == set(kept) >= {"inputs", "times", "answer", "latent"}
    assert np.array_equal(made["times"], np.broadcast_to(kept["times"], made["times"].shape))
    if case.startswith("ltx"):  # whose publishers decode evidence with the last step's noise on it
        made["latent"], kept["latent"] = made["latent"][:, :, 1:], kept["latent"][:, :, 1:]
    for name, value in made.items():
        assert kept[name].std() > 0.1, name  # numbers that say nothing would prove nothing
        assert value.shape == kept[name].shape, name
        assert np.abs(value - kept[name]).max() < 2e-5 * max(1, np.abs(kept[name]).max()), name


@pytest.mark.parametrize("shift, steps", [(5.0, 50), (16.0, 50), (3.0, 4)])
def test_levels_of_wan(shift: float, steps: int) -> None:
    """Evenly spaced from 1 to a thousandth, shifted, the last one 0; times in whole thousandths."""
    scheduler = FlowSchedule(None, shift, "unipc").begin(steps, 1)
    s = np.linspace(1, 0.001, steps + 1)[:-1]
    s = shift * s / (1 + (shift - 1) * s)
    s[0] -= 1e-6  # as its publishers' scheduler does, for a logarithm's sake
    assert np.allclose(scheduler.sigmas, [*s, 0], atol=1e-6)
    assert np.array_equal(scheduler.timesteps, np.floor(1000 * s))


@pytest.mark.parametrize("dynamic", [True, False])
def test_one_step_of_ltx_goes_from_noise_to_clean(dynamic: bool, tmp_path: Path) -> None:
    """Where nothing can be stretched to a last level, nor a line be followed by a curve."""
    save_ltx(tmp_path, dynamic_shifting=dynamic)
    scheduler = ltx_schedule(tmp_path / "scheduler", "own", None).begin(1, 330)
    assert scheduler.sigmas.tolist() == [1, 0] and scheduler.timesteps.tolist() == [1000]


@pytest.mark.parametrize("tokens", [330, 6930, 20000])
def test_levels_of_ltx_follow_the_number_of_tokens(tokens: int, tmp_path: Path) -> None:
    """Of the clip's own, not clamped, and stretched so that the last one is shift_terminal."""
    save_ltx(tmp_path)
    schedule = ltx_schedule(tmp_path / "scheduler", "own", None)
    mu = 0.95 + (2.05 - 0.95) * (tokens - 1024) / (4096 - 1024)
    s = np.linspace(1, 1 / 40, 40)
    s = np.exp(mu) * s / (1 + (np.exp(mu) - 1) * s)
    s = 1 - (1 - s) * (1 - 0.1) / (1 - s[-1])
    scheduler = schedule.begin(40, tokens)
    assert np.allclose(scheduler.sigmas, [*s, 0], atol=1e-5)
    assert np.allclose(scheduler.timesteps, 1000 * s, atol=1e-2)
    given = ltx_schedule(tmp_path / "scheduler", "own", 4.0)
    assert given.shift(tokens) == 4.0 and schedule.shift(tokens) == pytest.approx(np.exp(mu))

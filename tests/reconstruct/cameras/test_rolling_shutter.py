"""Rolling shutter is noticed where rows are read at different times, and nowhere else."""

import pytest

from recam.reconstruct.cameras.rolling_shutter import find_rolling_shutter
from recam.types import Scene
from shaken_film import film


@pytest.mark.parametrize(("readout", "columns"), [(0.8, False), (0.4, False), (-0.6, True)])
def test_it_is_noticed_and_measured(readout: float, columns: bool) -> None:
    found = find_rolling_shutter(film(readout, columns=columns))
    assert found is not None and found.columns == columns
    assert found.readout == pytest.approx(readout, abs=0.15)
    assert ("columns" if columns else "rows") in found.describe()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_global_shutter_is_none(seed: int) -> None:
    assert find_rolling_shutter(film(0.0, seed=seed)) is None


def test_a_steady_camera_tells_nothing() -> None:
    assert find_rolling_shutter(film(0.8, shake=0.0)) is None


def test_few_frames_tell_nothing() -> None:
    scene = film(0.8)
    short = Scene(
        scene.video[:5], scene.cameras[:5], scene.depth[:5], scene.valid[:5], scene.dynamic[:5],
        scene.confidence[:5],
    )  # fmt: skip
    assert find_rolling_shutter(short) is None

"""Several processes train as one that takes their batches in turn; gloo, two processes."""

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from recam.completion.weights import load_model
from recam.configs import DepthTrainConfig, ModelConfig, PretrainConfig
from recam.reconstruct.depth_prior.network import DepthNetConfig
from recam.training.depth.data import Chunk, Pool
from recam.training.depth.pretrain import pretrain_depth
from recam.training.devices import joined_devices
from recam.training.pretrain import pretrain
from recam.types import RecamError

TINY = PretrainConfig(
    model=ModelConfig(patch=8, hidden=32, heads=2, blocks=3, stem=8, fills=("pull-push",)),
    steps=3, batch=1, num_frames=2, height=16, width=24, warmup=1, device="cpu",
    checkpoint_every=2, evaluate_every=9, num_heldout=0,
)  # fmt: skip

SMALL = DepthNetConfig(widths=(8, 8, 8, 8, 16), attention=1, heads=2)
DEPTH = DepthTrainConfig(
    steps=3, batch=2, area=32 * 32, device="cpu", warmup=1, checkpoint_every=2, frozen=0.5
)


def column(out: Path, name: str) -> list[float]:
    """A column of the curve that a run left."""
    (curve,) = out.glob("curve*.csv")
    with curve.open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def by_two(work: Callable[[], object], tmp_path: Path) -> None:
    """Run a function in two processes, as torchrun starts them."""
    mp.spawn(_as_rank, (work, str(tmp_path / "meeting")), nprocs=2)


def _as_rank(rank: int, work: Callable[[], object], meeting: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    address = f"file://{meeting}"
    torch.distributed.init_process_group("gloo", address, rank=rank, world_size=2)
    work()
    torch.distributed.destroy_process_group()


def pictures() -> Pool:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (6, 3, 96, 128), dtype=torch.uint8, generator=generator)
    depth = torch.rand(6, 96, 128, generator=generator).half()
    return Pool(chunks=[Chunk(frames, depth, torch.full((6,), 60.0))])


def train(config: PretrainConfig | DepthTrainConfig) -> None:
    if isinstance(config, PretrainConfig):
        pretrain(config)
    else:
        pretrain_depth(config, SMALL, pictures(), evaluate=False)


class TrainAll:
    """``train`` of one config after the other, in a form that other processes can be handed."""

    def __init__(self, *configs: PretrainConfig | DepthTrainConfig) -> None:
        self.configs = configs

    def __call__(self) -> None:
        for config in self.configs:
            train(config)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of runs of two processes (their start costs most: once for all tests) and of one."""
    folder = tmp_path_factory.mktemp("runs")
    one = replace(TINY, out=str(folder / "one"), accumulate=2)
    two = replace(TINY, out=str(folder / "two"))
    # Stopped after two steps, which one process takes up, and the other way round.
    begun = replace(TINY, out=str(folder / "begun"), steps=2, split_weights=True)
    alone = replace(one, out=str(folder / "alone"), steps=2)
    depth = replace(DEPTH, out=str(folder / "depth one"), accumulate=2)
    depth_two = replace(DEPTH, out=str(folder / "depth two"))
    depth_split = replace(DEPTH, out=str(folder / "depth split"), split_weights=True)
    TrainAll(one, alone, depth)()
    taken_up = replace(alone, steps=3, accumulate=1, split_weights=True)
    by_two(TrainAll(two, begun, taken_up, depth_two, depth_split), folder)
    pretrain(replace(begun, steps=3, accumulate=2, split_weights=False))
    return folder


@pytest.mark.parametrize("name", ["two", "begun", "alone"])
def test_two_processes_learn_as_one_with_both_batches(runs: Path, name: str) -> None:
    expected = column(runs / "one", "loss")
    assert column(runs / name, "loss") == pytest.approx(expected, rel=2e-3)
    assert not (runs / name / ".checkpoint.part").exists()
    assert (runs / name / "checkpoint" / "run.json").is_file() == (name != "begun")
    a, b = (load_model(runs / n / "weights.safetensors").state_dict() for n in ("one", name))
    for key, value in a.items():
        assert torch.allclose(value.float(), b[key].float(), atol=2e-2), key


def test_the_depth_network_learns_on_two_as_on_one(runs: Path) -> None:
    expected = column(runs / "depth one", "loss")
    assert column(runs / "depth two", "loss") == pytest.approx(expected, rel=2e-3)
    # Split weights lie otherwise in memory: sums are rounded otherwise, and Adam's first steps make
    # much of the smallest gradients.
    assert column(runs / "depth split", "loss") == pytest.approx(expected, rel=1e-2)
    norms = [column(runs / name, "norm")[0] for name in ("depth split", "depth one")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_what_no_launcher_started_is_refused() -> None:
    with (
        pytest.raises(RecamError, match="torchrun --nproc-per-node 3"),
        joined_devices("cpu", 3),
    ):
        pass
    with pytest.raises(RecamError, match="several devices"), joined_devices("cpu", 0, True):
        pass


def test_a_launcher_s_variables_say_who_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with joined_devices("cpu", 0) as alone:
        assert (alone.worker, alone.num, alone.split) == (0, 1, False)
        assert alone.mean(2.5) == 2.5 and alone.agree(True) and not alone.agree(False)

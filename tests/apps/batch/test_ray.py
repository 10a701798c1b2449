"""Rows by Ray on two nodes of one machine: both work, and a worker that is killed loses nothing."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_jobs import double, kills_its_worker_once
from recam.apps.batch.command import do_all
from recam.configs import EngineConfig

ray = pytest.importorskip("ray", reason="needs the scale extra")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with a core each; this process belongs to it."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}}
    ray.init(nodes.address, log_to_driver=False, runtime_env=here)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.parametrize("job", [double, kills_its_worker_once])
def test_two_nodes_do_every_row_once(cluster: str, job, tmp_path: Path) -> None:
    rows = lambda: ({"id": str(i), "number": i} for i in range(8))  # noqa: E731
    config = EngineConfig(engine="ray", address=cluster, workers=2)
    summary = do_all(rows, str(tmp_path), config, job, True)
    assert (summary["ok"], summary["failed"]) == (8, 0)
    marks = [mark.name.split(".") for mark in (tmp_path / "marks").iterdir()]
    assert Counter(number for number, *_ in marks) == {str(i): 1 for i in range(8)}
    assert len({pid for _, pid, _ in marks}) >= 2
    done = [json.loads(p.read_text()) for p in (tmp_path / "done").iterdir()]
    assert {record["twice"] for record in done} == {2 * i for i in range(8)}
    assert all(record["light"] for record in done)  # what does nothing needs no torch

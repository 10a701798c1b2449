"""examples/cluster, as far as one machine allows: what its scripts start, with which variables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLUSTER = Path(__file__).resolve().parents[1] / "examples" / "cluster"
SLURM = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"}


def started(script: str, tmp_path: Path, *words: str, **variables: str) -> list[str]:
    """The command line that a script ends in. The programs of a cluster are stand-ins."""
    for name in ("recam", "srun", "torchrun"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho node1\necho node2\n")
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    there = clean | variables | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "USER": "me"}
    done = subprocess.run(
        ["bash", str(CLUSTER / script), *words], env=there, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_a_slurm_array_runs_the_batch(tmp_path: Path) -> None:
    words = started(
        "slurm_array.sh", tmp_path, "films", "out", "--", "--yaw", "20",
        SLURM_CPUS_PER_TASK="4", **SLURM,
    )  # fmt: skip
    assert words[:5] == ["recam", "batch", "films", "--out", "out"]
    assert words[-3:] == ["--", "--yaw", "20"] and words[words.index("--threads") + 1] == "4"


def test_torchrun_meets_on_the_first_node_of_a_job_or_alone(tmp_path: Path) -> None:
    words = started(
        "torchrun.sh", tmp_path, "masked", "--steps", "9", SLURM_JOB_NODELIST="node[1-2]",
        SLURM_NNODES="2", SLURM_GPUS_ON_NODE="8", SLURM_JOB_ID="77",
    )  # fmt: skip
    assert words[:2] == ["srun", "torchrun"]
    assert words[words.index("--rdzv-endpoint") + 1] == "node1:29500"
    assert words[-5:] == ["-m", "recam.train", "masked", "--steps", "9"]
    alone = started("torchrun.sh", tmp_path, "depth", PROCESSES="2")
    assert alone == [
        "torchrun",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "recam.train",
        "depth",
    ]


def test_ray_s_own_schema_takes_the_cluster_file() -> None:
    pytest.importorskip("ray", reason="needs the scale extra")
    check = (
        "import sys, yaml; from ray.autoscaler._private import util;"
        "config = util.prepare_config(yaml.safe_load(open(sys.argv[1])));"
        "util.validate_config(config);"
        "print(config['cluster_name'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(CLUSTER / "ray-cluster.yaml")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "recam", done.stderr[-2000:]

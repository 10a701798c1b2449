#!/bin/bash
# Training on the GPUs of several nodes under Slurm.
#   sbatch examples/cluster/torchrun.sh masked --data s3://bucket/shards --out /data/run
#   sbatch examples/cluster/torchrun.sh foundation --data /data/shards --model ltx --weights FOLDER
# Without Slurm, on one machine:  PROCESSES=2 bash examples/cluster/torchrun.sh masked --device cpu …
# Submit it again to go on, on any number of nodes: with --accumulate the steps stay the same.
#SBATCH --job-name=recam-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
processes=${PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}
if [ -n "${SLURM_JOB_NODELIST:-}" ]; then
  head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  exec srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$processes" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
    -m recam.train "$@"
fi
exec torchrun --standalone --nproc-per-node "$processes" -m recam.train "$@"

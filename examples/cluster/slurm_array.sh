#!/bin/bash
# A folder or a table of jobs, on the tasks of a Slurm array. Each does its share of the rows.
#   sbatch examples/cluster/slurm_array.sh /data/films /data/out -- --path orbit --yaw 20
# Submit it again to go on with what was not finished.
#SBATCH --job-name=recam
#SBATCH --array=0-23
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
jobs=$1 out=$2
shift 2
# A disk of the node: scenes are kept there while the task runs.
export RECAM_CACHE=${RECAM_CACHE:-${SLURM_TMPDIR:-/tmp}/recam-$USER}
# The shard is read from SLURM_ARRAY_TASK_ID and its like.
exec recam batch "$jobs" --out "$out" --threads "${SLURM_CPUS_PER_TASK:-1}" --retries 2 --progress lines "$@"

#!/usr/bin/env bash
# The speed tables of docs/results/speed.md: synthetic scenes, the renderer beside the reference's
# warper, every stage and the whole pipeline. Run again to go on (the pipeline's rows are kept).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-runs/out}
mkdir -p "$out"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python benchmarks/synthetic_speed.py | tee "$out/synthetic_speed.md"
if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  python benchmarks/synthetic_speed.py --device cuda --frames 96 | tee "$out/synthetic_speed_gpu.md"
fi
python benchmarks/render_speed.py --only speed | tee "$out/render_speed.txt"
python benchmarks/pipeline_speed.py --out "$out/pipeline-speed"

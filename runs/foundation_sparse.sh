#!/usr/bin/env bash
# What leaving out work on known tokens costs in accuracy: a small transformer of Wan's kind learns
# drifting pictures (three minutes of one core; kept, so that a run that was stopped there goes on), then
# completes others with each option. Writes foundation_sparse.md into $OUT (default runs/out).
#   PYTHON   the interpreter; further options go to benchmarks/foundation_sparse.py
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
"$python" benchmarks/foundation_sparse.py --out "${OUT:-runs/out}" "$@"

#!/usr/bin/env bash
# Time and memory of adapting CogVideoX-5B (random weights, true size) to a video: 200 steps of the
# low-rank adapter, then 200 of the whole model (needs torchao). Prints as it goes; at most 220 s a
# method (--seconds). Any machine with CUDA and the foundation extra; on a CPU a tiny model proves it.
# Writes foundation_adapt.{csv,md} into $OUT (default runs/out).
#   PYTHON   the interpreter; further options go to benchmarks/foundation_adapt.py
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
tiny=()
if "$python" -c 'import sys, torch; sys.exit(torch.cuda.is_available())'; then
  tiny=(--tiny)
fi
"$python" benchmarks/foundation_adapt.py --out "${OUT:-runs/out}" "${tiny[@]}" "$@"

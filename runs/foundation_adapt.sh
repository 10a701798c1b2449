#!/usr/bin/env bash
# Time and memory of adapting CogVideoX-5B (random weights, true size) to a video: 200 steps of the
# low-rank adapter, then 200 of the whole model (needs torchao). At most 230 s a method (--seconds),
# so nine minutes in all; what is left of the 200 steps is worked out from those done, and a run that
# was stopped goes on with the missing method. For all 200: --methods lora --seconds 3000. Any machine
# with CUDA and the foundation extra; on a CPU a tiny model proves the script.
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

#!/usr/bin/env bash
# Time and memory of CogVideoX-5B (random weights, true size): the reference's work and recam's in one
# run, every placement, compiled, 8 bits. Any machine with CUDA and the foundation extra, about six
# minutes on a GPU of 80 GB; nothing is begun after --seconds (500), and run again it goes on. On a CPU
# a tiny model proves the script. Writes foundation_speed.{csv,md} into $OUT (default runs/out).
#   PYTHON   the interpreter; further options go to benchmarks/foundation_speed.py
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
tiny=()
if "$python" -c 'import sys, torch; sys.exit(torch.cuda.is_available())'; then
  tiny=(--tiny)
fi
"$python" benchmarks/foundation_speed.py --out "${OUT:-runs/out}" "${tiny[@]}" "$@"

#!/usr/bin/env bash
# Pretrains the depth network on synthetic views, made while it learns. Runs unchanged on two CPU
# cores and on one GPU; run again to resume. `recam pretrain-depth` takes options, e.g.
#   runs/pretrain_depth.sh --encoder runs/out/efficientnet_lite0.safetensors     # from ImageNet
#   runs/pretrain_depth.sh --start src/recam/weights/depth.safetensors --frozen 0   # goes on
# The first needs runs/convert_encoder.py. All is written to $OUT (default runs/out/depth):
# checkpoint.pt, weights.safetensors, curve.csv, config.json, log.txt. The pool of pictures is kept
# in the cache and found again by the next run.
#   MINUTES=9   stops after so much time with everything written (default: at the last step)
#   KEEP=DIR    the run lives there instead, and $OUT gets only what is worth carrying away
#   STEPS, BATCH, CHUNKS (of up to 60 pictures), WORKERS (that make them), PYTHON   as named
# To ship the result: cp $OUT/weights.safetensors src/recam/weights/depth.safetensors, write its
# sha256 and the figures of benchmarks/depth_prior.py into src/recam/weights/depth_card.md.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-runs/out/depth}
run=${KEEP:-$out}
python=${PYTHON:-python3}
mkdir -p "$out" "$run"
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export RECAM_CACHE=${RECAM_CACHE:-$run/cache} NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$run/cache/numba}
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  batch=${BATCH:-64} steps=${STEPS:-30000} chunks=${CHUNKS:-2000} often=500
  workers=${WORKERS:-$(nproc)}
else
  batch=${BATCH:-12} steps=${STEPS:-10000} chunks=${CHUNKS:-300} often=100
  workers=${WORKERS:-1}
fi
"$python" -m recam.apps.cli pretrain-depth --quiet --out "$run" --steps "$steps" \
  --batch "$batch" --num-chunks "$chunks" --checkpoint-every "$often" \
  --workers "$workers" ${MINUTES:+--minutes "$MINUTES"} "$@" 2>&1 | tee -a "$run/log.txt"
if [ "$run" != "$out" ]; then
  cp "$run"/{weights.safetensors,curve.csv,config.json,log.txt} "$out"
fi

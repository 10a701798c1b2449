#!/usr/bin/env bash
# Pretrains the small masked video transformer on clips made on the fly and on random 3D scenes. Runs
# unchanged on two CPU cores and on one GPU; run again to resume. `recam pretrain` takes options, e.g.
#   runs/pretrain_small.sh --videos my_films --pairs-per-video 4
# All is written to $OUT (default runs/out): checkpoint.pt, weights.safetensors and its parts of at
# most 15 MB, curves.csv, curves.png, summary.txt, log.txt, TensorBoard files.
#   MINUTES=9   stops after so much time with everything written (default: at the last step)
#   START=DIR   begins from weights, or from a folder with their parts, when there is no checkpoint
#   KEEP=DIR    the run lives there instead, and $OUT gets only what is worth carrying away
#   STEPS, BATCH, SCENES, PYTHON   as named
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-runs/out}
run=${KEEP:-$out}
python=${PYTHON:-python3}
mkdir -p "$out" "$run"
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export RECAM_CACHE=${RECAM_CACHE:-$run/cache} NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$run/cache/numba}
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  batch=${BATCH:-64} steps=${STEPS:-20000} scenes=${SCENES:-96} often=250
else
  batch=${BATCH:-4} steps=${STEPS:-2500} scenes=${SCENES:-60} often=100
fi
"$python" -m recam.apps.cli pretrain --quiet --out "$run" --steps "$steps" --batch "$batch" \
  --num-scenes "$scenes" --part-mb 15 --checkpoint-every "$often" \
  --evaluate-every "$often" ${MINUTES:+--minutes "$MINUTES"} ${START:+--start "$START"} \
  "$@" 2>&1 | tee -a "$run/log.txt"
if [ "$run" != "$out" ]; then
  rm -f "$out"/weights.safetensors.*of*
  cp "$run"/weights.safetensors.*of* "$run"/{curves.csv,curves.png,summary.txt,log.txt} "$out"
  if compgen -G "$run/events.*" >/dev/null; then
    (cd "$run" && tar -cz events.*) >"$out/tensorboard.tar.gz"
  fi
fi

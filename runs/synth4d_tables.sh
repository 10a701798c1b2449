#!/usr/bin/env bash
# The tables of docs/results/synth4d.md: makes Synth4D (once, in recam's cache folder), scores the
# baselines on it with true and with estimated geometry, its reconstructions, and the ablations.
# Run again to go on. WEIGHTS=FILE: other weights of the masked model than the package's; JOBS
# processes (default: one a core).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-runs/out}
jobs=${JOBS:-$(nproc)}
methods=(masked propagate none)
options=(--weights "${WEIGHTS:-src/recam/weights/masked.safetensors}")
export OMP_NUM_THREADS=1
recam eval synth4d --method "${methods[@]}" "${options[@]}" --warping --jobs "$jobs" \
  --out "$out/synth4d"
recam eval synth4d --cameras estimated --depth estimated --method masked propagate \
  "${options[@]}" --jobs "$jobs" --out "$out/estimated"
python benchmarks/reconstruction_accuracy.py --evaluated "$out/estimated" --views near \
  --out "$out/reconstruction"
recam eval ablations "${options[@]}" --limit 4 --jobs "$jobs" --out "$out/ablations"
if [ -n "${CALISCOPE:-}" ]; then
  recam eval caliscope --data "$CALISCOPE" --num-frames 24 --jobs "$jobs" --out "$out/caliscope"
fi

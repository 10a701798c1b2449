#!/usr/bin/env bash
# The tables of docs/evaluation.md: makes Synth4D (once, in recam's cache folder), scores the
# baselines on it with true and with estimated geometry, and the ablations that need no model.
# Run again to go on. WEIGHTS=FILE adds the masked model; JOBS processes (default: one a core).
set -euo pipefail
out=${OUT:-runs/out}
jobs=${JOBS:-$(nproc)}
methods=(propagate none)
options=()
if [ -n "${WEIGHTS:-}" ]; then
  methods+=(masked)
  options=(--weights "$WEIGHTS")
fi
export OMP_NUM_THREADS=1
recam eval synth4d --method "${methods[@]}" "${options[@]}" --jobs "$jobs" --out "$out/synth4d"
recam eval ablations "${options[@]}" --limit 4 --jobs "$jobs" --out "$out/ablations"
if [ -n "${CALISCOPE:-}" ]; then
  recam eval caliscope --data "$CALISCOPE" --num-frames 24 --jobs "$jobs" --out "$out/caliscope"
fi

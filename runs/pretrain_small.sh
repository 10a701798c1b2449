#!/usr/bin/env bash
# Pretrains the small masked video transformer on clips made on the fly. Runs unchanged on two CPU
# cores and on one GPU; run again to resume. Options are passed on, e.g.
#   runs/pretrain_small.sh --steps 20000 --batch 64 --videos my_films
set -euo pipefail
cd "$(dirname "$0")/.."
python - "$@" <<'PY'
import tyro

from recam.configs import PretrainConfig
from recam.training.pretrain import pretrain

config = tyro.cli(PretrainConfig, default=PretrainConfig(out="out/pretrain_small"))
print(pretrain(config, say=lambda line: print(line, flush=True)))
PY

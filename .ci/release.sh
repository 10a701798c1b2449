#!/usr/bin/env bash
# What users get: sdist and wheel from a clean copy, installed where no checkout is, and run there.
#   .ci/release.sh [OUT]    (PYTHON=python3.12 for another Python; CONSTRAINTS=constraints-lowest.txt)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=$(realpath -m "${1:-dist}")
constraints=$root/${CONSTRAINTS:-constraints.txt}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/copy" "$work/there"
git archive HEAD | tar -x -C "$work/copy"
"${PYTHON:-python3}" -m venv "$work/build"
"$work/build/bin/pip" install -q build 'setuptools>=77'
"$work/build/bin/python" -m build -q --no-isolation --sdist --outdir "$out" "$work/copy"
sdist=$(ls -t "$out"/recam-*.tar.gz | head -1)
tar -tzf "$sdist" > "$work/listed"
for file in constraints.txt constraints-lowest.txt CHANGELOG.md NOTICE.md docs/security.md examples/01_reshoot.py \
    benchmarks/kill_tests.py; do
    grep -q "/$file$" "$work/listed" || { echo "the sdist lacks $file"; exit 1; }
done
# The wheel is built from the sdist, as pip does it.
mkdir "$work/unpacked" && tar -xzf "$sdist" -C "$work/unpacked" --strip-components 1
"$work/build/bin/python" -m build -q --no-isolation --wheel --outdir "$out" "$work/unpacked"
wheel=$(ls -t "$out"/recam-*.whl | head -1)
cd "$work/there"
"${PYTHON:-python3}" -m venv user
user/bin/pip install -q -c "$constraints" "$wheel"
user/bin/recam --version
user/bin/recam doctor --json > doctor.json
user/bin/python "$root/.ci/sbom.py" "$out/sbom.json"
if [ -z "${NO_DEMO:-}" ]; then
    RECAM_CACHE=$work/cache user/bin/recam demo -o sample --progress lines
    for file in result.mp4 preview.mp4 truth.mp4 scores.json config.json; do
        [ -s "sample/$file" ] || { echo "the sample has no $file"; exit 1; }
    done
fi
user/bin/pip install -q -c "$constraints" mypy
cat > consumer.py <<'PYTHON'
import recam
from recam.types import Video

video: Video = recam.reshoot("my.mp4", path=recam.orbit(yaw_deg=20)).video
wrong: int = recam.orbit(yaw_deg=20)
PYTHON
user/bin/python -m mypy --no-incremental consumer.py > mypy.txt || true
grep -q "consumer.py:5" mypy.txt && [ "$(grep -c "consumer.py:.*error" mypy.txt)" = 1 ] ||
    { cat mypy.txt; echo "a consumer's mypy does not see recam's types"; exit 1; }
echo "released: $sdist $wheel"

#!/bin/sh
# All that needs a GPU, in under 9 minutes: its tests, and kernels and peers in float32 and bf16.
# Writes to $OUT, or to benchmarks/results. PYTHON is the interpreter, CELLS the cells.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
out=${OUT:-benchmarks/results}
cells=${CELLS:-lstm gru janet mingru}
status=0
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

# what is measured is written as it comes: a run that is ended keeps it
timeout -k 5 130 "$python" -m pytest -q tests/kernels/test_gpu.py tests/kernels/test_linear_scan.py || status=$?
for precision in float32 bf16; do
    # shellcheck disable=SC2086  # several cells
    timeout -k 5 185 "$python" -m rnnzoo bench --device cuda --precision $precision --cell $cells \
        --what backward forward step --rounds 7 --json "$out/gpu-$precision.json" || status=$?
done
exit $status

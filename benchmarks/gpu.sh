#!/bin/sh
# All that needs a GPU, in under 9 minutes: its tests, and kernels and peers in float32 and bf16.
# Writes to $OUT, or to results/GPU/. PYTHON is the interpreter, CELLS the cells.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
out=${OUT:-$("$python" benchmarks/machine.py cuda)}
cells=${CELLS:-lstm gru peephole_lstm janet}
sizes="32,128,128,128 32,128,256,256 64,128,512,512 8,512,128,256 1,512,128,256 64,128,1024,1024"
status=0
mkdir -p "$out"

# what is measured is written as it comes: a run that is ended keeps it
bench() {
    limit=$1
    name=$2
    shift 2
    timeout -k 5 "$limit" "$python" -m rnnzoo bench --device cuda --json "$out/$name.json" "$@" || status=$?
}
timeout -k 5 100 "$python" -m pytest -q tests/kernels/test_gpu.py tests/kernels/test_triton.py \
    tests/kernels/test_linear_scan.py || status=$?
# shellcheck disable=SC2086  # several cells, several sizes
for precision in float32 bf16; do
    bench 130 $precision --precision $precision --cell $cells --sizes $sizes --what backward forward \
        --kernels triton native --peers torch --rounds 5
done
bench 40 stacks --cell lstm gru --layers 2 --sizes 32,128,256,256 64,128,512,512 --kernels triton native --peers torch
bench 40 lengths --cell lstm --lengths --sizes 32,128,256,256 --kernels triton native --peers torch
bench 60 long --cell mingru --sizes 8,4096,256,256 --kernels linear_scan triton --peers naive --rounds 3
exit $status

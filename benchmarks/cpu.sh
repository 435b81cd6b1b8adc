#!/bin/sh
# The README's table of kernels: cpu.sh [THREADS], from anywhere, on a machine that does nothing else.
set -eu
cd "$(dirname "$0")/.."
mkdir -p benchmarks/results
${PYTHON:-python} -m rnnzoo bench --threads "${1:-1}" --what backward forward step --json benchmarks/results \
    --cell lstm gru peephole_lstm janet cho_gru mingru

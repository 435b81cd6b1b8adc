#!/bin/sh
# The README's figures on a CPU: cpu.sh [THREADS [NAME ...]], from anywhere, on a machine that does nothing else; a
# quarter hour, or with names (vendor lengths ...) those alone.
# What is measured goes to $OUT, or to results/PROCESSOR/, a file a question; `table.py` prints it as a table.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
out=${OUT:-$("$python" benchmarks/machine.py)}
mkdir -p "$out"
threads=${1:-2}
test $# -eq 0 || shift
only="$*"
bench() {
    name=$1
    shift
    case " ${only:-$name} " in
    *" $name "*) "$python" -m rnnzoo bench --threads "$threads" --json "$out/$name.json" "$@" ;;
    esac
}
bench vendor --cell lstm gru --what backward forward step --kernels fused native auto --peers torch loop onnxruntime
bench bf16 --cell lstm gru --precision bf16 --what backward forward --kernels fused native auto --peers torch --rounds 5
bench zoo_peers --cell peephole_lstm janet mgu lem --kernels fused auto --peers torchrecurrent --rounds 5
bench lengths --cell lstm gru --layers 2 --bidirectional --lengths --kernels fused native auto --peers torch --rounds 5
bench loops --cell cho_gru --kernels fused auto --peers naive --rounds 5
bench long --cell mingru --sizes 8,4096,256,256 --kernels fused linear_scan auto --peers naive --rounds 5
bench zoo --all --sizes 32,64,128,128 --rounds 5

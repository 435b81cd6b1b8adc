#!/bin/sh
# The figures that hold for a processor without AVX-512, taken on one that has it: avx2.sh [THREADS].
# The compiler, MKL, oneDNN and torch's own kernels are all held to AVX2; the cache is another one, for its libraries.
set -eu
cd "$(dirname "$0")"
held=$(mktemp -d)
trap 'rm -rf "$held"' EXIT
cat > "$held/cc" <<'END'
#!/bin/sh
exec gcc "$@" -march=x86-64-v3 -mprefer-vector-width=256
END
chmod +x "$held/cc"
export CC="$held/cc" RNNZOO_CACHE="$held" MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2
export OUT="${OUT:-$(cd .. && "${PYTHON:-python}" benchmarks/machine.py)-held-to-avx2}"
./cpu.sh "${1:-2}" vendor zoo_peers lengths loops long

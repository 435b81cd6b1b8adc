#!/bin/sh
# Forecasters beside neuralforecast and statsforecast: forecast_peers.sh [OPTION ...], as forecast_peers.py --help has
# them; on one thread of a machine that does nothing else. The peers live in an environment of their own, made here
# once, in $RNNZOO_PEERS or the user's cache.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
home=${RNNZOO_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/rnnzoo-peers}
wanted=benchmarks/forecast_peers.txt
if ! cmp -s "$wanted" "$home/installed.txt"; then
    mkdir -p "$home"
    "$python" -m venv "$home"
    "$home/bin/python" -m pip install --requirement "$wanted" >"$home/install.log" 2>&1 || {
        echo "the peers cannot be installed: $home/install.log says why" >&2
        exit 1
    }
    cp "$wanted" "$home/installed.txt"
fi
exec "$python" benchmarks/forecast_peers.py --peers "$home/bin/python" "$@"

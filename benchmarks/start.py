"""How long a user waits before anything happens, from a warm disk.

    python benchmarks/start.py

Whole processes, interleaved, medians and spread: ``rnnzoo --help``, ``rnnzoo cells`` beside a bare ``import torch``,
the bundled corpus from ``import`` done to its first batch, and the first training step of a layer of 128 units by
``fused`` in a new process, beyond its second: with an empty cache, traced and compiled, and from the cache; and in
microseconds, how long it takes a call to see that a cell is as it was.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 7
FIRST = """
import sys, time, torch
torch.set_num_threads(1)
from rnnzoo import RNN
rnn, x, seconds = RNN(sys.argv[1], 128, 128, kernel="fused"), torch.randn(16, 8, 128), []
for _ in range(2):
    start = time.perf_counter()
    rnn(x)[0].sum().backward()
    seconds.append(time.perf_counter() - start)
print(seconds[0] - seconds[1])
"""
CHECK = """
import sys, time
from rnnzoo import create
from rnnzoo.kernels.fingerprint import fingerprint
cell, seconds = create(sys.argv[1], 128, 128), []
fingerprint(cell)
for _ in range(50):
    start = time.perf_counter()
    for _ in range(100):
        fingerprint(cell)
    seconds.append((time.perf_counter() - start) / 100)
print(sorted(seconds)[25] * 1e6)
"""
CELLS = ("lstm", "mogrifier_lstm", "nas_cell", "fast_slow_rnn")
LOAD = """
import time
from rnnzoo.data import CharTextData
start = time.perf_counter()
next(iter(CharTextData().train_dataloader()))
print(time.perf_counter() - start)
"""
COMMANDS = {
    "rnnzoo --help": [sys.executable, "-m", "rnnzoo", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
    "rnnzoo cells": [sys.executable, "-m", "rnnzoo", "cells"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in [*COMMANDS, "corpus to first batch"]}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
        done = subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True, text=True)
        seconds["corpus to first batch"].append(float(done.stdout))
        first_calls(seconds)
        checks(seconds)
    for name, values in seconds.items():
        unit = "us" if name.startswith("check") else "s"
        print(f"{name:40} {statistics.median(values):.2f} {unit}  ({min(values):.2f} to {max(values):.2f})")


def first_calls(seconds: dict[str, list[float]]) -> None:
    """A round of first training steps, into `seconds`."""
    for cell in CELLS:
        with tempfile.TemporaryDirectory() as folder:
            for how in ("nothing kept", "from the cache"):
                command = [sys.executable, "-c", FIRST, cell]
                env = os.environ | {"RNNZOO_CACHE": folder}
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
                seconds.setdefault(f"first step of {cell}, {how}", []).append(float(done.stdout))


def checks(seconds: dict[str, list[float]]) -> None:
    """A round of checks of cells, into `seconds`."""
    for cell in CELLS:
        done = subprocess.run([sys.executable, "-c", CHECK, cell], check=True, capture_output=True, text=True)
        seconds.setdefault(f"check of {cell} at a call", []).append(float(done.stdout))


if __name__ == "__main__":
    main()

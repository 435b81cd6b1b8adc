"""How long a user waits before anything happens, from a warm disk.

    python benchmarks/start.py

Whole processes, interleaved, medians and spread: ``rnnzoo --help``, ``rnnzoo cells`` beside a bare ``import torch``,
and the bundled corpus from ``import`` done to its first batch.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 7
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
    for name, values in seconds.items():
        print(f"{name:22} {statistics.median(values):.2f} s  ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()

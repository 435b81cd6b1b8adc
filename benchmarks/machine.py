"""Prints the folder where this machine's results lie: machine.py [DEVICE]."""

import sys

from rnnzoo.benchmark.machine import describe
from rnnzoo.benchmark.report import plain_name

machine = describe(sys.argv[1] if len(sys.argv) > 1 else "cpu")
print(f"benchmarks/results/{plain_name(machine['gpu'] or machine['processor'])}")

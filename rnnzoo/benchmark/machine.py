"""The machine that times were taken on: its names, and the most that its products reach."""

import os
import platform
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

import rnnzoo
from rnnzoo.benchmark.rounds import synchronise

N = 1024  # rows, columns and depth of the product that is the peak
PEAK_SECONDS = 0.25


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe(device: str) -> dict[str, Any]:
    """What a result has to name."""
    of = torch.device(device)
    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processors_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name(of) if of.type == "cuda" else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "rnnzoo": rnnzoo.__version__,
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def gemm_peak(device: str, dtype: torch.dtype, seconds: float = PEAK_SECONDS, least: int = 5) -> float:
    """GFLOP/s of the best torch.mm of N x N x N, out of as many as fit in `seconds`; `least` at least."""
    of = torch.device(device)
    a, b = (torch.randn(N, N, device=of).to(dtype) for _ in range(2))
    number = 10 if of.type == "cuda" else 1  # a launch alone would count otherwise
    best, count, end = float("inf"), 0, time.perf_counter() + seconds
    while count < least or time.perf_counter() < end:
        synchronise(of)
        start = time.perf_counter()
        for _ in range(number):
            torch.mm(a, b)
        synchronise(of)
        best, count = min(best, (time.perf_counter() - start) / number), count + 1
    return 2 * N**3 / best * 1e-9

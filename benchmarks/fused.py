"""Times the kernel `fused` against the vendor's and the reference, forward and backward, float32.

    python benchmarks/fused.py [--threads 2] [--rounds 9] [--cells lstm gru janet cho_gru] [--forward]

Kernels run by turns on the same weights and data; what is printed are medians in ms, half the distance between the
quartiles, and the median of `fused` as a ratio of each other kernel's. Sizes are (B, T, I, H).
"""

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from rnnzoo import RNN

SIZES = [(32, 128, 128, 128), (32, 128, 256, 256), (64, 128, 512, 512), (8, 512, 128, 256), (1, 512, 128, 256)]


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def run_of(rnn: RNN, x: torch.Tensor, forward: bool) -> Callable[[], None]:
    """One step of training, or a forward pass alone."""

    def train() -> None:
        rnn(x)[0].sum().backward()

    def infer() -> None:
        with torch.inference_mode():
            rnn(x)

    return infer if forward else train


def times(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each run in every round, after two that do not count."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_ > 1:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "peephole_lstm", "janet", "cho_gru"])
    parser.add_argument("--forward", action="store_true", help="the forward pass alone, in inference mode")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{processor()}, {given.threads} threads, torch {torch.__version__}, rounds {given.rounds}")
    for cell in given.cells:
        ratios: dict[str, list[float]] = {}
        for B, T, I, H in SIZES:
            rnn, x = RNN(cell, I, H), torch.randn(T, B, I)
            able = [row.kernel for row in rnn.explain(x).rows if row.why_not is None]
            others = [k for k in ("native", "linear_scan") if k in able] or ["reference"]
            runs = {}
            for kernel in ("fused", *others):
                alike = RNN(cell, I, H, kernel=kernel)
                alike.load_state_dict(rnn.state_dict())
                runs[kernel] = run_of(alike, x, given.forward)
            taken = times(runs, given.rounds)
            median = {k: statistics.median(v) for k, v in taken.items()}
            spread = {k: (q[2] - q[0]) / 2 for k, v in taken.items() for q in [statistics.quantiles(v, n=4)]}
            for k in others:
                ratios.setdefault(k, []).append(median[k] / median["fused"])
            columns = [f"{k} {median[k]:8.2f} ± {spread[k]:5.2f} ms" for k in runs]
            columns += [f"{ratios[k][-1]:5.2f}x of {k}" for k in others]
            print(f"{cell:14} {(B, T, I, H)!s:22}", "  ".join(columns), f"(auto: {rnn.explain(x).chosen})", flush=True)
        for k, values in ratios.items():
            print(f"{cell:14} geometric mean {math.exp(statistics.mean(map(math.log, values))):.2f}x of {k}")


if __name__ == "__main__":
    main()

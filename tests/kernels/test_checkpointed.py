"""Gradient checkpointing over time: the same results and gradients, in less memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.testing.case import expect, gradients, named, results
from rnnzoo.transforms import weight_drop

T, B, I, H = 11, 5, 3, 7


@pytest.mark.parametrize("every", [1, 4, 10])
@pytest.mark.parametrize("lengths", [None, [11, 1, 4, 8, 5]], ids=["dense", "lengths"])
@pytest.mark.parametrize(
    ("name", "kernel"), [("lstm", "native"), ("lstm", "fused"), ("lstm", "reference"), ("janet", "fused")]
)
def test_results_and_gradients_are_those_without(name, kernel, lengths, every):
    rnn = RNN(name, I, H, 2, bidirectional=True, dropout=0.3, kernel=kernel, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    hx = named(rnn(x)[1], "hx")
    hx = {n: torch.randn_like(a).requires_grad_() for n, a in hx.items()}
    start = next(iter(hx.values())) if len(hx) == 1 else tuple(hx.values())
    by = {}
    for n in (None, every):
        rnn.checkpoint_every = n
        torch.manual_seed(2)
        got = results(*rnn(x, start, lengths=lengths))
        by[n] = got | gradients(got, {"x": x} | hx | dict(rnn.named_parameters()))
    expect(by[every], by[None], f"expected the same with checkpoint_every={every}", 1e-12)


@pytest.mark.parametrize("kernel", ["fused", "reference"])
def test_dropped_weights_are_those_of_the_forward_in_every_piece(kernel):
    rnn = weight_drop(RNN("lstm", I, H, kernel=kernel, dtype=torch.float64), 0.5)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    by = {}
    for n in (None, 3):
        rnn.checkpoint_every = n
        torch.manual_seed(2)
        got = results(*rnn(x))
        by[n] = got | gradients(got, {"x": x} | dict(rnn.named_parameters()))
    expect(by[3], by[None], "expected the same weights to be dropped", 1e-12)


@pytest.mark.parametrize("every", [0, -1, 2.5])
def test_what_is_no_number_of_steps_is_an_error(every):
    with pytest.raises(RnnZooError, match=f"checkpoint_every must be a whole number of at least 1, not {every}"):
        RNN("lstm", I, H, checkpoint_every=every)


# VmHWM, not ru_maxrss, which starts at what the process had that this one was forked from
MEMORY = """
import sys, torch
from rnnzoo import RNN
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
torch.set_num_threads(1)
rnn = RNN("lstm", 64, 64, kernel=sys.argv[1], checkpoint_every=int(sys.argv[2]) or None)
x = torch.randn(60, 16, 64)
rnn(x)[0].sum().backward()  # what is imported and compiled at first is not of the sequence
x = torch.randn(2000, 16, 64)
before = peak()
rnn(x)[0].sum().backward()
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory")
@pytest.mark.parametrize("kernel", [pytest.param("fused", marks=pytest.mark.compiler), "native", "reference"])
def test_memory_falls(kernel):
    grown = []
    for every in (0, 50):
        done = subprocess.run([sys.executable, "-c", MEMORY, kernel, str(every)], capture_output=True, check=True)
        grown.append(int(done.stdout))
    assert grown[1] < 0.7 * grown[0], f"{grown[1]} KiB with checkpointing, {grown[0]} KiB without"

"""Every cell in half precision: near its float32 in a step of training, and after a thousand steps in a state."""

import contextlib
import warnings

import pytest
import torch

from rnnzoo import RNN, list_cells
from rnnzoo.models.regular import regular

CELLS = list(list_cells())
# of a relative error after 1,000 steps: products rounded to bfloat16 in a recurrence that forgets nothing
ROUNDED = {"janet": 0.3, "unicornn": 0.3, "layernorm_lstm": 0.15, "irnn": 0.1, "lmu": 0.1, "phased_lstm": 0.1}

QUICK = ("ema", "rg_lru", "lru", "nfg", "exprnn", "unitary_rnn", "phased_lstm", "antisymmetric_rnn")  # of those mended


@contextlib.contextmanager
def in_bfloat16(precision):
    """As Lightning runs a module: bf16-mixed by autocast, bf16-true with all that is made in bfloat16."""
    with contextlib.ExitStack() as stack:
        if precision == "bf16-mixed":
            stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        else:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.bfloat16)
        yield


def rounded(rnn, x):
    """x, and the weights, without the digits that bfloat16 has not, so that arithmetic alone makes a difference."""
    with torch.no_grad():
        for p in rnn.parameters():
            p.copy_(p if p.is_complex() else p.bfloat16())
    return x.bfloat16().float()


def narrowed(rnn, name, precision, *sizes, **settings):
    if precision == "bf16-mixed":
        return rnn
    twin = RNN(name, *sizes, **settings)
    twin.load_state_dict(rnn.state_dict())
    return twin.to(torch.bfloat16)


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("kernel", ["reference", "auto"])
@pytest.mark.parametrize("name", CELLS)
def test_a_step_of_training_is_near_that_in_float32(name, kernel, precision):
    rnn = RNN(name, 6, 8, kernel=kernel)
    x = rounded(rnn, torch.randn(8, 3, 6))
    if kernel == "auto" and rnn.explain(x, **regular(rnn, x)).chosen == "reference":
        pytest.skip("auto is the reference")

    def run(rnn, x):
        y, _ = rnn(x, **regular(rnn, x))
        y.float().square().mean().backward()
        grads = [p.grad.float().flatten() for p in rnn.parameters() if p.grad is not None and not p.is_complex()]
        rnn.zero_grad()
        return y.detach().float(), torch.cat(grads)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = run(rnn, x)
        with in_bfloat16(precision):
            twin = narrowed(rnn, name, precision, 6, 8, kernel=kernel)
            near = run(twin, x if precision == "bf16-mixed" else x.bfloat16())
    for a, b in zip(near, exact, strict=True):
        assert a.isfinite().all()
        assert float((a - b).norm() / b.norm()) < 0.06


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("kernel", ["reference", "auto"])
@pytest.mark.parametrize("name", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CELLS])
def test_a_state_keeps_its_accuracy_over_a_thousand_steps(name, kernel):
    rnn = RNN(name, 6, 16, kernel=kernel)
    x = rounded(rnn, torch.randn(1000, 2, 6))
    if kernel == "auto" and rnn.explain(x, **regular(rnn, x)).chosen != "linear_scan":
        pytest.skip("auto is no scan")
    with torch.no_grad():
        y, _ = rnn(x, **regular(rnn, x))
        with in_bfloat16("bf16-true"):
            twin, narrow = narrowed(rnn, name, "bf16-true", 6, 16, kernel=kernel), x.bfloat16()
            z, _ = twin(narrow, **regular(twin, narrow))
    assert z.dtype == torch.bfloat16
    error = (z.float() - y).norm(dim=-1) / y.norm(dim=-1).mean()
    assert float(error[-100:].mean()) < ROUNDED.get(name, 0.03)


@pytest.mark.usefixtures("nothing_compiled")
def test_a_sum_over_many_steps_does_not_stand_still_in_bfloat16():
    """256 + 1 is 256 in bfloat16: a sum in it ends there."""

    class Sum(list_cells()["rnn"]):
        def update(self, wx, rh, s):
            return type(s)(s.h + 1)

    rnn = RNN(Sum, 2, 3, kernel="reference", dtype=torch.bfloat16)
    _, last = rnn(torch.zeros(1000, 1, 2, dtype=torch.bfloat16))
    assert last.dtype == torch.bfloat16
    assert last.float().flatten().tolist() == [1000.0] * 3


def test_the_clock_of_a_cell_counts_beyond_256_in_bfloat16():
    rnn = RNN("phased_lstm", 2, 3, dtype=torch.bfloat16)
    times = regular(rnn, torch.zeros(1000, 1, 2, dtype=torch.bfloat16))["time"]
    assert times.flatten().tolist() == list(range(1, 1001))

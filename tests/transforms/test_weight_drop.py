"""What cells are given from outside: weight drop."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError, create, to_torch
from rnnzoo.transforms import weight_drop

X = torch.randn(40, 6, 3)


def test_weights_are_dropped_in_training_alone_and_the_same_for_a_whole_sequence():
    rnn = weight_drop(RNN("rnn", 3, 50), 0.4)
    cell = rnn.layers[0][0]
    dropped = torch.stack([cell.weight_hh == 0 for _ in range(40)]).float()
    assert dropped.mean() == pytest.approx(0.4, abs=0.01)
    with torch.no_grad():
        cell.weight_ih.zero_(), cell.bias_ih.zero_(), cell.bias_hh.zero_()
    for kernel in ("native", "fused", "reference"):
        rnn.kernel = kernel
        h = torch.randn(1, 1, 50) * 1e-3  # so small that tanh is the identity: every step is the same product
        once, twice = (rnn.train()(torch.zeros(1 + k, 1, 3), h)[0][-1, 0] for k in (0, 1))
        assert not torch.allclose(once, rnn.eval()(torch.zeros(1, 1, 3), h)[0][-1, 0], atol=1e-6)
        torch.manual_seed(3)
        m = torch.autograd.functional.jacobian(lambda h: rnn.train()(torch.zeros(1, 1, 3), h)[0][0, 0], h)[:, 0, 0]
        torch.manual_seed(3)
        twice = rnn.train()(torch.zeros(2, 1, 3), h)[0][-1, 0]
        torch.testing.assert_close(twice, m @ m @ h[0, 0], rtol=1e-3, atol=1e-8)


@pytest.mark.compiler
@pytest.mark.parametrize("name", ["lstm", "mingru", "janet"])
def test_every_kernel_drops_the_same_weights_under_one_seed(name):
    rnn = weight_drop(RNN(name, 3, 5, 2), 0.5, "weight_ih" if name == "mingru" else "weight_hh")
    by = {}
    for kernel in [row.kernel for row in rnn.explain(X).rows if row.why_not is None]:
        rnn.kernel = kernel
        rnn.zero_grad()
        torch.manual_seed(1)
        y = rnn(X)[0]
        y.square().sum().backward()
        by[kernel] = [y, *(p.grad.clone() for p in rnn.parameters())]
    assert {"fused", "reference"} <= set(by)
    for got in by.values():
        torch.testing.assert_close(got, by["reference"], rtol=1e-4, atol=1e-4)


def test_it_keeps_its_name_its_kernels_and_its_weights():
    rnn = weight_drop(RNN("lstm", 3, 5), 0.5)
    reasons = {row.kernel: row.why_not for row in rnn.explain(X).rows}
    assert reasons["native"] is None
    assert reasons["linear_scan"] == "lstm is not linear in its state"
    module = to_torch(rnn.eval())
    torch.testing.assert_close(module(X)[0], rnn(X)[0])
    again = weight_drop(RNN("lstm", 3, 5), 0.5)
    again.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(again.eval()(X)[0], rnn(X)[0])
    assert type(weight_drop(RNN("lstm", 3, 5), 0.0).layers[0][0]) is type(create("lstm", 3, 5))


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_part_that_is_none_is_an_error(p):
    with pytest.raises(RnnZooError, match=rf"weight_drop must be in \[0, 1\), not {p}"):
        weight_drop(create("lstm", 3, 5), p)


def test_a_cell_without_the_parameter_is_an_error():
    with pytest.raises(RnnZooError, match="MinGRU has no parameter 'weight_hh'"):
        weight_drop(create("mingru", 3, 5), 0.5)

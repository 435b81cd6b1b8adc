"""State that goes on from batch to batch: its numbers do, its gradient and other stages do not."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.training import CarriedState

B, I, H = 3, 2, 4


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "peephole_lstm"])
def test_gradients_are_those_of_each_batch_with_its_first_state_given(cell):
    rnn = RNN(cell, I, H, 2, batch_first=True, dtype=torch.float64)
    x = torch.randn(B, 10, I, dtype=torch.float64)
    carried, last = CarriedState(rnn), None
    for part in x.split(5, 1):
        y, carried["train"] = rnn(part, carried["train"])
        last = y
    got = torch.autograd.grad(last.pow(2).sum(), list(rnn.parameters()))
    with torch.no_grad():
        _, hx = rnn(x[:, :5])
    expected = torch.autograd.grad(rnn(x[:, 5:], hx)[0].pow(2).sum(), list(rnn.parameters()))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_stages_do_not_see_each_other():
    carried = CarriedState(RNN("gru", I, H))
    assert carried["train"] is None
    carried["train"] = torch.ones(1, B, H)
    assert carried["val"] is None
    carried["val"] = torch.zeros(1, B, H)
    assert carried["train"].eq(1).all()
    carried.reset("val")
    assert carried["val"] is None
    assert carried["train"].eq(1).all()
    carried.reset("test")  # which never had one


def test_a_bidirectional_stack_is_an_error():
    with pytest.raises(RnnZooError, match="one direction only, not with bidirectional=True"):
        CarriedState(RNN("lstm", I, H, bidirectional=True))

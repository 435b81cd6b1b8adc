"""The LSTM family beside other people's: torch and torchrecurrent, in float64."""

from itertools import product

import torch
import torchrecurrent
from torch import nn

from rnnzoo import RNN, create
from rnnzoo.cells import HiddenCell
from rnnzoo.rnn import torch_names
from rnnzoo.testing.case import expect, gradients, results
from rnnzoo.testing.case import run as run_cell

T, B, I, H, P = 6, 4, 3, 5, 2


def test_lstmp_equals_nn_lstm_with_a_projection():
    for num_layers, bidirectional, bias in product((1, 2), (False, True), (True, False)):
        options = {"bias": bias, "bidirectional": bidirectional, "dtype": torch.float64}
        torch.manual_seed(11)
        module = nn.LSTM(I, H, num_layers, proj_size=P, **options)
        torch.manual_seed(11)
        rnn = RNN("lstmp", I, H, num_layers, proj_size=P, **options)
        pairs = {there: rnn.get_parameter(here) for there, here in torch_names(rnn).items()}
        theirs = dict(module.named_parameters())
        assert list(pairs) == list(theirs)
        assert all(torch.equal(pairs[name], p) for name, p in theirs.items()), "the seed gives other weights"
        x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
        shape = (num_layers * (1 + bidirectional), B)
        hx = [torch.randn(*shape, n, dtype=torch.float64, requires_grad=True) for n in (P, H)]
        leaves = {"x": x, "h": hx[0], "c": hx[1]}
        y, last = module(x, tuple(hx))
        wanted, got = results(y, HiddenCell(*last)), results(*rnn(x, tuple(hx)))
        wanted |= gradients(wanted, leaves | theirs)
        got |= gradients(got, leaves | pairs)
        expect(got, wanted, f"expected lstmp to equal nn.LSTM(proj_size={P}) with {options}", 1e-12)


def test_a_checkpoint_of_nn_lstm_with_a_projection_loads_into_lstmp():
    module, rnn = nn.LSTM(I, H, 2, proj_size=P), RNN("lstmp", I, H, 2, proj_size=P)
    rnn.load_state_dict(module.state_dict())
    x = torch.randn(T, B, I)
    torch.testing.assert_close(rnn(x)[0], module(x)[0])


def test_lstm_1997_equals_torchrecurrents_original_lstm_but_for_its_squashes():
    """That one has tanh in both places: with its candidate's rows and its memory halved it gives the same h."""
    cell, theirs = create("lstm_1997", I, H).double(), torchrecurrent.OriginalLSTMCell(I, H).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.normal_(std=0.5)
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            i, g, o = getattr(cell, name).chunk(3)
            getattr(theirs, name).copy_(torch.cat([i, g / 2, o]))
        theirs.bias_hh.zero_()
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    h, c = torch.randn(2, B, H, dtype=torch.float64).unbind()
    y, last = run_cell(cell, x, HiddenCell(h, c), {})
    s, hs = (h, c / 2), []
    for x_t in x.unbind(0):
        s = theirs(x_t, s)
        hs.append(s[0])
    got, wanted = results(y, last), results(torch.stack(hs), HiddenCell(s[0], 2 * s[1]))
    got |= gradients(got, {"x": x})
    wanted |= gradients(wanted, {"x": x})
    expect(got, wanted, "expected lstm_1997 to equal OriginalLSTMCell, rescaled", 1e-12)

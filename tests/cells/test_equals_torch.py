"""lstm, gru, rnn and rnn_relu equal torch's own modules: values, final states, gradients, and the weights of a seed."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnzoo import RNN, from_torch
from rnnzoo.cells import HiddenCell
from rnnzoo.rnn import torch_names
from rnnzoo.testing.case import expect, gradients, results

T, B, I, H = 6, 4, 3, 5
LENGTHS = torch.tensor([3, 6, 1, 4])


def relu(*args, **options):
    return nn.RNN(*args, nonlinearity="relu", **options)


MODULES = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN, "rnn_relu": relu}
PINNED = {"cudnn_lstm": nn.LSTM, "cudnn_gru": nn.GRU, "cudnn_rnn": nn.RNN}


def run_torch(module, x, hx, lengths):
    if lengths is None:
        y, last = module(x, hx)
    else:
        packed = pack_padded_sequence(x, lengths, module.batch_first, enforce_sorted=False)
        y, last = module(packed, hx)
        y, _ = pad_packed_sequence(y, module.batch_first, total_length=x.shape[1 if module.batch_first else 0])
    return y, HiddenCell(*last) if isinstance(last, tuple) else last


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("kernel", ["native", "reference"])
@pytest.mark.parametrize("name", [*MODULES, *PINNED])
def test_outputs_final_states_and_gradients_are_torchs(name, kernel, num_layers, directions, bias):
    options = {"bias": bias, "bidirectional": directions == 2, "dtype": torch.float64}
    for batch_first, lengths, started in product((False, True), (None, LENGTHS), (False, True)):
        options["batch_first"] = batch_first
        module = (MODULES | PINNED)[name](I, H, num_layers, **options)
        rnn = RNN(name, I, H, num_layers, kernel=kernel, **options)
        rnn.load_state_dict(module.state_dict())
        x = torch.randn((B, T, I) if batch_first else (T, B, I), dtype=torch.float64)
        fields = 2 if "lstm" in name else 1
        hx = tuple(torch.randn(num_layers * directions, B, H, dtype=torch.float64) for _ in range(fields))

        def everything(run, names, x=x, hx=hx, started=started):
            x = x.clone().requires_grad_()
            hx = [a.clone().requires_grad_() for a in hx]
            state = None if not started else tuple(hx) if len(hx) > 1 else hx[0]
            got = results(*run(x, state))
            return got | gradients(got, {"x": x} | {f"hx {k}": a for k, a in enumerate(hx)} | names)

        ours, theirs = dict(rnn.named_parameters()), dict(module.named_parameters())
        ours = {there: ours[here] for there, here in torch_names(rnn).items()}
        got = everything(lambda x, hx, rnn=rnn, n=lengths: rnn(x, hx, lengths=n), ours)
        wanted = everything(lambda x, hx, m=module, n=lengths: run_torch(m, x, hx, n), theirs)
        claim = f"expected {name} by {kernel} to equal torch with {options}, lengths={lengths}, hx={started}"
        expect(got, wanted, claim, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*MODULES, *PINNED])
def test_the_same_seed_gives_the_same_weights_as_torch(name, dtype):
    for num_layers, bidirectional, bias in product((1, 2), (False, True), (True, False)):
        options = {"bias": bias, "bidirectional": bidirectional, "dtype": dtype}
        torch.manual_seed(11)
        theirs = (MODULES | PINNED)[name](I, H, num_layers, **options).state_dict()
        torch.manual_seed(11)
        rnn = RNN(name, I, H, num_layers, **options)
        ours = rnn.state_dict()
        assert len(ours) == len(theirs)
        for there, here in torch_names(rnn).items():
            assert ours[here].dtype == dtype
            assert torch.equal(ours[here], theirs[there]), f"{there} differs"


def test_a_bare_cell_equals_torchs_cell():
    for name, theirs in (("lstm", nn.LSTMCell), ("gru", nn.GRUCell), ("rnn", nn.RNNCell)):
        torch.manual_seed(3)
        module = theirs(I, H, dtype=torch.float64)
        rnn = from_torch({"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[name](I, H, dtype=torch.float64))
        (cell,) = rnn.layers[0]
        cell.load_state_dict(module.state_dict())  # same names
        x, h = torch.randn(B, I, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)
        c = torch.randn(B, H, dtype=torch.float64)
        s = cell.State(h, c) if name == "lstm" else cell.State(h)
        y, new = cell(x, s)
        wanted = module(x, (h, c) if name == "lstm" else h)
        torch.testing.assert_close(tuple(new), wanted if name == "lstm" else (wanted,), rtol=0, atol=1e-12)
        torch.testing.assert_close(y, new.h, rtol=0, atol=0)

"""What hangs on the call of a cell: pruning, the older weight and spectral norm, and hooks of one's own."""

import warnings

import pytest
import torch
from torch.nn import utils
from torch.nn.utils import prune

from rnnzoo import RNN, RnnZooError, to_torch
from rnnzoo.transforms import Zoneout

X = torch.randn(12, 4, 3)


def pruned(cell, name):
    prune.random_unstructured(cell, name, amount=0.5)


def weight_normed(cell, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        utils.weight_norm(cell, name)


HOW = {"pruned": pruned, "weight_norm": weight_normed, "spectral_norm": utils.spectral_norm}


def derived(how, cell, name):
    """The weight as the method's definition has it, from what the cell keeps."""
    if how == "pruned":
        return getattr(cell, name + "_orig") * getattr(cell, name + "_mask")
    if how == "weight_norm":
        v, g = getattr(cell, name + "_v"), getattr(cell, name + "_g")
        return g * v / v.norm(dim=1, keepdim=True)
    w, u, v = (getattr(cell, name + end) for end in ("_orig", "_u", "_v"))
    return w / (u @ w @ v)


def wanted(how, cell, weight, name):
    """The outputs of an RNN without hooks that has the derived weight."""
    plain = RNN(name, 3, 5, kernel="reference", dtype=torch.float64)
    own = plain.layers[0][0]
    with torch.no_grad():
        for n in own.parameter_shapes():
            if getattr(own, n) is not None:
                getattr(own, n).copy_(derived(how, cell, n) if n == weight else getattr(cell, n))
    return plain(X.double())[0]


@pytest.mark.parametrize("around", [(), (lambda cell: Zoneout(cell, 0.0),)], ids=["bare", "in a transform"])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["lstm", "gru", "janet", "mingru"])
def test_it_trains_again_and_again_and_loaded_weights_are_used_by_every_kernel(name, how, around):
    weight = "weight_ih" if name == "mingru" else "weight_hh"
    rnn = RNN(name, 3, 5, transforms=around, dtype=torch.float64)
    cell = rnn.layers[0][0].cell if around else rnn.layers[0][0]
    HOW[how](cell, weight)
    rnn.eval()
    x = X.double()
    able = {row.kernel for row in rnn.explain(x).rows if row.why_not is None}
    assert "reference" in able
    for kernel in able if name == "janet" and not around else able - {"fused", "triton"}:  # which take long to compile
        rnn.kernel = kernel
        for _ in range(2):
            rnn(x)[0].sum().backward()
        other = {n: a + 0.1 * torch.rand_like(a) * (a != 0) for n, a in rnn.state_dict().items()}
        rnn.load_state_dict(other)
        torch.testing.assert_close(rnn(x)[0], wanted(how, cell, weight, name))
        last, ys = None, []
        for x_t in x:
            y, last = rnn.step(x_t, last)
            ys.append(y)
        torch.testing.assert_close(torch.stack(ys), wanted(how, cell, weight, name))


def test_pruned_weights_stay_zero_in_training_and_travel_to_torch():
    rnn = RNN("lstm", 3, 5)
    prune.l1_unstructured(rnn.layers[0][0], "weight_hh", amount=0.5)
    zero = rnn.layers[0][0].weight_hh_mask == 0
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        rnn(X)[0].square().sum().backward()
        assert not rnn.layers[0][0].weight_hh_orig.grad[zero].any()
        optimizer.step()
    module = to_torch(rnn)
    assert not module.weight_hh_l0[zero].any()
    torch.testing.assert_close(module(X)[0], rnn(X)[0])


def test_a_pre_hook_runs_once_a_call_and_gets_no_inputs():
    rnn, calls = RNN("gru", 3, 5, 2, bidirectional=True), []
    for directions in rnn.layers:
        for cell in directions:
            cell.register_forward_pre_hook(lambda cell, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    rnn(X)
    assert calls == [((), {})] * 4
    rnn(X, lengths=[12, 3, 3, 1])
    assert len(calls) == 8


def test_a_hook_that_an_rnn_cannot_serve_is_named():
    rnn = RNN("gru", 3, 5)
    (cell,) = rnn.layers[0]
    handle = cell.register_forward_pre_hook(lambda cell, args: args[0] * 2)
    with pytest.raises(RnnZooError, match=r"a forward pre-hook of GRU fails \(IndexError: .*without inputs"):
        rnn(X)
    handle.remove()
    handle = cell.register_forward_pre_hook(lambda cell, args: (X,))
    with pytest.raises(RnnZooError, match="a forward pre-hook of GRU returns inputs, and an RNN has none to give it"):
        rnn(X)
    handle.remove()
    cell.register_forward_hook(lambda cell, args, y: None)
    with pytest.warns(UserWarning, match="hooks of GRU are not called: an RNN runs a cell over all steps at once"):
        rnn(X)

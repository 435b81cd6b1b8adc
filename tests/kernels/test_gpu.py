"""What only a GPU shows: cuDNN's weights in one block, and its numbers."""

import copy
import importlib.util

import pytest
import torch
from torch import nn

from rnnzoo import RNN, from_torch
from rnnzoo.cells import HiddenCell
from rnnzoo.testing.case import expect, gradients, results

pytestmark = pytest.mark.gpu


def in_one_block(rnn):
    return len({p.untyped_storage().data_ptr() for p in rnn.parameters()}) == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("directions", [1, 2])
def test_weights_lie_in_one_block_after_to_deepcopy_and_loading(directions, bias):
    rnn = RNN("lstm", 3, 5, 2, bias=bias, bidirectional=directions == 2)
    x = torch.randn(7, 4, 3)
    wanted = rnn(x)[0]
    rnn.cuda()
    for module in (rnn, copy.deepcopy(rnn), rnn.float(), copy.deepcopy(rnn).cpu().cuda()):
        torch.testing.assert_close(module(x.cuda())[0].cpu(), wanted, rtol=1e-3, atol=1e-4)
        assert in_one_block(module)
        module.load_state_dict({n: a.clone() for n, a in module.state_dict().items()})
        torch.testing.assert_close(module(x.cuda())[0].cpu(), wanted, rtol=1e-3, atol=1e-4)
        assert in_one_block(module)


def test_optimizer_steps_reach_the_weights_in_the_block():
    rnn = RNN("gru", 3, 5, 2).cuda()
    x = torch.randn(7, 4, 3, device="cuda")
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = rnn(x)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert in_one_block(rnn)


@pytest.mark.parametrize("lengths", [None, [7, 2, 5, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_outputs_states_and_gradients_are_those_of_torchs_module(make, lengths):
    module = make(3, 5, 2, bidirectional=True, dtype=torch.float64, device="cuda")
    rnn = from_torch(module)
    x = torch.randn(7, 4, 3, dtype=torch.float64, device="cuda", requires_grad=True)
    if lengths is None:
        y, last = module(x)
    else:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        y, last = module(packed)
        y = nn.utils.rnn.pad_packed_sequence(y)[0]
    theirs = results(y, HiddenCell(*last) if isinstance(last, tuple) else last)
    ours = results(*rnn(x, lengths=lengths))
    for found, layer in ((ours, rnn), (theirs, module)):
        weights = {f"weight {k}": p for k, p in enumerate(layer.parameters())}
        found |= gradients({"outputs": found["outputs"]}, weights)
    expect(ours, theirs, "expected cuDNN's numbers", 1e-10)


@pytest.mark.parametrize("name", ["lstm", "gru", "mingru", "janet"])
def test_every_kernel_equals_the_reference_on_a_gpu(name):
    rnn = RNN(name, 3, 5, 2, bidirectional=True, dtype=torch.float64).cuda()
    x = torch.randn(7, 4, 3, dtype=torch.float64, device="cuda", requires_grad=True)
    able = [row.kernel for row in rnn.explain(x).rows if row.why_not is None]
    by = {}
    for kernel in able:
        rnn.kernel = kernel
        got = results(*rnn(x))
        by[kernel] = got | gradients(got, {"x": x} | dict(rnn.named_parameters()))
    for kernel in able:
        expect(by[kernel], by["reference"], f"expected {kernel} to equal the reference", 1e-9)


needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


@needs_triton
@pytest.mark.parametrize("lengths", [None, [7, 2, 5, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", ["lstm", "gru", "janet", "peephole_lstm", "mingru"])
def test_triton_equals_the_reference_launched_and_replayed(name, lengths):
    rnn = RNN(name, 3, 70, 2, bidirectional=True, dtype=torch.float64).cuda()
    for k in range(4):  # from the second time on by CUDA graphs
        x = torch.randn(7, 4, 3, dtype=torch.float64, device="cuda", requires_grad=True)
        by = {}
        for kernel in ("triton", "reference"):
            rnn.kernel = kernel
            got = results(*rnn(x, lengths=lengths))
            by[kernel] = got | gradients(got, {"x": x} | dict(rnn.named_parameters()))
        expect(by["triton"], by["reference"], f"expected triton to equal the reference, call {k}", 1e-9)
        with torch.no_grad():
            for p in rnn.parameters():
                p.mul_(0.9)


@needs_triton
def test_two_sequences_in_flight_keep_what_is_their_own():
    rnn = RNN("janet", 3, 70, 2, kernel="triton", dtype=torch.float64).cuda()
    x = torch.randn(7, 4, 3, dtype=torch.float64, device="cuda", requires_grad=True)
    for _ in range(3):
        rnn(x)[0].sum().backward()
    first, second = rnn(x)[0], rnn(2 * x)[0]
    got = [torch.autograd.grad(y.sin().sum(), x)[0] for y in (first, second)]
    rnn.kernel = "reference"
    wanted = [torch.autograd.grad(rnn(k * x)[0].sin().sum(), x)[0] for k in (1, 2)]
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@needs_triton
def test_triton_runs_in_a_graph_that_somebody_else_makes():
    rnn = RNN("janet", 3, 70, kernel="triton").cuda()
    x = torch.randn(7, 4, 3, device="cuda")
    with torch.no_grad():
        wanted = rnn(x)[0]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = rnn(x)[0]
        graph.replay()
    torch.testing.assert_close(y, wanted)


@needs_triton
def test_auto_takes_triton_where_the_vendor_has_nothing_and_trains():
    rnn = RNN("janet", 3, 70, 2).cuda()
    x = torch.randn(7, 4, 3, device="cuda")
    assert rnn.explain(x).chosen == "triton"
    assert RNN("lstm", 3, 70).cuda().explain(x).chosen == "native"
    assert RNN("mingru", 3, 70).cuda().explain(x).chosen == "linear_scan"
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        loss = rnn(x)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@needs_triton
def test_float32_is_multiplied_as_torch_has_it_for_recurrent_layers(monkeypatch):
    rnn = RNN("janet", 64, 64).cuda()
    x = torch.randn(7, 64, 64, device="cuda")
    exact = copy.deepcopy(rnn).double()
    exact.kernel, rnn.kernel = "reference", "triton"
    before = torch.backends.cuda.matmul.fp32_precision
    off = {}
    for tf32 in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
        for _ in range(3):  # the first call launches, the others replay
            y = rnn(x)[0]
        off[tf32] = (y - exact(x.double())[0]).abs().max().item()
        assert torch.backends.cuda.matmul.fp32_precision == before
    assert off[False] < 1e-5 < off[True] < 1e-2

"""What every kernel does alike: the same training, dropout, inference, autocast, weights handed in, deepcopy."""

import copy

import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError
from rnnzoo.kernels import KERNELS


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_fifty_training_steps_by_native_and_by_the_reference_have_the_same_losses(name):
    start = nn.ModuleDict({"rnn": RNN(name, 4, 6, 2), "head": nn.Linear(6, 3)}).double()
    x, target = (torch.randn(9, 5, n, dtype=torch.float64) for n in (4, 3))
    losses = {}
    for kernel in ("native", "reference"):
        model = copy.deepcopy(start)
        model["rnn"].kernel = kernel
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        losses[kernel] = []
        hx = None
        for _ in range(50):
            y, hx = model["rnn"](x, hx)
            hx = type(hx)(*(a.detach() for a in hx)) if isinstance(hx, tuple) else hx.detach()
            loss = (model["head"](y) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[kernel].append(loss.item())
    assert losses["native"][-1] < losses["native"][0]
    torch.testing.assert_close(losses["native"], losses["reference"], rtol=0, atol=1e-9)


CALLS = [(name, kernel) for name in ("lstm", "gru", "mingru", "janet") for kernel in KERNELS]


def can(name, kernel):
    rnn = RNN(name, 3, 4, kernel="reference")
    return next(r.why_not is None for r in rnn.explain(torch.randn(2, 1, 3)).rows if r.kernel == kernel)


def why_not(rnn, x):
    """The reason why the kernel asked for cannot run this call, or None."""
    twin = copy.deepcopy(rnn)
    twin.kernel = "reference"
    return next(r.why_not for r in twin.explain(x).rows if r.kernel == rnn.kernel)


ABLE = [pytest.param(*call, id="-".join(call)) for call in CALLS if can(*call)]


@pytest.mark.parametrize(("name", "kernel"), ABLE)
def test_dropout_acts_in_training_mode_whether_or_not_gradients_are_taken(name, kernel):
    rnn = RNN(name, 3, 50, 2, dropout=0.3, kernel=kernel)
    x = torch.randn(6, 4, 3)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    with torch.no_grad():
        assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


@pytest.mark.parametrize("lengths", [None, [40, 7, 1, 30, 40, 2]], ids=["whole", "lengths"])
@pytest.mark.parametrize("kernel", ["native", "reference"])
def test_dropout_zeroes_its_share_between_layers_and_none_after_the_last(kernel, lengths):
    p, H = 0.3, 300
    rnn = RNN("rnn_relu", 3, H, 2, dropout=p, kernel=kernel)
    lower, upper = (directions[0] for directions in rnn.layers)
    with torch.no_grad():
        for w in rnn.parameters():
            w.zero_()
        lower.weight_ih.fill_(1.0)  # every output of the first layer is 3,
        upper.weight_ih.copy_(torch.eye(H))  # and the second shows what it gets
        y, _ = rnn(torch.ones(40, 6, 3), lengths=lengths)
        y = torch.cat([y[:n, b] for b, n in enumerate(lengths or [40] * 6)])
        zeroed = y == 0
        assert abs(zeroed.float().mean() - p) < 0.01
        torch.testing.assert_close(y[~zeroed], torch.full_like(y[~zeroed], 3 / (1 - p)))
        assert (rnn.eval()(torch.ones(40, 6, 3))[0] == 3).all()
        upper.weight_ih.zero_()
        upper.bias_ih.fill_(1.0)
        assert (rnn.train()(torch.ones(40, 6, 3))[0] == 1).all()


@pytest.mark.parametrize("lengths", [None, [40, 7, 1, 30, 40, 2]], ids=["whole", "lengths"])
@pytest.mark.parametrize("kernel", ["auto", "reference"])
def test_locked_dropout_zeroes_the_same_units_of_a_sequence_at_all_its_steps(kernel, lengths):
    p, H = 0.3, 300
    rnn = RNN("rnn_relu", 3, H, 2, dropout=p, locked_dropout=True, kernel=kernel)
    lower, upper = (directions[0] for directions in rnn.layers)
    with torch.no_grad():
        for w in rnn.parameters():
            w.zero_()
        lower.weight_ih.fill_(1.0)
        upper.weight_ih.copy_(torch.eye(H))
        y, _ = rnn(torch.ones(40, 6, 3), lengths=lengths)
        masks = y[0]
        for b, n in enumerate(lengths or [40] * 6):
            assert (y[:n, b] == masks[b]).all()
        assert len({tuple(mask.tolist()) for mask in masks}) == 6
        assert abs((masks == 0).float().mean() - p) < 0.04
        torch.testing.assert_close(masks[masks > 0], torch.full_like(masks[masks > 0], 3 / (1 - p)))
        assert (rnn.eval()(torch.ones(40, 6, 3))[0] == 3).all()


def test_the_vendors_kernel_leaves_locked_dropout_between_layers_to_others():
    x = torch.randn(6, 4, 3)
    rnn = RNN("lstm", 3, 5, 2, dropout=0.3, locked_dropout=True, kernel="native")
    with pytest.raises(RnnZooError, match="drop other units at every step, and locked_dropout is asked for"):
        rnn(x)
    assert rnn.eval()(x)[0].shape == (6, 4, 5)  # nothing is dropped, and nothing is in its way


@pytest.mark.parametrize(("name", "kernel"), ABLE)
def test_a_kernel_runs_in_inference_mode_and_under_no_grad(name, kernel):
    rnn = RNN(name, 3, 5, 2, kernel=kernel)
    x = torch.randn(6, 4, 3)
    y, _ = rnn(x)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            torch.testing.assert_close(rnn(x)[0], y)
    rnn(x)[0].sum().backward()  # and training goes on after it


@pytest.mark.parametrize(("name", "kernel"), ABLE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32 x", "bfloat16 x"])
def test_autocast_runs_forward_and_backward_and_carries_its_state(name, kernel, dtype):
    rnn = RNN(name, 3, 5, 2, bidirectional=True, kernel=kernel)
    x = torch.randn(6, 4, 3)
    y, h = rnn(x)
    y, _ = rnn(x, h)
    with torch.autocast("cpu", torch.bfloat16):
        reason = why_not(rnn, x.to(dtype))
        if kernel == "native" and reason:
            pytest.skip(reason)  # which of oneDNN's kernels there are depends on the processor: test_vendor
        _, h = rnn(x.to(dtype))
        half, _ = rnn(x.to(dtype), h)
    assert half.dtype in (torch.bfloat16, torch.float32)
    torch.testing.assert_close(half.float(), y, rtol=0.05, atol=0.05)
    half.float().square().sum().backward()
    for p in rnn.parameters():
        assert p.grad.dtype == torch.float32
        assert p.grad.isfinite().all()


@pytest.mark.parametrize(("name", "kernel"), ABLE)
def test_narrow_weights_run_without_autocast(name, kernel):
    if kernel in ("fused", "triton"):
        pytest.skip("it computes in float32 and float64, and says so: test_fused_limits, test_triton")
    rnn = RNN(name, 3, 5, 2, kernel=kernel, dtype=torch.bfloat16)
    wide = copy.deepcopy(rnn).float()
    x = torch.randn(6, 4, 3)
    y, _ = rnn(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), wide(x)[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("name", "kernel"), ABLE)
def test_weights_that_are_handed_in_are_those_used(name, kernel):
    rnn, other = RNN(name, 3, 5, 2, kernel=kernel), RNN(name, 3, 5, 2, kernel=kernel)
    x = torch.randn(6, 4, 3)
    got = torch.func.functional_call(rnn, dict(other.named_parameters()), (x,))[0]
    assert torch.equal(got, other(x)[0])


@pytest.mark.parametrize(("name", "kernel"), ABLE)
def test_a_deepcopy_trains_on_its_own(name, kernel):
    rnn = RNN(name, 3, 5, 2, kernel=kernel)
    other = copy.deepcopy(rnn)
    x = torch.randn(6, 4, 3)
    before, wanted = rnn.state_dict(), rnn(x)[0]
    before = {n: a.clone() for n, a in before.items()}
    assert torch.equal(other(x)[0], wanted)
    other(x)[0].sum().backward()
    torch.optim.SGD(other.parameters(), lr=0.5).step()
    assert torch.equal(rnn(x)[0], wanted)
    assert all(torch.equal(a, before[n]) for n, a in rnn.state_dict().items())
    assert all(p.grad is None for p in rnn.parameters())
    assert (other(x)[0] - wanted).abs().max() > 1e-3
    other.load_state_dict(rnn.state_dict())
    assert torch.equal(other(x)[0], wanted)


@pytest.mark.parametrize(("name", "kernel"), ABLE)
def test_an_output_may_be_changed_in_place_where_nn_gru_allows_it(name, kernel):
    if kernel == "triton" or (name, kernel) == ("lstm", "native"):
        pytest.skip("cuDNN's nn.GRU and oneDNN's nn.LSTM do not allow it")
    rnn, x = RNN(name, 3, 5, 2, kernel=kernel), torch.randn(6, 4, 3)
    found = []
    for relu in (torch.relu, torch.relu_):
        rnn.zero_grad()
        y, last = rnn(x)
        before = y.detach().clone()
        relu(y).square().sum().backward()
        found.append([before, *(p.grad.clone() for p in rnn.parameters())])
        h = last if isinstance(last, torch.Tensor) else last[0]
        torch.testing.assert_close(h[-1], before[-1])  # the state has not changed with it
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))

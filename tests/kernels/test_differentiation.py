"""Forward mode and torch.func: right by whatever kernel runs, or refused; what is right comes from torch's modules."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jvp, stack_module_state, vmap
from torch.nn.utils.rnn import pack_padded_sequence

from rnnzoo import RNN, RnnZooError, from_torch, list_cells
from rnnzoo.kernels import KERNELS
from rnnzoo.kernels.fused import prepared
from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.linear_scan import TransformedScan, linear_scan

TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
NO_FORWARD = "it has no derivatives in forward mode"


def pair(name, **options):
    """A module of torch's in float64, where its derivatives are made of those of its operations, and our twin."""
    module = TORCH[name](3, 5, 2, bidirectional=True, dtype=torch.float64, **options)
    return module, from_torch(module)


def tangent_of(rnn, x, dx):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(rnn(forward_ad.make_dual(x, dx))[0]).tangent


@pytest.mark.parametrize("T", [6, 90], ids=["short", "long"])  # which auto gives to different kernels
@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
@pytest.mark.parametrize("name", TORCH)
def test_a_tangent_is_that_of_torch_whether_or_not_gradients_are_taken(name, frozen, T):
    module, rnn = pair(name)
    rnn.requires_grad_(not frozen)
    x, dx = torch.randn(2, T, 4, 3, dtype=torch.float64)
    wanted = tangent_of(module, x, dx)
    torch.testing.assert_close(tangent_of(rnn, x, dx), wanted)
    with torch.no_grad():
        torch.testing.assert_close(tangent_of(rnn, x, dx), wanted)
    wide, narrow = copy.deepcopy(rnn).float(), (x.float(), dx.float())  # oneDNN knows float32 alone
    torch.testing.assert_close(tangent_of(wide, *narrow), wanted.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_by_its_name_a_kernel_has_the_tangent_or_says_that_it_has_none(name, kernel):
    rnn = RNN(name, 3, 5, kernel="reference")
    x, dx = torch.randn(2, 6, 4, 3)
    if any(row.why_not for row in rnn.explain(x).rows if row.kernel == kernel):
        pytest.skip("it does not run this cell at all")
    wanted = tangent_of(rnn, x, dx)
    rnn.kernel = kernel
    if kernel in ("reference", "linear_scan"):
        torch.testing.assert_close(tangent_of(rnn, x, dx), wanted)
    else:
        with pytest.raises(RnnZooError, match=r"it has no derivatives in forward mode|has a first derivative, in back"):
            tangent_of(rnn, x, dx)
        with forward_ad.dual_level():  # where nothing has a tangent it runs as ever
            torch.testing.assert_close(rnn(x)[0], copy.deepcopy(rnn)(x)[0])


def test_a_tangent_of_a_weight_or_of_a_state_counts_as_one_of_x_does():
    rnn = RNN("gru", 3, 5, kernel="fused")
    x, h = torch.randn(6, 4, 3), torch.randn(1, 4, 5)
    with forward_ad.dual_level(), torch.no_grad():
        with pytest.raises(RnnZooError, match=NO_FORWARD):
            rnn(x, forward_ad.make_dual(h, h))
        weights = dict(rnn.named_parameters())
        name = "layers.0.0.weight_hh"
        weights[name] = forward_ad.make_dual(weights[name].detach(), torch.ones(15, 5))
        with pytest.raises(RnnZooError, match=NO_FORWARD):
            functional_call(rnn, weights, (x,))


def test_the_operation_itself_loses_no_tangent():
    rnn = RNN("gru", 3, 5, kernel="fused")
    (cell,) = rnn.layers[0]
    rnn(torch.randn(2, 2, 3))
    program = PROGRAMS[prepared.prepared(cell, torch.float32, 1, {}).key]
    constants = [p.detach() for p in program.early(*(getattr(cell, n) for n in program.names))]
    with forward_ad.dual_level():
        u = forward_ad.make_dual(torch.randn(8, 3), torch.ones(8, 3))
        with pytest.raises(RnnZooError, match="kernel 'fused' has no derivatives in forward mode"):
            torch.ops.rnnzoo.scan.default(program.key, u, [torch.zeros(4, 5)], constants, None, False)


@pytest.mark.parametrize("name", TORCH)
def test_jvp_and_jacfwd_are_torchs(name):
    module, rnn = pair(name)
    x, dx = torch.randn(2, 40, 2, 3, dtype=torch.float64)
    wanted = tangent_of(module, x, dx)
    torch.testing.assert_close(jvp(lambda a: rnn(a)[0], (x,), (dx,))[1], wanted)
    columns = jacfwd(lambda a: rnn(x + a * dx)[0])(torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(columns, wanted)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_second_derivatives_by_torch_func_are_torchs(name):
    module, rnn = pair(name)
    rnn = rnn.float()  # oneDNN's LSTM has no second derivative
    x = torch.randn(3, 1, 3)

    def curvature(run, x):
        return torch.autograd.functional.hessian(lambda a: run(a)[0].square().sum(), x)

    wanted = curvature(module, x.double())  # double backward, by operations
    got = hessian(lambda a: rnn(a)[0].square().sum())(x)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-4)
    twice = grad(lambda a: grad(lambda b: rnn(b)[0].square().sum())(a).square().sum())(x)
    torch.testing.assert_close(twice.double(), 2 * _times(wanted, module, x.double()), rtol=1e-3, atol=1e-3)


def _times(matrix, module, x):
    """Hessian times gradient, which is half the gradient of the gradient's square."""
    a = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(module(a)[0].square().sum(), a)
    n = x.numel()
    return (matrix.reshape(n, n) @ g.reshape(n)).reshape(x.shape)


@pytest.mark.parametrize("name", [name for name, cell in list_cells().items() if cell.pinned is None])
def test_vmap_is_a_loop_over_batches_for_every_cell(name):
    rnn = RNN(name, 3, 4, dtype=torch.float64).eval()
    x = torch.randn(3, 5, 2, 3, dtype=torch.float64)
    inputs = {n: torch.rand(3, 5, 2, 1, dtype=torch.float64) for n in rnn.layers[0][0].inputs}

    def run(x, inputs):
        return rnn(x, **inputs)[0]

    wanted = torch.stack([run(x[k], {n: a[k] for n, a in inputs.items()}) for k in range(3)])
    torch.testing.assert_close(vmap(run)(x, inputs), wanted)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "mingru", "janet"])
def test_gradients_of_each_sample_are_those_of_each_alone(name):
    rnn = RNN(name, 3, 5, 2, dtype=torch.float64)
    x = torch.randn(30, 4, 3, dtype=torch.float64)
    weights = {n: p.detach() for n, p in rnn.named_parameters()}

    def loss(weights, one):
        return functional_call(rnn, weights, (one[:, None],))[0].square().sum()

    got = vmap(grad(loss), in_dims=(None, 1))(weights, x)
    twin = copy.deepcopy(rnn)
    twin.kernel = "reference"
    for k in range(4):
        twin.zero_grad()
        twin(x[:, k : k + 1])[0].square().sum().backward()
        for n, p in twin.named_parameters():
            torch.testing.assert_close(got[n][k], p.grad)


@pytest.mark.parametrize("name", ["lstm", "gru", "mingru", "janet"])
def test_an_ensemble_by_stacked_weights_is_each_model_alone(name):
    models = [RNN(name, 3, 5, 2) for _ in range(3)]
    weights, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")
    x = torch.randn(30, 4, 3)
    got = vmap(lambda w, b: functional_call(base, (w, b), (x,))[0])(weights, buffers)
    for y, model in zip(got, models, strict=True):
        torch.testing.assert_close(y, model(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, [7, 30, 2, 7], [30, 30, 30, 30]], ids=["whole", "uneven", "even"])
@pytest.mark.parametrize("name", TORCH)
def test_one_gradient_by_torch_func_is_torchs(name, lengths):
    module, rnn = pair(name)
    x = torch.randn(30, 4, 3, dtype=torch.float64)
    a = x.clone().requires_grad_()
    given = a if lengths is None else pack_padded_sequence(a, lengths, enforce_sorted=False)
    y = module(given)[0]
    wanted = torch.autograd.grad((y if lengths is None else y.data).square().sum(), a)[0]

    def loss(x):
        return rnn(x, lengths=lengths)[0].square().sum()

    torch.testing.assert_close(grad(loss)(x), wanted)
    both = vmap(grad(loss))(torch.stack([x, x + 1]))  # as of a batch of batches
    torch.testing.assert_close(both[0], wanted)
    assert (both[1] - wanted).abs().max() > 1e-3


def test_the_scan_has_its_derivatives_in_every_mode():
    for dtype in (torch.float64, torch.complex128):
        a, b, h = (torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in ((5, 2, 3), (5, 2, 3), (2, 3)))
        assert torch.autograd.gradcheck(linear_scan, (a, b, h), check_forward_ad=True)
        assert torch.autograd.gradcheck(
            TransformedScan.apply, (a, b, h), check_forward_ad=True, check_batched_grad=True
        )
        assert torch.autograd.gradgradcheck(linear_scan, (a, b, h))

"""The scan over h_t = a_t h_{t-1} + b_t: its two forms, its gradient, and long sequences."""

import time

import pytest
import torch

from rnnzoo import RNN
from rnnzoo.kernels import linear_scan
from rnnzoo.kernels.linear_scan import Scan
from rnnzoo.testing.case import expect, gradients, results


def by_loop(a, b, h):
    hs = []
    for a_t, b_t in zip(a, b, strict=True):
        h = a_t * h + b_t
        hs.append(h)
    return torch.stack(hs)


@pytest.mark.parametrize("T", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_values_and_gradients_are_those_of_the_loop(T, dtype):
    a, b = (torch.randn(T, 3, 5, dtype=dtype, requires_grad=True) for _ in range(2))
    h0 = torch.randn(3, 5, dtype=dtype, requires_grad=True)
    leaves = {"a": a, "b": b, "h0": h0}
    got, wanted = ({"h": scan(a, b, h0)} for scan in (Scan.apply, by_loop))
    expect(got | gradients(got, leaves), wanted | gradients(wanted, leaves), "expected the loop's", 1e-12)
    assert torch.autograd.gradcheck(Scan.apply, (a, b, h0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_second_derivatives_are_those_of_the_loop(dtype):
    a, b = (torch.randn(4, 2, 3, dtype=dtype, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradgradcheck(Scan.apply, (a, b, torch.randn(2, 3, dtype=dtype, requires_grad=True)))
    rnn, x = RNN("mingru", 3, 5, dtype=torch.float64), torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    by = {}
    for kernel in ("linear_scan", "reference"):
        rnn.kernel = kernel
        (first,) = torch.autograd.grad(rnn(x)[0].sin().sum(), x, create_graph=True)
        by[kernel] = gradients({"first": first}, {"x": x} | dict(rnn.named_parameters()))
    expect(by["linear_scan"], by["reference"], "expected the loop's second derivatives", 1e-10)


@pytest.mark.parametrize("T", [1, 2, 7, 16])
def test_the_gradient_by_one_input_alone_is_right(T):
    tensors = [torch.randn(T, 2, 3, dtype=torch.float64), torch.randn(T, 2, 3, dtype=torch.float64)]
    tensors.append(torch.randn(2, 3, dtype=torch.float64))
    for k in range(3):
        leaves = [t.clone().requires_grad_(j == k) for j, t in enumerate(tensors)]
        got, wanted = ({"h": scan(*leaves)} for scan in (Scan.apply, by_loop))
        only = {"leaf": leaves[k]}
        expect(gradients(got, only), gradients(wanted, only), "expected the loop's gradient", 1e-12)


@pytest.mark.parametrize("T", [1, 5, 16, 21])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_log_steps_as_on_a_gpu_give_what_the_loop_gives(T, device):
    a, b = (torch.randn(T, 3, 5, dtype=torch.float64) for _ in range(2))
    got, wanted = linear_scan._doubling(a.to(device), b.to(device)).cpu(), linear_scan._in_place(a, b)
    expect({"h": got}, {"h": wanted}, "expected both forms to agree", 1e-12)


def test_gradients_by_log_steps_are_right(monkeypatch):
    monkeypatch.setattr(linear_scan, "_recur", linear_scan._doubling)
    a, b = (torch.randn(6, 2, 3, dtype=torch.complex128, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(Scan.apply, (a, b, torch.randn(2, 3, dtype=torch.complex128, requires_grad=True)))


@pytest.mark.parametrize("T", [1, 2, 9])
def test_a_stack_equals_the_reference_and_so_does_its_initial_states_gradient(T):
    rnn = RNN("mingru", 3, 5, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, 4, 3, dtype=torch.float64)
    hx = torch.randn(4, 4, 5, dtype=torch.float64, requires_grad=True)
    by = {}
    for kernel in ("linear_scan", "reference"):
        rnn.kernel = kernel
        got = results(*rnn(x, hx))
        by[kernel] = got | gradients(got, {"hx": hx})
    assert by["reference"]["gradient of hx"].any()
    expect(by["linear_scan"], by["reference"], "expected the scan to equal the loop", 1e-12)


def test_twenty_thousand_steps_run_forward_and_backward():
    rnn = RNN("mingru", 3, 5, kernel="linear_scan")
    x = torch.randn(20_000, 2, 3, requires_grad=True)
    start = time.perf_counter()
    y, h_n = rnn(x)
    y.sum().backward()
    assert time.perf_counter() - start < 20
    assert torch.equal(y[-1], h_n[0])
    assert x.grad.isfinite().all()
    assert x.grad[0].any()
    tail = RNN("mingru", 3, 5, kernel="reference")
    tail.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(tail(x[-300:].detach())[0][-50:], y[-50:], rtol=1e-4, atol=1e-5)

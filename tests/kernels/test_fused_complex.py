"""Cells whose states, inputs, parameters or outputs are complex: `fused` computes with pairs what torch does whole."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from rnnzoo import RNN
from rnnzoo.cells import Cell
from rnnzoo.kernels.fused.complex_numbers import RealParts, joined, parts
from rnnzoo.testing.case import expect, gradients, results

FUNCTIONS = {
    "arithmetic": [
        lambda z: z * z + 1 - 2 * z / 3,
        lambda z: 1j * z + z.real - (2 - 1j) * z.imag,
        lambda z: 1 / (z + 2) + z / (1.5 + 0.5j) + (3 - z) / (2j - z.conj()),
        lambda z: torch.add(z, z.conj(), alpha=0.5) - torch.sub(z.real, z, alpha=2),
        lambda z: z.square() + z**3 + z.reciprocal() * z.abs(),
        lambda z: torch.where(z.real > 0, z, z.conj()).masked_fill(z.imag > 1, 0.5),
        lambda z: (z + 3) ** 1.5 + z**4 / 10 + z**-1,
    ],
    "functions": [
        lambda z: z.exp() + torch.expm1(z / 100) * 100,
        lambda z: (z + 3).log() + z.sqrt(),
        lambda z: z.sin() + z.cos() + z.sinh() * z.cosh(),
        lambda z: z.tanh() + z.sigmoid() + (50 * z).tanh(),
        lambda z: z.abs() + 1j * z.angle() + z.sgn(),
        lambda z: torch.polar(z.abs() + 1, z.imag),
    ],
    "shapes": [
        lambda z: torch.view_as_complex(torch.view_as_real(z).flip(-1).contiguous()),
        lambda z: torch.cat([z[:, ::2], z[:, 1::2]], -1) + z.sum(-1, keepdim=True),
        lambda z: torch.stack([z, z.real + 0j], -1).mean(-1) + torch.zeros_like(z) + torch.ones_like(z),
        lambda z: torch.cat(z.split([1, z.shape[-1] - 1], -1)[::-1], -1).roll(1, -1),
        lambda z: z.unflatten(-1, (2, -1)).transpose(1, 2).flatten(1),
        lambda z: z.real.to(z.dtype) + z.imag,
    ],
}


class Wave(NamedTuple):
    """A complex state beside a real one."""

    z: Tensor
    r: Tensor


class Complex(Cell):
    """All of a cell that can be complex: parameters, u, a field of the state, and what is emitted."""

    State, gates = Wave, 2
    functions = (lambda z: z.tanh(),)

    def parameter_shapes(self):
        return {"weight_ih": (2 * self.hidden_size, self.input_size)}

    def reset_parameters(self):
        H = self.hidden_size
        if not hasattr(self, "turn"):
            dtype = self.weight_ih.dtype.to_complex()
            self.turn = nn.Parameter(torch.empty(H, H, dtype=dtype))
            self.mean = nn.Parameter(torch.empty(H, dtype=dtype))
        for p in self.parameters():
            nn.init.normal_(p, std=0.3)

    def initial_state(self, batch, like):
        return Wave(like.new_zeros(batch, self.hidden_size, dtype=like.dtype.to_complex()), like.new_zeros(batch, 1))

    def project(self, x, **inputs):
        return torch.complex(*(x @ self.weight_ih.t()).chunk(2, -1))

    def step(self, u, s):
        z = s.z @ self.turn + u * self.mean.exp() + s.r
        for function in self.functions:
            z = function(z) / 4
        return Wave(z, s.r / 2 + z.abs().mean(-1, keepdim=True))

    def emit(self, s):
        return s.z

    def readout(self, h, u, x):
        return (h * u.conj()).real


def made(functions):
    cls = type("Complex", (Complex,), {"functions": tuple(functions)})
    return RNN(cls, 3, 6, dtype=torch.float64)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_complex_numbers_are_torchs(name):
    rnn, x = made(FUNCTIONS[name]), torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for rnn.kernel in ("fused", "reference"):
        got = results(*rnn(x, lengths=[5, 1, 3, 5]))
        found.append(got | gradients(got, {"x": x} | dict(rnn.named_parameters())))
    expect(*found, f"expected {name} to equal the reference", 1e-9)


@pytest.mark.parametrize(
    "function", [lambda z: z.abs() + 0j, lambda z: z.tanh() + z**1.5, lambda z: z.sgn() + z.angle()]
)
def test_gradients_at_zero_are_torchs(function):
    rnn, x = made([function]), torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for rnn.kernel in ("fused", "reference"):
        got = results(*rnn(x))
        found.append(got | gradients(got, {"x": x} | dict(rnn.named_parameters())))
    expect(*found, "expected the reference's", 1e-9)


def test_an_unknown_function_is_named():
    rnn = made([torch.acosh])
    reason = next(r.why_not for r in rnn.explain(torch.randn(2, 2, 3, dtype=torch.float64)).rows if r.kernel == "fused")
    assert "aten.acosh" in reason
    assert "complex" in reason


def test_parts_and_wholes():
    a, z = torch.randn(3), torch.randn(3, dtype=torch.complex64)
    assert [p.dtype for p in parts([a, z])] == [torch.float32] * 3
    assert all(torch.equal(p, q) for p, q in zip(joined(parts([a, z]), [False, True]), [a, z], strict=True))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_divisor_may_be_one_whose_square_is_no_number(scale):
    def quotient(p, q):
        return torch.view_as_real(torch.view_as_complex(p) / torch.view_as_complex(q))

    p, q = torch.randn(4, 2), torch.randn(4, 2) * scale
    got = RealParts(make_fx(quotient)(p, q)).run(p, q)
    torch.testing.assert_close(got * scale, quotient(p, q) * scale)

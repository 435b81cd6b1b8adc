"""Operations that a step may be written in: values and gradients by `fused` are torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo import RNN
from rnnzoo.cells import GatedCell, Hidden
from rnnzoo.testing.case import expect, gradients, results

ACTIVATIONS = [F.silu, F.gelu, F.softplus, F.elu, F.mish, F.hardtanh, F.logsigmoid, F.leaky_relu, F.hardsigmoid]
ACTIVATIONS += [
    F.hardshrink,
    F.softshrink,
    F.hardswish,
    F.selu,
    F.celu,
    F.relu6,
    F.softsign,
    F.tanhshrink,
    torch.erf,
    torch.sinc,
    torch.expm1,
]
GROUPS = {
    "activations": ACTIVATIONS[:9],
    "more activations": ACTIVATIONS[9:],
    "arithmetic": [
        lambda a: torch.lerp(a, a * a, 0.3),
        lambda a: torch.hypot(a, a * a + 1),
        lambda a: torch.atan2(a, a * a - 0.1),
        lambda a: torch.copysign(a, a * a - 1),
        lambda a: torch.logaddexp(a, 2 * a),
        lambda a: torch.xlogy(a * a, a * a + 1),
        lambda a: torch.remainder(a, 0.7) + torch.fmod(a, -0.3),
        lambda a: a.nan_to_num() + a.round() + a.sgn() * a,
        lambda a: 2**a + 1 / (a * a + 1),
        lambda a: a.masked_fill(a > 0, 1.0) + torch.where(a > 0, a, 0.0) + F.threshold(a, 0.1, 0.0),
        lambda a: torch.div(a, 0.3, rounding_mode="floor") + torch.div(a, 0.3, rounding_mode="trunc"),
    ],
    "over a row": [
        lambda a: F.log_softmax(a, -1) + F.softmin(a, -1),
        lambda a: F.normalize(a, dim=-1),
        lambda a: a / (1 + a.norm(p=1, dim=-1, keepdim=True)),
        lambda a: torch.logsumexp(a, -1, keepdim=True) + a,
        lambda a: a.std(-1, keepdim=True) + a.var(-1, keepdim=True, correction=0) * a,
        lambda a: F.rms_norm(a, a.shape[-1:]),
        lambda a: F.layer_norm(a, a.shape[-1:]),
        lambda a: a - a.amin(-1, keepdim=True) * a.amax(-1, keepdim=True),
        lambda a: a - a.max(-1).values[:, None] * a.min(-1, keepdim=True)[0],
        lambda a: F.relu(a).max(-1, keepdim=True).values * a,  # whose largest often are several zeros
    ],
    "pieces": [
        lambda a: F.pad(a, (2, 0))[:, :-2] + F.pad(a, (-1, 1), value=0.5),
        lambda a: F.glu(torch.cat([a, a], -1)),
        lambda a: a.roll(2, -1) + a.flip(-1),
        lambda a: torch.cat([a[:, ::2], a[:, 1::2]], -1),
        lambda a: torch.cat(a.split([1, a.shape[-1] - 1], -1)[::-1], -1),
        lambda a: torch.stack([a, 2 * a], -1).sum(-1),
        lambda a: a.repeat_interleave(2, -1)[:, 1::2],
        lambda a: a.repeat(1, 3)[:, 1::3] + a[:, :3].tile(2),
        lambda a: a.unflatten(-1, (2, -1)).transpose(1, 2).flatten(1),
    ],
    "matrices": [
        lambda a: torch.einsum("bi,bj->bij", a, a).sum(-1),
        lambda a: torch.einsum("bi,bj,bj->bi", a, a, a.cos()),
        lambda a: (a[:, :, None] * a[:, None].sin()).amax(1),
        lambda a: (a[:, :, None] @ a[:, None]).mean((1, 2), keepdim=True)[:, 0] * a,
    ],
}


def cell(operations):
    """A cell of whose step each operation gives a part."""

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        a = 0.5 * (wx + rh)
        return Hidden(sum(f(a + 0.1 * k) for k, f in enumerate(operations)).tanh())

    return type("Custom", (GatedCell,), {"gates": 1, "State": Hidden, "update": update})


@pytest.mark.parametrize("group", GROUPS)
def test_operations_have_torchs_values_and_gradients(group):
    rnn = RNN(cell(GROUPS[group]), 3, 6, dtype=torch.float64)
    x = torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)
    by = {}
    for kernel in ("fused", "reference"):
        rnn.kernel = kernel
        got = results(*rnn(x))
        by[kernel] = got | gradients(got, {"x": x} | dict(rnn.named_parameters()))
    expect(by["fused"], by["reference"], f"expected {group} to equal torch's", 1e-9)


BUFFERS = {
    "mask": lambda self, a, h: torch.where(self.mask, a.tanh(), h),
    "mask times": lambda self, a, h: a.tanh() * self.mask + h * ~self.mask,
    "filled": lambda self, a, h: a.tanh().masked_fill(self.mask, 0.5),
    "count": lambda self, a, h: (a * self.count + h / (7 + self.count)).tanh() + (a > self.count),
    "order": lambda self, a, h: a[:, self.order].tanh() + h[..., self.order.flip(0)],
    "selected": lambda self, a, h: a.index_select(1, self.twice).tanh() + h[:, self.order - 6],
    "heads": lambda self, a, h: a.unflatten(1, (2, 3))[:, :, self.order[:3] % 3].flatten(1).tanh(),
}


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_may_be_masks_counts_and_places(name):
    class Own(GatedCell):
        gates = 1

        def __init__(self, input_size: int, hidden_size: int):
            super().__init__(input_size, hidden_size)
            self.register_buffer("mask", torch.tensor([True, False, True, True, False, False]))
            self.register_buffer("count", torch.arange(6) - 2)
            self.register_buffer("order", torch.tensor([3, 4, 0, 5, 1, 2]))
            self.register_buffer("twice", torch.tensor([2, 2, 0, 5, 2, 0]))

        def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
            return Hidden(BUFFERS[name](self, wx + rh, s.h))

    rnn = RNN(Own, 3, 6, dtype=torch.float64)
    x = torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        by = {}
        for kernel in ("fused", "reference"):
            rnn.kernel = kernel
            got = results(*rnn(x))
            by[kernel] = got | gradients(got, {"x": x} | dict(rnn.named_parameters()))
        expect(by["fused"], by["reference"], f"expected buffers as {name} to be read", 1e-9)
        cell = rnn.layers[0][0]
        cell.mask.logical_not_()
        for buffer in (cell.count, cell.order, cell.twice):
            buffer.copy_(buffer.flip(0).clone())

"""The strongly typed cells: each unit adds to itself, and every product is one with the inputs."""

import math
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, Hidden, LinearCell
from rnnzoo.cells.registry import register


def as_linear_(cell: Cell) -> None:
    """Draws every parameter as nn.Linear does: all of them meet x alone."""
    bound = 1 / math.sqrt(cell.input_size)
    for p in cell.parameters():
        nn.init.uniform_(p, -bound, bound)


@register("t_rnn")
class TypedRNN(LinearCell):
    """Balduzzi & Ghifary 2016, the strongly typed RNN: a running mean of features, gated by x_t; rows z f.

    z, f = W x_t
    h_t = σ(f + b) h_{t-1} + (1 - σ(f + b)) z

    As in the paper z has no bias. Starts as nn.Linear does, from U(-1/√I, 1/√I).
    """

    gates, State = 2, Hidden

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"bias_ih": (self.hidden_size,) if self.bias else None}

    def reset_parameters(self) -> None:
        as_linear_(self)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        z, f = u.chunk(2, -1)
        f = (f if self.bias_ih is None else f + self.bias_ih).sigmoid()
        return f, (1 - f) * z


class Lagged(Cell):
    """What the two cells that look back one input share: V x_{t-1} beside W x_t, rows z f o."""

    gates = 3
    weight_previous: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        shapes = super().parameter_shapes()
        return shapes | {"weight_previous": shapes["weight_ih"]}

    def reset_parameters(self) -> None:
        as_linear_(self)

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        return F.linear(x, self.weight_ih, self.bias_ih), F.linear(x, self.weight_previous)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        H = self.hidden_size
        *fields, _ = self.State._fields
        return self.State(*(like.new_zeros(batch, H) for _ in fields), like.new_zeros(batch, 3 * H))


class HiddenLag(NamedTuple):
    """Output, and V x of the last input, (B, 3 H)."""

    h: Tensor
    vx: Tensor


@register("t_gru")
class TypedGRU(Lagged):
    """Balduzzi & Ghifary 2016, the strongly typed GRU, its gates see the last two inputs; rows z f o.

    z, f, o = W x_t + V x_{t-1} + b
    h_t = σ(f) h_{t-1} + z tanh(o)

    V is `weight_previous`. The state holds V x_{t-1}, made before the loop, rather than x_{t-1}: no product is left
    in it; before the first step it is zero. Starts as nn.Linear does, from U(-1/√I, 1/√I).
    """

    State = HiddenLag

    def step(self, u: tuple[Tensor, Tensor], s: HiddenLag) -> HiddenLag:
        wx, vx = u
        z, f, o = (wx + s.vx).chunk(3, -1)
        return HiddenLag(f.sigmoid() * s.h + z * o.tanh(), vx)


class HiddenCellLag(NamedTuple):
    """Output, memory, and V x of the last input, (B, 3 H)."""

    h: Tensor
    c: Tensor
    vx: Tensor


@register("t_lstm")
class TypedLSTM(Lagged):
    """Balduzzi & Ghifary 2016, the strongly typed LSTM, its gates see the last two inputs; rows z f o.

    z, f, o = W x_t + V x_{t-1} + b
    c_t = σ(f) c_{t-1} + (1 - σ(f)) z
    h_t = tanh(o) c_t

    V is `weight_previous`. The state holds V x_{t-1}, made before the loop, rather than x_{t-1}: no product is left
    in it; before the first step it is zero. h is never fed back. Starts as nn.Linear does, from U(-1/√I, 1/√I).
    """

    State = HiddenCellLag

    def step(self, u: tuple[Tensor, Tensor], s: HiddenCellLag) -> HiddenCellLag:
        wx, vx = u
        z, f, o = (wx + s.vx).chunk(3, -1)
        f = f.sigmoid()
        c = f * s.c + (1 - f) * z
        return HiddenCellLag(o.tanh() * c, c, vx)

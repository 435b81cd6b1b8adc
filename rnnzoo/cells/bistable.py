"""Bistable cells: a unit that feeds itself more than it forgets keeps one of two values for ever."""

from torch import Tensor, nn
from torch.nn import functional as F

from rnnzoo.cells.contract import Cell, GatedCell, Hidden
from rnnzoo.cells.registry import register


def project_without_content_bias(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    """W x + b of rows a c h, where b has rows a c."""
    return F.linear(x, W, None if b is None else F.pad(b, (0, len(W) - len(b))))


@register("brc")
class BRC(Cell):
    """Vecoven, Ernst & Drion 2021, the bistable recurrent cell: each unit sees itself alone; rows a c h, of b a c.

    a, c, n = W x_t + b
    a = 1 + tanh(a + w_a h_{t-1})
    c = σ(c + w_c h_{t-1})
    h_t = c h_{t-1} + (1 - c) tanh(n + a h_{t-1})

    The paper writes no biases; the authors' code has those of a and c. As there, W starts Glorot, w = 1, b = 0.
    """

    gates, State = 3, Hidden
    vectors = ("w_a", "w_c")
    w_a: Tensor
    w_c: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"bias_ih": (2 * self.hidden_size,) if self.bias else None}

    def reset_parameters(self) -> None:
        for W in self.weight_ih.chunk(3):
            nn.init.xavier_uniform_(W)
        for w in (self.w_a, self.w_c):
            nn.init.ones_(w)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return project_without_content_bias(x, self.weight_ih, self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        a, c, n = u.chunk(3, -1)
        return bistable(a + self.w_a * s.h, c + self.w_c * s.h, n, s)


@register("nbrc")
class NBRC(GatedCell):
    """Vecoven, Ernst & Drion 2021, the neuromodulated bistable cell; rows of W a c h, of R and b a c.

    a, c, n = W x_t + b
    a = 1 + tanh(a + R_a h_{t-1})
    c = σ(c + R_c h_{t-1})
    h_t = c h_{t-1} + (1 - c) tanh(n + a h_{t-1})

    The paper writes no biases; the authors' code has those of a and c. As there, W and R start Glorot, b = 0.
    """

    gates, State, hidden_bias = 3, Hidden, False

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {"weight_hh": (2 * H, H), "bias_ih": (2 * H,) if self.bias else None}

    def reset_parameters(self) -> None:
        for W in (*self.weight_ih.chunk(3), *self.weight_hh.chunk(2)):
            nn.init.xavier_uniform_(W)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return project_without_content_bias(x, self.weight_ih, self.bias_ih)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        wx_ac, n = wx.split([2 * self.hidden_size, self.hidden_size], -1)
        a, c = (wx_ac + rh).chunk(2, -1)
        return bistable(a, c, n, s)


def bistable(a: Tensor, c: Tensor, n: Tensor, s: Hidden) -> Hidden:
    """The new state from the sums of the feedback, the gate and the content."""
    c = c.sigmoid()
    return Hidden(c * s.h + (1 - c) * (n + (1 + a.tanh()) * s.h).tanh())

"""The minimal gated unit and its three simplifications: one gate that both resets and writes."""

from torch import Tensor
from torch.nn import functional as F

from rnnzoo.cells.contract import GatedCell, Hidden
from rnnzoo.cells.registry import register
from rnnzoo.initialize import glorot_and_orthogonal_


@register("mgu")
class MGU(GatedCell):
    """Zhou et al. 2016, the minimal gated unit: two dependent products; rows f h.

    f = σ(W_f x_t + R_f h_{t-1} + b_f)
    n = tanh(W_h x_t + R_h (f h_{t-1}) + b_h)
    h_t = (1 - f) h_{t-1} + f n

    Though called a forget gate, f weighs what is new. Starts as keras' GRU does: W Glorot, R orthogonal, b = 0.
    """

    gates, State, hidden_bias = 2, Hidden, False
    rows = ("write", "new")

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        (wx_f, wx_h), (R_f, R_h) = u.chunk(2, -1), self.weight_hh.chunk(2)
        f = (wx_f + s.h @ R_f.t()).sigmoid()
        n = (wx_h + (f * s.h) @ R_h.t()).tanh()
        return Hidden((1 - f) * s.h + f * n)


@register("mgu1")
class MGU1(GatedCell):
    """Heck & Salem 2017, MGU1, `mgu` whose gate does not see x; rows of W h, of R f h; b_f is bias_hh.

    f = σ(R_f h_{t-1} + b_f)
    n = tanh(W x_t + R_h (f h_{t-1}) + b_h)
    h_t = (1 - f) h_{t-1} + f n

    Starts as keras' GRU does: W Glorot, R orthogonal, b = 0.
    """

    gates, State = 1, Hidden

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_hh": (2 * self.hidden_size, self.hidden_size)}

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        R_f, R_h = self.weight_hh.chunk(2)
        f = F.linear(s.h, R_f, self.bias_hh).sigmoid()
        n = (u + (f * s.h) @ R_h.t()).tanh()
        return Hidden((1 - f) * s.h + f * n)


@register("mgu2")
class MGU2(MGU1):
    """Heck & Salem 2017, MGU2, `mgu1` whose gate has no bias; rows of W h, of R f h.

    f = σ(R_f h_{t-1})
    n = tanh(W x_t + R_h (f h_{t-1}) + b)
    h_t = (1 - f) h_{t-1} + f n

    Starts as keras' GRU does: W Glorot, R orthogonal, b = 0.
    """

    hidden_bias = False


@register("mgu3")
class MGU3(GatedCell):
    """Heck & Salem 2017, MGU3, `mgu` whose gate is a bias alone, one learned rate a unit; one row block.

    f = σ(b_f)
    n = tanh(W x_t + R (f h_{t-1}) + b)
    h_t = (1 - f) h_{t-1} + f n

    Starts as keras' GRU does: W Glorot, R orthogonal, b = b_f = 0.
    """

    gates, State, hidden_bias = 1, Hidden, False
    vectors = ("b_f",)
    b_f: Tensor

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih, self.b_f)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        f = self.b_f.sigmoid()
        n = (u + (f * s.h) @ self.weight_hh.t()).tanh()
        return Hidden((1 - f) * s.h + f * n)

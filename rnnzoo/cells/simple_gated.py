"""The simple gated unit and its deep form, in which x gates the product of the state."""

from torch import Tensor
from torch.nn import functional as F

from rnnzoo.cells.contract import GatedCell, Hidden
from rnnzoo.cells.registry import register
from rnnzoo.initialize import glorot_and_orthogonal_, orthogonal_


def hard_sigmoid(a: Tensor) -> Tensor:
    """Of slope 0.2, as keras had it when the paper was written; torch's has 1/6."""
    return (0.2 * a + 0.5).clamp(0, 1)


@register("sgu")
class SGU(GatedCell):
    """Gao & Glowacka 2016, the simple gated unit: products on g h and on h; rows g z.

    g, z = W x_t + b
    n = softplus(tanh(R_g (g h_{t-1})) h_{t-1})
    z = clamp(0.2 (z + R_z h_{t-1}) + 0.5, 0, 1)
    h_t = (1 - z) h_{t-1} + z n

    R_g is the paper's W_zxh. Starts as keras' GRU does: W Glorot, R orthogonal, b = 0.
    """

    gates, State, hidden_bias = 2, Hidden, False
    rows = ("reset", "write")

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        (g, wx_z), (R_g, R_z) = u.chunk(2, -1), self.weight_hh.chunk(2)
        n = self.content(((g * s.h) @ R_g.t()).tanh() * s.h)
        z = hard_sigmoid(wx_z + s.h @ R_z.t())
        return Hidden((1 - z) * s.h + z * n)

    def content(self, a: Tensor) -> Tensor:
        """What is new, from the gated state (B, H)."""
        return F.softplus(a)


@register("dsgu")
class DSGU(SGU):
    """Gao & Glowacka 2016, the deep simple gated unit, `sgu` with a third product; rows g z.

    g, z = W x_t + b
    n = σ(V (tanh(R_g (g h_{t-1})) h_{t-1}))
    z = clamp(0.2 (z + R_z h_{t-1}) + 0.5, 0, 1)
    h_t = (1 - z) h_{t-1} + z n

    R_g is the paper's W_zxh, V its W_go. Starts as keras' GRU does: W Glorot, R and V orthogonal, b = 0.
    """

    weight_go: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_go": (self.hidden_size, self.hidden_size)}

    def reset_parameters(self) -> None:
        super().reset_parameters()
        orthogonal_(self.weight_go)

    def content(self, a: Tensor) -> Tensor:
        return (a @ self.weight_go.t()).sigmoid()

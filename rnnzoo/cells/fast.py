"""FastRNN and FastGRNN, for small devices: one row block, and weights that may be of low rank."""

import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, Hidden, at_least_one
from rnnzoo.cells.registry import register


class _LowRank(GatedCell):
    """One row block whose W and R may be products of two narrow matrices, the second of them ``weight_.._low``."""

    gates, State, hidden_bias = 1, Hidden, False
    weight_ih_low: Tensor | None
    weight_hh_low: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        rank_ih: int | None = None,
        rank_hh: int | None = None,
        bias: bool = True,
    ):
        self.rank_ih = None if rank_ih is None else at_least_one("rank_ih", rank_ih)
        self.rank_hh = None if rank_hh is None else at_least_one("rank_hh", rank_hh)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {
            "weight_ih": (H, self.rank_ih or self.input_size),
            "weight_hh": (H, self.rank_hh or H),
            "weight_ih_low": (self.rank_ih, self.input_size) if self.rank_ih else None,
            "weight_hh_low": (self.rank_hh, H) if self.rank_hh else None,
        }

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return super().project(x if self.weight_ih_low is None else F.linear(x, self.weight_ih_low))

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        h = s.h if self.weight_hh_low is None else F.linear(s.h, self.weight_hh_low)
        return self.update(u, F.linear(h, self.weight_hh), s)

    def reset_parameters(self) -> None:
        for name, p in self.named_parameters():
            if name.startswith("weight"):
                nn.init.normal_(p, std=0.1)
            elif name.startswith("bias"):
                nn.init.ones_(p)


@register("fastrnn")
class FastRNN(_LowRank):
    """Kusupati et al. 2018, FastRNN: a plain network beside a weighted residual connection; one row block.

    n = tanh(W x_t + R h_{t-1} + b)
    h_t = σ(α) n + σ(β) h_{t-1}

    α and β are one number each. As in the authors' code, α starts at -3 and β at 3, near the identity, weights (of
    low rank: both factors) from N(0, 0.1²) and b from one.

    Args:
        rank_ih: the rank of W; None for a full one.
        rank_hh: the rank of R; None for a full one.
    """

    alpha: Tensor
    beta: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"alpha": (1,), "beta": (1,)}

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.alpha, -3)
        nn.init.constant_(self.beta, 3)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden(self.alpha.sigmoid() * (wx + rh).tanh() + self.beta.sigmoid() * s.h)


@register("fastgrnn")
class FastGRNN(_LowRank):
    """Kusupati et al. 2018, FastGRNN: gate and candidate share one row block; biases z n.

    a = W x_t + R h_{t-1}
    z = σ(a + b_z)
    n = tanh(a + b_n)
    h_t = (σ(ζ) (1 - z) + σ(ν)) n + z h_{t-1}

    ζ and ν are one number each. As in the authors' code, ζ starts at 1 and ν at -4, weights (of low rank: both
    factors) from N(0, 0.1²) and biases from one. Pruning and quantisation, the rest of the paper, are training's.

    Args:
        rank_ih: the rank of W; None for a full one.
        rank_hh: the rank of R; None for a full one.
    """

    bias_z: Tensor | None
    bias_n: Tensor | None
    zeta: Tensor
    nu: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {
            "bias_ih": None,
            "bias_z": (self.hidden_size,) if self.bias else None,
            "bias_n": (self.hidden_size,) if self.bias else None,
            "zeta": (1,),
            "nu": (1,),
        }

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.zeta, 1)
        nn.init.constant_(self.nu, -4)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        a = wx + rh
        z, n = (a, a) if self.bias_z is None or self.bias_n is None else (a + self.bias_z, a + self.bias_n)
        z = z.sigmoid()
        return Hidden((self.zeta.sigmoid() * (1 - z) + self.nu.sigmoid()) * n.tanh() + z * s.h)

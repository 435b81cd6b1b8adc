"""Networks that are steps of an ordinary differential equation whose matrix has a bounded symmetric part."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, Hidden, above_zero, between
from rnnzoo.cells.registry import name_of, register


@register("antisymmetric_rnn")
class AntisymmetricRNN(GatedCell):
    """Chang et al. 2019, AntisymmetricRNN: Euler steps of a stable equation, which neither explode nor vanish; rows n.

    A = M - Mᵀ - γ I
    h_t = h_{t-1} + ε tanh(W x_t + A h_{t-1} + b)

    M is `weight_hh`, of which H (H - 1) / 2 numbers have an effect. As in the paper, M starts from N(0, σ²/H), which
    tunes σ, here 1, W from N(0, 1/I) and b from zero.

    Args:
        epsilon: ε, the size of a step; the paper tries 0.001 to 1.
        gamma: γ, diffusion, which makes up for what Euler's method lacks of stability; the paper tries 0.001 to 1.

    Raises:
        RnnZooError: `epsilon` not above 0, or `gamma` below 0.
    """

    gates, State, hidden_bias = 1, Hidden, False

    def __init__(
        self, input_size: int, hidden_size: int, *, epsilon: float = 0.01, gamma: float = 0.01, bias: bool = True
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        name = name_of(type(self))
        self.epsilon = above_zero(f"epsilon of {name}", epsilon)
        self.gamma = between(f"gamma of {name}", gamma, 0)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_hh": (self.hidden_size, self.hidden_size)}

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight_ih, std=1 / math.sqrt(self.input_size))
        nn.init.normal_(self.weight_hh, std=1 / math.sqrt(self.hidden_size))
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        M = self.weight_hh
        return self.update(u, F.linear(s.h, M - M.t()) - self.gamma * s.h, s)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden(s.h + self.epsilon * (wx + rh).tanh())


@register("gated_antisymmetric_rnn")
class GatedAntisymmetricRNN(AntisymmetricRNN):
    """Chang et al. 2019, AntisymmetricRNN with a gate, which shares the candidate's recurrent product; rows z n.

    A = M - Mᵀ - γ I
    z, n = W x_t + (A h_{t-1}, A h_{t-1}) + b
    h_t = h_{t-1} + ε σ(z) tanh(n)

    Starts as `antisymmetric_rnn` does.

    Args:
        epsilon: ε, the size of a step.
        gamma: γ, diffusion.

    Raises:
        RnnZooError: `epsilon` not above 0, or `gamma` below 0.
    """

    gates = 2
    rows = ("write", "new")

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        z, n = wx.chunk(2, -1)
        return Hidden(s.h + self.epsilon * (z + rh).sigmoid() * (n + rh).tanh())


@register("lipschitz_rnn")
class LipschitzRNN(GatedCell):
    """Erichson et al. 2021, Lipschitz RNN: Euler steps of a linear part and a squashed one; rows of `weight_hh` A W.

    A = (1 - β_a) (M_a + M_aᵀ) + β_a (M_a - M_aᵀ) - γ_a I,   W likewise of M_w
    h_t = h_{t-1} + ε (A h_{t-1} + tanh(W h_{t-1} + U x_t + b))

    M_a and M_w are the row blocks of `weight_hh`. As in the authors' code, each starts from N(0, (init_std / H)²), U as
    Glorot & Bengio 2010 have it, b from zero; the default values are the code's too.

    Args:
        epsilon: ε, the size of a step.
        beta_a: β of A, in [0, 1]: 0 symmetric, 1 antisymmetric.
        gamma_a: γ of A, how far its eigenvalues are moved to the left.
        beta_w: β of W.
        gamma_w: γ of W.
        init_std: what H times the standard deviation of M_a and M_w starts as.

    Raises:
        RnnZooError: `epsilon` not above 0, a β outside [0, 1], or a γ or `init_std` below 0.
    """

    gates, State, hidden_bias = 1, Hidden, False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        epsilon: float = 0.01,
        beta_a: float = 0.8,
        gamma_a: float = 0.01,
        beta_w: float = 0.8,
        gamma_w: float = 0.01,
        init_std: float = 1.0,
        bias: bool = True,
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        self.epsilon = above_zero("epsilon of lipschitz_rnn", epsilon)
        self.beta_a = between("beta_a of lipschitz_rnn", beta_a, 0, 1)
        self.gamma_a = between("gamma_a of lipschitz_rnn", gamma_a, 0)
        self.beta_w = between("beta_w of lipschitz_rnn", beta_w, 0, 1)
        self.gamma_w = between("gamma_w of lipschitz_rnn", gamma_w, 0)
        self.init_std = between("init_std of lipschitz_rnn", init_std, 0)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_hh": (2 * self.hidden_size, self.hidden_size)}

    def reset_parameters(self) -> None:
        nn.init.xavier_normal_(self.weight_ih)
        nn.init.normal_(self.weight_hh, std=self.init_std / self.hidden_size)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        M_a, M_w = self.weight_hh.chunk(2)
        both = torch.cat([M_a + (1 - 2 * self.beta_a) * M_a.t(), M_w + (1 - 2 * self.beta_w) * M_w.t()])
        ah, wh = F.linear(s.h, both).chunk(2, -1)
        squashed = (wh - self.gamma_w * s.h + u).tanh()
        return Hidden(s.h + self.epsilon * (ah - self.gamma_a * s.h + squashed))

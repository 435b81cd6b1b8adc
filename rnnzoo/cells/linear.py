"""Cells that are linear in time, h_t = a_t h_{t-1} + b_t, with a state of one number a unit."""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Hidden, LinearCell, above_zero, between
from rnnzoo.cells.registry import name_of, register
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.initialize import wide_like


def silu(a: Tensor) -> Tensor:
    return a * a.sigmoid()  # F.silu is more than row-wise arithmetic to a compiled kernel


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda a: a,
    "tanh": torch.tanh,
    "silu": silu,
}


def check_activation(cls: type, name: str) -> str:
    """`name`, one of ACTIVATIONS, or an error that says which there are."""
    if name not in ACTIVATIONS:
        has = f"{did_you_mean(name, ACTIVATIONS)} there are {', '.join(ACTIVATIONS)}"
        raise RnnZooError(f"activation of {name_of(cls)} is {name!r}{has}")
    return name


def wide(a: Tensor) -> Tensor:
    """`a` in float32 at least: a decay near 1, and what is added to a sum over many steps, need its digits."""
    return a.to(torch.promote_types(a.dtype, torch.float32))


def like_linear_(cell: LinearCell) -> None:
    """Draws W and b as nn.Linear does, from U(-1/√I, 1/√I)."""
    bound = 1 / math.sqrt(cell.input_size)
    for p in (cell.weight_ih, cell.bias_ih):
        if p is not None:
            nn.init.uniform_(p, -bound, bound)


class UnitwiseCell(LinearCell):
    """A linear cell each of whose units reads one number a step: x itself where I = H, otherwise v = W x + b."""

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        same = self.input_size == self.hidden_size
        return {
            "weight_ih": None if same else (self.hidden_size, self.input_size),
            "bias_ih": None if same or not self.bias else (self.hidden_size,),
        }

    def unitwise(self, x: Tensor) -> Tensor:
        """x (..., I) -> v (..., H)."""
        return x if self.weight_ih is None else F.linear(x, self.weight_ih, self.bias_ih)


@register("ema")
class EMA(UnitwiseCell):
    """Mozer 1989, leaky integrators that learn their decay, here as an exponential moving average; rows v.

    v = x_t where I = H, otherwise W x_t + b
    h_t = σ(ρ) h_{t-1} + (1 - σ(ρ)) v

    From h_0 = 0, without correction of the bias towards it. W, b start as in nn.Linear; ρ, H numbers, such that
    the time constants 1 / (1 - σ(ρ)) lie between 2 and `max_steps`, uniformly in their logarithm (our choice).

    Args:
        max_steps: the longest time constant at the start, in time steps, at least 2.

    Raises:
        RnnZooError: `max_steps` below 2.
    """

    State, vectors = Hidden, ("rho",)
    rho: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, max_steps: float = 100.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.max_steps = between("max_steps of ema", max_steps, 2)

    def reset_parameters(self) -> None:
        like_linear_(self)
        with torch.no_grad():
            steps = wide_like(self.rho).uniform_(math.log(2), math.log(self.max_steps)).exp()
            self.rho.copy_((steps - 1).log())  # σ(ρ) = 1 - 1 / steps

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return self.unitwise(x)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        rho = wide(self.rho)
        return rho.sigmoid(), (-rho).sigmoid() * u


@register("gilr")
class GILR(LinearCell):
    """Martin & Cundy 2018, gated impulse linear recurrence; rows g i.

    g, i = W x_t + b
    h_t = σ(g) h_{t-1} + (1 - σ(g)) τ(i)

    τ is tanh by default. W starts as Glorot's, b from zero.

    Args:
        activation: τ, one of "tanh", "identity" and "silu".

    Raises:
        RnnZooError: another `activation`.
    """

    gates, State = 2, Hidden
    rows = ("keep", "new")

    def __init__(self, input_size: int, hidden_size: int, *, activation: str = "tanh", bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.activation = check_activation(type(self), activation)

    def reset_parameters(self) -> None:
        for W in self.weight_ih.chunk(2):
            nn.init.xavier_uniform_(W)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        g, i = wide(u).chunk(2, -1)
        return g.sigmoid(), (-g).sigmoid() * ACTIVATIONS[self.activation](i)


@register("mingru")
class MinGRU(LinearCell):
    """Feng et al. 2024, minGRU of "Were RNNs All We Needed?", its gates see x_t alone; rows z n.

    z, n = W x_t + b
    h_t = (1 - σ(z)) h_{t-1} + σ(z) g(n),   g(n) = n + 0.5 if n >= 0 else σ(n)

    Starts as nn.Linear does, from U(-1/√I, 1/√I), as the authors' code.
    """

    gates, State = 2, Hidden
    rows = ("write", "new")

    def reset_parameters(self) -> None:
        like_linear_(self)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        z, n = u.chunk(2, -1)
        z = z.sigmoid()
        return 1 - z, z * positive(n)


@register("minlstm")
class MinLSTM(LinearCell):
    """Feng et al. 2024, minLSTM of "Were RNNs All We Needed?", its gates see x_t alone; rows f i n.

    f, i, n = W x_t + b
    w = σ(i) / (σ(f) + σ(i))
    h_t = (1 - w) h_{t-1} + w g(n),   g(n) = n + 0.5 if n >= 0 else σ(n)

    The gates sum to one, as in the paper's final form. w is computed as σ(d), d = softplus(-f) - softplus(-i),
    which divides by nothing. Starts as nn.Linear does, from U(-1/√I, 1/√I).
    """

    gates, State = 3, Hidden
    rows = ("keep", "write", "new")

    def reset_parameters(self) -> None:
        like_linear_(self)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        f, i, n = wide(u).chunk(3, -1)
        d = F.softplus(-f) - F.softplus(-i)
        return (-d).sigmoid(), d.sigmoid() * positive(n)


def positive(n: Tensor) -> Tensor:
    """Feng et al.'s g, which is positive and, at 0, continuous: n + 0.5 if n >= 0 else σ(n)."""
    return torch.where(n >= 0, n + 0.5, n.sigmoid())


@register("hgrn")
class HGRN(LinearCell):
    """Qin et al. 2023, hierarchically gated RNN, the real-valued form of the authors' later code; rows f i.

    f, i = W x_t + b
    λ = γ + (1 - γ) σ(f)
    h_t = λ h_{t-1} + (1 - λ) silu(i)

    The paper's form, complex and with an output gate, is `complex_hgrn`. γ grows from layer to layer there, and is
    learned; a cell sees one layer, so γ is its argument. W starts as Glorot's, b from zero (our choice).

    Args:
        lower_bound: γ, in [0, 1): the least that is kept of the old state.

    Raises:
        RnnZooError: `lower_bound` outside [0, 1).
    """

    gates, State = 2, Hidden
    rows = ("keep", "new")

    def __init__(self, input_size: int, hidden_size: int, *, lower_bound: float = 0.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.lower_bound = check_lower_bound(type(self), lower_bound)

    def reset_parameters(self) -> None:
        for W in self.weight_ih.chunk(2):
            nn.init.xavier_uniform_(W)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        f, i = wide(u).chunk(2, -1)
        forget = (1 - self.lower_bound) * (-f).sigmoid()  # 1 - λ, without the cancellation
        return self.lower_bound + (1 - self.lower_bound) * f.sigmoid(), forget * silu(i)


@register("complex_hgrn")
class ComplexHGRN(LinearCell):
    """Qin et al. 2023, hierarchically gated RNN, complex and with its output gate; rows f, Re Im of i, Re Im of g.

    f, i, g = W x_t + b                            i and g have 2 H rows
    λ = γ + (1 - γ) σ(f)
    h_t = λ exp(iθ) h_{t-1} + (1 - λ) (silu(i_re) + i silu(i_im))
    y_t = W_o LN((Re h_t, Im h_t) σ(g)) + b_o

    γ grows from layer to layer in the paper, and is learned; a cell sees one layer, so γ is its argument. θ is H
    numbers that x does not move and starts from 10000^(-2j/H) for unit j, LN, of gain and shift, from the identity,
    W and W_o as Glorot's, biases from zero. The authors' code has W's rows f of low rank.

    Args:
        lower_bound: γ, in [0, 1): the least that is kept of the old state's size.

    Raises:
        RnnZooError: `lower_bound` outside [0, 1).
    """

    gates, State, vectors = 5, Hidden, ("theta",)
    theta: Tensor
    weight_out: Tensor
    bias_out: Tensor | None
    gain: Tensor
    shift: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, lower_bound: float = 0.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.lower_bound = check_lower_bound(type(self), lower_bound)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {
            "weight_out": (H, 2 * H),
            "bias_out": (H,) if self.bias else None,
            "gain": (2 * H,),
            "shift": (2 * H,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        for W in (*self.weight_ih.chunk(5), self.weight_out):
            nn.init.xavier_uniform_(W)
        for b in (self.bias_ih, self.bias_out, self.shift):
            if b is not None:
                nn.init.zeros_(b)
        nn.init.ones_(self.gain)
        with torch.no_grad():
            self.theta.copy_(1e4 ** (torch.arange(self.hidden_size) * (-2 / self.hidden_size)))

    def initial_state(self, batch: int, like: Tensor) -> Hidden:
        dtype = torch.promote_types(like.dtype, torch.float32).to_complex()
        return Hidden(like.new_zeros(batch, self.hidden_size, dtype=dtype))

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        f, re, im, _, _ = wide(u).chunk(5, -1)
        forget = (1 - self.lower_bound) * (-f).sigmoid()  # 1 - λ, without the cancellation
        kept, turn = self.lower_bound + (1 - self.lower_bound) * f.sigmoid(), wide(self.theta)
        return torch.complex(kept * turn.cos(), kept * turn.sin()), torch.complex(forget * silu(re), forget * silu(im))

    def emit(self, s: Hidden) -> Tensor:
        return torch.cat([s.h.real, s.h.imag], -1)

    def readout(self, h: Tensor, u: Tensor, x: Tensor) -> Tensor:
        g = u[..., 3 * self.hidden_size :]
        shown = (h * g.sigmoid()).to(self.gain.dtype)
        normed = F.layer_norm(shown, shown.shape[-1:], self.gain, self.shift)
        return F.linear(normed, self.weight_out, self.bias_out)


def check_lower_bound(cls: type, value: float) -> float:
    """γ of HGRN, or an error."""
    if not 0 <= value < 1:
        raise RnnZooError(f"lower_bound of {name_of(cls)} must be in [0, 1), not {value}")
    return value


@register("rg_lru")
class RGLRU(UnitwiseCell):
    """De et al. 2024, Griffin's real-gated linear recurrent unit; rows r i of the gates, a block of them a head.

    v = x_t where I = H, otherwise W x_t + b
    r, i = W_g v + b_g
    a = exp(c σ(r) log σ(Λ))
    h_t = a h_{t-1} + √(1 - a²) σ(i) v

    `weight_gates` is (2, heads, H / heads, H / heads), gate, head, to and from. The equations are the paper's at
    every step; the released code does not scale the first step's input by √(1 - a²). As in the paper σ(Λ)^c starts
    from U(0.9, 0.999), where the code draws σ(Λ) itself; W_g from N(0, heads / H), b_g from zero, W, b as nn.Linear.

    Args:
        heads: blocks of the block-diagonal W_g, a divisor of H; 1 for full matrices.
        c: how much faster than σ(Λ) the state decays under an open gate.

    Raises:
        RnnZooError: `heads` that do not divide H, or `c` not above 0.
    """

    State, vectors = Hidden, ("Lambda",)
    Lambda: Tensor
    weight_gates: Tensor
    bias_gates: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 1, c: float = 8.0, bias: bool = True):
        if heads < 1 or hidden_size % heads:
            raise RnnZooError(f"heads of rg_lru must divide hidden_size {hidden_size}, which {heads} does not")
        self.heads, self.c = heads, above_zero("c of rg_lru", c)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        width = self.hidden_size // self.heads
        return super().parameter_shapes() | {
            "weight_gates": (2, self.heads, width, width),
            "bias_gates": (2, self.hidden_size) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        like_linear_(self)
        nn.init.normal_(self.weight_gates, std=math.sqrt(self.heads / self.hidden_size))
        if self.bias_gates is not None:
            nn.init.zeros_(self.bias_gates)
        with torch.no_grad():
            kept = wide_like(self.Lambda).uniform_(0.9, 0.999)
            self.Lambda.copy_((kept ** (1 / self.c)).logit())

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v = self.unitwise(x)
        blocks = v.unflatten(-1, (self.heads, -1))
        r, i = (torch.einsum("...hk,hjk->...hj", blocks, W).flatten(-2) for W in self.weight_gates)
        if self.bias_gates is not None:
            r, i = r + self.bias_gates[0], i + self.bias_gates[1]
        return v, r, i

    def coefficients(self, u: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        v, r, i = u
        log_a = self.c * wide(r).sigmoid() * F.logsigmoid(wide(self.Lambda))
        # above 0, where the slope of a square root is infinite
        scale = (-torch.expm1(2 * log_a)).clamp(min=torch.finfo(log_a.dtype).tiny).sqrt()
        return log_a.exp(), scale * wide(i).sigmoid() * v

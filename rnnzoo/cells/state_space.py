"""State space models as cells: linear in time, with many numbers of state, most of them complex, for each output.

Their parameters are real, so that any optimizer and ``.double()`` work on them; complex numbers arise inside.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Hidden, LinearCell, above_zero, at_least_one
from rnnzoo.cells.linear import UnitwiseCell, like_linear_, wide
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError
from rnnzoo.initialize import wide_like


def complex_zeros(like: Tensor, *shape: int) -> Tensor:
    """Complex zeros, of float32 at least."""
    return like.new_zeros(*shape, dtype=torch.promote_types(like.dtype, torch.float32).to_complex())


def log_uniform_(p: Tensor, low: float, high: float) -> None:
    """Draws p, a logarithm, from U(log low, log high)."""
    with torch.no_grad():
        p.copy_(wide_like(p).uniform_(math.log(low), math.log(high)))


class DiagonalCell(LinearCell):
    """A linear cell whose state h is N complex numbers, from which y_t = k Re(C h_t) + D x_t is read.

    B x comes from `weight_ih`, rows Re Im of B, C from `weight_out`, columns Re Im of C. D is H numbers where I = H,
    otherwise (H, I).
    """

    State = Hidden
    copies: ClassVar[int] = 1  # k: 2 where each number stands for its conjugate, too
    numbers: int  # N
    weight_out: Tensor
    D: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H, N = self.input_size, self.hidden_size, self.numbers
        return {"weight_ih": (2 * N, I), "weight_out": (H, 2 * N), "D": (H,) if I == H else (H, I)}

    def reset_skip(self) -> None:
        """D from N(0, 1), or, of (H, I), from N(0, 1/I)."""
        nn.init.normal_(self.D, std=1.0 if self.D.dim() == 1 else self.input_size**-0.5)

    def initial_state(self, batch: int, like: Tensor) -> Hidden:
        return Hidden(complex_zeros(like, batch, self.numbers))

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih)

    def emit(self, s: Hidden) -> Tensor:
        return torch.cat([s.h.real, -s.h.imag], -1)  # Re(C h) = Re C Re h - Im C Im h

    def readout(self, h: Tensor, u: Tensor, x: Tensor) -> Tensor:
        skip = self.D * x if self.D.dim() == 1 else F.linear(x, self.D)
        return self.copies * F.linear(h.to(self.weight_out.dtype), self.weight_out) + skip


@register("lru")
class LRU(DiagonalCell):
    """Orvieto et al. 2023, linear recurrent unit, complex and diagonal; rows Re Im of B, columns Re Im of C.

    λ = exp(-exp(ν) + i exp(θ))
    h_t = λ h_{t-1} + exp(γ) B x_t
    y_t = Re(C h_t) + D x_t

    D is diagonal where I = H. As in the paper |λ|² starts from U(r_min², r_max²), its phase from U(0, max_phase),
    γ = log √(1 - |λ|²), Re B and Im B from N(0, 1/2I), Re C and Im C from N(0, 1/N), D from N(0, 1). The authors
    train ν, θ and γ without weight decay and at a quarter of the learning rate. It has no biases, whatever `bias`.

    Args:
        state_size: N, complex numbers of state; H by default.
        r_min: the least |λ| at the start.
        r_max: the largest |λ| at the start; near 1 for long sequences.
        max_phase: the largest phase at the start, in radians; small for long sequences.

    Raises:
        RnnZooError: `state_size` below 1, radii not in 0 <= r_min < r_max <= 1, or `max_phase` not above 0.
    """

    nu: Tensor
    theta: Tensor
    gamma: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 6.28,
        bias: bool = True,
    ):
        if not 0 <= r_min < r_max <= 1:
            raise RnnZooError(f"lru needs 0 <= r_min < r_max <= 1, not r_min={r_min} and r_max={r_max}")
        self.state_size = self.numbers = at_least_one("state_size", hidden_size if state_size is None else state_size)
        self.r_min, self.r_max, self.max_phase = r_min, r_max, above_zero("max_phase of lru", max_phase)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | dict.fromkeys(("nu", "theta", "gamma"), (self.numbers,))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight_ih, std=(2 * self.input_size) ** -0.5)
        nn.init.normal_(self.weight_out, std=self.numbers**-0.5)
        self.reset_skip()
        with torch.no_grad():
            # neither λ = 0 nor |λ| = 1: a logarithm of each is taken
            squared = wide_like(self.nu).uniform_(self.r_min**2, self.r_max**2).clamp(1e-6, 1 - 1e-6)
            phase = wide_like(self.nu).uniform_(0, self.max_phase).clamp(min=1e-6)
            self.nu.copy_((-0.5 * squared.log()).log())
            self.theta.copy_(phase.log())
            self.gamma.copy_(0.5 * (1 - squared).log())

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        nu, theta, gamma = wide(self.nu), wide(self.theta), wide(self.gamma)
        re, im = (gamma.exp() * part for part in wide(u).chunk(2, -1))
        return torch.polar((-nu.exp()).exp(), theta.exp()), torch.complex(re, im)


@register("s5")
class S5(DiagonalCell):
    """Smith, Warrington & Linderman 2023, simplified state space layer; rows Re Im of B, columns Re Im of C.

    z = step_scale exp(log_step) Λ
    h_t = exp(z) h_{t-1} + (exp(z) - 1) / Λ B x_t                             method "zoh"
    h_t = (1 + z/2) / (1 - z/2) h_{t-1} + z/Λ / (1 - z/2) B x_t               method "bilinear"
    y_t = 2 Re(C h_t) + D x_t

    Of N numbers in conjugate pairs the half with Im Λ > 0 is computed, hence the 2. D is diagonal where I = H. As
    in the paper Λ starts as the eigenvalues of the normal part of HiPPO-LegS, in J blocks, with real B from
    N(0, 1/I) and real C from N(0, 1/N) in the coordinates of its eigenvectors, log_step, N/2 numbers, from
    U(log 0.001, log 0.1), D from N(0, 1). It has no biases, whatever `bias`.

    Args:
        state_size: N, a multiple of 2 J; 2 J H by default.
        blocks: J, how many HiPPO matrices Λ starts from.
        method: how time is made discrete.
        step_scale: a time step in units of those that the cell was trained on.
        clip: whether Re Λ is kept at -0.0001 or below, so that the state cannot grow; the authors' default is not to.

    Raises:
        RnnZooError: sizes below 1 or a `state_size` that is no multiple of 2 J, another `method`, or `step_scale`
            not above 0.
    """

    copies = 2
    lambda_re: Tensor
    lambda_im: Tensor
    log_step: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int | None = None,
        blocks: int = 1,
        method: str = "zoh",
        step_scale: float = 1.0,
        clip: bool = False,
        bias: bool = True,
    ):
        self.blocks = at_least_one("blocks", blocks)
        self.state_size = at_least_one("state_size", 2 * blocks * hidden_size if state_size is None else state_size)
        if self.state_size % (2 * blocks):
            raise RnnZooError(f"state_size of s5 must be a multiple of 2 blocks, {2 * blocks}, not {state_size}")
        if method not in ("zoh", "bilinear"):
            raise RnnZooError(f"method of s5 must be 'zoh' or 'bilinear', not {method!r}")
        self.numbers = self.state_size // 2
        self.method, self.step_scale, self.clip = method, above_zero("step_scale of s5", step_scale), clip
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        own = dict.fromkeys(("lambda_re", "lambda_im", "log_step"), (self.numbers,))
        return super().parameter_shapes() | own

    def reset_parameters(self) -> None:
        size = self.state_size // self.blocks
        frequencies, V = hippo(size)
        V = torch.block_diag(*[V] * self.blocks)  # (N, N / 2)
        with torch.no_grad():
            nn.init.constant_(self.lambda_re, -0.5)
            self.lambda_im.copy_(frequencies.repeat(self.blocks))
            log_uniform_(self.log_step, 0.001, 0.1)
            B = torch.randn(self.state_size, self.input_size, dtype=torch.float64) / self.input_size**0.5
            C = torch.randn(self.hidden_size, self.state_size, dtype=torch.float64) / self.state_size**0.5
            B, C = V.mH @ B.to(V.dtype), C.to(V.dtype) @ V
            self.weight_ih.copy_(torch.cat([B.real, B.imag]))
            self.weight_out.copy_(torch.cat([C.real, C.imag], 1))
        self.reset_skip()

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        re = wide(self.lambda_re)
        eigenvalues = torch.complex(re.clamp(max=-1e-4) if self.clip else re, wide(self.lambda_im))
        step = self.step_scale * wide(self.log_step).exp()
        z, x = step * eigenvalues, torch.complex(*wide(u).chunk(2, -1))
        if self.method == "zoh":
            return z.exp(), torch.expm1(z) / eigenvalues * x
        return (1 + z / 2) / (1 - z / 2), step / (1 - z / 2) * x


def hippo(size: int) -> tuple[Tensor, Tensor]:
    """The positive frequencies (size / 2,) of HiPPO-LegS's normal part, -1/2 + i frequency, and their eigenvectors.

    HiPPO-LegS: A[n, k] = -√(2n+1) √(2k+1) for n > k, -(n+1) for n = k, 0 else. Adding q q^T, q[n] = √(n+½), leaves
    -1/2 on the diagonal and a skew matrix beside it.
    """
    q = (torch.arange(size, dtype=torch.float64, device="cpu") + 0.5).sqrt()
    outer = torch.outer(q, q)
    skew = outer.triu(1) - outer.tril(-1)
    frequencies, V = torch.linalg.eigh(torch.complex(torch.zeros_like(skew), -skew))  # ascending, each with its -1 fold
    return frequencies[size // 2 :], V[:, size // 2 :]


@register("s4d")
class S4D(UnitwiseCell):
    """Gu et al. 2022, S4D, each unit a diagonal state space of its own; columns of the state: conjugate pairs.

    v = x_t where I = H, otherwise W x_t + b
    A = -exp(log_A_real) + i A_imag,  Δ = exp(log_dt)
    h_t = exp(Δ A) h_{t-1} + (exp(Δ A) - 1) / A v         (H, N / 2) complex numbers
    y_t = 2 Re(Σ_n C_n h_{t,n}) + D v

    As in the paper's S4D-Lin, A starts from -1/2 + iπn, n = 0, 1, ..., Δ, H numbers, from exp U(log 0.001, log 0.1),
    C from complex N(0, 1), D from N(0, 1), W, b as nn.Linear. The authors train A and Δ at a rate of 0.001 at most,
    and without weight decay.

    Args:
        state_size: N, numbers of state a unit, of which one of each conjugate pair is computed; even.

    Raises:
        RnnZooError: a `state_size` that is odd or below 1.
    """

    State = Hidden
    log_A_real: Tensor
    A_imag: Tensor
    log_dt: Tensor
    C_re: Tensor
    C_im: Tensor
    D: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, state_size: int = 64, bias: bool = True):
        if at_least_one("state_size", state_size) % 2:
            raise RnnZooError(f"state_size of s4d must be even, for its numbers come in pairs, not {state_size}")
        self.state_size = state_size
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        pairs = (self.hidden_size, self.state_size // 2)
        names = ("log_A_real", "A_imag", "C_re", "C_im")
        return super().parameter_shapes() | dict.fromkeys(names, pairs) | dict.fromkeys(("log_dt", "D"), pairs[:1])

    def reset_parameters(self) -> None:
        like_linear_(self)
        nn.init.constant_(self.log_A_real, math.log(0.5))
        with torch.no_grad():
            self.A_imag.copy_(math.pi * torch.arange(self.state_size // 2))
        log_uniform_(self.log_dt, 0.001, 0.1)
        for p in (self.C_re, self.C_im):
            nn.init.normal_(p, std=math.sqrt(0.5))
        nn.init.normal_(self.D)

    def initial_state(self, batch: int, like: Tensor) -> Hidden:
        return Hidden(complex_zeros(like, batch, self.hidden_size, self.state_size // 2))

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return self.unitwise(x)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        A = torch.complex(-wide(self.log_A_real).exp(), wide(self.A_imag))
        z = wide(self.log_dt).exp()[:, None] * A
        return z.exp(), torch.expm1(z) / A * wide(u)[..., None]  # expm1: Δ A is small

    def emit(self, s: Hidden) -> Tensor:
        return 2 * (self.C_re * s.h.real - self.C_im * s.h.imag).sum(-1)

    def readout(self, h: Tensor, u: Tensor, x: Tensor) -> Tensor:
        return h.to(self.D.dtype) + self.D * u


@register("s6")
class S6(UnitwiseCell):
    """Gu & Dao 2023, Mamba's selective state space, which x opens and closes; rows δ B C of W_x.

    v = x_t where I = H, otherwise W x_t + b
    δ, B, C = W_x v,  Δ = softplus(W_Δ δ + b_Δ),  A = -exp(A_log)
    h_t = exp(Δ A) h_{t-1} + (Δ v) B^T                    (H, N) numbers
    y_t = h_t C + D v

    The cell inside Mamba's block, without its convolution, its gate and its products before and after; a task's
    setting block="mamba" puts these around it. As in the authors' code A_log starts from log 1, ..., log N a unit, D
    from 1, W_Δ from U(-1/√R, 1/√R), b_Δ such that Δ lies between 0.001 and 0.1, uniformly in its logarithm; W_x, W, b
    as nn.Linear. A_log and D are trained without weight decay.

    Args:
        state_size: N, numbers of state a unit.
        dt_rank: R, features of δ; by default H / 32, rounded up, which is a sixteenth of a Mamba block's width.

    Raises:
        RnnZooError: a size below 1.
    """

    State = Hidden
    weight_x: Tensor
    weight_dt: Tensor
    bias_dt: Tensor | None
    A_log: Tensor
    D: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, *, state_size: int = 16, dt_rank: int | None = None, bias: bool = True
    ):
        self.state_size = at_least_one("state_size", state_size)
        self.dt_rank = at_least_one("dt_rank", math.ceil(hidden_size / 32) if dt_rank is None else dt_rank)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H, N, R = self.hidden_size, self.state_size, self.dt_rank
        return super().parameter_shapes() | {
            "weight_x": (R + 2 * N, H),
            "weight_dt": (H, R),
            "bias_dt": (H,) if self.bias else None,
            "A_log": (H, N),
            "D": (H,),
        }

    def reset_parameters(self) -> None:
        like_linear_(self)
        for W in (self.weight_x, self.weight_dt):
            bound = W.shape[1] ** -0.5
            nn.init.uniform_(W, -bound, bound)
        nn.init.ones_(self.D)
        with torch.no_grad():
            self.A_log.copy_(torch.arange(1, self.state_size + 1).log().expand_as(self.A_log))
            if self.bias_dt is not None:
                dt = wide_like(self.bias_dt).uniform_(math.log(0.001), math.log(0.1)).exp()
                self.bias_dt.copy_(dt.expm1().log())  # softplus of it is dt

    def initial_state(self, batch: int, like: Tensor) -> Hidden:
        return Hidden(like.new_zeros(batch, self.hidden_size, self.state_size))

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        v = self.unitwise(x)
        delta, B, C = F.linear(v, self.weight_x).split([self.dt_rank, self.state_size, self.state_size], -1)
        return v, F.softplus(wide(F.linear(delta, self.weight_dt, self.bias_dt))), B, C

    def coefficients(self, u: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        v, dt, B, _ = u
        return (-dt[..., None] * wide(self.A_log).exp()).exp(), (dt * v)[..., None] * B[..., None, :]

    def readout(self, h: Tensor, u: tuple[Tensor, ...], x: Tensor) -> Tensor:
        v, _, _, C = u
        return (h * C[..., None, :]).sum(-1).to(self.D.dtype) + self.D * v

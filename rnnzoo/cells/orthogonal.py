"""Recurrences by orthogonal and unitary matrices, which keep the norm of what they carry."""

import contextlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, Hidden
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError

SMALLEST = 1e-6  # of a squared modulus, so that it has a gradient at zero


class _Orthogonal(Cell):
    """One product with Q, an orthogonal matrix that is made of a skew-symmetric one, and modReLU.

    `skew` holds the H (H - 1) / 2 entries below the diagonal of A, row by row.
    """

    gates, State = 1, Hidden
    skew: Tensor
    offset: Tensor | None

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        shapes: dict[str, tuple[int, ...] | None] = {"weight_ih": (H, self.input_size), "bias_ih": None}
        return shapes | {"skew": (H * (H - 1) // 2,), "offset": (H,) if self.bias else None}

    def matrix(self) -> Tensor:
        """Q (H, H), from parameters alone; in float32 at least."""
        raise NotImplementedError(f"{type(self).__name__} makes no orthogonal matrix")

    def skew_symmetric(self) -> Tensor:
        """A (H, H); in float32 at least, for what takes it knows no half precision."""
        wide = self.skew.to(torch.promote_types(self.skew.dtype, torch.float32))
        below = torch.tril_indices(self.hidden_size, self.hidden_size, -1, device=wide.device).unbind()
        lower = wide.new_zeros(self.hidden_size, self.hidden_size).index_put(below, wide)
        return lower - lower.t()

    def rotate_pairs_(self, angles: Tensor) -> None:
        """Makes A of the blocks [[0, -a], [a, 0]] on its diagonal, for units 1 and 2, 3 and 4, ..."""
        with torch.no_grad():
            k = torch.arange(len(angles), device=angles.device)
            self.skew.zero_()
            self.skew[k * (2 * k + 3)] = angles  # where the entry of row 2k + 1 and column 2k lies

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        with in_full(s.h):
            z = s.h @ self.matrix().to(s.h.dtype).t() + u
        return Hidden(z if self.offset is None else z.sign() * (z.abs() + self.offset).relu())


@register("orthogonal_rnn")
class OrthogonalRNN(_Orthogonal):
    """Helfrich et al. 2018, scoRNN, an orthogonal recurrence by the scaled Cayley transform; one row block.

    Q = (I + A)^{-1} (I - A) D,   A^T = -A,   D = diag(1, ..., 1, -1, ..., -1)
    z_t = Q h_{t-1} + W x_t
    h_t = sign(z_t) max(0, |z_t| + b)

    As in the authors' code, A starts as rotations of pairs of units by angles from U(0, π/2), W from U(-0.01, 0.01),
    b from zero, where the cell is linear; ``bias=False`` leaves b out, and it stays so.

    Args:
        negative: entries of D that are -1, 0 to H: the determinant of Q is -1 to this power.

    Raises:
        RnnZooError: `negative` outside 0 to H.
    """

    def __init__(self, input_size: int, hidden_size: int, *, negative: int = 0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        if not 0 <= negative <= hidden_size:
            raise RnnZooError(f"negative of orthogonal_rnn must lie in 0 to {hidden_size} units, not {negative}")
        self.negative = negative

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight_ih, -0.01, 0.01)
        if self.offset is not None:
            nn.init.zeros_(self.offset)
        self.rotate_pairs_((self.skew.new_empty(self.hidden_size // 2).uniform_(0, math.pi / 2) / 2).tan())

    def matrix(self) -> Tensor:
        A, positive = self.skew_symmetric(), self.hidden_size - self.negative
        eye = torch.eye(self.hidden_size, dtype=A.dtype, device=A.device)
        Q = torch.linalg.solve(eye + A, eye - A)
        return torch.cat([Q[:, :positive], -Q[:, positive:]], 1)


@register("exprnn")
class ExpRNN(_Orthogonal):
    """Lezcano-Casado & Martínez-Rubio 2019, expRNN, an orthogonal recurrence by the exponential map; one row block.

    Q = Q_0 exp(A),   A^T = -A
    z_t = Q h_{t-1} + W x_t
    h_t = sign(z_t) max(0, |z_t| + b)

    Q_0, the buffer `base`, is I: a static trivialisation. A call of ``rebase()`` every so many training steps makes it
    the dynamic one of Lezcano-Casado 2019 (dtriv). As in the authors' code, A starts as rotations of pairs of units by
    angles from U(-π, π) (Henaff et al. 2016), W from N(0, 2/I), b from U(-0.01, 0.01); the paper trains A at a tenth
    of the learning rate. ``bias=False`` leaves b out, and the cell is linear.
    """

    base: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.register_buffer("base", torch.eye(hidden_size))

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight_ih)
        if self.offset is not None:
            nn.init.uniform_(self.offset, -0.01, 0.01)
        nn.init.eye_(self.base)
        self.rotate_pairs_(self.skew.new_empty(self.hidden_size // 2).uniform_(-math.pi, math.pi))

    def matrix(self) -> Tensor:
        A = self.skew_symmetric()
        return self.base.to(A.dtype) @ torch.linalg.matrix_exp(A)

    @torch.no_grad()
    def rebase(self) -> None:
        """Takes Q as the new Q_0 and A = 0: the cell stays what it is, its gradients are those of a new chart."""
        self.base.copy_(self.matrix())
        self.skew.zero_()


@register("unitary_rnn")
class UnitaryRNN(Cell):
    """Arjovsky et al. 2016, uRNN, a unitary recurrence of diagonals, reflections and Fourier transforms; rows re im.

    U = D_3 R_2 F^{-1} D_2 Π R_1 F D_1
    z_t = U h_{t-1} + V x_t
    h_t = z_t max(0, |z_t| + b) / |z_t|,   |z| = √(re² + im² + 10^-6)

    D_k = diag(exp(i ω_k)) are the rows of `phases`; R_k = I - 2 v_k v_k* / |v_k|², with re and im of v_k the rows of
    `reflections`; F is the unitary discrete Fourier transform, Π the buffer `permutation`. State and output are real,
    of size 2 H: first re of each unit, then im. As in the paper, ω starts from U(-π, π), v from U(-1, 1), V Glorot,
    b from zero; h_0, which the paper learns, is zero. ``bias=False`` leaves b out, and the cell is linear.
    """

    gates, State = 2, Hidden
    phases: Tensor
    reflections: Tensor
    permutation: Tensor
    offset: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.register_buffer("permutation", torch.arange(hidden_size))

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        shapes: dict[str, tuple[int, ...] | None] = {"weight_ih": (2 * H, self.input_size), "bias_ih": None}
        return shapes | {"phases": (3, H), "reflections": (2, 2, H), "offset": (H,) if self.bias else None}

    @property
    def output_size(self) -> int:
        return 2 * self.hidden_size

    def initial_state(self, batch: int, like: Tensor) -> Hidden:
        return Hidden(like.new_zeros(batch, 2 * self.hidden_size))

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.phases, -math.pi, math.pi)
        nn.init.uniform_(self.reflections, -1, 1)
        for V in self.weight_ih.chunk(2):
            nn.init.xavier_uniform_(V)
        if self.offset is not None:
            nn.init.zeros_(self.offset)
        self.permutation.copy_(torch.randperm(self.hidden_size))

    def matrix(self) -> Tensor:
        """U (H, H), complex, from parameters alone; in complex64 at least."""
        wide = torch.promote_types(self.phases.dtype, torch.float32)
        phases, (v_1, v_2) = self.phases.to(wide), self.reflections.to(wide)
        d_1, d_2, d_3 = torch.complex(phases.cos(), phases.sin())
        images = torch.diag(d_1)  # row k is what the factors so far make of unit k
        images = _reflect(torch.fft.fft(images, norm="ortho"), v_1)[:, self.permutation]
        images = _reflect(torch.fft.ifft(images * d_2, norm="ortho"), v_2)
        return (images * d_3).t()

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        with in_full(s.h):
            U = self.matrix()
            re, im = (part.to(s.h.dtype) for part in (U.real, U.imag))
            z = s.h @ torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)]).t() + u
        if self.offset is None:
            return Hidden(z)
        re, im = z.chunk(2, -1)
        size = (re * re + im * im + SMALLEST).sqrt()
        scale = (size + self.offset).relu() / size
        return Hidden(torch.cat([scale * re, scale * im], -1))


def in_full(h: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Products in the precision of the state: autocast would round the matrix, which then keeps no norm."""
    narrow = torch.amp.is_autocast_available(h.device.type) and torch.is_autocast_enabled(h.device.type)
    return torch.autocast(h.device.type, enabled=False) if narrow else contextlib.nullcontext()


def _reflect(rows: Tensor, v: Tensor) -> Tensor:
    """Every row z without twice its part along v, given as (re, im)."""
    along = rows @ torch.complex(v[0], -v[1])
    return rows - 2 * along[:, None] * torch.complex(v[0], v[1]) / v.square().sum()

"""Quasi-recurrent cells: every product reads x alone, and time runs through arithmetic unit by unit."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, Hidden, HiddenCell, LinearCell, at_least_one
from rnnzoo.cells.linear import ACTIVATIONS, check_activation, wide
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


class Windowed(NamedTuple):
    """The state of QRNN: output, memory, and what the inputs so far add to the gates of the next steps."""

    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    ahead: Tensor  # (B, (window - 1) G H), the next step's first


@register("qrnn")
class QRNN(Cell):
    """Bradbury et al. 2017, quasi-recurrent network; rows z f (o (i)) for x_t, then the same for x_{t-1}, ...

    z, f, o, i = W_0 x_t + W_1 x_{t-1} + ... + W_{k-1} x_{t-k+1} + b,   k = window, x before the start is 0
    c_t = σ(f) c_{t-1} + (1 - σ(f)) tanh(z)      or, pooling "ifo", σ(f) c_{t-1} + σ(i) tanh(z)
    h_t = σ(o) c_t                               or, pooling "f", c_t

    All W x are computed before time runs; a step adds what it will mean to later ones to `ahead`, so sequences
    that are cut go on exactly. In the authors' code the rows of f have the other sign. W starts as Glorot's over
    the whole window, b from zero (our choice).

    Args:
        window: k, how many inputs a gate sees, at least 2.
        pooling: its gates, one of the paper's "f", "fo" and "ifo".

    Raises:
        RnnZooError: `window` below 2 or another `pooling`.
    """

    State = Windowed

    def __init__(self, input_size: int, hidden_size: int, *, window: int = 2, pooling: str = "fo", bias: bool = True):
        if pooling not in ("f", "fo", "ifo"):
            raise RnnZooError(f"pooling of qrnn must be 'f', 'fo' or 'ifo', not {pooling!r}")
        if at_least_one("window", window) < 2:
            raise RnnZooError("window of qrnn must be at least 2, not 1; a qrnn of one input is gilr")
        self.window, self.pooling = window, pooling
        self.gates = 1 + len(pooling)  # type: ignore[misc]  # z, and one for each letter
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        rows = self.gates * self.hidden_size
        return {"weight_ih": (self.window * rows, self.input_size), "bias_ih": (rows,) if self.bias else None}

    def reset_parameters(self) -> None:
        bound = math.sqrt(6 / (self.window * self.input_size + self.hidden_size))
        nn.init.uniform_(self.weight_ih, -bound, bound)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def initial_state(self, batch: int, like: Tensor) -> Windowed:
        H, ahead = self.hidden_size, (self.window - 1) * self.gates * self.hidden_size
        return Windowed(like.new_zeros(batch, H), like.new_zeros(batch, H), like.new_zeros(batch, ahead))

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        b = self.bias_ih
        if b is not None:
            b = F.pad(b, (0, len(self.weight_ih) - len(b)))
        return F.linear(x, self.weight_ih, b)

    def step(self, u: Tensor, s: Windowed) -> Windowed:
        rows = self.gates * self.hidden_size
        now, ahead = u[..., :rows] + s.ahead[..., :rows], u[..., rows:]
        if self.window > 2:  # what later steps are owed moves up
            ahead = torch.cat([ahead[..., :-rows] + s.ahead[..., rows:], ahead[..., -rows:]], -1)
        z, f, *more = now.chunk(self.gates, -1)
        write = more[1].sigmoid() if self.pooling == "ifo" else 1 - f.sigmoid()
        c = f.sigmoid() * s.c + write * z.tanh()
        return Windowed(more[0].sigmoid() * c if more else c, c, ahead)


class _Highway(Cell):
    """What the SRU cells share: their weights, and a highway x' past the recurrence, α x or a product of its own."""

    gates = 3
    weight_skip: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str,
        rescale: bool,
        highway_bias: float,
        bias: bool = True,
    ):
        self.rescale, self.highway_bias = rescale, highway_bias
        super().__init__(input_size, hidden_size, bias=bias)
        self.activation = check_activation(type(self), activation)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        same = self.input_size == self.hidden_size
        return {
            "weight_ih": (3 * self.hidden_size, self.input_size),
            "weight_skip": None if same else (self.hidden_size, self.input_size),
            "bias_ih": (2 * self.hidden_size,) if self.bias else None,
        }

    @property
    def alpha(self) -> float:
        """What keeps h at the variance of x when the cell starts."""
        return math.sqrt(1 + 2 * math.exp(self.highway_bias if self.bias else 0.0)) if self.rescale else 1.0

    def reset_parameters(self) -> None:
        fan_in_uniform_(self.weight_ih)
        self.reset_gates(self.weight_ih)

    def reset_gates(self, W: Tensor) -> None:
        """All but the products, of which W is the one with the rows z f r."""
        if self.weight_skip is not None:
            fan_in_uniform_(self.weight_skip, self.alpha)
        if self.bias_ih is not None:
            b_f, b_r = self.bias_ih.chunk(2)
            nn.init.zeros_(b_f)
            nn.init.constant_(b_r, self.highway_bias)

    def skip(self, x: Tensor) -> Tensor:
        return self.alpha * x if self.weight_skip is None else F.linear(x, self.weight_skip)

    def gate_bias(self) -> Tensor | None:
        """Of all three rows: the candidate has none."""
        return None if self.bias_ih is None else F.pad(self.bias_ih, (self.hidden_size, 0))

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        return F.linear(x, self.weight_ih, self.gate_bias()), self.skip(x)


def fan_in_uniform_(W: Tensor, gain: float = 1.0) -> None:
    """U(-√(3 / n), √(3 / n)) times a gain, with n the columns: products keep the variance of what they read."""
    bound = gain * math.sqrt(3 / W.shape[1])
    nn.init.uniform_(W, -bound, bound)


@register("sru_v1")
class SRUv1(_Highway, LinearCell):
    """Lei, Zhang & Artzi 2017 (arXiv v1), simple recurrent unit, its gates see x_t alone; rows z f r.

    z, f, r = W x_t + (0, b_f, b_r)
    c_t = σ(f) c_{t-1} + (1 - σ(f)) z
    h_t = σ(r) g(c_t) + (1 - σ(r)) x',   x' = α x_t where I = H, otherwise W_s x_t

    g is tanh and α = 1, the paper's. W, W_s start from U(-√(3/I), √(3/I)), as in the authors' package, which calls
    this `v1=True`; b_f from zero, b_r from `highway_bias`. W_s starts α times as large, and α is not applied then.

    Args:
        activation: g, one of "tanh", "identity" and "silu".
        rescale: whether α is √(1 + 2 exp(b_r)), with the b_r that the cell starts from, rather than 1.
        highway_bias: b_r at the start; the lower, the more of x' passes.

    Raises:
        RnnZooError: another `activation`.
    """

    State = Hidden

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "tanh",
        rescale: bool = False,
        highway_bias: float = 0.0,
        bias: bool = True,
    ):
        super().__init__(
            input_size, hidden_size, activation=activation, rescale=rescale, highway_bias=highway_bias, bias=bias
        )

    def coefficients(self, u: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        z, f, _ = wide(u[0]).chunk(3, -1)
        return f.sigmoid(), (-f).sigmoid() * z

    def readout(self, h: Tensor, u: tuple[Tensor, ...], x: Tensor) -> Tensor:
        wx, skip = u
        r = wx.chunk(3, -1)[2].sigmoid()
        return r * ACTIVATIONS[self.activation](h.to(r.dtype)) + (1 - r) * skip


class _MemoryGated(_Highway):
    """What the SRU cells share whose gates see their own unit's memory."""

    vectors = ("v_f", "v_r")
    v_f: Tensor
    v_r: Tensor

    def reset_gates(self, W: Tensor) -> None:
        super().reset_gates(W)
        with torch.no_grad():
            W[self.hidden_size :] *= math.sqrt(0.5)  # v c has the other half of the gates' variance
        for v in (self.v_f, self.v_r):
            nn.init.uniform_(v, -math.sqrt(1.5), math.sqrt(1.5))

    def recur(self, wx: Tensor, skip: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """h_t and c_t, from W x + b, x' and c_{t-1}."""
        z, f, r = wx.chunk(3, -1)
        f, r = (f + self.v_f * c).sigmoid(), (r + self.v_r * c).sigmoid()
        c = f * c + (1 - f) * z
        return r * ACTIVATIONS[self.activation](c) + (1 - r) * skip, c


@register("sru")
class SRU(_MemoryGated):
    """Lei et al. 2018, simple recurrent unit, its gates see their own unit's memory; rows z f r.

    z, f, r = W x_t + (0, v_f c_{t-1} + b_f, v_r c_{t-1} + b_r)
    c_t = σ(f) c_{t-1} + (1 - σ(f)) z
    h_t = σ(r) g(c_t) + (1 - σ(r)) x',   x' = α x_t where I = H, otherwise W_s x_t

    g is the identity. As in the authors' package, W starts from U(-√(3/I), √(3/I)), its rows f r times √½, W_s from
    the same times α, v from U(-√1.5, √1.5), b_f from zero. Where W_s is there, α is not applied besides. The first
    form, whose gates are without v and which is linear in time, is `sru_v1`.

    Args:
        activation: g, one of "identity", "tanh" and "silu".
        rescale: whether α is √(1 + 2 exp(b_r)), with the b_r that the cell starts from, rather than 1.
        highway_bias: b_r at the start; the lower, the more of x' passes.

    Raises:
        RnnZooError: another `activation`.
    """

    State = HiddenCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "identity",
        rescale: bool = True,
        highway_bias: float = 0.0,
        bias: bool = True,
    ):
        super().__init__(
            input_size, hidden_size, activation=activation, rescale=rescale, highway_bias=highway_bias, bias=bias
        )

    def step(self, u: tuple[Tensor, ...], s: HiddenCell) -> HiddenCell:
        wx, skip = u
        return HiddenCell(*self.recur(wx, skip, s.c))


class Attending(NamedTuple):
    """The state of SRU++: output, memory, and what the last steps left to attend to, the latest last."""

    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    keys: Tensor  # (B, window, A)
    values: Tensor  # (B, window, A)
    seen: Tensor  # (B, window), 1 where a step has been, 0 before the start


@register("sru_pp")
class SRUpp(_MemoryGated):
    """Lei 2021, SRU++: an SRU whose input product is attention over the steps so far; rows z f r of W_o.

    q = W_q x_t,  k_t = W_k q,  v_t = W_v q
    a = Σ_s softmax_s(q · k_s / √A) v_s,   s = t - window + 1, ..., t
    z, f, r = W_o LN(q + α a) + (0, v_f c_{t-1} + b_f, v_r c_{t-1} + b_r)
    c_t = σ(f) c_{t-1} + (1 - σ(f)) z
    h_t = σ(r) g(c_t) + (1 - σ(r)) x',   x' = x_t where I = H, otherwise W_s x_t

    The paper attends to all steps of a segment and to a memory of limited size; here it is the last `window` steps,
    which are kept in the state, so that a sequence may be cut anywhere: up to `window` steps equal the paper's. α
    starts from 0, LN, of gain and shift, from the identity, all W as in `sru`, W_o's rows f r times √½.

    Args:
        attention_size: A, features of a query; by default H / 4, at least 4.
        window: steps that are attended to, the present one among them.
        activation: g, one of "identity", "tanh" and "silu".
        rescale: whether x' is scaled by √(1 + 2 exp(b_r)), as in `sru`.
        highway_bias: b_r at the start.

    Raises:
        RnnZooError: a size below 1 or another `activation`.
    """

    gates, State = 0, Attending
    weight_q: Tensor
    weight_k: Tensor
    weight_v: Tensor
    weight_o: Tensor
    gain: Tensor
    shift: Tensor | None
    scale: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        attention_size: int | None = None,
        window: int = 64,
        activation: str = "identity",
        rescale: bool = False,
        highway_bias: float = -2.0,
        bias: bool = True,
    ):
        size = max(4, hidden_size // 4) if attention_size is None else attention_size
        self.attention_size, self.window = at_least_one("attention_size", size), at_least_one("window", window)
        super().__init__(
            input_size, hidden_size, activation=activation, rescale=rescale, highway_bias=highway_bias, bias=bias
        )

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        A, shapes = self.attention_size, super().parameter_shapes()
        del shapes["weight_ih"]
        return shapes | {
            "weight_q": (A, self.input_size),
            "weight_k": (A, A),
            "weight_v": (A, A),
            "weight_o": (3 * self.hidden_size, A),
            "gain": (A,),
            "shift": (A,) if self.bias else None,
            "scale": (1,),  # the paper's α
        }

    def reset_parameters(self) -> None:
        for W in (self.weight_q, self.weight_k, self.weight_v, self.weight_o):
            fan_in_uniform_(W)
        self.reset_gates(self.weight_o)
        nn.init.ones_(self.gain)
        for p in (self.shift, self.scale):
            if p is not None:
                nn.init.zeros_(p)

    def initial_state(self, batch: int, like: Tensor) -> Attending:
        H, A, window = self.hidden_size, self.attention_size, self.window
        h, c = like.new_zeros(batch, H), like.new_zeros(batch, H)
        keys, values = like.new_zeros(batch, window, A), like.new_zeros(batch, window, A)
        return Attending(h, c, keys, values, like.new_zeros(batch, window))

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        q = F.linear(x, self.weight_q)
        return q, F.linear(q, self.weight_k), F.linear(q, self.weight_v), self.skip(x)

    def step(self, u: tuple[Tensor, ...], s: Attending) -> Attending:
        q, k, v, skip = u
        keys, values = torch.cat([s.keys[:, 1:], k[:, None]], 1), torch.cat([s.values[:, 1:], v[:, None]], 1)
        seen = torch.cat([s.seen[:, 1:], torch.ones_like(s.seen[:, :1])], 1)
        scores = (keys * q[:, None]).sum(-1) / math.sqrt(self.attention_size)
        shares = scores.masked_fill(seen < 0.5, -math.inf).softmax(-1)
        a = (shares[..., None] * values).sum(1)
        shown = (q + self.scale * a).to(self.gain.dtype)
        mixed = F.layer_norm(shown, (self.attention_size,), self.gain, self.shift)
        h, c = self.recur(F.linear(mixed, self.weight_o, self.gate_bias()), skip, s.c)
        return Attending(h, c, keys, values, seen)

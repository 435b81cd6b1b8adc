"""Cells of continuous time: dt, the time since the step before, is one of their inputs."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, GatedCell, Hidden, at_least_one
from rnnzoo.cells.gru import GRU
from rnnzoo.cells.registry import register

Timed = tuple[Tensor, Tensor]  # the projected input (..., P), and dt (..., 1)


class _ClosedForm(Cell):
    """A "backbone" of x_t and h_{t-1}, L layers of U units, and linear heads of H units each on it.

    a_1 = W x_t + R h_{t-1} + b,   a_l = W_l φ(a_{l-1}) + b_l,   φ(a) = 1.7159 tanh(0.666 a)
    """

    State, inputs = Hidden, ("dt",)
    heads: ClassVar[int]
    weight_deep: Tensor | None
    bias_deep: Tensor | None
    weight_head: Tensor
    bias_head: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        backbone_units: int = 128,
        backbone_layers: int = 1,
        bias: bool = True,
    ):
        self.backbone_units = at_least_one("backbone_units", backbone_units)
        self.backbone_layers = at_least_one("backbone_layers", backbone_layers)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H, U, deep = self.input_size, self.hidden_size, self.backbone_units, self.backbone_layers - 1
        return {
            "weight_ih": (U, I),
            "weight_hh": (U, H),
            "bias_ih": (U,) if self.bias else None,
            "weight_deep": (deep, U, U) if deep else None,
            "bias_deep": (deep, U) if deep and self.bias else None,
            "weight_head": (self.heads * H, U),
            "bias_head": (self.heads * H,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        joint = self.input_size + self.hidden_size
        bound = math.sqrt(6 / (joint + self.backbone_units))  # Glorot's for [W, R], which the authors have as one
        for W in (self.weight_ih, self.weight_hh):
            nn.init.uniform_(W, -bound, bound)
        for W in (*(() if self.weight_deep is None else self.weight_deep), *self.weight_head.chunk(self.heads)):
            nn.init.xavier_uniform_(W)
        for b, fan in (
            (self.bias_ih, joint),
            (self.bias_deep, self.backbone_units),
            (self.bias_head, self.backbone_units),
        ):
            if b is not None:
                nn.init.uniform_(b, -1 / math.sqrt(fan), 1 / math.sqrt(fan))

    def project(self, x: Tensor, dt: Tensor) -> Timed:  # type: ignore[override]  # inputs by name
        return F.linear(x, self.weight_ih, self.bias_ih), dt

    def ahead(self, wx: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """What each head says, (B, H)."""
        a = wx + h @ self.weight_hh.t()
        for k in range(self.backbone_layers - 1):
            W, b = self.weight_deep, self.bias_deep
            assert W is not None
            a = F.linear(_lecun_tanh(a), W[k], None if b is None else b[k])
        return F.linear(_lecun_tanh(a), self.weight_head, self.bias_head).chunk(self.heads, -1)


def _lecun_tanh(a: Tensor) -> Tensor:
    return 1.7159 * (0.666 * a).tanh()


@register("cfc")
class CfC(_ClosedForm):
    """Hasani et al. 2022, CfC, the closed form of a liquid time constant; rows f g a b, on a "backbone" of L layers.

    a_1 = W x_t + R h_{t-1} + b,   a_l = W_l φ(a_{l-1}) + b_l,   φ(a) = 1.7159 tanh(0.666 a)
    f, g, a, b = W_L+1 φ(a_L) + b_L+1
    k = σ(a dt + b)
    h_t = (1 - k) tanh(f) + k tanh(g)

    The paper's σ(-f t) g + (1 - σ(-f t)) h; that b is learned is its authors' code. As there, weights start Glorot,
    each head its own, biases as nn.Linear's.

    Args:
        backbone_units: U, of each layer of the backbone.
        backbone_layers: L, at least 1.

    Further input:
        dt: (..., 1), the time since the step before.

    Raises:
        RnnZooError: units or layers below 1.
    """

    heads = 4

    def step(self, u: Timed, s: Hidden) -> Hidden:
        wx, dt = u
        f, g, a, b = self.ahead(wx, s.h)
        late = (a * dt + b).sigmoid()
        return Hidden((1 - late) * f.tanh() + late * g.tanh())


@register("cfc_no_gate")
class CfCNoGate(_ClosedForm):
    """Hasani et al. 2022, CfC-noGate, `cfc` without the 1 - k of its gate; rows f g a b, on a "backbone" of L layers.

    a_1 = W x_t + R h_{t-1} + b,   a_l = W_l φ(a_{l-1}) + b_l,   φ(a) = 1.7159 tanh(0.666 a)
    f, g, a, b = W_L+1 φ(a_L) + b_L+1
    h_t = tanh(f) + σ(a dt + b) tanh(g)

    Weights start Glorot, each head its own, biases as nn.Linear's, as in the authors' code.

    Args:
        backbone_units: U, of each layer of the backbone.
        backbone_layers: L, at least 1.

    Further input:
        dt: (..., 1), the time since the step before.

    Raises:
        RnnZooError: units or layers below 1.
    """

    heads = 4

    def step(self, u: Timed, s: Hidden) -> Hidden:
        wx, dt = u
        f, g, a, b = self.ahead(wx, s.h)
        return Hidden(f.tanh() + (a * dt + b).sigmoid() * g.tanh())


@register("cfc_pure")
class CfCPure(_ClosedForm):
    """Hasani et al. 2022, Cf-S, the bare closed-form solution; one row block, on a "backbone" of L layers.

    a_1 = W x_t + R h_{t-1} + b,   a_l = W_l φ(a_{l-1}) + b_l,   φ(a) = 1.7159 tanh(0.666 a)
    f = W_L+1 φ(a_L) + b_L+1
    h_t = A - A exp(-dt (|w| + |f|)) f

    Weights start Glorot, biases as nn.Linear's, A from one. w starts Glorot, as in the authors' code: at the zero
    that they meant |w| has no gradient.

    Args:
        backbone_units: U, of each layer of the backbone.
        backbone_layers: L, at least 1.

    Further input:
        dt: (..., 1), the time since the step before.

    Raises:
        RnnZooError: units or layers below 1.
    """

    heads = 1
    vectors = ("A", "w")
    A: Tensor
    w: Tensor

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.A)
        bound = math.sqrt(6 / (1 + self.hidden_size))
        nn.init.uniform_(self.w, -bound, bound)

    def step(self, u: Timed, s: Hidden) -> Hidden:
        wx, dt = u
        (f,) = self.ahead(wx, s.h)
        return Hidden(self.A - self.A * (-dt * (self.w.abs() + f.abs())).exp() * f)


@register("ltc")
class LTC(Cell):
    """Hasani et al. 2021, LTC, liquid time constants: a synapse from each input and unit j to each unit i.

    f_i = Σ_j w_ij σ(s_ij (v_j - μ_ij)),   F_i = Σ_j E_ij w_ij σ(s_ij (v_j - μ_ij)),   of units and inputs j together
    dv_i/dt = (g_i (V_i - v_i) + F_i - f_i v_i) / c_i
    v_t = v after K fused steps of δ = dt/K from v_{t-1}:   v <- (c v + δ (g V + F)) / (c + δ (g + f))

    The paper's dv/dt = -(1/τ + f) v + f A, a synapse at a time, as in the authors' code, whose affine maps of inputs
    and outputs are left out: σ and the layer after do the same. w, g and c are positive, as softplus of what is
    learned. They start from U(0.001, 1), U(0.001, 1) and U(0.4, 0.6), s from U(3, 8), μ from U(0.3, 0.8), V from
    U(-0.2, 0.2), and E is -1 at one synapse of three, else 1, as there. ``bias=False`` leaves V out.

    Args:
        unfolds: K, the solver's steps in each time step.

    Further input:
        dt: (..., 1), the time since the step before; 0 leaves v as it is.

    Raises:
        RnnZooError: `unfolds` below 1.
    """

    State, inputs, vectors = Hidden, ("dt",), ("c", "g")
    c: Tensor
    g: Tensor
    resting: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, unfolds: int = 6, bias: bool = True):
        self.unfolds = at_least_one("unfolds", unfolds)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H = self.input_size, self.hidden_size
        names = ("weight", "slope", "mid", "reversal")
        synapses = {f"{name}_{side}": (H, n) for side, n in (("ih", I), ("hh", H)) for name in names}
        return {**synapses, "resting": (H,) if self.bias else None}

    def reset_parameters(self) -> None:
        with torch.no_grad():
            for side in ("ih", "hh"):
                _softplus_of_uniform_(getattr(self, f"weight_{side}"), 0.001, 1)
                getattr(self, f"slope_{side}").uniform_(3, 8)
                getattr(self, f"mid_{side}").uniform_(0.3, 0.8)
                getattr(self, f"reversal_{side}").bernoulli_(2 / 3).mul_(2).sub_(1)
            _softplus_of_uniform_(self.c, 0.4, 0.6)
            _softplus_of_uniform_(self.g, 0.001, 1)
            if self.resting is not None:
                self.resting.uniform_(-0.2, 0.2)

    def project(self, x: Tensor, dt: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # inputs by name
        g = F.softplus(self.g)
        f, driven = self._synapses("ih", x)
        return g + f, driven if self.resting is None else g * self.resting + driven, dt / self.unfolds

    def step(self, u: tuple[Tensor, ...], s: Hidden) -> Hidden:
        (leak, drive, delta), c, v = u, F.softplus(self.c), s.h
        for _ in range(self.unfolds):
            f, driven = self._synapses("hh", v)
            v = (c * v + delta * (drive + driven)) / (c + delta * (leak + f))
        return Hidden(v)

    def _synapses(self, side: str, sender: Tensor) -> tuple[Tensor, Tensor]:
        """f and F of the synapses from inputs ("ih") or units ("hh"), (..., H) each."""
        w, s, mid, E = (getattr(self, f"{name}_{side}") for name in ("weight", "slope", "mid", "reversal"))
        open_ = F.softplus(w) * (s * (sender[..., None, :] - mid)).sigmoid()
        return open_.sum(-1), (E * open_).sum(-1)


def _softplus_of_uniform_(W: Tensor, low: float, high: float) -> None:
    """Sets W so that its softplus is from U(low, high)."""
    W.uniform_(low, high).expm1_().log_()


@register("gru_ode")
class GRUODE(GatedCell):
    """De Brouwer et al. 2019, GRU-ODE, the GRU as a differential equation, by K Euler steps; rows r z n.

    r = σ(W_r x_t + R_r h + b_r)
    z = σ(W_z x_t + R_z h + b_z)
    n = tanh(W_n x_t + R_n (r h) + b_n)
    h_t = h after K steps from h_{t-1}, with x_t held:   h <- h + dt/K (1 - z) (n - h)

    Every matrix starts Glorot, b from 0.05, as in the authors' code.

    Args:
        unfolds: K, the solver's steps in each time step; |h| stays below 1 as long as dt is no more than K.

    Further input:
        dt: (..., 1), the time since the step before; 0 leaves h as it is.

    Raises:
        RnnZooError: `unfolds` below 1.
    """

    gates, State, inputs, hidden_bias = 3, Hidden, ("dt",), False

    def __init__(self, input_size: int, hidden_size: int, *, unfolds: int = 4, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.unfolds = at_least_one("unfolds", unfolds)

    def reset_parameters(self) -> None:
        for W in (self.weight_ih, *self.weight_hh.chunk(3)):
            nn.init.xavier_uniform_(W)
        if self.bias_ih is not None:
            nn.init.constant_(self.bias_ih, 0.05)

    def project(self, x: Tensor, dt: Tensor) -> Timed:  # type: ignore[override]  # inputs by name
        return super().project(x), dt / self.unfolds

    def step(self, u: Timed, s: Hidden) -> Hidden:
        (wx, delta), h = u, s.h
        rows = [2 * self.hidden_size, self.hidden_size]
        (wx_rz, wx_n), (R_rz, R_n) = wx.split(rows, -1), self.weight_hh.split(rows)
        for _ in range(self.unfolds):
            r, z = (wx_rz + h @ R_rz.t()).sigmoid().chunk(2, -1)
            n = (wx_n + (r * h) @ R_n.t()).tanh()
            h = h + delta * (1 - z) * (n - h)
        return Hidden(h)


@register("ode_rnn")
class ODERNN(GRU):
    """Rubanova et al. 2019, ODE-RNN: `gru`, its state led by a differential equation in between; rows r z n.

    h' = h after K steps from h_{t-1}:   h <- h + dt/K (W_2 tanh(W_1 h + b_1) + b_2)
    r = σ(W_r x_t + R_r h' + b_r)
    z = σ(W_z x_t + R_z h' + b_z)
    n = tanh(W_n x_t + b_n + r (R_n h' + d_n))
    h_t = (1 - z) n + z h'

    Euler's method, as in the authors' code, whose equation has one more layer, and whose GRU has gates and a candidate
    of two, the candidate without its last tanh. The equation's weights start from N(0, 0.1²) and its biases from zero,
    as there; the rest as nn.GRU's.

    Args:
        ode_units: U, the rows of W_1.
        unfolds: K, the solver's steps in each time step.

    Further input:
        dt: (..., 1), the time since the step before.

    Raises:
        RnnZooError: `ode_units` or `unfolds` below 1.
    """

    inputs = ("dt",)
    weight_hu: Tensor
    bias_hu: Tensor | None
    weight_uh: Tensor
    bias_uh: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, ode_units: int = 64, unfolds: int = 4, bias: bool = True):
        self.ode_units, self.unfolds = at_least_one("ode_units", ode_units), at_least_one("unfolds", unfolds)
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H, U = self.hidden_size, self.ode_units
        return super().parameter_shapes() | {
            "weight_hu": (U, H),
            "bias_hu": (U,) if self.bias else None,
            "weight_uh": (H, U),
            "bias_uh": (H,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for W in (self.weight_hu, self.weight_uh):
            nn.init.normal_(W, std=0.1)
        for b in (self.bias_hu, self.bias_uh):
            if b is not None:
                nn.init.zeros_(b)

    def project(self, x: Tensor, dt: Tensor) -> Timed:  # type: ignore[override]  # inputs by name
        return super().project(x), dt / self.unfolds

    def step(self, u: Timed, s: Hidden) -> Hidden:
        (wx, delta), h = u, s.h
        for _ in range(self.unfolds):
            h = h + delta * F.linear(F.linear(h, self.weight_hu, self.bias_hu).tanh(), self.weight_uh, self.bias_uh)
        return self.update(wx, F.linear(h, self.weight_hh, self.bias_hh), Hidden(h))

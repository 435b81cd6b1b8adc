"""A rhythm in the state: units that open at times of their own."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import HiddenCell
from rnnzoo.cells.linear import wide
from rnnzoo.cells.odyssey import PeepholeLSTM
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


@register("phased_lstm")
class PhasedLSTM(PeepholeLSTM):
    """Neil, Pfeiffer & Liu 2016, a peephole LSTM that updates a unit in its phase of a rhythm alone; rows i f g o.

    φ = ((time_t - shift) mod τ) / τ
    k = 2 φ / ratio if φ < ratio / 2, 2 - 2 φ / ratio if φ < ratio, leak φ otherwise
    i, f, g, o = W x_t + R h_{t-1} + b
    ĉ = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    c_t = k ĉ + (1 - k) c_{t-1}
    h_t = k σ(o + p_o ĉ) tanh(ĉ) + (1 - k) h_{t-1}

    ``rnn(x, time=time)`` takes the time of every step, (T, B, 1), in the unit that τ and shift are to be in; for
    samples at equal distances, their number. The leak is for the gradient of a closed unit: in evaluation it is 0.
    Starts with τ = exp(U(0, 3)), shift from U(0, τ), and the rest as `peephole_lstm`.

    Args:
        ratio: the part of its rhythm that a unit is open for, in (0, 1].
        leak: slope of k in a closed unit, in training.

    Raises:
        RnnZooError: `ratio` outside (0, 1].
    """

    inputs = ("time",)
    vectors = (*PeepholeLSTM.vectors, "tau", "shift")  # type: ignore[assignment]
    limits: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("it remembers", "no parameter is dead"),
        "with the default ratio a unit is open for one step in twenty, and closed it keeps its state",
    )
    tau: Tensor
    shift: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, *, ratio: float = 0.05, leak: float = 1e-3, bias: bool = True
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        if not 0 < ratio <= 1:
            raise RnnZooError(f"ratio of phased_lstm must be in (0, 1], not {ratio}")
        self.ratio, self.leak = ratio, leak

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            nn.init.uniform_(self.tau, 0, 3).exp_()
            nn.init.uniform_(self.shift).mul_(self.tau)

    def project(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # inputs by name
        turns = (wide(time) - wide(self.shift)) / wide(self.tau)  # a late time has no digits left in bfloat16
        phase = turns - turns.floor()
        rise = 2 * phase / self.ratio
        closed = (self.leak if self.training else 0.0) * phase
        k = torch.where(rise < 1, rise, torch.where(rise < 2, 2 - rise, closed))
        return super().project(x), k.to(x.dtype)

    def step(self, u: tuple[Tensor, Tensor], s: HiddenCell) -> HiddenCell:
        wx, k = u
        new = super().step(wx, s)
        return HiddenCell(k * new.h + (1 - k) * s.h, k * new.c + (1 - k) * s.c)

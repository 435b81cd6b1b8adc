"""Variational dropout, "locked": one mask for all steps of a sequence."""

from typing import Any

from torch import Tensor

from rnnzoo.cells.contract import Cell, GatedCell
from rnnzoo.errors import RnnZooError
from rnnzoo.transforms.around import Around, kept, probability
from rnnzoo.transforms.gates import GateTransform, gated, require


class VariationalDropout(Around):
    """Gal & Ghahramani 2016, masks tied over gates: dropout of x and of what R reads, the same at all steps.

    s_t = step with W (m_x x_t) and R (m_h h_{t-1}),   m ~ Bernoulli(1 - p) / (1 - p) once for each sequence of a call

    The state that is carried, and what else reads it, are not dropped. A call of ``step`` draws anew.

    Args:
        cell: the cell; for `states` a gated one, of one product R h.
        input_p: p of x, in [0, 1).
        state_p: p of what R reads, in [0, 1).

    Raises:
        RnnZooError: p out of range; state_p > 0 for a cell with a step of its own, in which no one product reads them
            (``weight_drop`` is for every cell with a matrix).
    """

    stays_linear = True

    def __init__(self, cell: Cell, *, input_p: float = 0.0, state_p: float = 0.0):
        probabilities = probability("input_p", input_p), probability("state_p", state_p)
        if state_p:
            require(cell, _product, "variational dropout of states", "with one product of the old output for all gates")
        super().__init__(cell)
        self.input_p, self.state_p = probabilities

    def draw(self, batch: int, like: Tensor) -> dict[str, Tensor]:
        inner = self.cell.draw(batch, like)
        if set(inner) & {"input_mask", "state_mask"}:
            raise RnnZooError("variational dropout stands twice around a cell; give input_p= and state_p= to one")
        return inner | self._masks(batch, like)

    def _masks(self, batch: int, like: Tensor) -> dict[str, Tensor]:
        masks = {}
        if self.training and self.input_p:
            masks["input_mask"] = kept(self.input_p, (batch, self.input_size), like)
        if self.training and self.state_p:
            masks["state_mask"] = kept(self.state_p, (batch, self._gated.recurrent_size), like)
        return masks

    @property
    def _gated(self) -> GatedCell | GateTransform:
        return self.cell  # type: ignore[return-value]  # seen to in __init__

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Any, tuple[Tensor, ...], tuple[Tensor, ...]]:
        masks: dict[str, Tensor] = {n: inputs.pop(n) for n in ("input_mask", "state_mask") if n in inputs}
        if not masks:
            masks = self._masks(x.shape[-2], self.real_like(x))
        m_x, m_h = masks.get("input_mask"), masks.get("state_mask")
        if m_x is not None:
            if not x.is_floating_point():
                raise RnnZooError(f"variational dropout of inputs needs numbers that can be scaled, not {x.dtype}")
            x = x * m_x
        reads_x = type(self.cell).readout is not Cell.readout
        for_readout = (m_x.expand(x.shape),) if m_x is not None and reads_x else ()
        for_step = (m_h.expand(*x.shape[:-1], -1),) if m_h is not None else ()
        return self.cell.project(x, **inputs), for_step, for_readout

    def inner(self, u: Any) -> Any:
        return u[0]

    def step(self, u: Any, s: Any) -> Any:
        u, masks, _ = u
        if not masks:
            return self.cell.step(u, s)
        return self._gated.update(u, self._gated.product(s.h * masks[0]), s)

    def readout(self, h: Tensor, u: Any, x: Tensor) -> Tensor:
        return self.cell.readout(h, u[0], x * u[2][0] if u[2] else x)

    def extra_repr(self) -> str:
        return f"input_p={self.input_p}, state_p={self.state_p}"


def _product(cell: Cell) -> bool:
    return gated(cell) or (isinstance(cell, GateTransform) and type(cell).step is GateTransform.step)

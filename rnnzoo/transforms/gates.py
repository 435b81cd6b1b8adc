"""Transforms of what a gated cell's ``update`` gets, W x and R h, and of the cells that they are defined for."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, GatedCell
from rnnzoo.cells.registry import kind, list_cells, name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.transforms.around import Around


class GateTransform(Around):
    """A transform whose step is, as a gated cell's, a product R h and an update; ``product`` and ``update`` differ."""

    cell: GatedCell

    def product(self, h: Tensor) -> Tensor:
        """R h, the recurrent product, (B, G H)."""
        return self.cell.product(h)

    def update(self, wx: Any, rh: Tensor, s: Any) -> Any:
        """From u and R h to the new state; row-wise."""
        return self.cell.update(wx, rh, s)

    def step(self, u: Any, s: Any) -> Any:
        return self.update(u, self.product(s.h), s)

    @property
    def recurrent_size(self) -> int:
        """Features of ``s.h``, which the recurrent product reads."""
        return self.cell.recurrent_size


class MultiplicativeIntegration(GateTransform):
    """Wu et al. 2016: W x and R h are multiplied, not added alone; for cells that use their sum alone.

    a = α (W x_t) (R h_{t-1}) + β_1 R h_{t-1} + β_2 W x_t + b

    with α, β_1 and β_2 a number a row, from 1 (the paper tunes where they start), and the cell's own b.

    Args:
        cell: a gated cell whose update depends on W x + R h alone.
        start_alpha: what α starts from.
        start_beta: what β_1 and β_2 start from.

    Raises:
        RnnZooError: a cell that uses W x and R h apart, as GRU does, or that has no such product.
    """

    def __init__(self, cell: Cell, *, start_alpha: float = 1.0, start_beta: float = 1.0):
        require(cell, additive, "multiplicative integration", "whose update depends on W x + R h alone")
        super().__init__(cell)
        self.start_alpha, self.start_beta = start_alpha, start_beta
        rows = len(self.cell.weight_hh)
        self.alpha, self.beta_1, self.beta_2 = (nn.Parameter(torch.empty(rows)) for _ in range(3))

    def reset_own(self) -> None:
        nn.init.constant_(self.alpha, self.start_alpha)
        nn.init.constant_(self.beta_1, self.start_beta)
        nn.init.constant_(self.beta_2, self.start_beta)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return F.linear(x, self.cell.weight_ih)

    def product(self, h: Tensor) -> Tensor:
        return F.linear(h, self.cell.weight_hh)

    def update(self, wx: Tensor, rh: Tensor, s: Any) -> Any:
        a = self.alpha * wx * rh + self.beta_1 * rh + self.beta_2 * wx
        for b in (self.cell.bias_ih, self.cell.bias_hh):
            a = a if b is None else a + b
        return self.cell.update(a, torch.zeros_like(a), s)


class LayerNormGates(GateTransform):
    """Ba, Kiros & Hinton 2016: W x and R h are each normalised over all rows before they meet.

    wx = γ_x norm(W x_t) + b,   rh = γ_h norm(R h_{t-1}) + d,   norm(a) = (a - mean a) / sqrt(var a + ε)

    with gains γ a number a row, from 1, and the cell's own biases. As the paper's LSTM, but for its norm of c, which
    is inside the cell; its GRU normalises the candidate's rows by themselves, here all rows are normalised together.

    Args:
        cell: a gated cell.
        eps: ε.

    Raises:
        RnnZooError: a cell that has no such products.
    """

    def __init__(self, cell: Cell, *, eps: float = 1e-5):
        require(cell, gated, "layer norm of gates", "with one product of the old output for all gates")
        super().__init__(cell)
        self.eps = eps
        self.gain_ih, self.gain_hh = (nn.Parameter(torch.empty(len(self.cell.weight_hh))) for _ in range(2))

    def reset_own(self) -> None:
        nn.init.ones_(self.gain_ih)
        nn.init.ones_(self.gain_hh)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        wx = F.linear(x, self.cell.weight_ih)
        return F.layer_norm(wx, wx.shape[-1:], self.gain_ih, self.cell.bias_ih, self.eps)

    def product(self, h: Tensor) -> Tensor:
        rh = F.linear(h, self.cell.weight_hh)
        return F.layer_norm(rh, rh.shape[-1:], self.gain_hh, self.cell.bias_hh, self.eps)


def gated(cell: Cell) -> bool:
    """Whether a cell's step is the one product and the update of GatedCell, of W x."""
    cls = kind(cell)
    if not issubclass(cls, GatedCell) or cell.weight_hh is None or len(cell.weight_ih) != len(cell.weight_hh):
        return False
    return all(getattr(cls, name) is getattr(GatedCell, name) for name in ("step", "product", "project", "readout"))


def additive(cell: Cell) -> bool:
    """Whether the update of a gated cell depends on W x + R h alone."""
    if not gated(cell):
        return False
    update, s, (a, b) = probe(cell, 2)
    return same(update(a, b, s), update(a + b, torch.zeros_like(a), s))


def require(cell: Cell, fits: Callable[[Cell], bool], what: str, needed: str) -> None:
    """Raises RnnZooError, with the cells that it is defined for, where `cell` is none of them."""
    with torch.device("cpu"):  # wherever the cell is being made
        refused = isinstance(cell, Cell) and not fits(cell)
    if refused:
        name = name_of(kind(cell))
        inside = f"; put it inside, next to {name_of(kind(bare(cell)))}" if isinstance(cell, Around) else ""
        raise RnnZooError(
            f"{what} needs a cell {needed}, which {name} is not{inside}; it is defined for {', '.join(_fitting(fits))}"
        )


def bare(cell: Cell) -> Cell:
    """The cell inside all transforms."""
    return bare(cell.cell) if isinstance(cell, Around) else cell


@cache
def _fitting(fits: Callable[[Cell], bool]) -> list[str]:
    """The registered cells that `fits` holds of, as far as they need no arguments."""
    found = []
    with torch.random.fork_rng(devices=[]):
        for name, cls in list_cells().items():
            try:
                if fits(cls(2, 3)):
                    found.append(name)
            except (TypeError, RnnZooError):
                continue
    return found


def probe(cell: Cell, count: int) -> tuple[Callable[..., Any], Any, list[Tensor]]:
    """The update of a copy of `cell` in float64, and a state and as many rows to try it on."""
    twin = copy.deepcopy(cell)
    if cell.weight_hh.is_meta:
        twin.to_empty(device="cpu")
    twin = twin.to("cpu", torch.float64).eval()
    generator = torch.Generator().manual_seed(0)

    def random(a: Tensor) -> Tensor:
        return torch.rand(a.shape, generator=generator, dtype=torch.float64) - 0.5

    with torch.no_grad():
        for p in twin.parameters():
            p.copy_(random(p))
        s = twin.initial_state(4, cast(GatedCell, twin).weight_hh)
        s = s._replace(**{f: random(a) for f, a in s._asdict().items() if a.is_floating_point()})
    rows = [random(torch.empty(4, len(cast(GatedCell, twin).weight_hh))) for _ in range(count)]
    return torch.no_grad()(cast(GatedCell, twin).update), s, rows


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal but for rounding."""
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(one, other, strict=True))

"""A cell around a cell: what every transform is made of."""

from typing import Any, ClassVar, cast

from torch import Tensor

from rnnzoo.cells.contract import Cell, LinearCell
from rnnzoo.errors import RnnZooError


class Around(Cell):
    """A cell that does as the cell in it does, but for what a transform changes; the cell keeps its weights.

    Args:
        cell: the cell inside, an instance.

    Raises:
        RnnZooError: `cell` is not an instance of Cell.
    """

    stays_linear: ClassVar[bool] = False  # whether around a linear cell it is one, with ``coefficients``

    def __init__(self, cell: Cell):
        if not isinstance(cell, Cell):
            raise RnnZooError(f"{type(self).__name__} goes around a cell such as create('lstm', 10, 20), not {cell!r}")
        super().__init__(cell.input_size, cell.hidden_size, bias=cell.bias)
        self.cell = cell
        self.State, self.gates, self.rows = cell.State, cell.gates, cell.rows  # type: ignore[misc]
        self.inputs, self.limits = cell.inputs, cell.limits  # type: ignore[misc]

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        """None of its own under a name of torch's."""
        return {}

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    def reset_parameters(self) -> None:
        self.cell.reset_parameters()
        self.reset_own()

    def reset_own(self) -> None:
        """Draws what the transform adds to the parameters of the cell."""

    def _initialise(self) -> None:
        self.reset_own()  # and not the cell, which may have learned

    def real_like(self, x: Tensor) -> Tensor:
        """As ``like``, of real numbers, such as masks are made of."""
        like = self.like(x)
        return like.real if like.is_complex() else like

    @property
    def linear(self) -> bool:
        return self.stays_linear and self.cell.linear

    def coefficients(self, u: Any) -> tuple[Tensor, Tensor]:
        """a and b of a linear cell."""
        return cast(LinearCell, self.cell).coefficients(self.inner(u))

    def inner(self, u: Any) -> Any:
        """The cell's u of the transform's."""
        return u

    def project(self, x: Tensor, **inputs: Tensor) -> Any:
        return self.cell.project(x, **inputs)

    def draw(self, batch: int, like: Tensor) -> dict[str, Tensor]:
        return self.cell.draw(batch, like)

    def emit(self, s: Any) -> Tensor:
        return self.cell.emit(s)

    def readout(self, h: Tensor, u: Any, x: Tensor) -> Tensor:
        return self.cell.readout(h, self.inner(u), x)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return self.cell.initial_state(batch, like)


def probability(name: str, p: Any) -> float:
    """`p` in [0, 1), or an error that names it."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
        raise RnnZooError(f"{name} must be a probability in [0, 1), not {p!r}")
    return float(p)


def kept(p: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A mask of dropout: 0 with probability p, elsewhere 1 / (1 - p)."""
    return like.new_full(shape, 1 - p).bernoulli() / (1 - p)

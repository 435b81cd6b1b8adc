"""What the nodes of a trace are to the loop over time: rows, constants, and sums over every row of every step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnzoo.kernels.fused.axes import Axes
from rnnzoo.kernels.fused.expressions import Row
from rnnzoo.kernels.fused.unsupported import Unsupported


@dataclass(frozen=True)
class Shape:
    """A tensor's sizes without the batch, `dims`; `batch`, where that stands, None where it does not; and `fold`, how
    many rows of one sequence stand with it in one axis, B * fold long, 0 without a batch. A fold of more than one is
    the first of `dims`."""

    dims: tuple[int, ...]
    batch: int | None
    fold: int
    rank: int

    @staticmethod
    def of(sizes: Sequence[int], batch: int) -> "Shape":
        found = [k for k, n in enumerate(sizes) if n and n % batch == 0]
        if len(found) > 1:
            raise Unsupported("its step mixes the rows of a batch")
        if not found:
            return Shape(tuple(sizes), None, 0, len(sizes))
        (at,) = found
        fold = sizes[at] // batch
        others = tuple(n for k, n in enumerate(sizes) if k != at)
        return Shape((fold, *others) if fold > 1 else others, at, fold, len(sizes))

    def names(self) -> list[tuple[int, int]]:
        """(place among the tensor's axes, name among `dims`) of every axis but the batch's."""
        others = [k for k in range(self.rank) if k != self.batch]
        return [(k, i + (self.fold > 1)) for i, k in enumerate(others)]

    def folded(self) -> tuple[int, ...]:
        """`dims` with the fold first, 1 where there is none."""
        return self.dims if self.fold > 1 else (1, *self.dims)

    def with_fold(self, axes: Axes) -> Axes:
        """Axes of this tensor by their names in `folded`."""
        return axes if self.fold > 1 else tuple((name + 1, n) for name, n in axes)

    def reshapes_to(self, other: "Shape") -> bool:
        """Whether a view as `other` leaves every number in the row that it is in."""
        if self.batch is None or other.batch is None:
            return self.batch is other.batch
        return self._before() == other._before() and (self.fold == other.fold or self._before() == 1)

    def _before(self) -> int:
        """How many numbers of axes stand before the batch's."""
        return math.prod(self.dims[name] for place, name in self.names() if place < (self.batch or 0))

    def names_in(self, result: "Shape") -> dict[int, int] | None:
        """For the names of this tensor's axes, those in a tensor that it is broadcast to; None where batches differ."""
        shift = result.rank - self.rank
        if self.batch is not None and (self.batch + shift != result.batch or self.fold != result.fold):
            return None
        there = dict(result.names())
        names = {0: 0} if self.fold > 1 else {}
        for place, name in self.names():
            if place + shift in there:
                names[name] = there[place + shift]
            elif self.dims[name] != 1:
                return None
        return names

    def permuted(self, order: Sequence[int]) -> dict[int, int]:
        """For the names of this tensor's axes, those after a permutation."""
        after = [d for d in order if d != self.batch]
        names = {name: after.index(place) + (self.fold > 1) for place, name in self.names()}
        return names | ({0: 0} if self.fold > 1 else {})


@dataclass(frozen=True)
class Rows:
    """A value of every row of the batch, or the same for all, and how its axes lie, by their names in `Shape.dims`."""

    row: Row
    axes: Axes


@dataclass(frozen=True)
class Constant:
    """A result of the graph of parameters alone, seen as a tensor of sizes `dims` with its axes in an `order`."""

    index: int
    dims: tuple[int, ...]
    order: tuple[int, ...]

    def reshaped(self, shape: tuple[int, ...]) -> "Constant":
        """The same as a tensor of another shape; where its axes are turned, axes of size 1 may come and go."""
        straight = tuple(range(len(shape)))
        if self.order == tuple(range(len(self.dims))):
            return Constant(self.index, shape, straight)
        if [self.dims[k] for k in self.order if self.dims[k] != 1] != [n for n in shape if n != 1]:
            raise Unsupported("its step reshapes the transpose of a matrix")
        lies = [k for k in range(len(self.dims)) if self.dims[k] != 1]
        turned = iter([lies.index(k) for k in self.order if self.dims[k] != 1])
        ones = iter(range(len(lies), len(shape)))
        order = tuple(next(ones) if n == 1 else next(turned) for n in shape)
        return Constant(self.index, (*(self.dims[k] for k in lies), *(1 for n in shape if n == 1)), order)


@dataclass(frozen=True)
class Places:
    """Whole numbers that are known to the trace: places of an axis."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Term:
    """Summed over every row of every step: the outer product of two rows, or one row."""

    left: Row
    right: Row | None = None


@dataclass(frozen=True)
class Sum:
    """The gradient of a constant: of a matrix for each group of terms, side by side; `turned`: of its transpose."""

    groups: tuple[tuple[Term, ...], ...]
    shape: tuple[int, ...]
    turned: bool = False

    def fits(self, other: "Sum") -> bool:
        """Whether the terms of another can be added to those of this one."""
        return self.turned == other.turned and len(self.groups) == len(other.groups)


Value = Rows | Constant | Sum | Places | list[Rows]


@dataclass(frozen=True)
class Product:
    """row @ M, or row @ Mᵀ where `turned`, with a constant M of sizes `dims`, or one `part` of it where it has three
    axes; its result, `length` columns, is a buffer."""

    row: Row
    constant: int
    dims: tuple[int, ...]
    turned: bool
    part: int | None
    length: int
    name: str

    @property
    def rows(self) -> tuple[Row, ...]:
        return (self.row,)

    @property
    def numbers(self) -> int:
        """How many its matrix has."""
        return math.prod(self.dims[self.part is not None :])

    @property
    def weight(self) -> str:
        part = "" if self.part is None else f"_{self.part}"
        return f"w{self.constant}{part}{'t' if self.turned else 'n'}"


@dataclass(frozen=True)
class Placed:
    """The sum of `rows`, written to a buffer before others read its numbers one by one."""

    rows: tuple[Row, ...]
    length: int
    name: str

"""Rows of tensors with several axes: which numbers of a flat row are taken, repeated or summed, axis by axis.

The row of a (B, n, m) tensor is n * m columns. Its axes are pairs (name, size) in the order in which they lie in the
row, the last one side by side; axes of size 1 are left out. So a transpose moves nothing until somebody needs it.
"""

import math
from collections.abc import Callable, Sequence

from rnnzoo.kernels.fused.expressions import Row, cut, elementwise, joined, reduce, width
from rnnzoo.kernels.fused.unsupported import Unsupported

Axes = tuple[tuple[int, int], ...]  # names and sizes
_PIECES = 4096  # of a row: more take gcc, and whoever reads what it is given, too long


def natural(dims: Sequence[int]) -> Axes:
    """The axes of a tensor that lies as it is written, named by their places."""
    return tuple((k, n) for k, n in enumerate(dims) if n != 1)


def size(axes: Axes) -> int:
    """The columns of a row with these axes."""
    return math.prod(n for _, n in axes)


def take(row: Row, axes: Axes, name: int, index: int) -> Row:
    """The columns at one place of an axis; those of the other axes are left."""
    at = [k for k, _ in axes].index(name)
    inner = size(axes[at + 1 :])
    whole = axes[at][1] * inner
    starts = (lead * whole + index * inner for lead in range(size(axes[:at])))
    return _together([cut(row, start, start + inner) for start in starts])


def without(axes: Axes, *names: int) -> Axes:
    """The axes but some."""
    return tuple((k, n) for k, n in axes if k not in names)


def arrange(row: Row, axes: Axes, wanted: Axes) -> Row:
    """The row with the `wanted` axes in their order; one that it lacks is repeated."""
    if axes == wanted:
        return row
    if not wanted:
        return row
    (name, n), *rest = wanted
    if name not in dict(axes):
        inner = arrange(row, axes, tuple(rest))
        if rest:
            return _together([inner] * n)
        return ((inner[0][0].spread(), n),)
    if axes[0][0] == name:  # side by side already
        pieces = (cut(row, k * size(axes[1:]), (k + 1) * size(axes[1:])) for k in range(n))
    else:
        pieces = (take(row, axes, name, k) for k in range(n))
    return _together([arrange(piece, without(axes, name), tuple(rest)) for piece in pieces])


def reduced(row: Row, axes: Axes, names: set[int], kind: str) -> list[Row]:
    """Rows whose sum ("add"), or whose largest ("maximum"), is the row without some axes."""
    gone = [k for k, _ in axes if k in names]
    if not gone:
        return [row]
    last = len(axes) - len(gone)
    if all(k in names for k, _ in axes[last:]):  # each sum is over columns that lie side by side
        n = size(axes[last:])
        return [_together([reduce(kind, cut(row, k, k + n)) for k in range(0, width(row), n)])]
    first = gone[0]
    terms = []
    for k in range(dict(axes)[first]):
        terms += reduced(take(row, axes, first, k), without(axes, first), names, kind)
    return terms


def tree(rows: Sequence[Row], combine: Callable[[Row, Row], Row]) -> Row:
    """All rows in one, two by two."""
    rows = list(rows)
    while len(rows) > 1:
        rows = [combine(*rows[k : k + 2]) if k + 1 < len(rows) else rows[k] for k in range(0, len(rows), 2)]
    return rows[0]


def added(rows: Sequence[Row]) -> Row:
    """The sum of rows."""
    return tree(rows, lambda a, b: elementwise("add", a, b))


def _together(rows: Sequence[Row]) -> Row:
    parts = joined([part for row in rows for part in row])
    if len(parts) > _PIECES:
        raise Unsupported(f"its step takes a tensor to pieces, {len(parts)} of them (a transpose, or large matrices)")
    return parts

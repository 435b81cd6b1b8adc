"""Expressions: the value of one element of a row, over leaves (buffer, column).

A row, a (B, n) tensor in the trace, is a tuple of parts (expression, length), columns side by side. Taking some of its
columns shifts its leaves, so ``chunk`` and ``cat`` cost nothing, whatever they are applied to.
"""

from collections.abc import Container, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, ClassVar
from weakref import WeakValueDictionary

# of the row-wise operations, those that are dearer to compute again than to keep
_COSTLY = """
    sigmoid tanh exp exp2 expm1 log log1p log2 log10 sqrt rsqrt reciprocal div pow sin cos tan asin acos atan sinh cosh
    asinh acosh atanh erf
"""
_CHEAP = """
    neg relu abs sign floor ceil trunc round isnan isinf logical_not bitwise_not add sub mul maximum minimum gt ge lt le
    eq ne logical_and logical_or bitwise_and bitwise_or where remainder fmod
"""
COSTLY, CHEAP = frozenset(_COSTLY.split()), frozenset(_CHEAP.split())
ROWWISE = COSTLY | CHEAP


class Expr:
    """One element of a row. Interned: equal expressions are one object, so that they are computed once.

    By `op`: ``const`` (value), ``vector`` (constant, column), ``leaf`` (buffer, column), where a column counts from
    the loop's; ``entry`` and ``at``, the same at one column whatever the loop's; ``reduce`` (expression, kind, length);
    ``strided`` (one of those four, its name, column, stride), which moves on with an outer loop; and the row-wise
    operations of expressions. `scalar`: one value a row, not one a column.
    """

    __slots__ = ("__weakref__", "args", "op", "operands", "scalar")
    _table: ClassVar[WeakValueDictionary] = WeakValueDictionary()

    op: str
    args: tuple[Any, ...]
    operands: tuple["Expr", ...]
    scalar: bool

    def __new__(cls, op: str, *args: Any) -> "Expr":
        key = (op, *(repr(a) if isinstance(a, float) else a for a in args))  # repr: 0.0 and -0.0 are equal
        known = cls._table.get(key)
        if known is not None:
            return known
        e = super().__new__(cls)
        e.op, e.args = op, args
        e.operands = tuple(a for a in args if isinstance(a, Expr))
        alone = op in ("const", "entry", "at", "reduce") or (op == "strided" and args[0] in ("entry", "at"))
        e.scalar = alone or bool(e.operands and all(a.scalar for a in e.operands))
        cls._table[key] = e
        return e

    def __reduce__(self) -> tuple[Any, ...]:
        return Expr, (self.op, *self.args)

    def shift(self, columns: int) -> "Expr":
        """The same, `columns` to the right."""
        return _rebuilt(self, lambda e: Expr(e.op, e.args[0], e.args[1] + columns), {}) if columns else self

    def spread(self) -> "Expr":
        """The value at a row's first column, for every column."""
        return _rebuilt(self, lambda e: Expr("at" if e.op == "leaf" else "entry", *e.args), {})


def _rebuilt(e: Expr, change: Any, done: dict[Expr, Expr]) -> Expr:
    """`e` with `change` of its leaves; each part once, for expressions share parts."""
    if e.scalar:
        return e
    if e not in done:
        if e.op in ("leaf", "vector"):
            done[e] = change(e)
        else:
            done[e] = Expr(e.op, *(_rebuilt(a, change, done) for a in e.args))
    return done[e]


Part = tuple[Expr, int]
Row = tuple[Part, ...]


def leaf(buffer: str, length: int, column: int = 0) -> Row:
    """`length` columns of a buffer."""
    return ((Expr("leaf", buffer, column), length),)


def number(value: float, length: int = 1) -> Row:
    """A constant in every column."""
    return ((Expr("const", float(value)), length),)


def width(row: Row) -> int:
    """The columns of a row."""
    return sum(n for _, n in row)


def cut(row: Row, start: int, end: int) -> Row:
    """The columns from `start` to `end`."""
    parts, at = [], 0
    for e, n in row:
        a, b = max(start, at), min(end, at + n)
        if a < b:
            parts.append((e.shift(a - at), b - a))
        at += n
    return tuple(parts)


def joined(parts: Iterable[Part]) -> Row:
    """The parts as few as can be: columns that go on where the last ones ended are one part with them."""
    found: list[Part] = []
    for e, n in parts:
        if found:
            before, m = found[-1]
            if (e is before) if e.scalar else (before.op == e.op and before.shift(m) is e):
                found[-1] = before, m + n
                continue
        found.append((e, n))
    return tuple(found)


def spread(row: Row, length: int) -> Row:
    """A row of `length` columns; one of a single column serves them all."""
    if width(row) == length:
        return row
    assert width(row) == 1, "only one column spreads over many"
    return ((row[0][0].spread(), length),)


def elementwise(op: str, *rows: Row) -> Row:
    """An operation of rows, column by column."""
    return tuple((Expr(op, *(e for e, _ in parts)), parts[0][1]) for parts in zip(*aligned(rows), strict=True))


def aligned(rows: Sequence[Row]) -> list[Row]:
    """The rows with parts of the same lengths."""
    total = max(map(width, rows))
    rows = [spread(r, total) for r in rows]
    borders = [set(accumulate((n for _, n in r), initial=0)) for r in rows]
    if all(b == borders[0] for b in borders):
        return rows
    edges = sorted(set().union(*borders))
    return [_divided(r, edges) for r in rows]


def _divided(row: Row, edges: Sequence[int]) -> Row:
    """The parts of a row, cut at all of the `edges`, among which its own are."""
    parts: list[Part] = []
    ends = iter(pairwise(edges))
    for e, n in row:
        at = 0
        while at < n:
            lo, hi = next(ends)
            parts.append((e.shift(at), hi - lo))
            at += hi - lo
    return tuple(parts)


def reduce(kind: str, row: Row) -> Row:
    """The sum ("add") or the largest ("maximum") of a row's columns."""
    first, *rest = (Expr("reduce", e, kind, n) for e, n in row)
    for e in rest:
        first = Expr(kind, first, e)
    return ((first, 1),)


def inner(e: Expr, length: int) -> list[Part]:
    """The operands of an expression, each with the length of the loop in which it stands."""
    return [(a, e.args[2] if e.op == "reduce" else length) for a in e.operands]


def below(rows: Iterable[Row], known: Container[Part] = ()) -> dict[Part, None]:
    """Every part that rows are made of, operands first; what those in `known` are made of is left out."""
    seen: dict[Part, None] = {}
    stack = [(part, False) for row in rows for part in row][::-1]
    while stack:
        part, ready = stack.pop()
        if part in seen:
            continue
        if ready:
            seen[part] = None
        else:
            stack.append((part, True))
            if part not in known:
                stack += [(a, False) for a in reversed(inner(*part))]
    return seen

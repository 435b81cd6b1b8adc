"""Parts that differ by the columns that they read alone: the rows of a matrix, or what is computed for each head."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from rnnzoo.kernels.fused.expressions import Expr, Part, Row

_KINDS: WeakKeyDictionary[Expr, int] = WeakKeyDictionary()
_TABLE: dict[tuple[object, ...], int] = {}

MANY = 4  # fewer are printed one by one, and kept in buffers of their own


def grouped(parts: Sequence[Part]) -> list[Row]:
    """Rows that hold all parts: many siblings side by side in the order of their columns, and the others alone."""
    families: dict[tuple[int, int], list[Part]] = {}
    for part in dict.fromkeys(parts):
        families.setdefault((alike(part[0]), part[1]), []).append(part)
    rows: list[Row] = []
    for family in families.values():
        if len(family) < MANY:
            rows += [(part,) for part in family]
        else:
            rows.append(tuple(sorted(family, key=lambda part: _columns(part[0]))))
    return rows


def alike(e: Expr) -> int:
    """A number for everything of an expression but its columns."""
    if e not in _KINDS:
        if e.op in ("leaf", "at", "vector", "entry"):
            key: tuple[object, ...] = (e.op, e.args[0])
        else:
            key = (e.op, *(alike(a) if isinstance(a, Expr) else repr(a) for a in e.args))
        _KINDS[e] = _TABLE.setdefault(key, len(_TABLE))
    return _KINDS[e]


def _columns(e: Expr) -> list[int]:
    """The first columns that an expression reads, from left to right."""
    if e.op in ("leaf", "at", "vector", "entry"):
        return [e.args[1]]
    found: list[int] = []
    for a in e.operands:
        found += _columns(a)
        if len(found) > 8:
            break
    return found


def template(members: Sequence[Expr], known: dict[tuple[Expr, ...], Expr | None]) -> Expr | None:
    """One expression for all, of which the k-th is what it is at turn k of an outer loop; None where there is none."""
    key = tuple(members)
    if key not in known:
        known[key] = _template(key, known)
    return known[key]


def _template(members: tuple[Expr, ...], known: dict[tuple[Expr, ...], Expr | None]) -> Expr | None:
    first = members[0]
    if all(e is first for e in members):
        return first
    if any(e.op != first.op or len(e.args) != len(first.args) for e in members):
        return None
    if first.op in ("leaf", "at", "vector", "entry"):
        stride = members[1].args[1] - first.args[1]
        there = all(e.args == (first.args[0], first.args[1] + k * stride) for k, e in enumerate(members))
        return Expr("strided", first.op, *first.args, stride) if there else None
    args = []
    for column in zip(*(e.args for e in members), strict=True):
        if isinstance(column[0], Expr):
            found = template(column, known)
            if found is None:
                return None
            args.append(found)
        elif any(a != column[0] for a in column) or first.op == "const":
            return None
        else:
            args.append(column[0])
    return Expr(first.op, *args)

"""A loop over time: bodies of row-wise arithmetic and products in turn, on buffers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rnnzoo.kernels.fused.expressions import COSTLY, Expr, Part, Row, aligned, below, width
from rnnzoo.kernels.fused.siblings import grouped
from rnnzoo.kernels.fused.values import Placed, Product

Step = Product | Placed


@dataclass(frozen=True)
class Buffer:
    """`kind`: "seq", rows for every step; "start", the initial states, and after the first step the new states of the
    last one; "turn", the rows of one step; "block", those of some steps; "weight"."""

    width: int
    kind: str


@dataclass(frozen=True)
class Store:
    """A row written to a buffer from `column` on, or added to it."""

    buffer: str
    row: Row
    add: bool = False
    column: int = 0


@dataclass(frozen=True)
class Columns:
    """Some columns of a buffer."""

    buffer: str
    column: int
    width: int


@dataclass(frozen=True)
class Body:
    """Row-wise arithmetic; what is in `held` is read from (buffer, column) and not computed again."""

    stores: list[Store]
    held: dict[Part, tuple[str, int]]


@dataclass(frozen=True)
class Gemm:
    """A product of the rows in a buffer, which goes to a buffer of its own, or is written, or added, `into` another."""

    product: Product
    operand: Columns
    into: Columns | None = None
    add: bool = False


class Loop:
    """One direction of the loop over time: `parts` in turn, on `buffers`; `swaps` change places after every step.

    Where `adding`, a product that is nothing but a term of what is stored is added to it where it lies, and there is no
    body after it: where every body is a launch, that is one less a step.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        buffers: dict[str, Buffer],
        stores: Iterable[Store],
        held: dict[Part, tuple[str, int]],
        swaps: Sequence[tuple[str, str]],
        adding: bool = False,
    ):
        self._made_of = steps, buffers, stores, held, swaps
        self.buffers, self.swaps, self._levels = dict(buffers), list(swaps), dict[str, int]()
        stores = list(stores)
        products = [p for p in steps if isinstance(p, Product)]
        self.products = {p.weight: p for p in products}
        ahead = {p.name for p in products if _of_input(p) and p.name not in buffers}
        for p in steps:  # in the order of the trace: operands come first
            self._levels[p.name] = 0 if p.name in ahead else 1 + max(map(self._level, p.rows))
            self.buffers.setdefault(p.name, Buffer(p.length, "block" if p.name in ahead else "turn"))
        for p in products:
            self.buffers[p.weight] = Buffer(0, "weight")
        if ahead:
            self.buffers["x"] = Buffer(self.buffers["u"].width, "block")
        operands = {p.name: self._operand(p, stores) for p in products}
        self.ahead = [Gemm(p, operands[p.name]) for p in products if p.name in ahead]
        gemms = {p.name: Gemm(p, operands[p.name]) for p in products}
        if adding:
            stores = self._added(stores, steps, gemms)
        depth = max(self._levels.values(), default=0)
        # what overwrites memory that others may still read comes last
        placed = [(depth if s.buffer[0] == "o" and not adding else self._level(s.row), s) for s in stores]
        for p in steps:
            if isinstance(p, Placed):
                terms = enumerate(aligned(p.rows))
                placed += [(self._levels[p.name] - 1, Store(p.name, row, add=k > 0)) for k, row in terms]
        helds = [dict(held) for _ in range(depth + 1)]
        for level in range(depth):
            placed += self._kept_between(placed, level, helds)
        self.parts: list[Body | Gemm] = []
        for level, own in enumerate(helds):
            self.parts.append(Body([s for at, s in placed if at == level], own))
            self.parts += [gemms[p.name] for p in products if self._levels[p.name] == level + 1]
        rows = [s.row for _, s in placed]
        self.read = {e.args[0] for e, _ in below(rows) if e.op in ("vector", "entry")}  # constants, number by number

    def adding(self) -> "Loop":
        """The same with products added to where their sums are stored."""
        return Loop(*self._made_of, adding=True)

    def _added(self, stores: list[Store], steps: Sequence[Step], gemms: dict[str, Gemm]) -> list[Store]:
        """What is left to store when products are added to it; those `gemms` are changed."""
        read = Counter(e.args[0] for p in steps for e, _ in below(p.rows) if e.op in ("leaf", "at"))
        for s in stores:
            read.update({e.args[0] for e, _ in below([s.row]) if e.op in ("leaf", "at")})
        operands = {gemm.operand.buffer for gemm in gemms.values()}
        operands |= {c for pair in self.swaps if operands & set(pair) for c in pair}
        left: list[Store] = []
        for s in stores:
            (e, n), *others = s.row
            terms = _terms(e)
            own = [
                t.args[0]
                for t in terms
                if t.op == "leaf"
                and t.args[0] in gemms
                and t.args[1] == 0
                and gemms[t.args[0]].product.length == n
                and terms.count(t) == read[t.args[0]] == 1
                and self.buffers[t.args[0]].kind == "turn"
            ]
            rest = [t for t in terms if not (t.op == "leaf" and t.args[0] in own)]
            row = _total(rest, n)
            level = self._level(row) if row else 0
            inside = {a.args[0] for a, _ in below([row]) if a.op in ("leaf", "at")} if row else set()
            early = all(level < self._levels[name] for name in own)
            if others or not own or s.buffer in operands or inside & set(own) or not early:
                left.append(s)
                continue
            if row:
                left.append(replace(s, row=row))
            for k, name in enumerate(sorted(own, key=lambda name: self._levels[name])):
                into = Columns(s.buffer, s.column, n)
                gemms[name] = replace(gemms[name], into=into, add=s.add or bool(row) or k > 0)
                del self.buffers[name]
        return left

    def _level(self, row: Row) -> int:
        """How many products must run before a row can be computed."""
        return max((self._levels.get(e.args[0], 0) for e, _ in below([row]) if e.op in ("leaf", "at")), default=0)

    def _operand(self, p: Product, stores: list[Store]) -> Columns:
        """Where a product's operand lies; in a new buffer unless it lies somewhere already."""
        found = columns_of(p.row)
        if found and found.buffer in self.buffers:
            return found
        n = width(p.row)
        for s in stores:
            if s.row == p.row and not s.add:
                return Columns(s.buffer, s.column, n)
        name = p.name + "x"
        self.buffers[name] = Buffer(n, "turn")
        stores.append(Store(name, p.row))
        return Columns(name, 0, n)

    def _kept_between(
        self, placed: list[tuple[int, Store]], level: int, helds: list[dict[Part, tuple[str, int]]]
    ) -> list[tuple[int, Store]]:
        """What one body computes at a cost and a later one reads, written down in between."""
        kept = []
        made = below((s.row for at, s in placed if at == level), helds[level])
        later = below((s.row for at, s in placed if at > level), helds[level])
        again = [
            (e, n)
            for e, n in made
            if (e, n) in later and e.op in COSTLY and not e.scalar and (e, n) not in helds[level]
        ]
        for row in grouped(again):
            name, at = f"t{len(self.buffers)}", 0
            self.buffers[name] = Buffer(width(row), "turn")
            kept.append((level, Store(name, row)))
            for e, n in row:
                for held in helds[level + 1 :]:
                    held[e, n] = name, at
                at += n
        return kept


def columns_of(row: Row) -> Columns | None:
    """The columns of a buffer that a row is, if it is nothing else."""
    (e, n), *rest = row
    return Columns(e.args[0], e.args[1], n) if not rest and e.op == "leaf" else None


def _terms(e: Expr) -> list[Expr]:
    """What a sum is the sum of."""
    return [t for a in e.operands for t in _terms(a)] if e.op == "add" else [e]


def _total(terms: Sequence[Expr], n: int) -> Row:
    """Their sum, in n columns; an empty row of none."""
    if not terms:
        return ()
    total = terms[0]
    for t in terms[1:]:
        total = Expr("add", total, t)
    return ((total, n),)


def _of_input(p: Product) -> bool:
    found = columns_of(p.row)
    return found is not None and found.buffer == "u"

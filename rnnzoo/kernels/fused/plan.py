"""The plan: which products belong to which direction, what the forward keeps, and bodies and products in turn.

The loop over time runs in bodies of row-wise arithmetic, cut by the products they wait for. Three loops are planned:
``forward``, which keeps what the backward reads; ``infer``, which keeps nothing; and ``backward``.

Products of the input alone run ahead of the loop, a block of steps at a time; products that only the input's gradient
needs run after it, over all steps at once.

Buffers: u (input), y (gradient of what is emitted), s n (old and new states), l (final states), h (what is emitted,
where it is no field of the state), m (products, and rows placed to be read number by number), k (kept), d o (gradients
of new and of old states), du, q (rows that gradients of parameters are made of), a (sums over time of a row), w
(weights).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnzoo.kernels.fused.axes import natural
from rnnzoo.kernels.fused.expressions import (
    COSTLY,
    Part,
    Row,
    below,
    elementwise,
    inner,
    leaf,
    number,
    width,
)
from rnnzoo.kernels.fused.loops import Body, Buffer, Columns, Gemm, Loop, Step, Store, columns_of
from rnnzoo.kernels.fused.lowering import Lowering
from rnnzoo.kernels.fused.siblings import grouped
from rnnzoo.kernels.fused.trace import Shapes, Traced
from rnnzoo.kernels.fused.unsupported import Unsupported
from rnnzoo.kernels.fused.values import Constant, Product, Rows, Sum, Term, Value


@dataclass(frozen=True)
class Late:
    """Products of all steps whose sum goes to columns of the input's gradient."""

    gemms: list[Gemm]
    column: int


@dataclass(frozen=True)
class Addends:
    """A matrix or a row: the sum of outer products, and of sums of rows, over all steps or over those of a buffer that
    has added the steps up."""

    outer: list[tuple[Columns, Columns]]
    rows: list[Columns]


@dataclass(frozen=True)
class Gradient:
    """How a constant's gradient is made after the loop, of one matrix or of one for each head; `turned`: each is its
    transpose."""

    groups: list[Addends]
    turned: bool
    shape: tuple[int, ...]

    @property
    def there(self) -> bool:
        """Whether it is anything but zero."""
        return any(g.outer or g.rows for g in self.groups)


class Plan:
    """What a cell's trace comes to: three loops, and how gradients of constants are made of what they leave."""

    def __init__(self, traced: Traced, shapes: Shapes):
        lowering = Lowering(traced.batch, shapes.dtype)
        self.widths = [_width(shape) for shape in shapes.fields]
        leaves = [_width(shape) for shape in shapes.leaves]
        self.input_width = P = sum(leaves)
        S, C = len(self.widths), len(traced.constants)
        emitted_shape = _emitted_shape(traced, C + len(leaves) + 2 * S)
        self.output_width = _width(emitted_shape)
        inputs: list[Value] = [Constant(k, z, tuple(range(len(z)))) for k, z in enumerate(traced.constants)]
        inputs += [Rows(leaf("u", _width(z), sum(leaves[:k])), natural(z)) for k, z in enumerate(shapes.leaves)]
        inputs += [Rows(leaf(f"{c}{k}", _width(z)), natural(z)) for c in "sd" for k, z in enumerate(shapes.fields)]
        inputs += [Rows(leaf("y", self.output_width), natural(emitted_shape))]
        out = lowering.run(traced.joint, inputs)
        new = _rows(out[:S], self.widths)
        (emitted,) = _rows(out[S : S + 1], [self.output_width])
        d_constants = out[S + 1 : S + 1 + C]
        d_leaves = _rows(out[S + 1 + C : len(out) - S], leaves)
        d_states = _rows(out[len(out) - S :], self.widths)
        self.emitted = next((f"n{k}" for k in range(S) if new[k] == emitted), "h")
        self.emitted_shape = emitted_shape

        forward, backward = _directions(list(lowering.steps.values()), [*new, emitted])
        results = [Store(f"n{k}", row) for k, row in enumerate(new)]
        if self.emitted == "h":
            results.append(Store("h", emitted))
        self.accumulated: list[str] = []
        self.late: list[Late] = []
        read: set[str] = set()
        stores, backward = self._plan_input_gradient(d_leaves, backward, d_constants, d_states, read)
        self.gradients = [
            self._gradient(d, shape, stores, read) for d, shape in zip(d_constants, traced.constants, strict=True)
        ]
        stores += [Store(f"o{k}", row) for k, row in enumerate(d_states)]
        held, kept = self._plan_saving(stores, backward, forward, new, [*new, emitted], read)
        self._plan_loops(forward, backward, results, stores, held, kept, read, P)

    def _stored(self, row: Row, stores: list[Store], read: set[str]) -> Columns:
        """Where the rows of every step lie after the loop; in a new buffer unless they do already."""
        found = columns_of(row)
        if found and found.buffer == "u":
            read.add("u")
            return found
        if found and found in [Columns(f"s{k}", 0, n) for k, n in enumerate(self.widths)]:
            return found
        n = width(row)
        for s in stores:
            if s.row == row and not s.add:
                return Columns(s.buffer, s.column, n)
        stores.append(Store(f"q{len(stores)}", row))
        return Columns(stores[-1].buffer, 0, n)

    def _plan_input_gradient(
        self,
        d_leaves: Sequence[Row],
        backward: Sequence[Step],
        d_constants: Sequence[Value | None],
        d_states: Sequence[Row],
        read: set[str],
    ) -> tuple[list[Store], list[Step]]:
        """What the backward writes of the input's gradient, and the products that it needs; the others are late."""
        terms = [group for d in d_constants if isinstance(d, Sum) for group in d.groups]
        others = [row for group in terms for t in group for row in (t.left, t.right) if row is not None]
        others += [*d_states, *(row for p in backward for row in p.rows)]
        by_name = {p.name: p for p in backward if isinstance(p, Product)}
        sums = [_products_in(row, by_name) for row in d_leaves]
        others += [row for row, found in zip(d_leaves, sums, strict=True) if found is None]
        used = {e.args[0] for e, _ in below(others) if e.op in ("leaf", "at")}
        stores: list[Store] = []
        late: list[tuple[list[Product], int]] = []
        column = 0
        for row, found in zip(d_leaves, sums, strict=True):
            if found is None or any(p.name in used for p in found):
                stores.append(Store("du", row, column=column))
            else:
                late.append((found, column))
            column += width(row)
        self.late = [Late([Gemm(p, self._stored(p.row, stores, read)) for p in group], at) for group, at in late]
        apart = {p.name for group, _ in late for p in group}
        return stores, [p for p in backward if p.name not in apart]

    def _gradient(self, d: Value | None, shape: tuple[int, ...], stores: list[Store], read: set[str]) -> Gradient:
        """What the backward writes so that the gradient of a constant is one product or sum after the loop."""
        groups = [self._addends(group, stores, read) for group in (d.groups if isinstance(d, Sum) else ())]
        return Gradient(groups, isinstance(d, Sum) and d.turned, shape)

    def _addends(self, terms: Sequence[Term], stores: list[Store], read: set[str]) -> Addends:
        outer, rows = [], []
        for term in terms:
            if term.right is not None:
                outer.append((self._stored(term.left, stores, read), self._stored(term.right, stores, read)))
            elif any(s.row == term.left and not s.add for s in stores):
                rows.append(self._stored(term.left, stores, read))
            else:
                name = f"a{len(stores)}"
                self.accumulated.append(name)
                stores.append(Store(name, term.left, add=True))
                rows.append(Columns(name, 0, width(term.left)))
        return Addends(outer, rows)

    def _plan_saving(
        self,
        stores: list[Store],
        backward: Sequence[Step],
        forward: Sequence[Step],
        new: Sequence[Row],
        made: Sequence[Row],
        read: set[str],
    ) -> tuple[dict[Part, tuple[str, int]], list[Store]]:
        """What the backward reads of the forward: its results, what is dear to compute, and products."""
        of_forward = below([*made, *(row for p in forward for row in p.rows)])
        held: dict[Part, tuple[str, int]] = {}
        for k, row in enumerate(new):
            at = 0
            for e, n in row:
                if e.op != "const":
                    held[e, n] = f"n{k}", at
                at += n
        products = {p.name: p.length for p in forward}  # of which a part of the columns may be all that is read
        seen, keep = set(), []
        todo = [part for row in (*(s.row for s in stores), *(r for p in backward for r in p.rows)) for part in row]
        while todo:
            e, n = part = todo.pop()
            if part in seen:
                continue
            seen.add(part)
            if part in held:
                read.add(held[part][0])
            elif e.op in ("leaf", "at") and not (e.op == "leaf" and n < products.get(e.args[0], 0)):
                read.add(e.args[0])
            elif e.op == "leaf" or (part in of_forward and e.op in COSTLY and not e.scalar):
                keep.append(part)
            else:
                todo += inner(e, n)
        kept = [Store(f"k{k}", row) for k, row in enumerate(grouped(keep))]
        for s in kept:
            at = 0
            for e, n in s.row:
                held[e, n] = s.buffer, at
                at += n
        return held, kept

    def _plan_loops(
        self,
        forward: list[Step],
        backward: list[Step],
        results: list[Store],
        stores: list[Store],
        held: dict[Part, tuple[str, int]],
        kept: list[Store],
        read: set[str],
        P: int,
    ) -> None:
        fields = range(len(self.widths))
        states = {f"s{k}": Buffer(n, "start") for k, n in enumerate(self.widths)}
        states |= {f"n{k}": Buffer(n, "seq") for k, n in enumerate(self.widths)}
        finals = {f"l{k}": Buffer(n, "turn") for k, n in enumerate(self.widths)}
        given = {"u": Buffer(P, "seq")}
        out = {"h": Buffer(self.output_width, "seq")} if self.emitted == "h" else {}
        saved = {p.name: Buffer(p.length, "seq") for p in forward if p.name in read}
        saved |= {s.buffer: Buffer(width(s.row), "seq") for s in kept}
        self.saved, self.reads_input = list(saved), "u" in read
        self.floats_saved = sum(b.width for b in saved.values()) + sum(self.widths)
        self.forward = Loop(forward, given | states | finals | out | saved, results + kept, {}, [])

        passing = [k for k in fields if self.emitted != f"n{k}"]  # states that only the next step reads
        turns = {f"{c}{k}": Buffer(self.widths[k], "turn") for k in passing for c in "sn"}
        swaps = [(f"s{k}", f"n{k}") for k in passing]
        self.infer = Loop(forward, given | states | turns | finals | out, results, {}, swaps)

        steps = {f"{c}{k}": Buffer(n, "turn") for k, n in enumerate(self.widths) for c in "do"}
        written = {s.buffer: Buffer(width(s.row), "turn" if s.add or s.buffer[0] == "o" else "seq") for s in stores}
        if "du" in written or self.late:
            written["du"] = Buffer(P, "seq")
        above = {"y": Buffer(self.output_width, "seq")}
        swaps = [(f"d{k}", f"o{k}") for k in fields]
        self.backward = Loop(backward, given | above | states | saved | steps | written, stores, held, swaps)
        loops = (self.forward, self.infer, self.backward)
        bodies = [part for loop in loops for part in loop.parts if isinstance(part, Body)]
        self.pieces = max((sum(len(s.row) for s in body.stores) for body in bodies), default=0)
        names = self.forward.buffers | self.infer.buffers | self.backward.buffers
        self.order = list(names)


def _products_in(row: Row, products: dict[str, Product]) -> list[Product] | None:
    """The products whose sum a row is, if it is nothing else."""
    (e, n), *rest = row
    found, todo = [], [e]
    while todo:
        e = todo.pop()
        if e.op == "add":
            todo += e.operands
        elif e.op == "leaf" and e.args[0] in products and e.args[1] == 0 and products[e.args[0]].length == n:
            found.append(products[e.args[0]])
        else:
            return None
    return None if rest else found


def _width(shape: Sequence[int]) -> int:
    return math.prod(shape)


def _emitted_shape(traced: Traced, at: int) -> tuple[int, ...]:
    """Of what is emitted, without its batch axis: the last input of the joint graph is its gradient."""
    inputs = [n for n in traced.joint.nodes if n.op == "placeholder"]
    assert at == len(inputs) - 1
    return tuple(inputs[at].meta["val"].shape[1:])


def _rows(values: Sequence[Value | None], widths: Sequence[int]) -> list[Row]:
    """Values as rows; zeros where there is none."""
    rows = []
    for value, n in zip(values, widths, strict=True):
        if value is not None and not isinstance(value, Rows):
            raise Unsupported("its new state does not depend on the old one or the input, or mixes the rows of a batch")
        row = number(0.0, n) if value is None else value.row
        rows.append(row if width(row) == n else elementwise("add", row, number(0.0, n)))
    return rows


def _directions(steps: list[Step], results: Sequence[Row]) -> tuple[list[Step], list[Step]]:
    """The products and placed rows that the results need, and the others, which are the backward's."""
    by_name = {p.name: p for p in steps}
    needed: set[str] = set()
    todo = list(results)
    while todo:
        for e, _ in below([todo.pop()]):
            if e.op in ("leaf", "at") and e.args[0] in by_name and e.args[0] not in needed:
                needed.add(e.args[0])
                todo += by_name[e.args[0]].rows
    return [p for p in steps if p.name in needed], [p for p in steps if p.name not in needed]

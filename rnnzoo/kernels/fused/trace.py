"""The trace of a cell's ``step`` and ``emit``: what depends on parameters alone, and the rest with its vjp."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, functionalize, vjp
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import TreeSpec, tree_unflatten

from rnnzoo.cells.contract import Cell, check_state
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.fused.batch_size import BatchSize, ReadsBatchSize
from rnnzoo.kernels.fused.code import Code
from rnnzoo.kernels.fused.complex_numbers import RealParts, is_complex, joined, parts
from rnnzoo.kernels.fused.decompositions import decompositions, of_steps
from rnnzoo.kernels.fused.hoist import hoist
from rnnzoo.kernels.fused.places import hold_places
from rnnzoo.kernels.fused.purity import unchanged, unwritten
from rnnzoo.kernels.fused.unsupported import Unsupported

aten = torch.ops.aten


@dataclass(frozen=True)
class Shapes:
    """What a trace is made for: the leaves of u and the fields of the state, each without its batch axis, a complex
    one as its two parts; `complex_leaves` and `complex_fields` say of each whole one whether it is.

    `whole`: u is what ``project`` takes, x and a dict of further inputs, and ``project`` is traced with the step.
    `batch`: the rows of a step, where its results depend on their number, otherwise None. `chosen`: buffers whose
    whole numbers say which places of an axis a step reads, and what they hold.
    """

    leaves: tuple[tuple[int, ...], ...]
    structure: TreeSpec
    fields: tuple[tuple[int, ...], ...]
    state: type
    dtype: torch.dtype
    complex_leaves: tuple[bool, ...]
    complex_fields: tuple[bool, ...]
    whole: bool = False
    batch: int | None = None
    chosen: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Traced:
    """`early` makes constants from the values of parameters and buffers, in the order of `names`; `joint` is

    (constants, leaves of u, states, gradients of the new states and of what is emitted)
    -> (new states, what is emitted, gradients of constants, of leaves and of states),

    all of them flat, and `code` is the same as Python, with the number of rows first; `emits_pairs`: what is emitted is
    complex, and its parts stand beside each other on the last axis.
    """

    names: tuple[str, ...]
    early: Code
    joint: fx.Graph
    code: Code
    constants: tuple[tuple[int, ...], ...]
    batch: int
    emits_pairs: bool


class Calls(nn.Module):
    """A cell whose methods are called by name, so that its parameters can be others for the time."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = cell

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.cell, method)(*args, **kwargs)


def real_values(cell: Cell) -> dict[str, Tensor]:
    """Parameters and buffers, on the CPU; random ones where they have no numbers to read."""
    return {
        n: a.detach().cpu().clone() if _has_numbers(a) else torch.rand(a.shape).to(a.dtype)
        for n, a in (*cell.named_parameters(), *cell.named_buffers())
    }


def _has_numbers(a: Tensor) -> bool:
    """Whether a tensor's numbers can be read: torch.export and fake tensors have none, and torch.func wraps many."""
    if torch.compiler.is_exporting() or a.is_meta or torch._C._functorch.is_functorch_wrapped_tensor(a):
        return False
    return all(cls.__name__ != "FakeTensor" for cls in type(a).__mro__)


class _Step(nn.Module):
    """``step`` and ``emit`` of flat and real arguments; `batch`: the rows that a trace is told them by, if any."""

    def __init__(self, cell: Cell, shapes: Shapes, batch: int | None = None):
        super().__init__()
        self.cell, self.shapes, self.batch = cell, shapes, batch
        self.emits_pairs = self.reads_batch_size = False

    def forward(self, leaves: Sequence[Tensor], fields: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with unchanged(self.cell):
            if self.batch is None:
                return self._run(leaves, fields)
            with BatchSize(self.batch, self.shapes.batch) as size:
                out = self._run(leaves, fields)
            self.reads_batch_size |= size.seen
            if size.used and self.shapes.batch is None:
                raise ReadsBatchSize
            return out

    def _run(self, leaves: Sequence[Tensor], fields: Sequence[Tensor]) -> tuple[Tensor, ...]:
        u = tree_unflatten(joined(leaves, self.shapes.complex_leaves), self.shapes.structure)
        if self.shapes.whole:
            u = self.cell.project(u[0], **u[1])
        old = self.shapes.state(*joined(fields, self.shapes.complex_fields))
        new = self.cell.step(u, old)
        check_state(self.cell, old, new)
        emitted = self.cell.emit(new)
        self.emits_pairs = emitted.is_complex()
        return (*parts(new), torch.cat(parts([emitted]), -1))


def trace(cell: Cell, shapes: Shapes) -> Traced:
    """The trace of `cell`.

    Raises:
        Unsupported: what it cannot be traced for.
        ReadsBatchSize: its results depend on the number of rows, and `shapes` has none.
    """
    with torch.random.fork_rng(devices=[]):
        values = real_values(cell)
        B = _batch(values.values(), shapes)
        leaves, fields = _random(shapes, B, 1)
        _refuse_writing(cell, shapes, values)
        step = _Step(cell, shapes, B)
        given = list(values.values()), leaves, fields
        graph = _traced(functionalize(_flat(step, tuple(values))), given, of_steps())
        if step.reads_batch_size and shapes.batch is None:
            _refuse_another(graph, cell, shapes, values, B)
        hold_places(graph, values, frozenset(name for name, _ in shapes.chosen))
        early, late, border = hoist(graph, len(values), B, shapes.dtype)
        _refuse_randomness(late)
        for a in border:
            if a.dtype != shapes.dtype:
                raise Unsupported(f"its step reads parameters or buffers as {a.dtype}")
        constants = tuple(tuple(a.shape) for a in border)
        c = [torch.ones(z, dtype=shapes.dtype) for z in constants]
        if any(map(is_complex, late.graph.nodes)):
            late = _traced(functionalize(RealParts(late).run), (*c, *leaves, *fields))

        def joint(c: list[Tensor], u: list[Tensor], s: list[Tensor], d: list[Tensor]) -> Any:
            out, pull = vjp(  # type: ignore[misc]  # three with has_aux alone
                lambda c, u, s: tuple(late(*c, *u, *s)), c, u, s
            )
            return out, pull(tuple(d))

        d = [torch.ones_like(a) for a in late(*c, *leaves, *fields)]
        both = _traced(functionalize(joint), (c, leaves, fields, d), decompositions())
        both.graph.set_codegen(fx.graph.CodeGen())  # whose inputs and outputs are not nested
        both.graph.eliminate_dead_code()
        codes = Code.of(early.graph, early), both.graph, Code.of(both.graph, both, B)
        traced = Traced(tuple(values), *codes, constants, B, step.emits_pairs)
    check_agreement(cell, shapes, traced.names, traced.early, traced.code, B if shapes.batch is None else shapes.batch)
    return traced


def _refuse_another(graph: fx.GraphModule, cell: Cell, shapes: Shapes, values: dict[str, Tensor], batch: int) -> None:
    """Raises ReadsBatchSize where a trace for another number of rows has other numbers in it."""
    other = _batch([*values.values(), torch.empty(batch)], shapes)
    step = _Step(cell, shapes, other)
    given = list(values.values()), *_random(shapes, other, 1)
    second = _traced(functionalize(_flat(step, tuple(values))), given, of_steps())
    graphs = (graph, batch), (second, other)
    codes = [Code.of(_flat_inputs(g.graph), g, n) for g, n in graphs]
    tensors = [dict(code.named_buffers()) for code in codes]
    alike = codes[0].source == codes[1].source and tensors[0].keys() == tensors[1].keys()
    if not alike or not all(torch.equal(a, tensors[1][n]) for n, a in tensors[0].items()):
        raise ReadsBatchSize


def _flat_inputs(graph: fx.Graph) -> fx.Graph:
    """The same graph, whose inputs and outputs are not nested when it is printed."""
    found = fx.Graph()
    found.output(found.graph_copy(graph, {}))
    return found


def check_agreement(
    cell: Cell, shapes: Shapes, names: tuple[str, ...], early: Code, joint: Code, *batches: int
) -> None:
    """Raises Unsupported where a trace differs from what the cell's ``step`` does now, forward or backward, for some
    numbers of rows; two others than that of the trace where none are given."""
    with torch.random.fork_rng(devices=[]):
        values = real_values(cell)
        flat = _flat(_Step(cell, shapes), names)
        for batch in batches or ((2, 5) if shapes.batch is None else (shapes.batch,)):
            _check_agreement(flat, early, joint, batch, [values[n] for n in names], shapes)


def _refuse_writing(cell: Cell, shapes: Shapes, values: dict[str, Tensor]) -> None:
    """Raises Unsupported for a step that writes to parameters or buffers."""
    batch = shapes.batch or 2
    leaves, fields = _random(shapes, batch, 1)
    with torch.no_grad(), unwritten(values):
        _flat(_Step(cell, shapes), tuple(values))(list(values.values()), leaves, fields)


def _flat(step: _Step, names: Sequence[str]) -> Callable[..., Any]:
    """`step` of the values of parameters and buffers, of leaves and of fields."""

    def flat(values: Sequence[Tensor], leaves: Sequence[Tensor], fields: Sequence[Tensor]) -> Any:
        named = {f"cell.{n}": a for n, a in zip(names, values, strict=True)}
        return functional_call(step, named, (leaves, fields))

    return flat


def _batch(values: Any, shapes: Shapes) -> int:
    """A batch size that no other axis can be mistaken for, nor a part of it; a large one, for a step may halve axes."""
    sizes = {n for shape in (*shapes.leaves, *shapes.fields, *(a.shape for a in values)) for n in shape}
    primes = (n for n in range(61, 400) if all(n % k for k in range(2, n)))
    return next((p for p in primes if all(math.gcd(p, n) == 1 for n in sizes)), 397)


def _random(shapes: Shapes, batch: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Leaves and fields to run a step on."""
    generator = torch.Generator().manual_seed(seed)
    leaves, fields = (
        [torch.randn(batch, *shape, generator=generator, dtype=shapes.dtype) / 2 for shape in group]
        for group in (shapes.leaves, shapes.fields)
    )
    return leaves, fields


def _traced(function: Callable[..., Any], given: tuple[Any, ...], table: Any = None) -> fx.GraphModule:
    return make_fx(function, decomposition_table=table)(*given)


def untraceable(error: Exception) -> Unsupported:
    """The reason that an error gives, the cell's own or one of torch that it caused."""
    text = str(error).strip().split("\n")[0]
    if isinstance(error, Unsupported | RnnZooError):
        return Unsupported(text)
    if "tracing tensor" in text or "data-dependent" in text.lower():
        return Unsupported("its step reads the value of a tensor into Python (if, while, .item())")
    return Unsupported(f"its step cannot be traced ({type(error).__name__}: {text})")


def _refuse_randomness(graph: fx.GraphModule) -> None:
    for node in graph.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise Unsupported(f"its step draws random numbers ({node.target}); draw them in project")


def _check_agreement(
    flat: Callable[..., Any], early: Code, joint: Code, batch: int, values: list[Tensor], shapes: Shapes
) -> None:
    """Raises Unsupported where the trace, on other numbers, differs from autograd through ``step``.

    That is the case for what a trace does not see: numpy, torch.no_grad, an autograd.Function with its own backward.
    """
    leaves, fields = _random(shapes, batch, 2)
    given = [a.detach().requires_grad_(a.is_floating_point() or a.is_complex()) for a in (*values, *leaves, *fields)]
    V, L = len(values), len(leaves)
    torch.manual_seed(4)  # what is drawn of parameters alone, weight drop, is drawn twice alike
    wanted = flat(given[:V], given[V : V + L], given[V + L :])
    generator = torch.Generator().manual_seed(3)
    d = [torch.randn(a.shape, generator=generator, dtype=a.dtype) for a in wanted]
    total = sum(((a * b).sum() for a, b in zip(wanted, d, strict=True)), torch.zeros((), requires_grad=True))
    tracked = [a for a in given if a.requires_grad]
    grads = torch.autograd.grad(total, tracked, allow_unused=True, materialize_grads=True)

    torch.manual_seed(4)
    constants = early(*given[:V])
    out = joint(batch, *(a.detach() for a in constants), *leaves, *fields, *d)
    W, C = len(wanted), len(constants)
    got, d_constants, d_rest = out[:W], out[W : W + C], out[W + C :]
    back = sum(
        ((a * b).sum() for a, b in zip(constants, d_constants, strict=True)), torch.zeros((), requires_grad=True)
    )
    own = [a for a in given[:V] if a.requires_grad]
    d_values = torch.autograd.grad(back, own, allow_unused=True, materialize_grads=True) if own else ()
    near = 1e-3 if shapes.dtype == torch.float32 else 1e-8
    for a, b in zip(parts([*wanted, *grads]), parts([*got, *d_values, *d_rest]), strict=True):
        scale = float(a.detach().nan_to_num(0, 0, 0).abs().max()) if a.numel() else 0.0
        if not torch.allclose(a, b, rtol=near, atol=near * (1 + scale), equal_nan=True):
            raise Unsupported("its step does what a trace cannot follow: numpy, torch.no_grad or an autograd.Function")

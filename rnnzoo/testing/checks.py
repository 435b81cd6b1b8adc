"""The checks. Each gets a case of its own, and raises AssertionError with what was expected and what came."""

import copy
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._pytree import tree_map

from rnnzoo.cells.contract import Cell, LinearCell
from rnnzoo.cells.registry import constants_of
from rnnzoo.rnn import RNN
from rnnzoo.testing.case import (
    Case,
    Named,
    cut,
    disturb,
    expect,
    gradients,
    named,
    results,
    run,
    to_float32,
    tracked,
    weigh,
    with_dtype,
)


class Skip(Exception):
    """Raised by a check that does not apply to a cell; its text is the reason."""


class Check(NamedTuple):
    """A check, and where the cause of its failing usually is."""

    run: Callable[[Case], None]
    look: str
    slow: bool


CHECKS: dict[str, Check] = {}


def _check(look: str, slow: bool = False) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    def add(run: Callable[[Case], None]) -> Callable[[Case], None]:
        CHECKS[run.__name__.replace("_", " ")] = Check(run, look, slow)
        return run

    return add


# ---- The recurrence is consistent


@_check("at initial_state, and at what step and readout return")
def a_step_keeps_the_shapes_and_dtypes_of_the_state(case: Case) -> None:
    cell, old = case.cell, case.cell.initial_state(case.B, case.cell.like(case.x))
    y, new = cell(case.x[0], old, **cut(case.inputs, 0))
    assert isinstance(new, cell.State), f"expected step to return a {cell.State.__name__}, not a {type(new).__name__}"
    for field, a, b in zip(old._fields, old, new, strict=True):
        assert a.shape[:1] == (case.B,), f"expected {field} to start with the batch axis {case.B}: {tuple(a.shape)}"
        assert isinstance(b, Tensor), f"expected {field} to be a tensor, got a {type(b).__name__}"
        assert a.shape == b.shape, f"expected {field} to keep its shape {tuple(a.shape)}, got {tuple(b.shape)}"
        assert a.dtype == b.dtype, f"expected {field} to stay {a.dtype}, got {b.dtype}"
    wanted = (case.B, cell.output_size)
    assert y.shape == wanted, f"expected outputs of shape {wanted} (batch, output_size), got {tuple(y.shape)}"
    assert y.is_floating_point(), f"expected real outputs, got {y.dtype}"


@_check("for time steps mixed in project, readout or coefficients, or at axes counted from the front")
def step_equals_scan(case: Case) -> None:
    y, last = case.run()
    s, ys = case.state, []
    for t in range(case.T):
        y_t, s = case.cell(case.x[t], s, **cut(case.inputs, t))
        ys.append(y_t)
    expect(results(y, last), results(torch.stack(ys), s), "expected scan to equal one step after another")


@_check("at the cell's own scan")
def scan_equals_the_loop_over_step(case: Case) -> None:
    if type(case.cell).scan is Cell.scan:
        raise Skip("the cell has no scan of its own")
    u = case.cell.project(case.x, **case.inputs)
    got, wanted = case.cell.scan(u, case.state), Cell.scan(case.cell, u, case.state)
    expect(results(*got), results(*wanted), "expected scan to equal the loop over step")


@_check("at step, which should be the one that LinearCell derives from coefficients")
def a_linear_step_equals_its_coefficients(case: Case) -> None:
    cell = case.cell
    if not isinstance(cell, LinearCell):
        raise Skip("the cell is not a LinearCell")
    u = cell.project(case.x[0], **cut(case.inputs, 0))
    a, b = cell.coefficients(u)
    expect({"h": cell.step(u, case.state)[0]}, {"h": a * case.state[0] + b}, "expected step to be a h + b")
    first = {"a": a.expand_as(case.state[0]), "b": b.expand_as(case.state[0])}
    together = cell.coefficients(cell.project(case.x, **case.inputs))
    whole = {n: c.expand(len(case.x), *case.state[0].shape)[0] for n, c in zip("ab", together, strict=True)}
    expect(whole, first, "expected coefficients of all steps at once to be those of each step")


@_check("for what the step reads but the state does not hold")
def it_resumes_from_its_state(case: Case) -> None:
    early, late = slice(3), slice(3, None)
    y1, middle = case.run(case.x[early], inputs=cut(case.inputs, early))
    y2, end = case.run(case.x[late], middle, cut(case.inputs, late))
    claim = "expected two halves, the second from the first's final state, to equal the whole"
    expect(results(torch.cat([y1, y2]), end), results(*case.run()), claim)


@_check("at update or step: what it returns has to depend on the old state")
def it_remembers(case: Case) -> None:
    x = case.x.clone()
    x[0] += 1
    moved = (case.run(x)[0][1:] - case.run()[0][1:]).abs().max()
    assert moved > 1e-12, "expected the first x to change later outputs, but they stay the same"


@_check("for a mean, a sum, a norm or a softmax over the batch axis in project, step or readout")
def rows_are_independent(case: Case) -> None:
    y, last = case.run()
    for b in (0, case.B - 1):
        row = slice(b, b + 1)
        alone = case.run(case.x[:, row], cut(case.state, row), cut(case.inputs, (slice(None), row)))
        claim = f"expected row {b} alone to equal row {b} in a batch of {case.B}"
        expect(results(*alone), results(y[:, row], cut(last, row)), claim)


@_check("for time steps mixed in project or readout: a flip, a sum or a norm over the first axis")
def it_is_causal(case: Case) -> None:
    t = 4
    x, (other, others) = case.x.clone(), case.sequences(case.T)
    x[t:] = other[t:]
    inputs = {n: torch.cat([a[:t], others[n][t:]]) for n, a in case.inputs.items()}
    got, wanted = case.run(x, inputs=inputs)[0][:t], case.run()[0][:t]
    claim = f"expected outputs before step {t} not to depend on x from step {t} on"
    expect({"outputs": got}, {"outputs": wanted}, claim)


@_check("for in-place arithmetic, such as h.mul_(f)")
def it_leaves_its_arguments_alone(case: Case) -> None:
    now = {"x": case.x} | named(case.state, "state") | case.inputs
    before = {name: a.clone() for name, a in now.items()}
    case.run()
    expect(now, before, "expected x, the state and the inputs to be what they were", 0.0)


@_check("for dropout or other noise in step, emit or readout; draw masks in project, for all time steps at once")
def a_step_draws_no_random_numbers(case: Case) -> None:
    cell, old = case.cell.train(), case.state
    u = cell.project(case.x[0], **cut(case.inputs, 0))
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        new = cell.step(u, old)
        seen.append(results(cell.readout(cell.emit(new), u, case.x[0]), new))
    expect(seen[1], seen[0], "expected a step in training mode to be the same under any seed", 0.0)


# ---- Gradients


@_check("for .detach(), .data, torch.no_grad or a parameter that nothing reads")
def no_parameter_is_dead(case: Case) -> None:
    cell = case.cell
    rows = cell.gates * cell.hidden_size
    for name, grad in gradients(results(*case.run()), dict(cell.named_parameters())).items():
        assert grad.isfinite().all(), f"expected a finite {name}, got {_not_finite(grad)}"
        gates = grad.chunk(cell.gates) if rows and len(grad) == rows else (grad,)
        for k, gate in enumerate(gates):
            which = f"{name} in gate {k} of {len(gates)}" if len(gates) > 1 else name
            assert gate.any(), f"expected outputs or final state to depend on every weight, but the {which} is zero"


@_check("for .detach(), .data, torch.no_grad, or the backward of an autograd.Function")
def gradients_equal_finite_differences(case: Case) -> None:
    x, s, inputs = tracked(case.x, case.state, case.inputs)
    leaves = {"x": x} | named(s, "initial state") | inputs | dict(case.cell.named_parameters())
    leaves = {name: a for name, a in leaves.items() if a.requires_grad}
    grads = gradients(results(*run(case.cell, x, s, inputs)), leaves)

    @torch.no_grad()
    def loss() -> float:
        return weigh(results(*run(case.cell, x, s, inputs))).item()

    for (name, a), grad in zip(leaves.items(), grads.values(), strict=True):
        along, eps, ends = torch.randn_like(a), 1e-6, []
        for way in (1, -2):  # up by one eps, then down by two
            a.data.add_(along, alpha=way * eps)
            ends.append(loss())
        a.data.add_(along, alpha=eps)
        slope = (ends[0] - ends[1]) / (2 * eps)
        given = float((grad.conj() * along).sum().real)
        near = abs(given - slope) <= 1e-6 * (1 + abs(slope))
        assert near, f"expected {slope:.6g} for the gradient of {name} along a random direction, got {given:.6g}"


# ---- Whatever runs it


@_check("at the kernel's file, or, for a LinearCell, at coefficients, which may not depend on other time steps")
def every_kernel_equals_the_reference(case: Case) -> None:
    ran = False
    for rnn, kernel, options in _kernels(case):
        ran, hx = True, case.reached(rnn)
        kind = "sequences of any length" if options else "sequences of one length"
        got, wanted = (_by(name, rnn, case, hx, options) for name in (kernel, "reference"))
        expect(got, wanted, f"expected kernel {kernel!r} on {kind} to equal the reference")
    if not ran:
        raise Skip("no other kernel can run it")


@_check("at what mixes rows or counts time, and at initial_state")
def lengths_equal_each_sequence_alone(case: Case) -> None:
    rnn = case.rnn(2, bidirectional=True)
    for hx, start in ((None, "from its initial state"), (case.reached(rnn), "from a given state")):
        y, last = rnn(case.x, hx, lengths=case.lengths, **case.inputs)
        for b, n in enumerate(case.lengths.tolist()):
            row, of_state = (slice(n), slice(b, b + 1)), (slice(None), slice(b, b + 1))
            alone = rnn(case.x[row], cut(hx, of_state), **cut(case.inputs, row))
            claim = f"expected a sequence of {n} among longer ones to equal it alone, {start}"
            expect(results(y[row], cut(last, of_state)), results(*alone), claim)
            assert not y[n:, b].any(), f"expected zeros behind the {n} steps of row {b}"


@_check("at axes counted from the front: packed data is (N, ...), not (T, B, ...)")
def packed_sequences_equal_lengths(case: Case) -> None:
    def pack(a: Tensor) -> PackedSequence:
        return pack_padded_sequence(a, case.lengths, enforce_sorted=False)

    rnn = case.rnn(2, bidirectional=True)
    y, last = rnn(case.x, lengths=case.lengths, **case.inputs)
    packed, packed_last = rnn(pack(case.x), **{n: pack(a) for n, a in case.inputs.items()})
    claim = "expected a PackedSequence to equal the same with lengths="
    expect(results(packed.data, packed_last), results(pack(y).data, last), claim)


@_check("at forward, initial_state or inputs")
def stepping_a_stack_equals_running_it(case: Case) -> None:
    rnn = case.rnn(2)
    hx = case.reached(rnn)
    wanted = results(*rnn(case.x, hx, **case.inputs))
    ys = []
    for t in range(case.T):
        y_t, hx = rnn.step(case.x[t], hx, **cut(case.inputs, t))
        ys.append(y_t)
    expect(results(torch.stack(ys), hx), wanted, "expected rnn.step in a loop to equal rnn(x)")


@_check("for squeeze without an axis, or a division by T - 1 or B - 1")
def it_takes_one_step_of_one_sequence(case: Case) -> None:
    rnn = case.rnn(2, bidirectional=True)
    one = (slice(1), slice(1))
    y, last = rnn(case.x[one], **cut(case.inputs, one))
    wanted = (1, 1, rnn.output_size)
    assert y.shape == wanted, f"expected outputs of shape {wanted}, got {tuple(y.shape)}"
    for name, a in results(y, last).items():
        assert a.isfinite().all(), f"expected finite {name}, got {_not_finite(a)}"


@_check("for if and for over values of tensors, .item(), numpy or print", slow=True)
def the_step_compiles_whole(case: Case) -> None:
    x, s, inputs = case.x[0], case.state, cut(case.inputs, 0)
    torch.compiler.reset()  # every cell shares Cell.forward, so the limit of recompiling would be shared too
    compiled = torch.compile(case.cell, fullgraph=True, backend="eager")
    got, wanted = compiled(x, s, **inputs), case.cell(x, s, **inputs)
    expect(results(*got), results(*wanted), "expected the compiled step to equal the eager one")


@_check("for if and for over values of tensors, .item(), numpy or print", slow=True)
def the_step_exports(case: Case) -> None:
    x, s, inputs = case.x[0], case.state, cut(case.inputs, 0)
    exported = torch.export.export(case.cell, (x, s), inputs).module()
    got, wanted = exported(x, s, **inputs), case.cell(x, s, **inputs)
    expect(results(*got), results(*wanted), "expected the exported step to equal the eager one")


# ---- It is a module


@_check("for tensors kept as plain attributes: register_buffer or nn.Parameter puts them into the state dict")
def a_state_dict_goes_round(case: Case) -> None:
    other = copy.deepcopy(case.cell)
    other.reset_parameters()
    other.load_state_dict(case.cell.state_dict())
    got = run(other, case.x, case.state, case.inputs)
    expect(results(*got), results(*case.run()), "expected a copy with the same state dict to give the same", 0.0)


@_check("for tensors shared through the class or a closure")
def a_deepcopy_is_independent(case: Case) -> None:
    before = results(*case.run())
    other = copy.deepcopy(case.cell)
    got = run(other, case.x, case.state, case.inputs)
    expect(results(*got), before, "expected a copy to give the same", 0.0)
    disturb(other)
    expect(results(*case.run()), before, "expected a cell to stay as it is when its copy changes", 0.0)


@_check("for lambdas, local functions and open files among the attributes")
def it_pickles(case: Case) -> None:
    cls = type(case.given)
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        raise Skip(f"{cls.__qualname__} cannot be imported by its name")
    other = pickle.loads(pickle.dumps(case.cell))
    got = run(other, case.x, case.state, case.inputs)
    expect(results(*got), results(*case.run()), "expected what was pickled to give the same", 0.0)


@_check("at reset_parameters: it has to set each parameter, and from torch's random numbers only")
def reset_parameters_sets_all_and_follows_the_seed(case: Case) -> None:
    weights = []
    for seed in (3, 3):
        with torch.no_grad():
            for p in case.cell.parameters():
                p.fill_(torch.nan)
        torch.manual_seed(seed)
        case.cell.reset_parameters()
        weights.append({n: p.detach().clone() for n, p in case.cell.named_parameters()})
    for name, p in weights[0].items():
        assert p.isfinite().all(), f"expected every number of {name} to be set, but {_not_finite(p)} was left"
    expect(weights[1], weights[0], "expected the same weights from the same seed", 0.0)


@_check("at __init__: every keyword argument is kept as an attribute of its name")
def constants_are_attributes(case: Case) -> None:
    missing = [name for name in constants_of(type(case.given)) if not hasattr(case.given, name)]
    assert not missing, f"expected attributes named {', '.join(missing)}, for the arguments of that name"


@_check("for a constant that is read from the class, or a kernel that knows a cell by its class alone")
def instances_with_other_constants_keep_apart(case: Case) -> None:
    other = _with_another_constant(case.cell)
    if other is None:
        raise Skip("the cell has no number among its arguments that could be another one")
    before = results(*case.run())
    ones, others = (case.rnn_of(cell) for cell in (case.cell, other))
    for kernel in _able(ones, case.x, {}, case.inputs):
        for rnn, whose in ((ones, "one instance"), (others, "an instance with another constant"), (ones, "the first")):
            got, wanted = (_forward(name, rnn, case) for name in (kernel, "reference"))
            expect(got, wanted, f"expected kernel {kernel!r} to run {whose} as the reference does")
    expect(results(*case.run()), before, "expected a cell to stay as it is when another is made", 0.0)


@_check("for .double(), float64 constants, or tensors made without like.dtype")
def it_runs_in_float32(case: Case) -> None:
    narrow: Cell = with_dtype(copy.deepcopy(case.cell), torch.float32)
    x, s, inputs = tree_map(to_float32, (case.x, case.state, case.inputs))
    y, last = run(narrow, x, s, inputs)
    for field, a, b in zip(s._fields, narrow.initial_state(case.B, narrow.like(x)), last, strict=True):
        assert a.dtype == b.dtype, f"expected {field} of a float32 cell to stay {a.dtype}, got {b.dtype}"
    wanted = {name: to_float32(a) for name, a in results(*case.run()).items()}
    expect(results(y, last), wanted, "expected float32 to be near float64", 1e-3)


@_check("for products of tensors of two dtypes, as of a state (float32) with the projected input (bfloat16)")
def it_runs_under_autocast_with_every_kernel(case: Case) -> None:
    for rnn, kernel, options in _kernels(case, "reference"):
        rnn.kernel = kernel
        hx = case.reached(rnn)
        with_dtype(rnn, torch.float32)
        x, hx, inputs = tree_map(to_float32, (case.x, hx, case.inputs))
        y, _ = rnn(x, hx, **options, **inputs)
        with torch.autocast(x.device.type, torch.bfloat16):
            if kernel not in _able(rnn, x, options, inputs):
                continue
            half, middle = rnn(x, hx, **options, **inputs)
            again, _ = rnn(x, middle, **options, **inputs)  # a carried state may have become narrower
        claim = f"expected kernel {kernel!r} under autocast to bfloat16"
        # in the mean: a number that rounding takes past a jump, as of sign, is off by all of it
        off = float(((half.float() - y).abs().mean() / (1 + y.abs().max())).detach())
        assert off <= 0.05, f"{claim} to be near float32, but outputs are off by {off:.2g} in the mean"
        (half.float().square().mean() + again.float().square().mean()).backward()
        for name, p in rnn.named_parameters():
            finite = p.grad is None or p.grad.isfinite().all()
            assert finite, f"{claim} to give finite gradients, but that of {name} is not"


@_check("for tensors made without a device: x.new_zeros(...), or register_buffer for constants")
def it_follows_its_device(case: Case) -> None:
    x, s, inputs = tree_map(lambda a: a.to("meta"), (case.x, case.state, case.inputs))
    cell = case.cell.to("meta")
    for a in (*cell.initial_state(case.B, cell.like(x)), *run(cell, x, s, inputs)[1]):
        assert a.device.type == "meta", f"expected states on the device of the weights, got one on {a.device}"


def _with_another_constant(cell: Cell) -> Cell | None:
    """A cell of the same weights whose first number among the constants is another one."""
    constants = {name: getattr(cell, name) for name in constants_of(type(cell)) if hasattr(cell, name)}
    for name, value in constants.items():
        for other in (0.75 * value, value + 0.25) if isinstance(value, float) else ():
            try:
                made: Cell = type(cell)(cell.input_size, cell.hidden_size, **(constants | {name: other}))
                with_dtype(made, torch.float64).load_state_dict(cell.state_dict())
            except Exception:  # out of the cell's range, or other weights: there may be another
                continue
            return made.train(cell.training)
    return None


@torch.no_grad()
def _forward(kernel: str, rnn: RNN, case: Case) -> Named:
    """Outputs and final state by a kernel."""
    rnn.kernel = kernel
    return results(*rnn(case.x, **case.inputs))


def _by(kernel: str, rnn: RNN, case: Case, hx: Any, options: dict[str, Any]) -> Named:
    """Outputs, final state and every gradient by a kernel."""
    rnn.kernel = kernel
    x, hx, inputs = tracked(case.x, hx, case.inputs)
    got = results(*rnn(x, hx, **options, **inputs))
    return got | gradients(got, {"x": x} | named(hx, "initial state") | inputs | dict(rnn.named_parameters()))


def _kernels(case: Case, *more: str) -> Iterator[tuple[RNN, str, dict[str, Any]]]:
    """Every kernel but the reference that can run a layer of both directions, on one length and on many."""
    for options in ({}, {"lengths": case.lengths}):
        rnn = case.rnn(bidirectional=True)
        able = _able(rnn, case.x, options, case.inputs)
        for kernel in [*(name for name in able if name != "reference"), *more]:
            yield copy.deepcopy(rnn), kernel, options


def _able(rnn: RNN, x: Tensor, options: dict[str, Any], inputs: Named) -> list[str]:
    """The kernels that can run a call, but for those that would be interpreted, at an infinite cost."""
    rnn = copy.deepcopy(rnn)
    rnn.kernel = "reference"
    return [row.kernel for row in rnn.explain(x, **options, **inputs).rows if (row.milliseconds or math.inf) < math.inf]


def _not_finite(a: Tensor) -> str:
    return str(a[~a.isfinite()].flatten()[0].item())

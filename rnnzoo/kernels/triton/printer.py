"""Plans printed as Triton: a kernel for every body, in which a program computes some columns of one row.

Where a body reduces rows, one program computes all columns of a row; otherwise BLOCK of them.

The kernels of padded sequences know where each ends: behind its end they store zeros; at its last step they store the
final state as well, or take in the gradient of that. So any lengths go by one CUDA graph.
"""

import copy
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from rnnzoo.kernels.fused.expressions import Expr, below
from rnnzoo.kernels.fused.loops import Body, Buffer, Loop

_OWN = "sigmoid tanh expm1 log1p log10 tan asin acos atan sinh cosh asinh acosh atanh trunc"
_TRITONS = "exp exp2 log log2 sin cos sqrt rsqrt erf floor ceil abs"

# comparisons are written so that NaN comes through maximum, minimum, relu and clamp, as it does in torch
CODE = {
    **{name: f"{name}({{0}})" for name in _OWN.split()},
    **{name: f"tl.{name}({{0}})" for name in _TRITONS.split()},
    **{"pow": "power({0}, {1})", "fmod": "fmod({0}, {1})", "remainder": "remainder({0}, {1})"},
    **{"round": "nearest({0})", "reciprocal": "1 / {0}", "neg": "-{0}"},
    **{"relu": "tl.where({0} < 0, 0.0, {0})", "sign": "({0} > 0).to({real}) - ({0} < 0).to({real})"},
    **{"isnan": "({0} != {0}).to({real})", "isinf": '(tl.abs({0}) == float("inf")).to({real})'},
    **{"logical_not": "({0} == 0).to({real})", "bitwise_not": "({0} == 0).to({real})"},
    **{name: f"{{0}} {sign} {{1}}" for name, sign in {"add": "+", "sub": "-", "mul": "*", "div": "/"}.items()},
    **{
        name: f"({{0}} {sign} {{1}}).to({{real}})"
        for name, sign in {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}.items()
    },
    **dict.fromkeys(("logical_and", "bitwise_and"), "(({0} != 0) & ({1} != 0)).to({real})"),
    **dict.fromkeys(("logical_or", "bitwise_or"), "(({0} != 0) | ({1} != 0)).to({real})"),
    **{"maximum": "maximum({0}, {1})", "minimum": "minimum({0}, {1})", "where": "tl.where({0} != 0, {1}, {2})"},
}

_HEAD = """import triton
import triton.language as tl

from rnnzoo.kernels.triton.functions import (
    acos, acosh, asin, asinh, atan, atanh, cosh, expm1, fmod, log1p, log10, maximum, minimum, nearest, power,
    remainder, sigmoid, sinh, tan, tanh, trunc
)
"""

# the first row of a step: `at` of all steps' rows, `old` of the states before it in what stands for them
_FIRST = {"seq": "(at + r)", "block": "(at + r)", "start": "(old + r)", "turn": "r"}


ENDS = "ends"  # the buffer of the sequences' lengths; a loop that has it is one of padded sequences


def padded(loop: Loop) -> Loop:
    """The same for padded sequences: with their lengths, and in the backward the gradients of the final states."""
    found = copy.copy(loop)
    finals = {end_of(b): Buffer(loop.buffers[b].width, "turn") for b in loop.buffers if _is_state_gradient(b)}
    found.buffers = loop.buffers | {ENDS: Buffer(1, "turn")} | finals
    return found


def end_of(gradient: str) -> str:
    """The buffer of the gradient of a final state, which takes the place of `gradient` at a sequence's last step."""
    return f"end{gradient[1:]}"


def _is_state_gradient(buffer: str) -> bool:
    return buffer[0] == "d" and buffer[1:].isdigit()


@dataclass(frozen=True)
class Printed:
    """The source of a kernel, the buffers and constants that it takes in this order, and the columns of its widest
    loop; `whole`: a program computes all of them."""

    name: str
    source: str
    buffers: tuple[str, ...]
    constants: tuple[int, ...]
    columns: int
    whole: bool


def print_bodies(name: str, loop: Loop, double: bool, narrow: Container[str]) -> dict[int, Printed]:
    """The kernels of those of a loop's parts that are bodies with something to store, by the part's number; what goes
    to a buffer in `narrow` goes to its narrow copy as well."""
    return {
        k: _body(f"{name}_{k}", loop, part, double, narrow)
        for k, part in enumerate(loop.parts)
        if isinstance(part, Body) and part.stores
    }


def narrow_of(buffer: str) -> str:
    """The name of a buffer's copy in fewer bits, of which products are made."""
    return f"{buffer}_narrow"


def module_source(bodies: Mapping[str, Mapping[int, Printed]]) -> str:
    """The source of a module with all of them."""
    return _HEAD + "".join(body.source for group in bodies.values() for body in group.values())


def _body(name: str, loop: Loop, body: Body, double: bool, narrow: Container[str]) -> Printed:
    whole = any(e.op == "reduce" for e, _ in below(s.row for s in body.stores))
    printer = _Printer(loop, body, "tl.float64" if double else "tl.float32", narrow)
    written = {s.buffer for s in body.stores}
    for store in body.stores:
        column = store.column
        for e, n in store.row:
            printer.store(store.buffer, column, e, n, store.add)
            column += n
    if printer.read & written:
        raise AssertionError(f"a body reads what it writes: {printer.read & written}")
    lengths = sorted(printer.lengths)
    buffers = [b for b in loop.buffers if b in printer.read | written | printer.beside]
    copies = [b for b in buffers if b in written and b in narrow]
    constants = tuple(sorted(printer.constants))
    lines = ["r = tl.program_id(0).to(tl.int64)"]
    lines += [f"{b} += {_FIRST[loop.buffers[b].kind]} * {loop.buffers[b].width}" for b in buffers]
    lines += [f"{narrow_of(b)} += {_FIRST[loop.buffers[b].kind]} * {loop.buffers[b].width}" for b in copies]
    buffers += map(narrow_of, copies)
    if ENDS in loop.buffers:  # one program a row and block of columns: as many rows as there are in a step
        lines += ["t = at // tl.num_programs(0)", f"end = tl.load({ENDS}).to(tl.int32)"]
        lines += ["alive = t < end", "last = t + 1 == end"]
    if not whole:
        lines.append("j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)")
    for n in lengths:
        lines += [f"j{n} = {f'tl.arange(0, {power_of_two(n)})' if whole else 'j'}", f"m{n}_ = j{n} < {n}"]
    given = [*buffers, *(f"c{k}" for k in constants), "at", "old", "BLOCK: tl.constexpr"]
    text = "".join(f"    {line}\n" for line in lines + printer.lines)
    # rows grow from step to step: one kernel serves them all
    source = f'\n\n@triton.jit(do_not_specialize=["at", "old"])\ndef {name}({", ".join(given)}):\n{text}'
    return Printed(name, source, tuple(buffers), constants, lengths[-1], whole)


class _Printer:
    """Lines of a kernel; what is one number a row is computed once, and the rest once for each length."""

    def __init__(self, loop: Loop, body: Body, real: str, narrow: Container[str]):
        self.loop, self.held, self.real, self.narrow = loop, body.held, real, narrow
        self.lines: list[str] = []
        self.read: set[str] = set()
        self.constants: set[int] = set()
        self.lengths: set[int] = set()
        self.beside: set[str] = {ENDS} & loop.buffers.keys()  # other buffers that a kernel takes
        self._names: dict[tuple[Expr, int], str] = {}
        self._fresh: Iterator[int] = count()

    def store(self, buffer: str, column: int, e: Expr, n: int, add: bool) -> None:
        value = self._name_of(e, n)
        place = self._place(buffer, column, n)
        if ENDS in self.loop.buffers:
            if buffer[0] == "n":
                final = f"l{buffer[1:]}"
                self.beside.add(final)
                self.lines.append(
                    f"tl.store({self._place(final, column, n)}, {value}, mask=j{n} < tl.where(last, {n}, 0))"
                )
            value = f"tl.where(alive, {value}, 0.0)"
        if add:
            value = f"tl.load({place}, mask=m{n}_) + {value}"
        if buffer in self.narrow:
            name, copied = f"k{next(self._fresh)}", self._place(narrow_of(buffer), column, n)
            self.lines += [f"{name} = {value}", f"tl.store({copied}, {name}, mask=m{n}_)"]
            value = name
        self.lines.append(f"tl.store({place}, {value}, mask=m{n}_)")

    def _place(self, pointer: str, column: int, n: int) -> str:
        self.lengths.add(n)
        return f"{pointer} + {column} + j{n}" if column else f"{pointer} + j{n}"

    def _name_of(self, e: Expr, n: int) -> str:
        """The name of e in a loop of n columns."""
        key = (e, 0 if e.scalar else n)
        if key not in self._names:
            value = self._value(e, n)
            self._names[key] = f"{'e' if e.scalar else 'v'}{next(self._fresh)}"
            self.lines.append(f"{self._names[key]} = {value}")
        return self._names[key]

    def _value(self, e: Expr, n: int) -> str:
        if e.op == "const":
            return f"tl.full([], {_number(e.args[0])}, {self.real})"
        if e.op in ("vector", "entry"):
            self.constants.add(e.args[0])
            return self._load(f"c{e.args[0]}", e.args[1], n, e.op == "entry")
        if (e, n) in self.held:
            buffer, column = self.held[e, n]
            self.read.add(buffer)
            return self._load(buffer, column, n, e.scalar)
        if e.op in ("leaf", "at"):
            self.read.add(e.args[0])
            return self._load(e.args[0], e.args[1], n, e.op == "at")
        if e.op == "reduce":
            return self._reduction(*e.args)
        operands = [self._name_of(a, n) for a in e.operands]
        return CODE[e.op].format(*operands, real=self.real)

    def _load(self, pointer: str, column: int, n: int, single: bool) -> str:
        if ENDS in self.loop.buffers and _is_state_gradient(pointer):
            self.beside.add(end_of(pointer))
            final, other = (self._at(b, column, n, single) for b in (end_of(pointer), pointer))
            return f"tl.where(last, {final}, {other})"
        return self._at(pointer, column, n, single)

    def _at(self, pointer: str, column: int, n: int, single: bool) -> str:
        if single:
            return f"tl.load({pointer} + {column})"
        return f"tl.load({self._place(pointer, column, n)}, mask=m{n}_, other=0.0)"

    def _reduction(self, operand: Expr, kind: str, n: int) -> str:
        x = self._name_of(operand, n)
        self.lengths.add(n)
        if kind == "add":
            return f"tl.sum(tl.where(m{n}_, {x}, 0.0), 0)"
        # a maximum that lets NaN through
        bad = f"tl.sum((m{n}_ & ({x} != {x})).to(tl.int32), 0) > 0"
        return f'tl.where({bad}, float("nan"), tl.max(tl.where(m{n}_, {x}, float("-inf")), 0))'


def _number(value: float) -> str:
    return repr(value) if abs(value) < float("inf") else f'float("{value}")'


def power_of_two(n: int) -> int:
    """The smallest power of two that is not less than n."""
    return 1 << (n - 1).bit_length()

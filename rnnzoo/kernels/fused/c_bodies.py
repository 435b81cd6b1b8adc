"""Bodies of row-wise arithmetic printed as C.

For every row of the batch: what is one number a row first, then a loop over columns for each length of the parts. Many
parts that differ by their columns alone are one loop over them around the loop over columns.
"""

from collections.abc import Sequence
from itertools import count, groupby

from rnnzoo.kernels.fused.expressions import Expr, Part
from rnnzoo.kernels.fused.loops import Body, Loop, Store
from rnnzoo.kernels.fused.siblings import MANY, alike, template

_FUNCTIONS = """
    exp2 log log2 log10 sin cos tan asin acos atan sinh cosh asinh acosh atanh erf sqrt floor ceil trunc
"""

# comparisons are written so that NaN comes through maximum, minimum, relu and clamp, as it does in torch
CODE = {
    **{name: f"F({name})({{0}})" for name in _FUNCTIONS.split()},
    **{
        "exp": "ex({0})",
        "expm1": "em({0})",
        "log1p": "lp({0})",
        "sigmoid": "sg({0})",
        "tanh": "th({0})",
        "pow": "F(pow)({0},{1})",
        "fmod": "F(fmod)({0},{1})",
        "remainder": "rm({0},{1})",
    },
    **{"abs": "F(fabs)({0})"},
    **{"rsqrt": "(1/F(sqrt)({0}))", "reciprocal": "(1/{0})", "round": "F(rint)({0})", "neg": "(-{0})"},
    **{"relu": "({0}<0?0:{0})", "sign": "(real)(({0}>0)-({0}<0))"},
    **{"isnan": "(real)({0}!={0})", "isinf": "(real)(F(fabs)({0})==INFINITY)"},
    **{"logical_not": "(real)({0}==0)", "bitwise_not": "(real)({0}==0)"},
    **{name: f"({{0}}{sign}{{1}})" for name, sign in {"add": "+", "sub": "-", "mul": "*", "div": "/"}.items()},
    **{
        name: f"(real)({{0}}{sign}{{1}})"
        for name, sign in {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}.items()
    },
    **dict.fromkeys(("logical_and", "bitwise_and"), "(real)({0}!=0&&{1}!=0)"),
    **dict.fromkeys(("logical_or", "bitwise_or"), "(real)({0}!=0||{1}!=0)"),
    **{"maximum": "mx({0},{1})", "minimum": "mn({0},{1})", "where": "({0}!=0?{1}:{2})"},
}


def print_body(loop: Loop, body: Body) -> str:
    """The C of a body; nothing where it stores nothing."""
    printer = _Printer(loop, body)
    stores = list(body.stores)
    while stores:
        store = stores.pop(0)
        if store.add and store.buffer[0] == "m":  # the further terms of a placed sum
            terms = [store]
            while stores and stores[0].add and stores[0].buffer == store.buffer:
                terms.append(stores.pop(0))
            printer.add(terms)
        else:
            printer.store(store)
    return printer.text()


class _Nest:
    """A loop over columns, inside a loop over siblings where there are many (`turns`)."""

    def __init__(self, turns: int, length: int):
        self.turns, self.length = turns, length
        self.outer: list[str] = []  # one number for each sibling
        self.inner: list[str] = []
        self.names: dict[Expr, str] = {}

    def text(self) -> str:
        inner = "".join(self.inner)
        if self.turns == 1:
            return f'\n_Pragma("omp simd")for(long j=0;j<{self.length};j++){{{inner}}}'
        outer = "".join(self.outer)
        if self.length == 1:
            simd = "" if "for(" in outer else '_Pragma("omp simd")'
            return f"\n{simd}for(long i=0;i<{self.turns};i++){{const long j=0;{outer}{inner}}}"
        columns = f'_Pragma("omp simd")for(long j=0;j<{self.length};j++){{{inner}}}'
        return f"\nfor(long i=0;i<{self.turns};i++){{{outer}{columns}}}"


class _Printer:
    def __init__(self, loop: Loop, body: Body):
        self.loop, self.held = loop, body.held
        self.once: list[str] = []  # one number a row
        self.once_names: dict[Expr, str] = {}
        self.plain: dict[int, _Nest] = {}
        self.nests: dict[object, _Nest] = {}  # behind the plain ones
        self.fresh = count()
        self._templates: dict[tuple[Expr, ...], Expr | None] = {}
        self._resolved: dict[Part, Expr] = {}
        self._moving: dict[Expr, bool] = {}

    def text(self) -> str:
        nests = "".join(nest.text() for nest in (*self.plain.values(), *self.nests.values()))
        if not nests:
            return ""
        return f"if(me==0)for(long r=r0;r<r1;r++){{{''.join(self.once)}{nests}}}\nWAIT"

    def store(self, store: Store) -> None:
        """A row, part by part, or many at a time."""
        column = store.column
        for (length, _), run in groupby(store.row, key=lambda part: (part[1], alike(part[0]))):
            parts = list(run)
            whole = self._template([e for e, _ in parts], length) if len(parts) >= MANY and not store.add else None
            if whole is not None:
                nest = self.nests.setdefault((len(parts), length), _Nest(len(parts), length))
                place = f"{self._place(store.buffer, column)}+j+i*{length}]"
                nest.inner.append(f"{place}={self._name(whole, length, nest)};")
                column += length * len(parts)
                continue
            for e, n in parts:
                nest = self.plain.setdefault(n, _Nest(1, n))
                name = self._name(e, n, nest)
                nest.inner.append(f"{self._place(store.buffer, column)}+j]{'+=' if store.add else '='}{name};")
                column += n

    def add(self, terms: Sequence[Store]) -> None:
        """Terms that are added to what was stored before, their parts cut alike."""
        column = terms[0].column
        for parts in zip(*(term.row for term in terms), strict=True):
            length = parts[0][1]
            whole = self._template([e for e, _ in parts], length) if len(parts) >= MANY else None
            place = f"{self._place(terms[0].buffer, column)}+j]"
            if whole is not None:
                nest = self.nests[object()] = _Nest(len(parts), length)
                nest.inner.append(f"{place}+={self._name(whole, length, nest)};")
            else:
                nest = self.nests[object()] = _Nest(1, length)
                nest.inner += [f"{place}+={self._name(e, length, nest)};" for e, _ in parts]
            column += length

    def _template(self, members: Sequence[Expr], length: int) -> Expr | None:
        return template([self._as_read(e, length) for e in members], self._templates)

    def _as_read(self, e: Expr, length: int) -> Expr:
        """An expression with what is held read from where it lies."""
        part = e, length
        if part not in self._resolved:
            if part in self.held:
                found = Expr("at" if e.scalar else "leaf", *self.held[part])
            elif not e.operands:
                found = e
            else:
                inside = e.args[2] if e.op == "reduce" else length
                found = Expr(e.op, *(self._as_read(a, inside) if isinstance(a, Expr) else a for a in e.args))
            self._resolved[part] = found
        return self._resolved[part]

    def _moves(self, e: Expr) -> bool:
        """Whether its value changes with the loop over siblings."""
        if e not in self._moving:
            self._moving[e] = e.op == "strided" or any(map(self._moves, e.operands))
        return self._moving[e]

    def _place(self, buffer: str, column: int) -> str:
        return f"{buffer}[r*{self.loop.buffers[buffer].width}+{column}"

    def _read(self, op: str, name: str | int, column: int, stride: int = 0) -> str:
        """An element of a buffer or of a constant."""
        place = f"c{name}[{column}" if op in ("vector", "entry") else self._place(str(name), column)
        along = "+j" if op in ("leaf", "vector") else ""
        return f"{place}{along}{f'+i*{stride}' if stride else ''}]"

    def _name(self, e: Expr, n: int, nest: _Nest) -> str:
        """The C name of e in a loop of n columns."""
        lines, names = nest.inner, nest.names
        if e.scalar:
            lines, names = (nest.outer, nest.names) if self._moves(e) else (self.once, self.once_names)
        if e in names:
            return names[e]
        if e.op == "const":
            return _number(e.args[0])
        if e.op in ("vector", "entry"):
            return self._read(e.op, *e.args)
        if (e, n) in self.held:
            return self._read("at" if e.scalar else "leaf", *self.held[e, n])
        if e.op in ("leaf", "at"):
            return self._read(e.op, *e.args)
        if e.op == "strided":
            return self._read(*e.args)
        if e.op == "reduce":
            name = self._reduction(e, f"e{next(self.fresh)}", lines, nest)
        else:
            operands = [self._name(a, n, nest) for a in e.operands]
            name = f"{'e' if e.scalar else 'v'}{next(self.fresh)}"
            lines.append(f"const real {name}={CODE[e.op].format(*operands)};")
        names[e] = name
        return name

    def _reduction(self, e: Expr, name: str, lines: list[str], nest: _Nest) -> str:
        operand, kind, length = e.args
        inside = _Nest(1, length)
        inside.outer = nest.outer
        inside.names = {known: name for known, name in nest.names.items() if known.scalar}
        x = self._name(operand, length, inside)
        nest.names |= {known: name for known, name in inside.names.items() if known.scalar}
        text = "".join(inside.inner)
        if kind == "add":
            lines.append(
                f'real {name}=0;_Pragma("omp simd reduction(+:{name})")'
                f"for(long j=0;j<{length};j++){{{text}{name}+={x};}}"
            )
        else:  # a maximum that lets NaN through
            lines.append(
                f'real {name}=-INFINITY;int {name}n=0;_Pragma("omp simd reduction(max:{name}) reduction(|:{name}n)")'
                f"for(long j=0;j<{length};j++){{{text}const real x={x};{name}=x>{name}?x:{name};{name}n|=x!=x;}}"
                f"if({name}n){name}=NAN;"
            )
        return name


def _number(value: float) -> str:
    if value != value:
        return "(real)NAN"
    if abs(value) == float("inf"):
        return f"({'-' * (value < 0)}(real)INFINITY)"
    return f"((real){value!r})"

"""Complex numbers as pairs of real ones: of tensors, and inside a graph, which is real then.

The functions are the usual formulas. Where torch multiplies a complex by a real number as by a complex one, the
products with zero are left out.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx

from rnnzoo.kernels.fused.operations import filled, operation
from rnnzoo.kernels.fused.unsupported import Unsupported


def parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Every tensor, a complex one as its real and its imaginary part."""
    return [part for a in tensors for part in ((a.real, a.imag) if a.is_complex() else (a,))]


def joined(real: Iterable[Tensor], pairs: Sequence[bool]) -> list[Tensor]:
    """What `parts` came from; `pairs`: which of them were complex."""
    rest = iter(real)
    return [torch.complex(next(rest), next(rest)) if pair else next(rest) for pair in pairs]


def is_complex(node: fx.Node) -> bool:
    """Whether a node is a complex tensor."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_complex()


class Pair(NamedTuple):
    """A complex tensor as two real ones, of one shape; or a complex number."""

    re: Any
    im: Any


class Laid(NamedTuple):
    """The real view of a complex tensor: most read a part of it, and need no tensor in which they take turns."""

    re: Tensor
    im: Tensor


class RealParts(fx.Interpreter):
    """Runs a graph of real inputs and outputs that has complex numbers inside, on real ones alone."""

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return tuple(_mapped(_taking_turns, a) for a in args), kwargs

    def run_node(self, n: fx.Node) -> Any:
        if n.target == torch.ops.aten.select.int:
            source, axis, k = cast(tuple[fx.Node, int, int], n.args)
            laid = self.env[source]
            if isinstance(laid, Laid) and axis in (-1, laid.re.dim()):
                return laid[k]
        if n.op != "call_function" or not (is_complex(n) or any(map(is_complex, n.all_input_nodes))):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        name, value = operation(n), filled(n)
        found: Any = NotImplemented
        if value is not None:
            found = _created(n.meta["val"], value)
        elif name in _PARTWISE | _SUMS:
            found = _by_parts(n.target, args, kwargs, name in _SUMS)
        elif name in _PRODUCTS and not kwargs:
            found = _bilinear(n.target, *args)
        elif name in _RULES:
            found = _RULES[name](*args, **kwargs)
        if found is NotImplemented:
            raise Unsupported(f"its step uses {n.target} of complex numbers, in a way that it does not know")
        return found


def _taking_turns(a: Any) -> Any:
    return torch.stack([a.re, a.im], -1) if isinstance(a, Laid) else a


def _created(seen: Tensor, value: complex) -> Pair | Tensor:
    """A tensor of one number, like the one that the trace has seen."""
    re, im = (torch.full(seen.shape, part, dtype=seen.dtype.to_real()) for part in (value.real, value.imag))
    return Pair(re, im) if seen.is_complex() else re


# ---- what is done to both parts alike

_SHAPED = """
    view _unsafe_view reshape permute transpose t expand slice select squeeze unsqueeze clone detach alias sum mean neg
    cat stack split split_with_sizes unbind index_select index gather flip roll repeat diagonal lift_fresh
    lift_fresh_copy cumsum slice_scatter select_scatter
"""
_PARTWISE = frozenset(_SHAPED.split())
_SUMS = frozenset(["add", "sub", "where", "masked_fill"])  # whose numbers are values, and no axes or indices


def _by_parts(target: Any, args: Any, kwargs: Any, values: bool) -> Any:
    """An operation that is linear over the real numbers; `values`: its numbers are, with an imaginary part of zero."""
    if any(isinstance(v, torch.dtype) for v in kwargs.values()):
        return NotImplemented
    re = target(*(_mapped(_real, a) for a in args), **kwargs)
    im = target(*(_mapped(lambda b: _imaginary(b, values), a) for a in args), **kwargs)
    return Pair(re, im) if isinstance(re, Tensor) else [Pair(a, b) for a, b in zip(re, im, strict=True)]


def _mapped(part: Callable[[Any], Any], a: Any) -> Any:
    whole = isinstance(a, list | tuple) and not isinstance(a, Pair | Laid)
    return [part(b) for b in a] if whole else part(a)


def _real(a: Any) -> Any:
    return a.re if isinstance(a, Pair) else a.real if isinstance(a, complex) else a


def _imaginary(a: Any, values: bool = True) -> Any:
    if isinstance(a, Pair | complex):
        return a.im if isinstance(a, Pair) else a.imag
    if isinstance(a, Tensor) and a.dtype != torch.bool:
        return torch.zeros_like(a) if values or a.is_floating_point() else a
    return 0.0 if values and isinstance(a, int | float) else a


def _complex(a: Any) -> bool:
    return isinstance(a, Pair | complex)


# ---- products

_PRODUCTS = frozenset(["mul", "mm", "bmm", "mv", "dot"])


def _bilinear(times: Any, a: Any, b: Any) -> Pair:
    if not _complex(b):
        return Pair(times(_real(a), b), times(_imaginary(a), b))
    if not _complex(a):
        return Pair(times(a, _real(b)), times(a, _imaginary(b)))
    re = times(_real(a), _real(b)) - times(_imaginary(a), _imaginary(b))
    return Pair(re, times(_real(a), _imaginary(b)) + times(_imaginary(a), _real(b)))


def _mul(a: Any, b: Any) -> Pair:
    return _bilinear(torch.mul, a, b)


def _addmm(c: Any, a: Any, b: Any) -> Pair:
    re, im = _bilinear(torch.mm, a, b)
    return Pair(re + _real(c), im + _imaginary(c)) if _complex(c) else Pair(re + c, im)


def _div(a: Any, b: Any) -> Pair:
    if not _complex(b):
        return Pair(_real(a) / b, _imaginary(a) / b)
    re, im = _real(b), _imaginary(b)
    if isinstance(
        b, Pair
    ):  # what is squared is not far from 1; the quotient does not depend on by how much it is scaled
        scale = torch.maximum(re.abs(), im.abs()).detach()
        re, im = re / scale, im / scale
        size = (re * re + im * im) * scale
    else:
        size = re * re + im * im
    return _mul(a, Pair(re / size, -im / size))


def _pow(a: Any, power: Any) -> Any:
    if isinstance(power, int | float) and power in range(1, 9):
        found = a
        for _ in range(int(power) - 1):
            found = _mul(found, a)
        return found
    if not isinstance(a, Pair):
        return NotImplemented
    if not isinstance(power, int | float) or power <= 0:
        return _exp(_mul(_log(a), power))
    zero = (a.re == 0) & (a.im == 0)  # it has no logarithm, and a power that is 0
    found = _exp(_mul(_log(Pair(a.re.masked_fill(zero, 1.0), a.im)), power))
    return Pair(found.re.masked_fill(zero, 0.0), found.im.masked_fill(zero, 0.0))


# ---- functions


def _absolute(z: Pair) -> tuple[Tensor, Tensor]:
    """Where z is 0, and its size, 1 there: so that no gradient is 0 / 0."""
    zero = (z.re == 0) & (z.im == 0)
    return zero, torch.hypot(z.re.masked_fill(zero, 1.0), z.im)


def _abs(z: Pair) -> Tensor:
    zero, size = _absolute(z)
    return size.masked_fill(zero, 0.0)


def _angle(z: Pair) -> Tensor:
    zero = (z.re == 0) & (z.im == 0)
    return torch.atan2(z.im, z.re.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)


def _sgn(z: Pair) -> Pair:
    zero, size = _absolute(z)
    return Pair((z.re / size).masked_fill(zero, 0.0), (z.im / size).masked_fill(zero, 0.0))


def _polar(size: Tensor, angle: Tensor) -> Pair:
    return Pair(size * angle.cos(), size * angle.sin())


def _exp(z: Pair) -> Pair:
    return _polar(z.re.exp(), z.im)


def _expm1(z: Pair) -> Pair:
    half = (0.5 * z.im).sin()
    return Pair(z.re.expm1() * z.im.cos() - 2 * half * half, z.re.exp() * z.im.sin())


def _log(z: Pair) -> Pair:
    return Pair(torch.hypot(z.re, z.im).log(), torch.atan2(z.im, z.re))


def _sqrt(z: Pair) -> Pair:
    zero, size = _absolute(z)
    right = z.re >= 0
    larger = (0.5 * (size + torch.where(right, z.re, -z.re))).sqrt().masked_fill(zero, 0.0)
    smaller = 0.5 * z.im / larger.masked_fill(zero, 1.0)
    return Pair(torch.where(right, larger, smaller.abs()), torch.where(right, smaller, torch.copysign(larger, z.im)))


def _tanh(z: Pair) -> Pair:
    """(sinh 2x + i sin 2y) / (cosh 2x + cos 2y), over and under by cosh 2x, which alone would overflow."""
    e = (-2 * z.re.abs()).exp()
    narrow = 2 * e / (1 + e * e)  # 1 / cosh 2x
    under = 1 + narrow * (2 * z.im).cos()
    return Pair((2 * z.re).tanh() / under, narrow * (2 * z.im).sin() / under)


def _sigmoid(z: Pair) -> Pair:
    t = _tanh(Pair(0.5 * z.re, 0.5 * z.im))
    return Pair(0.5 * (1 + t.re), 0.5 * t.im)


def _to_copy(a: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    if not isinstance(a, Pair):
        re = a if dtype is None else a.to(dtype.to_real())
        return Pair(re, torch.zeros_like(re))
    if dtype is None:
        return a
    return Pair(a.re.to(dtype.to_real()), a.im.to(dtype.to_real())) if dtype.is_complex else a.re.to(dtype)


_RULES: dict[str, Callable[..., Any]] = {
    "complex": Pair,
    "polar": _polar,
    "view_as_complex": lambda a: Pair(a.select(-1, 0), a.select(-1, 1)),
    "view_as_real": lambda z: Laid(z.re, z.im),
    "real": lambda z: z.re,
    "imag": lambda z: z.im,
    "getitem": lambda found, k: found[k],
    "_to_copy": _to_copy,
    **dict.fromkeys(("_conj", "conj", "_conj_physical", "conj_physical"), lambda z: Pair(z.re, -z.im)),
    **dict.fromkeys(("resolve_conj", "resolve_neg"), lambda z: z),
    "rsub": lambda a, b: _by_parts(torch.sub, (b, a), {}, True),
    "addmm": _addmm,
    "div": _div,
    "reciprocal": lambda z: _div(1.0, z),
    "square": lambda z: _mul(z, z),
    "pow": _pow,
    "abs": _abs,
    "angle": _angle,
    "sgn": _sgn,
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "sqrt": _sqrt,
    "sin": lambda z: Pair(z.re.sin() * z.im.cosh(), z.re.cos() * z.im.sinh()),
    "cos": lambda z: Pair(z.re.cos() * z.im.cosh(), -z.re.sin() * z.im.sinh()),
    "sinh": lambda z: Pair(z.re.sinh() * z.im.cos(), z.re.cosh() * z.im.sin()),
    "cosh": lambda z: Pair(z.re.cosh() * z.im.cos(), z.re.sinh() * z.im.sin()),
    "tanh": _tanh,
    "sigmoid": _sigmoid,
}

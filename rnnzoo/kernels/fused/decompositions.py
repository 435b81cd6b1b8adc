"""What a trace takes torch's operations apart into."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions

aten = torch.ops.aten

_TORCHS = """
    native_layer_norm native_layer_norm_backward _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data
    softplus softplus_backward gelu gelu_backward elu elu_backward leaky_relu leaky_relu_backward hardtanh
    hardtanh_backward hardsigmoid hardsigmoid_backward hardswish hardswish_backward threshold_backward sigmoid_backward
    tanh_backward addcmul addcdiv lerp square rsub frac mv dot addmv
"""


@cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """Torch's own, and ours where torch's would compare indices or allocate."""
    names = (getattr(aten, n) for n in _TORCHS.split() if hasattr(aten, n))
    table = {**core_aten_decompositions(), **get_decompositions(list(names))} | _OURS
    for whole in (aten.select_scatter.default, aten.roll.default, aten.flip.default):
        table.pop(whole, None)
    return table


@cache
def of_steps() -> dict[Any, Callable[..., Any]]:
    """What a step's own operations are taken apart into, before their gradients are asked for."""
    return {
        aten.max.dim: partial(_extreme, aten.amax.default),
        aten.min.dim: partial(_extreme, aten.amin.default),
        aten.repeat.default: _repeat,
    }


def _extreme(reduce: Any, x: Tensor, dim: int, keepdim: bool = False) -> Any:
    """The largest or smallest number and where it stands first; the gradient goes there alone."""
    if not x.is_floating_point() or x.dim() == 0:
        return NotImplemented
    best = reduce(x.detach(), [dim], True)
    n = x.shape[dim]
    shape = [1] * x.dim()
    shape[dim] = n
    places = torch.arange(n, dtype=x.dtype).view(shape)
    there = (x == best) | (x != x)
    first = torch.where(there, places, float(n)).amin([dim], True)
    value = torch.where(places == first, x, 0.0).sum([dim], keepdim)
    return value, (first if keepdim else first.squeeze(dim)).to(torch.int64)


def _repeat(x: Tensor, repeats: Sequence[int]) -> Tensor:
    sizes = [1] * (len(repeats) - x.dim()) + list(x.shape)
    doubled = [n for pair in zip([1] * len(sizes), sizes, strict=True) for n in pair]
    spread = [n for pair in zip(repeats, sizes, strict=True) for n in pair]
    whole = [a * b for a, b in zip(repeats, sizes, strict=True)]
    return x.reshape(doubled).expand(spread).reshape(whole)


def _hardshrink_backward(d: Tensor, x: Tensor, limit: float) -> Tensor:
    return torch.where((x >= -limit) & (x <= limit), 0.0, d)


def _silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def _silu_backward(d: Tensor, x: Tensor) -> Tensor:
    s = x.sigmoid()
    return d * s * (1 + x * (1 - s))


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + torch.log1p((-x.abs()).exp())


def _mish(x: Tensor) -> Tensor:
    return x * _softplus(x).tanh()


def _mish_backward(d: Tensor, x: Tensor) -> Tensor:
    t = _softplus(x).tanh()
    return d * (t + x * (1 - t * t) * x.sigmoid())


def _log_sigmoid(x: Tensor) -> tuple[Tensor, Tensor]:
    return -_softplus(-x), torch.zeros_like(x)  # the second is a buffer of torch's own kernel


def _log_sigmoid_backward(d: Tensor, x: Tensor, _: Tensor) -> Tensor:
    return d * (-x).sigmoid()


def _norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if ord == 2 and dim is not None:
        return (x * x).sum(dim, keepdim).sqrt()
    if ord == 1 and dim is not None:
        return x.abs().sum(dim, keepdim)
    return NotImplemented


def _var(x: Tensor, dim: Sequence[int] | None = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    if not dim:
        return NotImplemented
    d = x - x.mean(list(dim), keepdim=True)
    count = math.prod(x.shape[k] for k in dim)
    return (d * d).sum(list(dim), keepdim) / (count - (1 if correction is None else correction))


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


def _atan2(y: Tensor, x: Tensor) -> Tensor:
    # numbers as tensors of their own would be float32
    turned = math.pi - 2 * math.pi * (y < 0).to(y.dtype)
    angle = (y / x).atan() + turned * (x < 0).to(x.dtype)
    return angle.masked_fill((x == 0) & (y == 0), 0.0)


def _copysign(x: Tensor, sign: Tensor) -> Tensor:
    return torch.where(sign < 0, -x.abs(), x.abs())


_OURS: dict[Any, Callable[..., Any]] = {
    aten.silu.default: _silu,
    aten.silu_backward.default: _silu_backward,
    aten.mish.default: _mish,
    aten.mish_backward.default: _mish_backward,
    aten.log_sigmoid_forward.default: _log_sigmoid,
    aten.log_sigmoid_backward.default: _log_sigmoid_backward,
    aten.linalg_vector_norm.default: _norm,
    aten.var.correction: _var,
    aten.hypot.default: _hypot,
    aten.atan2.default: _atan2,
    aten.copysign.Tensor: _copysign,
    aten.hardshrink_backward.default: _hardshrink_backward,
    aten.softshrink_backward.default: _hardshrink_backward,
}

"""What a kernel is cached by: everything of a cell but its numbers that its ``step`` may depend on."""

import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell

_MODULE = frozenset(vars(nn.Module())) - {"training"}  # what every module has, parameters aside
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, torch.dtype, torch.device, torch.Size)
_DEPTH = 6  # of objects in objects


class Identity(int):
    """What tells an object from others in this process alone."""


def signature(cell: Cell) -> tuple[Any, ...]:
    """Classes, sizes, constants and modes of a cell and the modules in it, hashable; it holds no tensors."""
    found: list[Any] = []
    for name, module in cell.named_modules():
        own = [(k, frozen(v)) for k, v in vars(module).items() if k not in _MODULE]
        tensors = [
            (k, v.shape, v.dtype)
            for group in (module._parameters, module._buffers)
            for k, v in group.items()
            if v is not None
        ]
        hooks = tuple(Identity(k) for k in (*module._forward_pre_hooks, *module._forward_hooks))
        found.append((name, type(module), tuple(own), tuple(tensors), hooks))
    return tuple(found)


def frozen(value: Any, depth: int = 0) -> Any:
    """A hashable stand-in for a constant: equal for equal ones."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value) if isinstance(value, float) else value
    if isinstance(value, Tensor):
        return "tensor", value.shape, value.dtype  # a step that reads it is refused
    if depth > _DEPTH:
        return "object", Identity(id(value))
    if isinstance(value, list | tuple):
        return type(value), tuple(frozen(v, depth + 1) for v in value)
    if isinstance(value, set | frozenset):
        return type(value), frozenset(frozen(v, depth + 1) for v in value)
    if isinstance(value, Mapping):
        return type(value), tuple((frozen(k, depth + 1), frozen(v, depth + 1)) for k, v in value.items())
    if isinstance(value, types.FunctionType):
        cells = tuple(frozen(c.cell_contents, depth + 1) for c in value.__closure__ or ())
        return value.__code__, cells, frozen(value.__defaults__, depth + 1)
    if isinstance(value, types.MethodType):
        return value.__func__.__code__, "method" if isinstance(value.__self__, nn.Module) else Identity(
            id(value.__self__)
        )
    if isinstance(value, nn.Module):
        return "module", Identity(id(value))  # one that is a child stands in the signature itself
    if hasattr(value, "__dict__") and not callable(value):
        return type(value), frozen(vars(value), depth + 1)
    plain = not callable(value) and type(value).__repr__ is not object.__repr__
    return "object", type(value), repr(value) if plain else Identity(id(value))

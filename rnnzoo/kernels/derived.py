"""Cells whose weights torch derives from others, by weight norm or weight drop, for the time of one call."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fingerprint import remember_on

M = TypeVar("M", bound=nn.Module)


def with_derived_weights(layers: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """The cells; a cell with derived weights is replaced by one of its own class that has them as its parameters.

    So they are derived, or dropped, once for a whole sequence, and no kernel need know of it.
    """
    if torch.compiler.is_compiling():  # which sees through what torch does, but not through this
        return [list(directions) for directions in layers]
    return [[_plain(cell) for cell in directions] for directions in layers]


def _plain(module: M) -> M:
    if not any(parametrize.is_parametrized(m) for m in module.modules()):
        return module
    if isinstance(module, Cell):
        remember_on(module)  # the twin's fingerprints are kept with the cell
    own = parametrize.is_parametrized(module)
    twin: M = object.__new__(type(module).__bases__[0] if own else type(module))
    vars(twin).update(vars(module))
    children = {n: m for n, m in module._modules.items() if m is not None and n != "parametrizations"}
    vars(twin)["_modules"] = {n: _plain(m) for n, m in children.items()}
    if own:
        names: dict[str, object] = module._modules["parametrizations"]._modules  # type: ignore[union-attr,assignment]
        vars(twin)["_parameters"] = module._parameters | {n: getattr(module, n) for n in names}
    return twin

"""Cells whose weights torch derives from others, by weight norm, weight drop or pruning, for the time of one call."""

import warnings
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.fingerprint import remember_on

M = TypeVar("M", bound=nn.Module)


def with_derived_weights(layers: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """The cells; a cell with derived weights is replaced by one of its own class that has them as its parameters.

    So they are derived, or dropped, once for a whole sequence, and no kernel need know of it. Cells are not called,
    so what hangs on the call of one, as ``torch.nn.utils.prune`` and the older ``weight_norm`` do, is done here.

    Raises:
        RnnZooError: a forward pre-hook of a cell fails or wants to change the inputs: it is run before the first step,
            once a call, and gets none.
    """
    if torch.compiler.is_compiling():  # which sees through what torch does, but not through this
        for cell in (cell for directions in layers for cell in directions if _may_derive(cell)):
            for m in cell.modules():
                _run_pre_hooks(m)
        return [list(directions) for directions in layers]
    return [[_plain(cell) for cell in directions] for directions in layers]


def _may_derive(module: nn.Module) -> bool:
    return bool(module._modules or module._forward_pre_hooks or module._forward_hooks or module._backward_hooks)


def _plain(module: M) -> M:
    if not _may_derive(module) or not any(_derives(m) for m in module.modules()):
        return module
    if isinstance(module, Cell):
        remember_on(module)  # the twin's fingerprints are kept with the cell
    _run_pre_hooks(module)
    own = "parametrizations" in module._modules
    twin: M = object.__new__(type(module).__bases__[0] if own else type(module))
    vars(twin).update(vars(module))
    children = {n: m for n, m in module._modules.items() if m is not None and n != "parametrizations"}
    vars(twin)["_modules"] = {n: _plain(m) for n, m in children.items()}
    derived: dict[str, Tensor] = {}
    if own:
        names: dict[str, object] = module._modules["parametrizations"]._modules  # type: ignore[union-attr,assignment]
        derived |= {n: getattr(module, n) for n in names}
    if isinstance(module, Cell) and module._forward_pre_hooks:
        vars(twin)["_forward_pre_hooks"] = {}
        hung = {n: a for n, a in vars(module).items() if isinstance(a, Tensor)}
        derived |= {n: vars(twin).pop(n) for n in hung}
    vars(twin)["_parameters"] = module._parameters | derived
    return twin


def _derives(module: nn.Module) -> bool:
    if not isinstance(module, Cell):
        return "parametrizations" in module._modules
    if module._forward_hooks or module._backward_hooks:
        warnings.warn(
            f"forward and backward hooks of {type(module).__name__} are not called: an RNN runs a cell over all steps"
            " at once; hook the RNN itself, or read all states with return_states=True",
            stacklevel=6,
        )
    return "parametrizations" in module._modules or bool(module._forward_pre_hooks)


def _run_pre_hooks(module: nn.Module) -> None:
    """Runs the forward pre-hooks of a cell; other modules in it are called, and theirs run as torch runs them."""
    if not isinstance(module, Cell):
        return
    for key, hook in module._forward_pre_hooks.items():
        try:
            if key in module._forward_pre_hooks_with_kwargs:
                changed = hook(module, (), {}) not in (None, ((), {}))
            else:
                changed = hook(module, ()) not in (None, ())
        except Exception as error:
            raise RnnZooError(
                f"a forward pre-hook of {type(module).__name__} fails ({type(error).__name__}: {error}); an RNN runs it"
                " once a call, before the first step, without inputs"
            ) from error
        if changed:
            raise RnnZooError(
                f"a forward pre-hook of {type(module).__name__} returns inputs, and an RNN has none to give it: it runs"
                " once a call, before the first step; hook the RNN itself"
            )

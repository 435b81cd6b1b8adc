"""A step must leave its cell as it was: what a trace would do once, the cell does at every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rnnzoo.kernels.fused.unsupported import Unsupported

_GROUPS = ("_parameters", "_buffers", "_modules")


@contextmanager
def unchanged(cell: nn.Module) -> Iterator[None]:
    """Raises Unsupported where a module of `cell` got other attributes, parameters or buffers; they are put back.

    A hook that runs before a module may set tensors of it, as weight norm does, for it sets them at every call.
    """
    before = {module: _state(module) for module in cell.modules()}
    try:
        yield
    finally:
        changed = [f"{name}{key}" for module, state in before.items() for name, key in _put_back(cell, module, state)]
    if changed:
        raise Unsupported(f"its step changes the cell ({', '.join(changed)})")


@contextmanager
def unwritten(tensors: dict[str, Tensor]) -> Iterator[None]:
    """Raises Unsupported where tensors by name are written to."""
    before = {name: a._version for name, a in tensors.items()}
    yield
    changed = [name for name, version in before.items() if tensors[name]._version != version]
    if changed:
        raise Unsupported(f"its step writes to its {', '.join(changed)}, and a kernel keeps no such result")


def contents(containers: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """Lists, dicts and sets, each with a copy of what it holds."""
    return [(c, c.copy()) for c in containers]


def put_back(held: list[tuple[Any, Any]]) -> None:
    """Gives containers the contents that ``contents`` saw."""
    for container, before in held:
        if isinstance(container, list):
            container[:] = before
        else:
            container.clear()
            container.update(before)


def _state(module: nn.Module) -> dict[str, dict[str, Any]]:
    attributes = vars(module)
    return {"": dict(attributes)} | {group: dict(attributes[group]) for group in _GROUPS}


def _put_back(cell: nn.Module, module: nn.Module, state: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Puts a module's attributes back; the names of those that had changed."""
    changed = []
    for group, before in state.items():
        now = vars(module)[group] if group else vars(module)
        for key in {*before, *now}:
            old, new = before.get(key, _NONE), now.get(key, _NONE)
            if old is new:
                continue
            hooked = not group and module._forward_pre_hooks and isinstance(old, Tensor) and isinstance(new, Tensor)
            if not hooked:
                changed.append((_path(cell, module), key))
            if old is _NONE:
                del now[key]
            else:
                now[key] = old
    return changed


def _path(cell: nn.Module, module: nn.Module) -> str:
    return next((f"{name}." for name, m in cell.named_modules() if m is module and name), "")


_NONE = object()

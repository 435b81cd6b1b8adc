"""A walk over all that a cell's step can read: modules, attributes, classes, functions and the globals that they name.

What it finds is told by content, so that two cells with the same words do the same, in every process: shared objects,
tied weights among them, by where they stood first. What the step cannot reach by name is left out: an attribute of a
module that no reachable code loads does not matter.
"""

import enum
import functools
import types
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import CLASS_CHANGES, Cell
from rnnzoo.kernels.fingerprint.code import Code
from rnnzoo.kernels.fingerprint.objects import Objects
from rnnzoo.kernels.fingerprint.visitor import PLAIN

_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)
_MOST = 5_000  # objects

# what kernels call on a cell
ROOTS = frozenset({"step", "emit", "project", "readout", "initial_state", "coefficients", "like", "State", "_fields"})


class TooMuch(Exception):
    """A step that can reach more objects than can be looked at."""


class Walk(Objects, Code):
    """One walk."""

    def cell(self, cell: Cell) -> None:
        """Walks over all that `cell` can read."""
        modules = list(cell.modules())
        classes = {c for m in modules for c in type(m).__mro__}
        self._own = frozenset(
            c.__module__.partition(".")[0] for c in classes if issubclass(c, Cell) and c is not Cell
        ) | {"rnnzoo"}
        self.checks.add("an attribute of a cell's class", "{0}[0] == {1}", CLASS_CHANGES, CLASS_CHANGES[0])
        self._number_tensors(modules)
        self._places[id(cell)] = "cell"
        self.visit(cell, type(cell).__name__)

    def visit(self, value: Any, name: str = "") -> None:
        """Adds the words and checks of whatever object; `name`: where it was found, for messages."""
        kind = type(value)
        if kind in PLAIN:
            self.words.append(f"{kind.__name__} {value!r}")
            return
        if kind is tuple:
            self.words.append(f"tuple {len(value)}")
            for k, item in enumerate(value):
                self.visit(item, f"{name}[{k}]")
            return
        first = self._first.get(id(value))
        if first is not None:
            self.words.append(f"again {first}")
            return
        self._first[id(value)] = len(self._first)
        self._alive.append(value)
        self._count[0] += 1
        if self._count[0] > _MOST:
            raise TooMuch(f"its step can reach more than {_MOST} objects of Python through {'.'.join(self._where[:4])}")
        self._where.append(name)
        self._visit(value, kind, name)
        self._where.pop()

    def _visit(self, value: Any, kind: type, name: str) -> None:
        if isinstance(value, Tensor):
            self._tensor(value, name)
        elif isinstance(value, nn.Module):
            self._module(value, name)
        elif kind is types.FunctionType:
            self._function(value, name)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.ModuleType):
            self._python_module(value)
        elif kind is types.MethodType:
            self.words.append("method")
            self.visit(value.__func__, name)
            self.visit(value.__self__, name)
        elif kind is types.BuiltinFunctionType:
            self._builtin(value, name)
        elif kind in _DESCRIPTORS:
            self.words.append(f"{kind.__name__} {value.__qualname__}")
        elif kind in (classmethod, staticmethod):
            self.words.append(kind.__name__)
            self.visit(value.__func__, name)
        elif kind is property:
            self.words.append("property")
            for f in (value.fget, value.fset, value.fdel):
                self.visit(f, name)
        elif isinstance(value, _OF_TORCH) or kind.__module__ == "torch._ops":
            self.words.append(f"{kind.__name__} {value}")
        elif isinstance(value, np.ndarray):
            self._array(value, name)
        elif isinstance(value, enum.Enum):
            self.visit(kind, kind.__name__)
            self.words.append(value.name)
        elif kind is functools.partial:
            self.words.append("partial")
            for part in (value.func, value.args, value.keywords, vars(value)):
                self.visit(part, name)
        else:
            self._object(value, kind, name)

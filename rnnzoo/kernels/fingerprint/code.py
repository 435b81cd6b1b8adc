"""The part of a walk that is about code: functions, classes, and modules of Python."""

import os
import types
from typing import Any

import numpy as np
from torch import nn

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fingerprint.libraries import (
    by_name,
    imported,
    installed_file,
    installed_function,
    installed_module,
    version_of,
)
from rnnzoo.kernels.fingerprint.names import code_digest, loaded
from rnnzoo.kernels.fingerprint.visitor import HEAP, PLAIN, Visitor

_BY_ANY_NAME = (getattr, hasattr, vars, dir, eval, exec, locals, globals)  # what reaches attributes by computed names
_BOOKKEEPING_NAMES = """
    __module__ __qualname__ __doc__ __dict__ __weakref__ __annotations__ __abstractmethods__ __orig_bases__
    __parameters__ __firstlineno__ __static_attributes__ __annotate_func__ __annotations_cache__ __type_params__
    __init_subclass__ __class_getitem__ __subclasshook__ __repr__ __str__ __reduce__ __reduce_ex__ __getstate__
    __setstate__ __getnewargs__ __del__ __dataclass_fields__ __dataclass_params__ __replace__
"""
_BOOKKEEPING = frozenset(_BOOKKEEPING_NAMES.split())


class Code(Visitor):
    """Methods for functions, classes and modules of Python."""

    def _function(self, f: types.FunctionType, name: str) -> None:
        label = f.__qualname__
        if installed_function(f, self._own):
            self.words.append(f"function {f.__module__}.{label} {version_of(str(f.__module__).partition('.')[0])}")
            if not by_name(f):  # made by another function, or in another's place
                self.words.append(code_digest(f.__code__))
                self._made_of(f, label)
            return
        self.words.append(f"function {code_digest(f.__code__)}")
        self.checks.add(
            label,
            "{0}.__code__ is {1} and {0}.__defaults__ is {2} and {0}.__kwdefaults__ is {3}",
            *(f, f.__code__, f.__defaults__, f.__kwdefaults__),
        )
        self._made_of(f, label)
        names = loaded(f.__code__)
        if self._reached is not None:
            self._reached |= names.attributes | names.globals
        if "__dict__" in names.attributes or "__getattribute__" in names.attributes:
            self._by_computed_names()
        for global_name in sorted(names.globals):
            self._global(f.__globals__, global_name, label)
        package = f.__globals__.get("__package__") or ""
        for module_name in sorted(names.imports):
            module = imported(module_name, package)
            self.words.append(f"import {module_name}")
            if module is not None:
                self.visit(module, module_name)

    def _made_of(self, f: types.FunctionType, label: str) -> None:
        """What a function carries with it: defaults, what it closes over, attributes."""
        self.visit(f.__defaults__, f"a default of {label}")
        self.visit(f.__kwdefaults__, f"a default of {label}")
        for variable, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not set yet
                self.words.append("empty")
                continue
            self.words.append(variable)
            self.checks.same(f"{variable} of {label}", "{0}.cell_contents", value, cell)
            self.visit(value, f"{variable} of {label}")
        if vars(f):
            self.visit(vars(f), f"an attribute of {label}")
        else:
            self.checks.add(f"an attribute of {label}", "not {0}.__dict__", f)

    def _global(self, scope: dict[str, Any], name: str, label: str) -> None:
        self.words.append(name)
        builtins = scope.get("__builtins__", {})
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        if name in scope:
            value = scope[name]
            self.checks.same(f"{name}, a global of {label}", "{0}[{1}]", value, scope, name)
        else:
            self.checks.add(f"{name}, a global of {label}", "{1} not in {0}", scope, name)
            if name not in builtins:
                self.words.append("missing")
                return
            if name == "len":  # which traces have an own of for the time
                return
            value = builtins[name]
            self.checks.same(f"{name}, a builtin", "{0}[{1}]", value, builtins, name)
        self.visit(value, name)

    def _builtin(self, f: Any, name: str) -> None:
        if any(f is g for g in _BY_ANY_NAME):
            self._by_computed_names()
        self.words.append(f"builtin {f.__module__} {f.__qualname__}")
        owner = f.__self__
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            self.visit(owner, name)

    def _class(self, cls: type) -> None:
        self.words.append(f"class {cls.__module__}.{cls.__qualname__}")
        if cls.__module__ in ("operator", "_operator"):  # attrgetter, methodcaller
            self._by_computed_names()
        if cls.__flags__ & HEAP:
            self.checks.same(f"the bases of {cls.__name__}", "{0}.__mro__", cls.__mro__, cls)
        for base in cls.__mro__:
            self.words.append(f"base {base.__module__}.{base.__qualname__}")
            if installed_module(base.__module__, self._own):
                self._installed_class(base)
            else:
                self._own_class(base)

    def _own_class(self, cls: type) -> None:
        """What live names stand for in a class, and what operators call."""
        entries = vars(cls)
        module = issubclass(cls, nn.Module)
        if not issubclass(cls, Cell):  # whose metaclass counts changes
            self.checks.items(f"an attribute of class {cls.__name__}", entries)
        for key in sorted(entries):
            if key in _BOOKKEEPING or (module and key in ("__init__", "__new__")):
                continue
            if _for_operators(key) or self._is_live(key):
                self.words.append(key)
                self.visit(entries[key], f"{cls.__name__}.{key}")

    def _installed_class(self, cls: type) -> None:
        """A library's class: its name and version, and what somebody has put in it."""
        self.words.append(version_of(cls.__module__.partition(".")[0]))
        if not cls.__flags__ & HEAP:
            return  # nobody can
        entries = vars(cls)
        self.checks.add(f"an attribute of class {cls.__name__}", "len({0}) == {1}", entries, len(entries))
        for key in sorted(entries):
            value = entries[key]
            if key in _BOOKKEEPING or not isinstance(value, types.FunctionType):
                continue
            called = _for_operators(key) or (self.live is not None and key in self.live)
            if called:
                self.checks.same(f"{cls.__name__}.{key}", "{0}[{1}]", value, entries, key)
            if not installed_file(
                value.__code__.co_filename
            ):  # torch.export puts functions of torch's there for a time
                self.words.append(key)
                self.visit(value, f"{cls.__name__}.{key}")

    def _python_module(self, module: types.ModuleType) -> None:
        """A module of Python: what live names stand for in it."""
        scope = vars(module)
        self.words.append(f"python module {module.__name__}")
        names, installed = self.live, installed_module(module.__name__, self._own)
        if installed:
            self.words.append(version_of(module.__name__.partition(".")[0]))
            names = self.live or frozenset()
        for key in sorted(k for k in scope if not k.startswith("__") and (names is None or k in names)):
            value = scope[key]
            self.words.append(key)
            self.checks.same(f"{module.__name__}.{key}", "{0}[{1}]", value, scope, key)
            if value is os.environ:
                self.words.append(repr(sorted(value.items())))
                self.checks.add("the environment", "{0}._data == {1}", value, dict(vars(value)["_data"]))
            elif installed and self._is_a_librarys(value):
                self.words.append(f"object {type(value).__module__}.{type(value).__qualname__}")
            else:
                self.visit(value, f"{module.__name__}.{key}")

    def _is_a_librarys(self, value: Any) -> bool:
        """Whether an object in a library's module is one of a library's class, whose state is the library's."""
        kind = type(value)
        plain = (*PLAIN, tuple, type, types.FunctionType, types.ModuleType, types.BuiltinFunctionType, np.ndarray)
        return not isinstance(value, plain) and installed_module(kind.__module__, self._own)


def _for_operators(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")

"""A walk over all that a cell's step can read: modules, attributes, classes, functions and the globals that they name.

What it finds is told by content, so that two cells with the same words do the same, in every process: shared objects,
tied weights among them, by where they stood first. What the step cannot reach by name is left out: an attribute of a
module that no reachable code loads does not matter.
"""

import enum
import functools
import hashlib
import os
import types
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import CLASS_CHANGES, Cell
from rnnzoo.kernels.fingerprint.checks import Checks
from rnnzoo.kernels.fingerprint.names import code_digest, loaded
from rnnzoo.kernels.fingerprint.opaque import number_of
from rnnzoo.kernels.fingerprint.platform import (
    by_name,
    imported,
    installed_file,
    installed_function,
    installed_module,
    version_of,
)

MEMORY = "_fingerprints"  # the attribute that a cell's fingerprints are remembered by

_MODULE = frozenset(vars(nn.Module())) - {"training"} | {MEMORY}  # what every module has
_HOOKS = tuple(sorted(k for k in _MODULE if "forward" in k and k.endswith(("hooks", "kwargs"))))
_PLAIN = (bool, int, str, bytes, float, complex, type(None), type(...), type(NotImplemented))
_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)
_BY_ANY_NAME = (getattr, hasattr, vars, dir, eval, exec, locals, globals)  # what reaches attributes by computed names
_BOOKKEEPING_NAMES = """
    __module__ __qualname__ __doc__ __dict__ __weakref__ __annotations__ __abstractmethods__ __orig_bases__
    __parameters__ __firstlineno__ __static_attributes__ __annotate_func__ __annotations_cache__ __type_params__
    __init_subclass__ __class_getitem__ __subclasshook__ __repr__ __str__ __reduce__ __reduce_ex__ __getstate__
    __setstate__ __getnewargs__ __del__ __dataclass_fields__ __dataclass_params__ __replace__
"""
_BOOKKEEPING = frozenset(_BOOKKEEPING_NAMES.split())
_MOST = 5_000  # objects

# what kernels call on a cell
ROOTS = frozenset({"step", "emit", "project", "readout", "initial_state", "coefficients", "like", "State", "_fields"})


class TooMuch(Exception):
    """A step that can reach more objects than can be looked at."""


class Walk:
    """One walk; `live` are the names that are looked at, None all of them.

    Afterwards `words` tell the cell, `checks` say whether they still would, `reached` are the names that reachable
    code loads, None where some code computes names, and `portable` says whether the words mean the same in every
    process.
    """

    def __init__(self, live: frozenset[str] | None, roots: frozenset[str] = frozenset()):
        self.live = live
        self.words: list[str] = []
        self.checks = Checks()
        self.portable = True
        self.containers: list[Any] = []  # lists, dicts and sets, which a step might change
        self._reached: set[str] | None = set(roots)
        self._first: dict[int, int] = {}
        self._alive: list[Any] = []  # no id is taken twice
        self._count = [0]  # of objects, also of walks apart
        self._own: frozenset[str] = frozenset()
        self._tensors: dict[int, int] = {}
        self._where: list[str] = []
        self._places: dict[int, str] = {}  # of modules not yet visited, as the checks reach them

    @property
    def reached(self) -> frozenset[str] | None:
        return None if self._reached is None else frozenset(self._reached)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.words).encode(errors="surrogatepass")).hexdigest()

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
        if kind in _PLAIN:
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

    def _is_live(self, name: str) -> bool:
        return self.live is None or name in self.live

    def _by_computed_names(self) -> None:
        self._reached = None

    # tensors

    def _number_tensors(self, modules: list[nn.Module]) -> None:
        """Parameters and buffers: their order tells which are the same."""
        for module in modules:
            for a in (*module._parameters.values(), *module._buffers.values()):
                if a is not None:
                    self._tensors.setdefault(id(a), len(self._tensors))
                    self._alive.append(a)

    def _tensor(self, a: Tensor, name: str) -> None:
        """A tensor that is no module's: its numbers may be read into Python."""
        if id(a) in self._tensors:
            self.words.append(f"parameter {self._tensors[id(a)]}")
            return
        self.words.append(f"tensor {tuple(a.shape)} {a.dtype} {a.device} {_numbers_digest(a)}")
        if a.device.type == "cpu":
            self.checks.add(name, "{0}({1}) == {2}", _numbers_digest, a, _numbers_digest(a))
        else:
            self.checks.add(name, "{0}._version == {1}", a, a._version)

    def _array(self, a: np.ndarray, name: str) -> None:
        if a.dtype.hasobject:
            self.words.append(f"array {a.shape}")
            self.visit(a.tolist(), name)
            return
        content = a.tobytes()
        self.words.append(f"array {a.shape} {a.dtype.str} {hashlib.sha256(content).hexdigest()}")
        self.checks.add(
            name, "{0}.tobytes() == {1} and {0}.shape == {2} and {0}.dtype is {3}", a, content, a.shape, a.dtype
        )

    # torch's modules

    def _module(self, module: nn.Module, name: str) -> None:
        cls, attributes = type(module), vars(module)
        at = self.checks.module(name, self._places.pop(id(module), None), module)
        self.words.append("module")
        self.checks.same(f"the class of {name}", f"type(m{at})", cls)
        self.visit(cls, cls.__name__)
        for group in ("_parameters", "_buffers"):
            self._named_tensors(at, attributes[group], group, name)
        children = attributes["_modules"]
        self.checks.add(f"a module of {name}", f"tuple(d{at}['_modules']) == {{0}}", tuple(children))
        for key, child in children.items():
            self.words.append(key)
            place = f"d{at}['_modules'][{key!r}]"
            if id(child) in self._first:
                self.checks.same(f"{name}.{key}", place, child)
            else:
                self._places[id(child)] = place
            self.visit(child, f"{name}.{key}")
        for key in _HOOKS:
            hooks = tuple(attributes[key].values())
            if hooks:
                self.words.append(key)
                self.checks.add(f"a hook of {name}", f"len(d{at}[{key!r}]) == {len(hooks)}")
                self.checks.add(f"a hook of {name}", f"all(map(is_, d{at}[{key!r}].values(), {{0}}))", hooks)
                self.visit(hooks, f"a hook of {name}")
            else:
                self.checks.add(f"a hook of {name}", f"not d{at}[{key!r}]")
        self.checks.add(f"an attribute of {name} that is new or gone", f"tuple(d{at}) == {{0}}", tuple(attributes))
        whole = installed_module(cls.__module__, self._own)  # whose code is not looked at
        for key, value in attributes.items():
            if key not in _MODULE and (whole or self._is_live(key)):
                self.words.append(key)
                self.checks.same(f"{name}.{key}", f"d{at}[{key!r}]", value)
                self.visit(value, f"{name}.{key}")

    def _named_tensors(self, at: int, tensors: Mapping[str, Tensor | None], group: str, name: str) -> None:
        """Parameters or buffers: shapes, dtypes, and which of them are the same; their numbers are no constants."""
        self.words.append(group)
        self.checks.add(f"a parameter of {name}", f"tuple(d{at}[{group!r}]) == {{0}}", tuple(tensors))
        for key, a in tensors.items():
            label, place = f"{name}.{key}", f"d{at}[{group!r}][{key!r}]"
            if a is None:
                self.words.append(f"{key} None")
                self.checks.add(label, f"{place} is None")
            else:
                number = self._tensors.setdefault(id(a), len(self._tensors))
                self._alive.append(a)
                self.words.append(f"{key} {number} {tuple(a.shape)} {a.dtype}")
                self.checks.tensor(label, place, number, a.shape, a.dtype)

    # code

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
        if cls.__flags__ & _HEAP:
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
        if not cls.__flags__ & _HEAP:
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
        plain = (*_PLAIN, tuple, type, types.FunctionType, types.ModuleType, types.BuiltinFunctionType, np.ndarray)
        return not isinstance(value, plain) and installed_module(kind.__module__, self._own)

    # other objects

    def _object(self, value: Any, kind: type, name: str) -> None:
        """A container, an instance of somebody's class, or what else there is."""
        self.visit(kind, kind.__name__)
        contents = False
        if isinstance(value, dict | types.MappingProxyType):
            contents = True
            self._remember(value)
            self.checks.items(name, value)
            self.words.append(f"items {len(value)}")
            for key, item in value.items():
                self.visit(key, name)
                self.visit(item, f"{name}[{key!r}]" if isinstance(key, str | int) else name)
        elif isinstance(value, list | tuple):
            contents = True
            self._remember(value)
            if isinstance(value, list):
                self.checks.items(name, value)
            self.words.append(f"items {len(value)}")
            for k, item in enumerate(value):
                self.visit(item, f"{name}[{k}]")
        elif isinstance(value, set | frozenset):
            contents = True
            self._remember(value)
            self._set(value, name)
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            contents = True
            self.checks.items(f"an attribute of {name}", attributes)
            for key, item in attributes.items():
                self.words.append(key)
                self.visit(item, f"{name}.{key}")
        for base in kind.__mro__:
            slots = base.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else tuple(slots):
                if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                    contents = True
                    item = getattr(value, slot)
                    self.words.append(slot)
                    self.checks.same(f"{name}.{slot}", f"{{0}}.{slot}", item, value)
                    self.visit(item, f"{name}.{slot}")
        if not contents or not _plain_bases(kind):
            self._by_its_pickle(value, kind, name)

    def _remember(self, value: Any) -> None:
        if isinstance(value, list | dict | set):
            self.containers.append(value)

    def _set(self, value: Any, name: str) -> None:
        """A set, whose order is another in every process."""
        told = []
        for item in value:
            inner = self._apart(item)
            told.append(inner.digest)
            self.portable &= inner.portable
        self.words += [f"items {len(told)}", *sorted(told)]
        self.checks.add(name, "{0} == {1}", value, frozenset(value))

    def _apart(self, value: Any) -> "Walk":
        inner = Walk(self.live)
        inner._own, inner._tensors, inner._count = self._own, self._tensors, self._count
        inner.visit(value)
        if inner._reached is None or self._reached is None:
            self._by_computed_names()
        else:
            self._reached |= inner._reached
        return inner

    def _by_its_pickle(self, value: Any, kind: type, name: str) -> None:
        """An object of C: what its pickle is made of, or that it is this one."""
        inner = self._pickled(value)
        if inner is None:
            self.portable = False
            self.words.append(f"opaque {number_of(value)}")
            return
        self.words.append(inner.digest)
        self.portable &= inner.portable
        descriptor = hasattr(kind, "__get__") and not kind.__flags__ & _HEAP
        if kind.__hash__ in (None, object.__hash__) and not descriptor:  # the others are told by a value for good

            def still(value: Any = value, digest: str = inner.digest) -> bool:
                now = self._pickled(value)
                return now is not None and now.digest == digest

            self.checks.add(name, "{0}()", still)

    def _pickled(self, value: Any) -> "Walk | None":
        try:
            parts = value.__reduce_ex__(4)
            if isinstance(parts, tuple):
                parts = tuple(list(p) if k in (3, 4) and p is not None else p for k, p in enumerate(parts))
            return self._apart(parts)
        except Exception:  # it has no pickle
            return None


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that can be given attributes


def _numbers_digest(a: Tensor) -> str:
    """A digest of a tensor's numbers."""
    a = a.detach().cpu().contiguous().resolve_conj().resolve_neg()
    return hashlib.sha256(a.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def _for_operators(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


@functools.cache
def _plain_bases(kind: type) -> bool:
    """Whether instances hold nothing but attributes and what containers hold."""
    known = {object, list, tuple, dict, OrderedDict, set, frozenset, types.MappingProxyType}
    return all(base in known or base.__flags__ & _HEAP for base in kind.__mro__)

"""The part of a walk that is about data: tensors, modules of torch, containers, and whatever other objects."""

import functools
import hashlib
import types
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from rnnzoo.kernels.fingerprint.libraries import installed_module
from rnnzoo.kernels.fingerprint.opaque import number_of
from rnnzoo.kernels.fingerprint.visitor import HEAP, Visitor

MEMORY = "_fingerprints"  # the attribute that a cell's fingerprints are remembered by

_MODULE = frozenset(vars(nn.Module())) - {"training"} | {MEMORY}  # what every module has
_HOOKS = tuple(sorted(k for k in _MODULE if "forward" in k and k.endswith(("hooks", "kwargs"))))


class Objects(Visitor):
    """Methods for tensors, modules of torch, containers and other objects."""

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

    def _apart(self, value: Any) -> Self:
        inner = type(self)(self.live)
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
        descriptor = hasattr(kind, "__get__") and not kind.__flags__ & HEAP
        if kind.__hash__ in (None, object.__hash__) and not descriptor:  # the others are told by a value for good

            def still(value: Any = value, digest: str = inner.digest) -> bool:
                now = self._pickled(value)
                return now is not None and now.digest == digest

            self.checks.add(name, "{0}()", still)

    def _pickled(self, value: Any) -> Self | None:
        try:
            parts = value.__reduce_ex__(4)
            if isinstance(parts, tuple):
                parts = tuple(list(p) if k in (3, 4) and p is not None else p for k, p in enumerate(parts))
            return self._apart(parts)
        except Exception:  # it has no pickle
            return None


def _numbers_digest(a: Tensor) -> str:
    """A digest of a tensor's numbers."""
    a = a.detach().cpu().contiguous().resolve_conj().resolve_neg()
    return hashlib.sha256(a.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


@functools.cache
def _plain_bases(kind: type) -> bool:
    """Whether instances hold nothing but attributes and what containers hold."""
    known = {object, list, tuple, dict, OrderedDict, set, frozenset, types.MappingProxyType}
    return all(base in known or base.__flags__ & HEAP for base in kind.__mro__)

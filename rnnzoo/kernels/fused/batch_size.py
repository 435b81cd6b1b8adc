"""What a step does with the batch size that it reads of a tensor's shape.

A trace is made for one batch size and serves them all, so a step may hand the number on as a size of a result, and
nothing else. One that computes with it, or goes another way for it, needs a trace for each: there it reads the size
that the trace is for, while the tensors keep the size that the trace tells the batch axis by.
"""

import builtins
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# functions that take sizes; of those that fill a tensor, by the number of the argument that is no size
_SIZE_NAMES = """
    view reshape expand broadcast_to repeat unflatten narrow __getitem__ new_zeros new_ones new_empty zeros ones empty
    rand randn as_strided split
"""
_SIZES = frozenset(_SIZE_NAMES.split())
_FILLED = {"full": 1, "new_full": 2}


class ReadsBatchSize(Exception):
    """A step whose results depend on the batch size."""


class Rows(int):
    """A multiple of the batch size, as a step reads it of a shape: a number that tells who computes with it, floats
    aside."""

    factor: int
    mode: "BatchSize"

    def __new__(cls, factor: int, mode: "BatchSize") -> "Rows":
        found = super().__new__(cls, factor * mode.read)
        found.factor, found.mode = factor, mode
        return found

    def __mul__(self, other: Any) -> Any:
        return Rows(self.factor * other, self.mode) if type(other) is int else self._used("__mul__", other)

    def __rmul__(self, other: Any) -> Any:
        return self * other if type(other) is int else self._used("__rmul__", other)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows):
            return self.factor == other.factor
        return bool(self._used("__eq__", other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self._used("__hash__"))

    def _used(self, name: str, *others: Any) -> Any:
        self.mode.used = True
        return getattr(int, name)(self, *others)


def _using(name: str) -> Callable[..., Any]:
    return lambda self, *others: self._used(name, *others)


_ARITHMETIC = """
    add radd sub rsub truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow neg pos abs float int bool
    lt le gt ge and rand or ror xor rxor lshift rlshift rshift rrshift invert round trunc floor ceil
"""
for _name in _ARITHMETIC.split():
    setattr(Rows, f"__{_name}__", _using(f"__{_name}__"))


class BatchSize(TorchFunctionMode):
    """Inside, tensors of `batch` rows say that they have `read`; `seen`: whether a step read it, and
    `used`: whether it did more than hand it on.

    `batch` has no divisor in common with another size.
    """

    def __init__(self, batch: int, read: int | None = None):
        super().__init__()
        self.batch, self.read = batch, batch if read is None else read
        self.seen = self.used = False

    def __enter__(self) -> "BatchSize":
        _Len.enter(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _Len.exit()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        found = func(*self._handed_on(name, args), **self._handed_on(name, kwargs or {}))
        if type(found) is int:
            return self.told(found)
        if isinstance(found, tuple) and found and all(type(n) is int for n in found):
            told = tuple(map(self.told, found))
            return torch.Size(told) if isinstance(found, torch.Size) else told
        return found

    def told(self, n: int) -> Any:
        """A number of torch's as the step sees it."""
        if type(n) is not int or not n or n % self.batch:
            return n
        self.seen = True
        return Rows(n // self.batch, self)

    def _handed_on(self, name: str, given: Any) -> Any:
        """Arguments as torch takes them: sizes in tensors' own rows, other numbers as they were read."""
        if isinstance(given, dict):
            return {k: self._given(a, name in _SIZES or k == "size") for k, a in given.items()}
        at = _FILLED.get(name, len(given))  # what fills a tensor is no size
        return tuple(self._given(a, name in _SIZES or (name in _FILLED and k < at)) for k, a in enumerate(given))

    def _given(self, a: Any, size: bool) -> Any:
        if isinstance(a, Rows):
            self.used |= not size
            return a.factor * self.batch if size else int.__int__(a)
        if isinstance(a, slice):
            return slice(*(self._given(n, size) for n in (a.start, a.stop, a.step)))
        if type(a) in (list, tuple, torch.Size):
            parts = [self._given(n, size) for n in a]
            return parts if isinstance(a, list) else tuple(parts)
        return a


class _Len:
    """len(), which makes a plain number of whatever an object answers: while steps are traced, a function that does not
    for the tensors of the thread that traces."""

    plain = staticmethod(builtins.len)
    traced = threading.local()
    lock = threading.Lock()
    count = 0

    @classmethod
    def enter(cls, mode: BatchSize) -> None:
        cls.traced.mode = mode
        with cls.lock:
            cls.count += 1
            builtins.len = _len

    @classmethod
    def exit(cls) -> None:
        cls.traced.mode = None
        with cls.lock:
            cls.count -= 1
            if not cls.count:
                builtins.len = cls.plain


def _len(value: Any) -> int:
    found = _Len.plain(value)
    mode = getattr(_Len.traced, "mode", None)
    return mode.told(found) if mode is not None and isinstance(value, Tensor) else found

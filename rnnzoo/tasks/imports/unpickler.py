"""Pickles and torch files of others, read without running what they hold.

A pickle is a program: it may name any function and have it called. The unpickler here knows a few harmless names by
heart, each with a function of its own, and looks none of them up in a module. Torch's ``weights_only=True`` cannot
read what flair writes: it knows the opcodes of protocol 2 alone.
"""

import io
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnzoo.errors import RnnZooError

INERT = (  # classes of others, of whose objects the state alone is kept
    "fastcore.foundation.L",
    "flair.data.Dictionary",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
)


class Record:
    """An object of another library: what it was made from, and its state. It does nothing.

    Args:
        args: what its class was called with.
    """

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Refused(pickle.UnpicklingError):
    """A pickle names something that is not known to be harmless."""


class _Known:
    """A harmless function; a pickle can call it, and change nothing about it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused(f"an assignment to {name!r} of a function")


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A tensor without hooks and metadata; torch checks that it lies within its storage."""
    return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as protocol 2 has them."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"_codecs.encode by {encoding!r}")
    return text.encode("latin-1")


def _counter(kind: Any = None) -> defaultdict[Any, int]:
    return defaultdict(int)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda *_: "cpu",
    "collections.OrderedDict": lambda items=(): OrderedDict(items),
    "collections.defaultdict": _counter,
    "builtins.int": lambda *_: 0,
    "builtins.set": lambda items=(): set(items),
    "_codecs.encode": _encoded,
}


class HarmlessUnpickler(pickle.Unpickler):
    """Reads numbers, text, containers and torch's tensors; anything else that a pickle names is refused.

    Raises:
        Refused: with the name.
    """

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, **{"encoding": "utf-8", **options})
        self._names: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"  # protocol 2 has Python 2's names
        if full not in self._names:
            if full in INERT:
                # one of this file's own: whatever a pickle does to it is gone with it
                self._names[full] = type(name, (Record,), {"name": full})
            elif full in _FUNCTIONS:
                self._names[full] = _Known(_FUNCTIONS[full])
            else:
                raise Refused(f"{full!r}")
        return self._names[full]


class _Pickles:
    """What ``torch.load`` takes for a module that reads pickles."""

    Unpickler = HarmlessUnpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return HarmlessUnpickler(file, **options).load()


def read_pickle(content: bytes, name: str) -> Any:
    """What a plain pickle holds.

    Args:
        content: the file's.
        name: what messages call it.

    Raises:
        RnnZooError: it names something that is not known to be harmless, is truncated, or no pickle.
    """
    return _read(lambda: HarmlessUnpickler(io.BytesIO(content)).load(), name, "no pickle")


def read_torch(content: bytes, name: str) -> Any:
    """What ``torch.save`` wrote, in its zip format or the one before, on the CPU.

    Args:
        content: the file's.
        name: what messages call it.

    Raises:
        RnnZooError: it names something that is not known to be harmless, is truncated, or no file of torch.
    """
    if content[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                programs = [one for one in archive.namelist() if one.endswith("constants.pkl")]
        except zipfile.BadZipFile as error:
            raise _unreadable(name, "no file of torch", error) from error
        if programs:
            raise RnnZooError(f"{name!r} is a TorchScript program, which is code: give a file of weights")
    file = io.BytesIO(content)  # not the file itself, of which torch would try to unpack a tar archive
    pickles: Any = _Pickles
    return _read(
        lambda: torch.load(file, map_location="cpu", pickle_module=pickles, weights_only=False),
        name,
        "no file of torch",
    )


def read_bytes(path: Path) -> bytes:
    """The content of a file of weights.

    Raises:
        RnnZooError: there is none, or it cannot be read.
    """
    if not path.exists():
        raise RnnZooError(f"{str(path)!r} does not exist; give a file of weights, or the folder of a model")
    if path.is_dir():
        raise RnnZooError(f"{str(path)!r} is a folder; give a file of weights")
    try:
        return path.read_bytes()
    except OSError as error:
        raise RnnZooError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def _read(read: Callable[[], Any], name: str, kind: str) -> Any:
    try:
        return read()
    except Refused as error:
        raise RnnZooError(
            f"{name!r} is refused: it names {error}, and nothing in it is run; only tensors, numbers, text and"
            " containers of them are read"
        ) from error
    except Exception as error:  # both raise a dozen kinds for a file that is not, or is no longer, one of theirs
        raise _unreadable(name, kind, error) from error


def _unreadable(name: str, kind: str, error: Exception) -> RnnZooError:
    reason = str(error).splitlines()[0].split(". ")[0][:120] if str(error) else type(error).__name__
    return RnnZooError(f"{name!r} cannot be read: truncated, or {kind} ({reason})")

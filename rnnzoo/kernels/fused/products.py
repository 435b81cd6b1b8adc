"""Products of rows with matrices, by gemm.c: compiled once per dtype, called by every cell's loops and after them."""

import ctypes
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnzoo.kernels.fused.build import BuildError, library, processor
from rnnzoo.kernels.fused.gradients import Outer
from rnnzoo.kernels.fused.memory import BLOCKS

_ALIGNED = 64  # bytes, of packed matrices


_LONG, _ADDRESS, _INT = ctypes.c_long, ctypes.c_void_p, ctypes.c_int
_SIZES = {"panels": 1, "panel_bytes": 1, "outer_bytes": 3}  # functions from so many whole numbers to one
_PRODUCTS: dict[str, list[Any]] = {  # what the others take
    "gemm_all": [_LONG, _ADDRESS, _LONG, _ADDRESS, _LONG, _ADDRESS, _LONG, _INT],
    "outer": [*[_LONG] * 4, *[_ADDRESS, _LONG] * 2, *[_ADDRESS] * 4, _INT],
}

_FOLDER = Path(__file__).parent
WEIGHT = (_FOLDER / "weight.h").read_text()


class Weight(ctypes.Structure):
    """A matrix, and what multiplies by it, as weight.h has it."""

    _fields_ = (
        ("w", ctypes.c_void_p),
        ("n", ctypes.c_long),
        ("k", ctypes.c_long),
        ("ld", ctypes.c_long),
        ("turned", ctypes.c_long),
        ("packed", ctypes.c_void_p),
        ("panels", ctypes.c_void_p),
        ("pack", ctypes.c_void_p),
        ("gemm", ctypes.c_void_p),
    )


class Products:
    """gemm.c in one dtype, or where `narrow` gemm_tiles.c: what is multiplied is rounded to bfloat16."""

    def __init__(self, dtype: torch.dtype, narrow: bool):
        real, lane = ("double", "long long") if dtype == torch.float64 else ("float", "int")
        files = ("gemm.h", "gemm_tiles.c" if narrow else "gemm.c", "gemm_all.c")
        source = "".join((_FOLDER / name).read_text() for name in files)
        self.dtype, self.narrow = dtype, narrow
        self.lib = library(
            f"typedef {real} real;\ntypedef {lane} lane;\n#define REAL {dtype.itemsize}\n{WEIGHT}{source}"
        )
        for name, taken in (_PRODUCTS | {name: [_LONG] * n for name, n in _SIZES.items()}).items():
            function = getattr(self.lib, name)
            function.argtypes, function.restype = taken, _LONG if name in _SIZES else None
        self._packed: dict[tuple[int, int], int] = {}
        if narrow and self.lib.permitted() != 0:  # without it their first instruction would end the process
            raise BuildError("the system does not let this process use tiles of bfloat16 (AMX)")
        own = (getattr(self.lib, name) for name in ("panels", "pack", "gemm"))
        self.functions = [ctypes.cast(f, ctypes.c_void_p).value for f in own]

    @staticmethod
    @cache
    def of(dtype: torch.dtype, narrow: bool = False) -> "Products":
        """The one of a dtype; compiled at the first call, unless the cache has it."""
        return Products(dtype, narrow)

    def weight(self, m: Tensor, turned: bool) -> tuple[Weight, tuple[Tensor, ...]]:
        """`m`, or its transpose, as C takes it, and the tensors that must live as long."""
        if not m.is_contiguous():
            if m.t().is_contiguous():
                m, turned = m.t(), not turned
            m = m.contiguous()
        rows, columns = m.shape
        k, n = (columns, rows) if turned else (rows, columns)
        room, address = _room(self._packed_bytes(k, n))
        return Weight(m.data_ptr(), n, k, columns, turned, address, *self.functions), (m, room)

    def _packed_bytes(self, k: int, n: int) -> int:
        """The room that a matrix (k, n) takes when it is laid out."""
        if (k, n) not in self._packed:
            self._packed[k, n] = self.lib.panels(n) * self.lib.panel_bytes(k)
        return self._packed[k, n]

    def all_rows(self, a: Tensor, m: Tensor, turned: bool, out: Tensor, *, add: bool) -> None:
        """Writes a @ m, or a @ mᵀ where it is turned, to `out`, or adds it; rows may lie apart."""
        w, _alive = self.weight(m, turned)
        self.lib.gemm_all(
            torch.get_num_threads(),
            ctypes.byref(w),
            len(a),
            a.data_ptr(),
            a.stride(0),
            out.data_ptr(),
            out.stride(0),
            add,
        )

    def outer(self, pieces: list[tuple[Tensor, Tensor]], sums: tuple[bool, bool]) -> Outer:
        """The sum over pieces of leftᵀ @ right, of (N, P) and (N, Q), and where asked for the sums of their rows."""
        P, Q = pieces[0][0].shape[1], pieces[0][1].shape[1]
        out = torch.empty(P, Q, dtype=self.dtype)
        totals = [torch.empty(n, dtype=self.dtype) if there else None for n, there in zip((P, Q), sums, strict=True)]
        threads = torch.get_num_threads()
        _alive, room = _room(self.lib.outer_bytes(threads, P, Q))
        addresses = [out.data_ptr(), *(None if total is None else total.data_ptr() for total in totals), room]
        for k, (left, right) in enumerate(pieces):
            rows = left.data_ptr(), left.stride(0), right.data_ptr(), right.stride(0)
            self.lib.outer(threads, len(left), P, Q, *rows, *addresses, k > 0)
        return out, totals


@cache
def in_tiles() -> bool:
    """Whether this processor multiplies bfloat16 in tiles (AMX), and the system lets it; elsewhere it is no faster."""
    if not {"amx_bf16", "avx512_bf16"} <= set(processor().split()):
        return False
    try:
        Products.of(torch.float32, narrow=True)
    except BuildError:  # a compiler that does not know them, or a system that keeps none
        return False
    return True


@cache
def why_no_compiler() -> str | None:
    """The reason why nothing can be compiled here, or None; warns of it once a process, for loops are slow."""
    try:
        Products.of(torch.float32)
    except BuildError as error:
        warnings.warn(f"kernel 'fused' is left out, and loops are slower: {error}", stacklevel=2)
        return str(error)
    return None


def _room(size: int) -> tuple[Tensor, int]:
    """Memory, and the first address in it that is aligned."""
    room = BLOCKS.empty((size + _ALIGNED,), torch.uint8)
    return room, room.data_ptr() + -room.data_ptr() % _ALIGNED

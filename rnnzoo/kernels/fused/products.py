"""Products of rows with matrices, by gemm.c: compiled once per dtype, called by every cell's loops and after them."""

import ctypes
import warnings
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rnnzoo.kernels.fused.build import BuildError, library, processor
from rnnzoo.kernels.fused.gradients import Outer
from rnnzoo.kernels.fused.memory import BLOCKS

_ALIGNED = 64  # bytes, of packed matrices


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
        for name in ("panels", "panel_bytes", "outer_bytes"):
            getattr(self.lib, name).restype = ctypes.c_long
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
        if not m.is_contiguous() and m.t().is_contiguous():
            m, turned = m.t(), not turned
        m = m.contiguous()
        k, n = m.shape[::-1] if turned else m.shape
        size = self.lib.panels(ctypes.c_long(n)) * self.lib.panel_bytes(ctypes.c_long(k))
        room, address = _room(size)
        return Weight(m.data_ptr(), n, k, m.shape[1], turned, address, *self.functions), (m, room)

    def all_rows(self, a: Tensor, m: Tensor, turned: bool, out: Tensor, *, add: bool) -> None:
        """Writes a @ m, or a @ mᵀ where it is turned, to `out`, or adds it; rows may lie apart."""
        w, _alive = self.weight(m, turned)
        self.lib.gemm_all(
            ctypes.c_long(torch.get_num_threads()),
            ctypes.byref(w),
            ctypes.c_long(len(a)),
            ctypes.c_void_p(a.data_ptr()),
            ctypes.c_long(a.stride(0)),
            ctypes.c_void_p(out.data_ptr()),
            ctypes.c_long(out.stride(0)),
            ctypes.c_int(add),
        )

    def outer(self, pieces: list[tuple[Tensor, Tensor]], sums: tuple[bool, bool]) -> Outer:
        """The sum over pieces of leftᵀ @ right, of (N, P) and (N, Q), and where asked for the sums of their rows."""
        P, Q = pieces[0][0].shape[1], pieces[0][1].shape[1]
        out = torch.empty(P, Q, dtype=self.dtype)
        totals = [torch.empty(n, dtype=self.dtype) if there else None for n, there in zip((P, Q), sums, strict=True)]
        threads = ctypes.c_long(torch.get_num_threads())
        _alive, address = _room(self.lib.outer_bytes(threads, ctypes.c_long(P), ctypes.c_long(Q)))
        for k, (left, right) in enumerate(pieces):
            self.lib.outer(
                threads,
                ctypes.c_long(len(left)),
                ctypes.c_long(P),
                ctypes.c_long(Q),
                ctypes.c_void_p(left.data_ptr()),
                ctypes.c_long(left.stride(0)),
                ctypes.c_void_p(right.data_ptr()),
                ctypes.c_long(right.stride(0)),
                ctypes.c_void_p(out.data_ptr()),
                *(ctypes.c_void_p(None if total is None else total.data_ptr()) for total in totals),
                ctypes.c_void_p(address),
                ctypes.c_int(k > 0),
            )
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
    room = BLOCKS.empty(size + _ALIGNED, torch.uint8)
    return room, room.data_ptr() + -room.data_ptr() % _ALIGNED

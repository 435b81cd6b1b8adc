"""The linear scan on a GPU: h_t = a_t h_{t-1} + b_t and its gradient, accumulated in float32 at least."""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from rnnzoo.kernels.triton import scan_kernels

_CHUNK, _BLOCK = 32, 32  # steps and columns of a tile


def forward(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """h (T, B, H) of a and b (T, B, H) and h0 (B, H)."""
    a, b, h0 = a.contiguous(), b.contiguous(), h0.contiguous()
    h = torch.empty_like(b)
    with _on(a.device):
        scan_kernels.forward[(triton.cdiv(h0.numel(), _BLOCK),)](a, b, h0, h, len(a), h0.numel(), **_options(a.dtype))
    return h


def backward(a: Tensor, h: Tensor, h0: Tensor, dh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a, b and h0, by that of h."""
    a, h, h0, dh = a.contiguous(), h.contiguous(), h0.contiguous(), dh.contiguous()
    da, db, dh0 = torch.empty_like(a), torch.empty_like(h), torch.empty_like(h0)
    with _on(a.device):
        scan_kernels.backward[(triton.cdiv(h0.numel(), _BLOCK),)](
            a, h, h0, dh, da, db, dh0, len(a), h0.numel(), **_options(a.dtype)
        )
    return da, db, dh0


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _options(dtype: torch.dtype) -> dict[str, object]:
    return {"REAL": tl.float64 if dtype == torch.float64 else tl.float32, "CHUNK": _CHUNK, "BLOCK": _BLOCK}

"""Whether Triton is there and works, found out without importing it until it is needed."""

import importlib.util
import os
from functools import cache

import torch


@cache
def installed() -> bool:
    """Whether Triton can be found."""
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    """Whether Triton runs in its interpreter, which takes tensors on a CPU; it reads this when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def why_not_device(device: torch.device) -> str | None:
    """The reason why Triton cannot compile for `device` (it needs a C compiler, and a GPU that it knows), or None."""
    try:
        from rnnzoo.kernels.triton.scan import forward

        with torch.no_grad():
            one = torch.ones(1, 1, device=device)
            forward(one[None], one[None], one)
    except Exception as error:  # of whatever kind a compiler's or a driver's is
        return f"triton fails on {device}: {str(error).strip().split(chr(10))[0] or type(error).__name__}"
    return None

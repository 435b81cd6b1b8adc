"""What a call stands in: transforms of torch.func, and derivatives in forward mode, which few kernels have."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from rnnzoo.kernels.base import Work
from rnnzoo.kernels.transforms import transforms

_NO_RULE = "it runs in no transform of torch.func"
_NO_FORWARD = "it has no derivatives in forward mode"


def why_no_transform(work: Work) -> str | None:
    """The reason why a kernel that knows the backward alone cannot run `work` here, or None."""
    if transforms():
        return _NO_RULE
    return _NO_FORWARD if in_forward_mode(work) else None


def in_forward_mode(work: Work) -> bool:
    """Whether something that `work` reads has a tangent of torch.autograd.forward_ad."""
    if forward_ad._current_level < 0:
        return False
    if torch.compiler.is_compiling():
        return True  # where a level is open, it may
    given = tree_leaves((work.x, work.hx, work.inputs, list(work.own)))
    weights = (a for cell in work.cells for group in (cell.parameters(), cell.buffers()) for a in group)
    return any(isinstance(a, Tensor) and is_dual(a) for a in (*given, *weights))


def is_dual(a: Tensor) -> bool:
    """Whether a tensor has a tangent."""
    return forward_ad.unpack_dual(a).tangent is not None

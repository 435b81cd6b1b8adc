"""What a call stands in: transforms of torch.func, and derivatives in forward mode, which few kernels have."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from rnnzoo.kernels.base import Work

_NO_RULE = "it runs in no transform of torch.func"
_NO_FORWARD = "it has no derivatives in forward mode"


def why_no_transform(work: Work) -> str | None:
    """The reason why a kernel that knows the backward alone cannot run `work` here, or None."""
    if transforms():
        return _NO_RULE
    return _NO_FORWARD if in_forward_mode(work) else None


def transforms() -> tuple[str, ...]:
    """The transforms of torch.func around this call, the outermost first: "Vmap", "Grad", "Jvp", "Functionalize".

    What torch.compile is tracing it is asked for once, and torch sees to it that it holds when it runs.
    """
    stack = torch._C._functorch.get_interpreter_stack()
    return tuple(level.key().name for level in stack) if stack else ()


transforms._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo


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

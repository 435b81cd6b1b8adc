"""The cross-entropy of a linear head, of which the logits of a few rows are in memory at a time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo.data.streams import IGNORED

_LOGITS = 1 << 22  # numbers at a time; of fewer, adding up the gradient of the weights takes longer


def linear_cross_entropy(y: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """The sum of ``F.cross_entropy(F.linear(y, weight, bias), targets)`` in nats, its logits never whole.

    The gradient is made together with the sum, while a row's logits are at hand, so that each is read once from memory.
    It can be taken once.

    Args:
        y: (N, H).
        weight: (V, H).
        bias: (V,).
        targets: (N,) int64; -100 for a row that counts for nothing.
    """
    total: Tensor = _LinearCrossEntropy.apply(y, weight, bias, targets)
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        learns = ctx.needs_input_grad
        rows = max(1, _LOGITS // len(weight))
        total = y.new_zeros((), dtype=torch.float32 if y.dtype != torch.float64 else torch.float64)
        dy = torch.empty_like(y) if learns[0] else None
        dw = torch.zeros_like(weight) if learns[1] else None
        db = torch.zeros_like(bias) if bias is not None and learns[2] else None
        for at in range(0, len(y), rows):
            own, wanted = y[at : at + rows], targets[at : at + rows]
            there = wanted != IGNORED
            wanted = wanted.where(there, 0)[:, None]
            logits = F.linear(own, weight, bias)
            picked = logits.gather(1, wanted)
            log_sum = logits.logsumexp(1, keepdim=True)
            total += (log_sum - picked)[:, 0][there].sum(dtype=total.dtype)
            if dy is None and dw is None and db is None:
                continue
            # the gradient of the logits, in their own place
            logits.sub_(log_sum).exp_().scatter_add_(1, wanted, logits.new_full(wanted.shape, -1))
            logits.mul_(there[:, None])
            if dy is not None:
                torch.mm(logits, weight, out=dy[at : at + rows])
            if dw is not None:
                dw.addmm_(logits.T, own)
            if db is not None:
                db += logits.sum(0)
        ctx.save_for_backward(*(g for g in (dy, dw, db) if g is not None))
        ctx.learns = [g is not None for g in (dy, dw, db)]
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept = iter(ctx.saved_tensors)
        return (*(next(kept) * grad if learns else None for learns in ctx.learns), None)

"""What makes logits, and losses, of a language model's outputs: a linear head, or an adaptive softmax."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import above_zero
from rnnzoo.data.streams import IGNORED
from rnnzoo.errors import RnnZooError
from rnnzoo.models.linear_cross_entropy import linear_cross_entropy

_MANY = 1 << 12  # tokens; of fewer the logits are no burden


class AdaptiveHead(nn.Module):
    """Grave et al. 2017: the frequent tokens by one softmax, clusters of rarer ones by smaller ones behind it.

    Args:
        input_size: H, of the outputs.
        outputs: V tokens, the frequent ones first.
        cutoffs: where the clusters end, rising, each from 1 to V - 2; the last one ends at V.

    Raises:
        RnnZooError: cutoffs that are not.
    """

    def __init__(self, input_size: int, outputs: int, cutoffs: Sequence[int]):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs or cutoffs != sorted(set(cutoffs)) or not 0 < cutoffs[0] <= cutoffs[-1] < outputs - 1:
            raise RnnZooError(
                f"adaptive_softmax={cutoffs} must rise from 1 at least to {outputs - 2:,} at most: the vocabulary has"
                f" {outputs:,} tokens"
            )
        small = input_size // 4 ** len(cutoffs)
        if not small:
            raise RnnZooError(
                f"adaptive_softmax={cutoffs}: each cluster reads a quarter of the features of the one before it, and"
                f" {input_size} are too few for {len(cutoffs)} clusters"
            )
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(input_size, outputs, cutoffs)

    def forward(self, y: Tensor) -> Tensor:
        """The log-probabilities (..., V) of y (..., H)."""
        with torch.autocast(y.device.type, enabled=False):
            return self.softmax.log_prob(self._whole(y).flatten(0, -2)).view(*y.shape[:-1], -1)

    def nats(self, y: Tensor, targets: Tensor) -> Tensor:
        """-ln p of the targets (N,) after y (N, H); 0 where there is none."""
        with torch.autocast(y.device.type, enabled=False):
            return self._nats(self._whole(y), targets)

    def _whole(self, y: Tensor) -> Tensor:
        """y in the precision of the weights: under autocast torch's adaptive softmax mixes two, and fails."""
        return y.to(self.softmax.head.weight.dtype)

    def _nats(self, y: Tensor, targets: Tensor) -> Tensor:
        there = targets != IGNORED
        if there.all():
            nats = -self.softmax(y, targets).output
        else:
            nats = y.new_zeros(len(y))
            if there.any():
                nats = nats.masked_scatter(there, -self.softmax(y[there], targets[there]).output.to(nats.dtype))
        return nats + self._of_the_others(y, targets) if torch.is_grad_enabled() else nats

    def _of_the_others(self, y: Tensor, targets: Tensor) -> Tensor:
        """Zero, with a gradient of zero for what no target is in: each of several processes must have all of them."""
        zero = y.sum() * 0
        for (low, high), cluster in zip(pairwise(self.softmax.cutoffs), self.softmax.tail, strict=True):
            if not ((targets >= low) & (targets < high)).any():
                zero = zero + sum(p.sum() * 0 for p in cluster.parameters())
        return zero if (targets >= 0).any() else zero + sum(p.sum() * 0 for p in self.softmax.head.parameters())


class CappedLinear(nn.Linear):
    """A linear head whose logits are soft-capped: cap tanh(logits / cap) (Gemma Team 2024).

    Args:
        input_size: H.
        outputs: V.
        cap: the largest logit; above 0.
    """

    def __init__(self, input_size: int, outputs: int, cap: float):
        super().__init__(input_size, outputs)
        self.cap = above_zero("logit_cap", cap)

    def forward(self, y: Tensor) -> Tensor:
        """The logits (..., V) of y (..., H)."""
        return self.cap * (super().forward(y) / self.cap).tanh()


def head_nats(head: nn.Module, y: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """-ln p of each target, (B * T,), 0 where there is none, or their sum; in float32 at least.

    Args:
        head: an AdaptiveHead, or what makes logits (B, T, V).
        y: (B, T, H).
        targets: (B, T) int64; -100 where there is none.
        reduction: "none" or "sum".
    """
    if isinstance(head, AdaptiveHead):
        nats = head.nats(y.flatten(0, 1), targets.flatten()).float()
        return nats.sum() if reduction == "sum" else nats
    if reduction == "sum" and type(head) is nn.Linear and head.out_features >= _MANY and _plain(y):
        return linear_cross_entropy(y.flatten(0, 1), head.weight, head.bias, targets.flatten())
    logits = head(y)
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction=reduction)


def _plain(y: Tensor) -> bool:
    """Whether products are in the precision of their factors, and nothing looks into them."""
    return y.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()

"""Dropout of language models: of whole words, and of the same units at all steps."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.errors import RnnZooError


class LockedDropout(nn.Module):
    """Dropout whose mask is one for all steps of a sequence (Gal & Ghahramani 2016, "variational").

    Args:
        p: in [0, 1).
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, H), with some of the H of each sequence at zero in training."""
        if not (self.training and self.p):
            return x
        return x * F.dropout(x.new_ones(len(x), 1, x.shape[-1]), self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class WordDropout(nn.Embedding):
    """An embedding that in training drops whole words: every occurrence in a batch (Gal & Ghahramani 2016).

    Args:
        num_embeddings, embedding_dim: as of ``nn.Embedding``.
        p: of a word; in [0, 1).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, p: float, **options: Any):
        super().__init__(num_embeddings, embedding_dim, **options)
        self.p = p

    def forward(self, tokens: Tensor) -> Tensor:
        x = super().forward(tokens)
        if not (self.training and self.p):
            return x
        words, place = tokens.unique(return_inverse=True)  # a mask of the whole vocabulary may be far larger
        return x * F.dropout(x.new_ones(len(words)), self.p)[place][..., None]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"


def check_probability(name: str, p: float) -> float:
    """p, a probability of dropout.

    Raises:
        RnnZooError: it is outside [0, 1).
    """
    if not 0 <= p < 1:
        raise RnnZooError(f"{name} must be in [0, 1), not {p}")
    return p


def activation_penalty(y: Tensor, dropped: Tensor, activation: float, temporal: float) -> Tensor:
    """AR and TAR of Merity, McCann & Socher 2017: what keeps the outputs of the last layer small and slow.

    ::

        activation mean(dropped²) + temporal mean((y_t - y_{t-1})²)

    Args:
        y: (B, T, H), of the last layer.
        dropped: the same after dropout.
        activation: α.
        temporal: β; of a single step there is none.
    """
    penalty = y.new_zeros(())
    if activation:
        penalty = penalty + activation * dropped.square().mean()
    if temporal and y.shape[1] > 1:
        penalty = penalty + temporal * (y[:, 1:] - y[:, :-1]).square().mean()
    return penalty

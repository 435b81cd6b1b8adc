"""A trigram model: interpolated modified Kneser-Ney smoothing."""

from typing import NamedTuple

import numpy as np

from rnnzoo.errors import RnnZooError

_LARGEST = 1 << 21  # a trigram is one int64


class KneserNey:
    """Chen & Goodman 1999, modified Kneser-Ney, interpolated, of three tokens::

        p3(w | u v) = (c(uvw) - D(c(uvw))) / Σ_w c(uvw) + γ(uv) p2(w | v)
        p2(w | v)   = the same of N(vw), the number of distinct tokens before vw
        p1(w)       = the same of N(w), the number of distinct tokens before w, over the uniform 1 / V
        D(c)        = D1, D2 or D3 of each order, for a count of 1, of 2, and above
        γ(·)        = what the discounts take away, over the sum of the counts

    A context that was never seen passes all of its mass on.

    Args:
        ids: (N,) integers, the tokens of the training text in their order, as one stream.
        vocabulary_size: V, below 2,097,152.

    Raises:
        RnnZooError: a larger vocabulary, or fewer than three tokens.
    """

    def __init__(self, ids: np.ndarray, vocabulary_size: int):
        if not vocabulary_size < _LARGEST:
            raise RnnZooError(f"the Kneser-Ney trigram takes fewer than {_LARGEST:,} tokens, not {vocabulary_size:,}")
        if len(ids) < 3:
            raise RnnZooError(f"the Kneser-Ney trigram needs a text of three tokens, not {len(ids)}")
        ids, size = np.asarray(ids).astype(np.int64), vocabulary_size
        self.vocabulary_size = size
        trigrams, times = np.unique((ids[:-2] * size + ids[1:-1]) * size + ids[2:], return_counts=True)
        bigrams, before = np.unique(trigrams % size**2, return_counts=True)
        words, earlier = np.unique(np.unique(ids[:-1] * size + ids[1:]) % size, return_counts=True)
        self._orders = [
            _Order.of(words, earlier, size),
            _Order.of(bigrams, before, size),
            _Order.of(trigrams, times, size),
        ]

    def log_prob(self, ids: np.ndarray) -> np.ndarray:
        """ln p of each token of a text but its first, (N - 1,) float64, each after those before it.

        The second token has one before it, and so the bigram's probability.
        """
        ids, size = np.asarray(ids).astype(np.int64), self.vocabulary_size
        one, two, three = self._orders
        p = one.interpolate(ids[1:], np.full(len(ids) - 1, 1 / size))
        p = two.interpolate(ids[:-1] * size + ids[1:], p)
        if len(ids) > 2:
            p[1:] = three.interpolate((ids[:-2] * size + ids[1:-1]) * size + ids[2:], p[1:])
        return np.log(p)


class _Order(NamedTuple):
    """The n-grams of one order, sorted, with the discounted counts of each, and the sums over their contexts."""

    keys: np.ndarray
    discounted: np.ndarray
    contexts: np.ndarray  # sorted
    total: np.ndarray
    left: np.ndarray  # γ, times the total
    size: int

    @classmethod
    def of(cls, keys: np.ndarray, counts: np.ndarray, size: int) -> "_Order":
        discount = discounts(counts)[np.minimum(counts, 3)]
        contexts, group = np.unique(keys // size, return_inverse=True)
        total, left = np.bincount(group, counts), np.bincount(group, discount)
        return cls(keys, counts - discount, contexts, total, left, size)

    def interpolate(self, keys: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """The probability of n-grams, where `lower` is that of the order below."""
        place, seen = _find(self.contexts, keys // self.size)
        own, known = _find(self.keys, keys)
        p = (np.where(known, self.discounted[own], 0.0) + self.left[place] * lower) / self.total[place]
        return np.where(seen, p, lower)


def discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken from a count of 0, 1, 2, and of 3 or more: (4,) float64 (Chen & Goodman 1999, equation 17).

    Y = n_1 / (n_1 + 2 n_2),  D_k = k - (k + 1) Y n_{k+1} / n_k;  n_k n-grams occur k times

    A text so small that no n-gram occurs k times has D_k of k - 1's; each lies in [0, k].
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)[:5].astype(np.float64)
    y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
    taken = np.zeros(4)
    for k in (1, 2, 3):
        taken[k] = min(max(k - (k + 1) * y * n[k + 1] / n[k], 0.0), k) if n[k] else taken[k - 1]
    return taken


def _find(sorted_keys: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `keys` is among the sorted, and whether it is there."""
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return place, sorted_keys[place] == keys

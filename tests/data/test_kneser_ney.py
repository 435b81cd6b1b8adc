"""The modified Kneser-Ney trigram against its definition, word by word, in dictionaries."""

import math
import random
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from rnnzoo import RnnZooError
from rnnzoo.data.baselines.kneser_ney import KneserNey, discounts

V = 120


def text(length=900, seed=0):
    draw = random.Random(seed)
    words = [draw.choices(range(V - 1), weights=[1 / (k + 1) for k in range(V - 1)])[0] for _ in range(length)]
    for k in range(2, length):  # so that what precedes a word says something of it
        if words[k - 1] == 0 and draw.random() < 0.7:
            words[k] = (words[k - 2] + 1) % (V - 1)
    return words  # V - 1 never occurs


class Slow:
    """p(w | context) by recursion over contexts of two, one and no words."""

    def __init__(self, words):
        counts = [Counter(), Counter(), Counter(zip(words, words[1:], words[2:], strict=False))]
        before2, before1 = defaultdict(set), defaultdict(set)
        for u, v, w in counts[2]:
            before2[v, w].add(u)
        for v, w in pairwise(words):
            before1[w,].add(v)
        counts[1] = Counter({gram: len(seen) for gram, seen in before2.items()})
        counts[0] = Counter({gram: len(seen) for gram, seen in before1.items()})
        self.counts, self.d = counts, []
        for order in counts:
            n = [sum(c == k for c in order.values()) for k in range(5)]
            assert all(n[1:]), "a text that is too small to say"
            y = n[1] / (n[1] + 2 * n[2])
            self.d.append([0.0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]])

    def p(self, context, w):
        order = len(context)
        counts, d = self.counts[order], self.d[order]
        followed = [c for gram, c in counts.items() if gram[:-1] == context]
        lower = self.p(context[1:], w) if order else 1 / V
        if not followed:
            return lower
        own = counts[(*context, w)]
        gamma = sum(d[min(c, 3)] for c in followed)
        return (own - d[min(own, 3)] + gamma * lower) / sum(followed)


def test_every_probability_is_that_of_the_definition():
    words, held_out = text(), text(60, seed=1)
    held_out[10], held_out[30] = V - 1, V - 1  # never seen, and a context that was never seen
    slow = Slow(words)
    expected = [math.log(slow.p(tuple(held_out[max(k - 2, 0) : k]), held_out[k])) for k in range(1, 60)]
    fast = KneserNey(np.array(words, np.uint16), V).log_prob(np.array(held_out, np.uint16))
    np.testing.assert_allclose(fast, expected, rtol=1e-12)
    assert len({*np.round(fast, 6)}) > 30


def test_the_probabilities_of_all_words_behind_a_context_sum_to_one():
    model = KneserNey(np.array(text()), V)
    for context in ([0, 1], [3, 0], [7, 7], [V - 1, 2], [2, V - 1]):
        p = [math.exp(model.log_prob(np.array([*context, w]))[1]) for w in range(V)]
        assert sum(p) == pytest.approx(1, abs=1e-12)
        assert min(p) > 0


def test_the_discounts_are_chen_and_goodmans():
    counts = np.array([1] * 10 + [2] * 4 + [3] * 3 + [4] * 2 + [9])  # Y = 10 / 18
    expected = [0, 1 - 2 * (10 / 18) * 4 / 10, 2 - 3 * (10 / 18) * 3 / 4, 3 - 4 * (10 / 18) * 2 / 3]
    np.testing.assert_allclose(discounts(counts), expected)


@pytest.mark.parametrize("counts", [[1], [1, 1], [2, 2, 5], [7], [1, 2, 3], [3, 4, 4, 4, 4]])
def test_where_a_text_is_too_small_to_say_the_discounts_lie_in_their_range(counts):
    taken = discounts(np.array(counts))
    assert all(0 <= taken[k] <= k for k in range(4))


def test_a_text_of_one_word_and_a_vocabulary_that_is_too_large_are_named():
    with pytest.raises(RnnZooError, match="a text of three tokens, not 2"):
        KneserNey(np.array([1, 2]), V)
    with pytest.raises(RnnZooError, match="fewer than 2,097,152 tokens, not 3,000,000"):
        KneserNey(np.array([1, 2, 3]), 3_000_000)
    assert np.isfinite(KneserNey(np.array([1, 2, 3]), V).log_prob(np.arange(V))).all()

"""Beam search: the best of a few targets that are kept at every step, for several sources at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from rnnzoo.cells.contract import at_least_one, between

# (tokens (N,), state) -> log-probabilities (N, V) of the next token, the new state, attention weights (N, S) or None
Step = Callable[[Tensor, Any], tuple[Tensor, Any, Tensor | None]]


class Hypothesis(NamedTuple):
    """A target that was found: its tokens without the end, their log-probability with it, in nats, and the score."""

    tokens: list[int]
    log_probability: float
    score: float


def rows_of(state: Any, rows: Tensor, axis: int = 0) -> Any:
    """The rows of every tensor of a state, along `axis`: 1 for those of an RNN."""
    return tree_map_only(Tensor, lambda a: a.index_select(axis, rows), state)


def length_penalty(length: Tensor, alpha: float) -> Tensor:
    """What a log-probability is divided by: ((5 + length) / 6)^alpha (Wu et al. 2016); the end counts."""
    return ((5 + length) / 6) ** alpha


def coverage_penalty(coverage: Tensor, mask: Tensor, beta: float) -> Tensor:
    """What is added to a score: beta Σ_s ln min(Σ_t a_ts, 1) over the source's steps (Wu et al. 2016), (...,).

    Args:
        coverage: (..., S), the sums of the attention's weights.
        mask: (..., S) bool, where there is a step.
        beta: 0 for none.
    """
    tiny = torch.finfo(coverage.dtype).tiny
    return beta * coverage.clamp(tiny, 1.0).log().masked_fill(~mask, 0.0).sum(-1)


def beam_search(
    step: Step,
    state: Any,
    begin: Tensor,
    *,
    end: int,
    limits: Tensor,
    select: Callable[[Any, Tensor], Any],
    beam: int = 4,
    alpha: float = 0.0,
    beta: float = 0.0,
    mask: Tensor | None = None,
) -> list[Hypothesis]:
    """The target of the best score that is found for each of B sources.

    At every step the `beam` most likely continuations of all that is kept stay (Sutskever et al. 2014); one that ends
    leaves its place empty. So a beam of 1 takes the most likely token at every step, and one as wide as there are
    targets finds the best of them all. Of those that ended the one of the best score is the answer::

        score = ln p / ((5 + length) / 6)^alpha + beta Σ_s ln min(Σ_t a_ts, 1)

    and where none has ended within its limit the best of those that have not.

    Args:
        step: the model.
        state: what the model starts from, B * beam rows of it: each source's `beam` times, one behind the other.
        begin: (B,) int64, the token that begins a target.
        end: the token that ends one.
        limits: (B,) int64, how many tokens of a target there are at most, with its end; at least 1.
        select: the rows (N,) of a state.
        beam: how many are kept.
        alpha: of the length penalty; 0 for none.
        beta: of the coverage penalty; 0 for none.
        mask: (B, S) bool, where a source has a step; for the coverage penalty.

    Raises:
        RnnZooError: a beam below 1, or penalties out of range.
    """
    at_least_one("beam", beam)
    between("length_penalty", alpha, 0)
    between("coverage_penalty", beta, 0)
    B, device = len(begin), begin.device
    places = torch.arange(beam, device=device)
    first = torch.arange(B, device=device)[:, None] * beam  # of each source's rows
    tokens = begin.repeat_interleave(beam)
    log_p = torch.where(places == 0, 0.0, -torch.inf).expand(B, beam)  # all are the same at first
    sequences = torch.empty(B, beam, 0, dtype=torch.int64, device=device)
    covered = None if mask is None or not beta else torch.zeros(B, beam, mask.shape[1], device=device)
    ended = torch.zeros(B, 1, dtype=torch.int64, device=device)
    found, cut = _Best(B), _Best(B)
    for t in range(1, int(limits.max()) + 1):
        log_probs, state, weights = step(tokens, state)
        V = log_probs.shape[-1]
        log_p, chosen = (log_p[..., None] + log_probs.view(B, beam, V)).flatten(1).topk(beam)
        log_p = log_p.masked_fill(places >= beam - ended, -torch.inf)  # the places of those that ended
        parent, last = chosen // V, chosen % V
        sequences = torch.cat([_of(sequences, parent), last[..., None]], -1)
        score = log_p / length_penalty(torch.tensor(float(t), device=device), alpha)
        if covered is not None and mask is not None and weights is not None:
            covered = _of(covered + weights.float().view_as(covered), parent)
            score = score + coverage_penalty(covered, mask[:, None], beta)
        there, done, over = log_p > -torch.inf, last == end, (t >= limits)[:, None]
        found.take(sequences[..., :-1], log_p, score, there & done)
        cut.take(sequences, log_p, score, there & over & ~done)
        ended = ended + (there & done).sum(1, keepdim=True)
        # no continuation of what is so unlikely already can be better than what was found
        hopeless = log_p / length_penalty(limits.float(), alpha)[:, None] < found.scores.to(log_p)[:, None]
        log_p = log_p.masked_fill(done | over | hopeless, -torch.inf)
        if not (log_p > -torch.inf).any():
            break
        tokens, state = last.flatten(), select(state, (first + parent).flatten())
    return [a or b or Hypothesis([], -torch.inf, -torch.inf) for a, b in zip(found.best, cut.best, strict=True)]


class _Best:
    """The best hypothesis of each source so far."""

    def __init__(self, sources: int):
        self.best: list[Hypothesis | None] = [None] * sources
        self.scores = torch.full((sources,), -torch.inf, dtype=torch.float64)

    def take(self, sequences: Tensor, log_p: Tensor, score: Tensor, which: Tensor) -> None:
        """Those of `which` (B, beam) that are better, of sequences (B, beam, t)."""
        if not which.any():
            return
        top, k = score.masked_fill(~which, -torch.inf).double().cpu().max(1)
        for b in (top > self.scores).nonzero()[:, 0].tolist():
            self.best[b] = Hypothesis(sequences[b, k[b]].tolist(), float(log_p[b, k[b]]), float(top[b]))
        self.scores = self.scores.maximum(top)


def _of(kept: Tensor, parent: Tensor) -> Tensor:
    """What the parents (B, beam) had, of `kept` (B, beam, ...)."""
    return kept.gather(1, parent[..., None].expand_as(kept))

"""Attention over the steps of a source: which of them a step of the target looks at."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import at_least_one
from rnnzoo.errors import RnnZooError, did_you_mean


class Attention(nn.Module):
    """The base of the attentions: a score of every source step for every query, a softmax, and a weighted sum.

    ::

        a_ts = softmax over s of score(q_t, m_s)        s within the source's length
        context_t = Σ_s a_ts m_s

    B sequences, T queries of Q features, S source steps of E features, K features of a key.

    Args:
        query_size: Q.
        memory_size: E.
        coverage: whether scores read how much each source step was looked at before, where the kind can.

    Raises:
        RnnZooError: sizes, or a coverage, that the kind cannot take.
    """

    reads_coverage: ClassVar[bool] = False

    def __init__(self, query_size: int, memory_size: int, *, coverage: bool = False):
        super().__init__()
        self.query_size = at_least_one("query_size", query_size)
        self.memory_size = at_least_one("memory_size", memory_size)
        if coverage and not self.reads_coverage:
            raise RnnZooError(f"{type(self).__name__} reads no coverage; AdditiveAttention does")

    def keys(self, memory: Tensor) -> Tensor:
        """What of the memory (B, S, E) is the same for every query, (B, S, K), to be made once."""
        return memory

    def scores(self, query: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        """(B, T, S) from query (B, T, Q) and keys (B, S, K); coverage (B, S) is what was looked at before."""
        raise NotImplementedError(f"{type(self).__name__} must define scores(query, keys, coverage)")

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        *,
        keys: Tensor | None = None,
        coverage: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Contexts (B, T, E) and weights (B, T, S) of queries (B, T, Q).

        Args:
            query: what is looked for.
            memory: (B, S, E), what is looked at.
            mask: (B, S) bool, where there is a source step, at least one in each row; everywhere by default.
            keys: of the memory, where they were made before.
            coverage: (B, S), the sum of the weights of earlier queries.
        """
        scores = self.scores(query, self.keys(memory) if keys is None else keys, coverage)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], -torch.inf)
        weights = scores.softmax(-1)
        return weights @ memory, weights


class DotAttention(Attention):
    """Luong et al. 2015, dot: score = qᵀ m; queries and memory have one size."""

    def __init__(self, query_size: int, memory_size: int, *, coverage: bool = False):
        super().__init__(query_size, memory_size, coverage=coverage)
        if query_size != memory_size:
            raise RnnZooError(
                f"attention 'dot' needs a decoder as wide as what the encoder gives: {query_size} is not {memory_size};"
                f" decoder_size={memory_size} or attention='general' would do"
            )

    def scores(self, query: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return query @ keys.transpose(1, 2)


class GeneralAttention(Attention):
    """Luong et al. 2015, general: score = qᵀ W m."""

    def __init__(self, query_size: int, memory_size: int, *, coverage: bool = False):
        super().__init__(query_size, memory_size, coverage=coverage)
        self.weight = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.weight(memory)

    def scores(self, query: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        return query @ keys.transpose(1, 2)


class AdditiveAttention(Attention):
    """Bahdanau et al. 2015, which is Luong et al. 2015's concat: score = vᵀ tanh(W q + U m + b).

    With coverage c (Tu et al. 2016, as See et al. 2017): score_s = vᵀ tanh(W q + U m_s + u c_s + b).
    """

    reads_coverage = True

    def __init__(self, query_size: int, memory_size: int, *, coverage: bool = False):
        super().__init__(query_size, memory_size, coverage=coverage)
        self.query = nn.Linear(query_size, query_size, bias=False)
        self.key = nn.Linear(memory_size, query_size)
        self.score = nn.Linear(query_size, 1, bias=False)
        self.coverage = nn.Linear(1, query_size, bias=False) if coverage else None

    def keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def scores(self, query: Tensor, keys: Tensor, coverage: Tensor | None = None) -> Tensor:
        if self.coverage is not None and coverage is not None:
            keys = keys + self.coverage(coverage[..., None])
        return self.score(torch.tanh(self.query(query)[:, :, None] + keys[:, None]))[..., 0]


ATTENTIONS: dict[str, type[Attention]] = {
    "dot": DotAttention,
    "general": GeneralAttention,
    "concat": AdditiveAttention,
    "bahdanau": AdditiveAttention,
}


def check_attention(name: str | None) -> str | None:
    """The name of an attention; None for none of them.

    Raises:
        RnnZooError: there is none of that name.
    """
    if name is None or name == "none":
        return None
    if name not in ATTENTIONS:
        near = did_you_mean(name, ATTENTIONS)
        raise RnnZooError(f"attention {name!r} is unknown{near} there are: {', '.join(ATTENTIONS)}, none")
    return name

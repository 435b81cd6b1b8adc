"""Tokens in, logits of the next token out."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rnnzoo import transforms
from rnnzoo.errors import RnnZooError
from rnnzoo.models.dropouts import LockedDropout, WordDropout, check_probability
from rnnzoo.models.heads import AdaptiveHead, CappedLinear, head_nats
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN

_TIED_RANGE = 0.1  # of tied weights at the start, as in Merity et al. 2018: an embedding's own would saturate a softmax


class TokenModel(nn.Module):
    """An embedding, an RNN and a linear head: a language model. What a cell takes besides x is `regular`.

    Args:
        rnn: batch_first; its input_size is the size of the embeddings.
        vocabulary_size: V, the number of tokens.
        outputs: O, logits of a step; V by default.
        dropout: on the embeddings and before the head; in [0, 1).
        input_dropout, output_dropout: the two of them apart; each `dropout` by default.
        embedding_dropout: of whole words, at all their places (Gal & Ghahramani 2016); in [0, 1).
        locked_dropout: whether dropout zeroes the same units at all steps of a sequence.
        weight_drop: on the recurrent weights; in [0, 1).
        tied: whether the head's weights are the embedding's (Press & Wolf 2017); where their sizes differ, a matrix
            before the head takes the one to the other.
        adaptive_softmax: where the clusters of a head end that is an adaptive softmax (Grave et al. 2017); none by
            default.
        logit_cap: c, of soft-capped logits, c tanh(logits / c) (Gemma Team 2024); None leaves them as they are.

    Raises:
        RnnZooError: a probability out of range, or settings of the head that do not go together.
    """

    def __init__(
        self,
        rnn: RNN,
        vocabulary_size: int,
        outputs: int | None = None,
        *,
        dropout: float = 0.0,
        input_dropout: float | None = None,
        output_dropout: float | None = None,
        embedding_dropout: float = 0.0,
        locked_dropout: bool = False,
        weight_drop: float = 0.0,
        tied: bool = False,
        adaptive_softmax: Sequence[int] | None = None,
        logit_cap: float | None = None,
    ):
        super().__init__()
        outputs = vocabulary_size if outputs is None else outputs
        if tied and adaptive_softmax:
            raise RnnZooError(f"tied and adaptive_softmax={list(adaptive_softmax)} exclude each other: give one")
        if logit_cap is not None and adaptive_softmax:
            raise RnnZooError(f"logit_cap={logit_cap} and adaptive_softmax={list(adaptive_softmax)} exclude each other")
        if tied and outputs != vocabulary_size:
            raise RnnZooError(f"tied needs as many outputs as tokens, not {outputs} of {vocabulary_size}")
        places = {"input_dropout": input_dropout, "output_dropout": output_dropout}
        each = {name: check_probability(name, dropout if p is None else p) for name, p in places.items()}
        check_probability("embedding_dropout", embedding_dropout)
        if weight_drop:
            transforms.weight_drop(rnn, weight_drop)
        kind = LockedDropout if locked_dropout else nn.Dropout
        self.rnn = rnn
        self.embedding: nn.Embedding = (
            WordDropout(vocabulary_size, rnn.input_size, p=embedding_dropout)
            if embedding_dropout
            else nn.Embedding(vocabulary_size, rnn.input_size)
        )
        self.dropout, self.output_dropout = (kind(p) for p in each.values())
        differ = tied and rnn.output_size != rnn.input_size
        self.project = nn.Linear(rnn.output_size, rnn.input_size, False) if differ else None
        self.head: nn.Linear | AdaptiveHead
        if adaptive_softmax:
            self.head = AdaptiveHead(rnn.output_size, outputs, adaptive_softmax)
        else:
            features = rnn.input_size if tied else rnn.output_size
            self.head = (
                nn.Linear(features, outputs) if logit_cap is None else CappedLinear(features, outputs, logit_cap)
            )
            if tied:
                nn.init.uniform_(self.embedding.weight, -_TIED_RANGE, _TIED_RANGE)
                nn.init.zeros_(self.head.bias)
                self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, hx: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Logits (B, T, O) of the token after each of `tokens` (B, T), and the state to go on from.

        `lengths`, (B,) int64, are how many each has; what is behind means nothing.
        """
        _, y, hx = self.read(tokens, hx, lengths)
        return self.head(y), hx

    def read(self, tokens: Tensor, hx: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, Any]:
        """What the RNN says after each of `tokens` (B, T), what the head reads of it, and the state to go on from."""
        x = self.dropout(self.embedding(tokens))
        y, hx = self.rnn(x, hx, lengths=lengths, **regular(self.rnn, x))
        return y, self._before_head(self.output_dropout(y)), hx

    def nats(self, y: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
        """-ln p of each of `targets` (B, T), as (B * T,) and 0 where it is -100; or, with reduction="sum", their sum.

        Args:
            y: what the head reads, by ``read``.
            targets: int64.
            reduction: "none" or "sum", whose gradient may be taken once.
        """
        return head_nats(self.head, y, targets, reduction)

    def step(self, token: Tensor, hx: Any = None, before: int | Tensor = 0) -> tuple[Tensor, Any]:
        """Logits (B, O) of the token after `token` (B,), which `before` others precede, and the state to go on from.

        `before` may be one for each, (B, 1).
        """
        x = self.embedding(token)
        y, hx = self.rnn.step(x, hx, **regular(self.rnn, x, before))
        return self.head(self._before_head(y)), hx

    def _before_head(self, y: Tensor) -> Tensor:
        return y if self.project is None else self.project(y)

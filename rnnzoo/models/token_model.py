"""Tokens in, logits of the next token out."""

from typing import Any

from torch import Tensor, nn

from rnnzoo import transforms
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN


class TokenModel(nn.Module):
    """An embedding, an RNN and a linear head: a language model. What a cell takes besides x is `regular`.

    Args:
        rnn: batch_first; its input_size is the size of the embeddings.
        vocabulary_size: V, the number of tokens.
        outputs: O, logits of a step; V by default.
        dropout: on the embeddings and before the head; in [0, 1).
        weight_drop: on the recurrent weights; in [0, 1).
    """

    def __init__(
        self,
        rnn: RNN,
        vocabulary_size: int,
        outputs: int | None = None,
        *,
        dropout: float = 0.0,
        weight_drop: float = 0.0,
    ):
        super().__init__()
        if weight_drop:
            transforms.weight_drop(rnn, weight_drop)
        self.rnn = rnn
        self.embedding = nn.Embedding(vocabulary_size, rnn.input_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(rnn.output_size, vocabulary_size if outputs is None else outputs)

    def forward(self, tokens: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, T, O) of the token after each of `tokens` (B, T), and the state to go on from."""
        x = self.dropout(self.embedding(tokens))
        y, hx = self.rnn(x, hx, **regular(self.rnn, x))
        return self.head(self.dropout(y)), hx

    def step(self, token: Tensor, hx: Any = None, before: int = 0) -> tuple[Tensor, Any]:
        """Logits (B, O) of the token after `token` (B,), which `before` others precede, and the state to go on from."""
        x = self.embedding(token)
        y, hx = self.rnn.step(x, hx, **regular(self.rnn, x, before))
        return self.head(y), hx

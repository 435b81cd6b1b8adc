"""Tokens in, logits of the next token out."""

from typing import Any

from torch import Tensor, nn

from rnnzoo import transforms
from rnnzoo.cells.contract import at_least_one
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN, check_dropout


class TokenModel(nn.Module):
    """An embedding, an RNN and a linear head: a language model. What a cell takes besides x is `regular`.

    Args:
        vocabulary_size: V, the number of tokens.
        cell: a cell's registered name or import path.
        embedding_size: features of a token's embedding.
        hidden_size: features of the hidden state.
        num_layers: cells on top of each other.
        dropout: on the embeddings, between layers and before the head; in [0, 1).
        weight_drop: on the recurrent weights; in [0, 1).
        kernel: what runs the RNN.
        constants: the cell's own arguments, and further ones of the RNN.

    Raises:
        RnnZooError: an argument that the RNN cannot take.
    """

    def __init__(
        self,
        vocabulary_size: int,
        cell: str,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        weight_drop: float = 0.0,
        kernel: str = "auto",
        **constants: Any,
    ):
        super().__init__()
        at_least_one("embedding_size", embedding_size)
        check_dropout(dropout)
        between = dropout if num_layers > 1 else 0.0
        self.rnn = RNN(
            cell,
            embedding_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=between,
            kernel=kernel,
            **constants,
        )
        if weight_drop:
            transforms.weight_drop(self.rnn, weight_drop)
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.rnn.output_size, vocabulary_size)

    def forward(self, tokens: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, T, V) of the token after each of `tokens` (B, T), and the state to go on from."""
        x = self.dropout(self.embedding(tokens))
        y, hx = self.rnn(x, hx, **regular(self.rnn, x))
        return self.head(self.dropout(y)), hx

    def step(self, token: Tensor, hx: Any = None, before: int = 0) -> tuple[Tensor, Any]:
        """Logits (B, V) of the token after `token` (B,), which `before` others precede, and the state to go on from."""
        x = self.embedding(token)
        y, hx = self.rnn.step(x, hx, **regular(self.rnn, x, before))
        return self.head(y), hx

"""Sequences of numbers or tokens in, an answer to each sequence, to its last steps or to every step out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rnnzoo.errors import RnnZooError
from rnnzoo.models.pooling import Pooling
from rnnzoo.models.regular import regular
from rnnzoo.models.stem import ConvolutionalStem
from rnnzoo.rnn import RNN


class SequenceModel(nn.Module):
    """An RNN and a linear head on what it says. What a cell takes besides x is `regular`, unless it is given.

    The answer to a whole sequence reads the forward direction at the sequence's last step, and the backward one, where
    there is one, at its first: each has seen all of it there. Or it reads what another `pooling` makes of all steps.

    Args:
        rnn: batch_first; over the features of a step, or over a token's embedding.
        outputs: O, of an answer: a number, or the logits of its classes.
        answers: A, of a sequence's last so many steps; 0 for every step.
        vocabulary_size: of tokens, which are embedded; None for steps of numbers.
        dropout: on embeddings and before the head; in [0, 1).
        pooling: of what the RNN says at each step, for the answer to a whole sequence: "last", "mean", "max",
            "concat" or "attention".
        stem: convolutions before the RNN, for the answer to a whole sequence; None for none.
        noise: standard deviation of normal numbers that are added to x in training.

    Raises:
        RnnZooError: settings that are out of range, or exclude each other.
    """

    def __init__(
        self,
        rnn: RNN,
        outputs: int,
        *,
        answers: int = 1,
        vocabulary_size: int | None = None,
        dropout: float = 0.0,
        pooling: str = "last",
        stem: ConvolutionalStem | None = None,
        noise: float = 0.0,
    ):
        super().__init__()
        if answers < 0:
            raise RnnZooError(f"answers must be 0, one at every step, or more, not {answers}")
        if not 0 <= noise < float("inf"):
            raise RnnZooError(f"noise must be 0 or more, not {noise}")
        for name, value, plain in (("pooling", pooling, "last"), ("stem", stem and "a stem", None)):
            if answers != 1 and value != plain:
                which = "at every step" if answers == 0 else f"at the last {answers} steps"
                raise RnnZooError(f"{name}={value!r} is for one answer to a sequence, but there is one {which}")
        if vocabulary_size is not None and (noise or stem is not None):
            raise RnnZooError(f"{'noise' if noise else 'stem'} is for numbers, but the steps are tokens")
        self.answers, self.rnn = answers, rnn
        self.embedding = None if vocabulary_size is None else nn.Embedding(vocabulary_size, rnn.input_size)
        self.dropout = nn.Dropout(dropout)
        self.stem, self.noise = stem, noise
        dense = rnn.output_size != 2 * self._last_size()  # its halves are no directions
        self._both = rnn.bidirectional and answers == 1 and not dense
        self.pooling = None if pooling == "last" else Pooling(pooling, rnn.output_size, self._both)
        self.head = nn.Linear(rnn.output_size if self.pooling is None else self.pooling.output_size, outputs)

    def _last_size(self) -> int:
        size = self.rnn.hidden_size
        return size if isinstance(size, int) else size[-1]

    def forward(self, x: Tensor, lengths: Tensor | None = None, inputs: Mapping[str, Tensor] | None = None) -> Tensor:
        """The answers to x.

        Args:
            x: (B, T, I), or tokens (B, T).
            lengths: (B,) int64: the steps of each sequence; T by default. What lies behind them has no effect.
            inputs: what the cell takes besides x, by name: (B, T, ...).

        Returns:
            (B, A, O); for answers at every step (B, T, O), where those behind a sequence's end mean nothing.
        """
        if self.embedding is not None:
            x = self.dropout(self.embedding(x))
        if self.noise and self.training:
            x = x + self.noise * torch.randn_like(x)
        if self.stem is not None:
            x, lengths = self.stem(x, lengths)
        beside = {**regular(self.rnn, x), **(inputs or {})}
        y, _ = self.rnn(x, lengths=lengths, **beside)
        if self.pooling is not None:
            y = self.pooling(y, lengths)[:, None]
        elif self._both:
            half = y.shape[-1] // 2
            last = y[:, -1, :half] if lengths is None else _at(y[..., :half], lengths[:, None] - 1)[:, 0]
            y = torch.cat([last, y[:, 0, half:]], -1)[:, None]
        elif self.answers:
            steps = torch.arange(-self.answers, 0, device=y.device)
            y = y[:, -self.answers :] if lengths is None else _at(y, (lengths[:, None] + steps).clamp(min=0))
        return self.head(self.dropout(y))


def _at(y: Tensor, steps: Tensor) -> Tensor:
    """y (B, T, H) at the steps (B, A)."""
    return y.gather(1, steps[..., None].expand(-1, -1, y.shape[-1]))

"""A sequence in, the answers of its last steps out."""

from typing import Any

from torch import Tensor, nn

from rnnzoo.cells.contract import at_least_one
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN, check_dropout


class SequenceModel(nn.Module):
    """An RNN and a linear head on what it says in the last steps. What a cell takes besides x is `regular`.

    Args:
        input_size: I, features of a step.
        outputs: O, of an answer: a number, or the logits of its classes.
        cell: a cell's registered name or import path.
        answers: A, of the last so many steps.
        hidden_size: features of the hidden state.
        num_layers: cells on top of each other.
        dropout: between layers and before the head; in [0, 1).
        kernel: what runs the RNN.
        checkpoint_every: in training, keep of every so many steps only the state they start from.
        constants: the cell's own arguments, and further ones of the RNN.

    Raises:
        RnnZooError: an argument that the RNN cannot take.
    """

    def __init__(
        self,
        input_size: int,
        outputs: int,
        cell: str,
        *,
        answers: int = 1,
        hidden_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        kernel: str = "auto",
        checkpoint_every: int | None = None,
        **constants: Any,
    ):
        super().__init__()
        self.answers = at_least_one("answers", answers)
        check_dropout(dropout)
        self.rnn = RNN(
            cell,
            input_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            kernel=kernel,
            checkpoint_every=checkpoint_every,
            **constants,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.rnn.output_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The answers (B, A, O) to sequences x (B, T, I)."""
        y, _ = self.rnn(x, **regular(self.rnn, x))
        return self.head(self.dropout(y[:, -self.answers :]))

"""What a cell takes besides x, for sequences that have nothing of the kind."""

from torch import Tensor

from rnnzoo.rnn import RNN


def regular(rnn: RNN, x: Tensor) -> dict[str, Tensor]:
    """Ones, of x's leading sizes and one feature: a unit of time from step to step, and nothing missing.

    Args:
        rnn: whose cell says what it takes; nothing, for most.
        x: (..., I).
    """
    return {name: x.new_ones(*x.shape[:-1], 1) for name in rnn._cells[0][0].inputs}

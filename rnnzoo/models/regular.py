"""What a cell takes besides x, for sequences that have nothing of the kind."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnzoo.cells.linear import wide
from rnnzoo.cells.missing_values import time_since_observed
from rnnzoo.rnn import RNN


def regular(rnn: RNN, x: Tensor, before: int | Tensor = 0) -> dict[str, Tensor]:
    """Of regular steps with nothing missing: `time` counts the steps, 1 the first, and anything else is one.

    Args:
        rnn: whose cell says what it takes; nothing, for most.
        x: (B, T, I) with batch_first, else (T, B, I); or one step, (B, I).
        before: steps that came before those of x; of one step it may be one for each row, (B, 1).

    Returns:
        By name, with x's leading sizes and one feature: the same for all features of x, and for every layer.
    """
    return {name: _clock(rnn, x, before) if name == "time" else _ones(x) for name in rnn._cells[0][0].inputs}


def taken(rnn: RNN, inputs: Mapping[str, Tensor], offered: Sequence[str]) -> dict[str, Tensor]:
    """Of what a batch has beside x, what the cell takes: of the `offered` it need not take any.

    A cell that takes both a mask and time gaps, as gru_d does, gets for every feature the time since it was observed.

    Args:
        rnn: batch_first; whose cell says what it takes.
        inputs: by name, (B, T, ...).
        offered: names of those that data have for whichever cell takes them.
    """
    takes = rnn._cells[0][0].inputs
    made = {name: a for name, a in inputs.items() if name in takes or name not in offered}
    if {"mask", "dt"} <= {*takes} and {"mask", "dt"} <= {*offered} and {"mask", "dt"} <= {*made}:
        gaps, mask = (made[name].transpose(0, 1) for name in ("dt", "mask"))
        made["dt"] = time_since_observed(gaps, mask).transpose(0, 1)
    return made


def _ones(x: Tensor) -> Tensor:
    return x.new_ones(*x.shape[:-1], 1)


def _clock(rnn: RNN, x: Tensor, before: int | Tensor) -> Tensor:
    x = wide(x)  # bfloat16 counts to 256
    if x.dim() == 2:
        return (before + 1) * _ones(x)
    assert isinstance(before, int)
    axis = 1 if rnn.batch_first else 0
    count = torch.arange(before + 1, before + 1 + x.shape[axis], device=x.device, dtype=x.dtype)
    return _ones(x) * (count[:, None] if rnn.batch_first else count[:, None, None])

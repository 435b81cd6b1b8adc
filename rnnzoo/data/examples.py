"""Sequences with what is to be said at their end."""

from typing import NamedTuple

import torch
from torch import Tensor

from rnnzoo.data.streams import IGNORED


class Examples(NamedTuple):
    """B sequences of T steps with I features, and the A answers to each, which are those of the last A steps.

    `x`, (B, T, I) float32.
    `y`, (B, A): numbers as float32, classes as int64; NaN or -100 where there is no answer, which counts for nothing.
    `number`, (B,) int64: of each example in its part of the data.
    """

    x: Tensor
    y: Tensor
    number: Tensor

    def unanswered(self) -> "Examples":
        """The same examples without their answers."""
        return self._replace(y=torch.full_like(self.y, torch.nan if self.y.is_floating_point() else IGNORED))

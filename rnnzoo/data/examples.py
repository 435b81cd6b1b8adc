"""Sequences with what is to be said at their end."""

from typing import NamedTuple

from torch import Tensor


class Examples(NamedTuple):
    """B sequences of T steps with I features, and the A answers to each, which are those of the last A steps.

    `x`, (B, T, I) float32.
    `y`, (B, A): numbers as float32, classes as int64.
    `number`, (B,) int64: of each example in its part of the data.
    """

    x: Tensor
    y: Tensor
    number: Tensor

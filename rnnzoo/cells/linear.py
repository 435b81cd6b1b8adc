"""Cells that are linear in time: h_t = a_t h_{t-1} + b_t."""

import math

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Hidden, LinearCell
from rnnzoo.cells.registry import register


@register("mingru")
class MinGRU(LinearCell):
    """Feng et al. 2024, minGRU of "Were RNNs All We Needed?", its gates see x_t alone; rows z n.

    z, n = W x_t + b
    h_t = (1 - σ(z)) h_{t-1} + σ(z) g(n),   g(n) = n + 0.5 if n >= 0 else σ(n)

    Starts as nn.Linear does, from U(-1/√I, 1/√I), as the authors' code.
    """

    gates, State = 2, Hidden
    rows = ("write", "new")

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.input_size)
        for p in self.parameters():
            nn.init.uniform_(p, -bound, bound)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        z, n = u.chunk(2, -1)
        z = z.sigmoid()
        return 1 - z, z * torch.where(n >= 0, n + 0.5, n.sigmoid())

"""Plain recurrences."""

import torch

from identities.notation import identity, run
from rnnzoo import create


@identity("irnn, as it starts, holds a state of no negative numbers while nothing comes in")
def holds():
    h = torch.rand(4, 5, dtype=torch.float64)
    cell = create("irnn", 3, 5).double()
    return run(cell, torch.zeros(6, 4, 3).double(), cell.State(h))[0], h.expand(6, 4, 5)

"""The GRU family."""

import torch

from identities.notation import identity, random_cell, run


@identity("cho_gru with its reset open is gru with its reset open and the rows of z negated")
def resets_open():
    ours, torchs = random_cell("cho_gru"), random_cell("gru")
    with torch.no_grad():
        for cell in (ours, torchs):
            cell.weight_ih[:5], cell.weight_hh[:5] = 0, 0
            cell.bias_ih[:5] = 60
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            mine = getattr(ours, name)
            getattr(torchs, name)[5:10], getattr(torchs, name)[10:] = -mine[5:10], mine[10:]
        torchs.bias_hh.zero_()
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(ours, x)[0], run(torchs, x)[0]

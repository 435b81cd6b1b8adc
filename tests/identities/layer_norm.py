"""Gated cells whose products are layer-normalised."""

import torch

from identities.notation import identity, random_cell, run


def scaled(name, by):
    """Outputs of a cell, and of the same with blocks of its weights multiplied: (weight, rows, factor)."""
    cell = random_cell(name, eps=1e-12)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    start = cell.State(*(torch.randn(4, 5, dtype=torch.float64) for _ in cell.State._fields))
    wanted = run(cell, x, start)
    with torch.no_grad():
        for weight, rows, factor in by:
            getattr(cell, weight)[rows] *= factor
    return run(cell, x, start), wanted


@identity("layernorm_lstm does not see the scale of W nor that of R", 1e-9)
def scales_of_an_lstm():
    return scaled("layernorm_lstm", [("weight_ih", slice(None), 3), ("weight_hh", slice(None), 0.5)])


@identity("layernorm_gru sees the scale of no product: of the rows r and z together, of n", 1e-9)
def scales_of_a_gru():
    rz, n = slice(0, 10), slice(10, 15)
    return scaled(
        "layernorm_gru",
        [("weight_ih", rz, 3), ("weight_ih", n, 0.2), ("weight_hh", rz, 0.5), ("weight_hh", n, 7)],
    )

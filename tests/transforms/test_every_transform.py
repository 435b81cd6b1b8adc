"""Every transform of every kind of cell passes the suite that cells pass."""

import pytest
import torch
from loops import B, H, I, T, kernels

from rnnzoo import RNN, create
from rnnzoo.kernels.choice import KERNELS
from rnnzoo.testing import check_cell
from rnnzoo.transforms import (
    Dilated,
    LayerNormGates,
    LearnedInitialState,
    MultiplicativeIntegration,
    RecurrentDropout,
    Resets,
    VariationalDropout,
    Zoneout,
)

TRANSFORMS = {
    "zoneout": Zoneout,
    "variational": lambda cell: VariationalDropout(cell, input_p=0.2, state_p=0.3 if "LSTM" in str(cell) else 0.0),
    "recurrent dropout": RecurrentDropout,
    "multiplicative": MultiplicativeIntegration,
    "layer norm": LayerNormGates,
    "learned start": LearnedInitialState,
    "dilated": lambda cell: Dilated(cell, 3),
    "resets": Resets,
}
OF_EVERY_CELL = [n for n in TRANSFORMS if n not in ("recurrent dropout", "multiplicative", "layer norm")]
PAIRS = [(n, "lstm") for n in TRANSFORMS] + [(n, "mingru") for n in OF_EVERY_CELL]


@pytest.fixture(autouse=True)
def _without_triton(monkeypatch):
    """Its interpreter takes minutes for what ``fused`` does by the same plan."""
    monkeypatch.delitem(KERNELS, "triton", raising=False)


@pytest.mark.compiler
@pytest.mark.parametrize(("name", "cell"), PAIRS, ids=[f"{n} of {c}" for n, c in PAIRS])
def test_a_transform_of_a_cell_is_a_cell(name, cell):
    make = TRANSFORMS[name]
    check_cell(make(create(cell, 3, 5)), slow=False)
    rnn = RNN(cell, I, H, 2, transforms=make)
    x = torch.randn(T, B, I)
    for mode in (True, False):
        rnn.train(mode)
        assert "fused" in kernels(rnn, x)
        assert "fused" in kernels(rnn, x, resets=torch.zeros(T, B))
        if cell == "mingru" and name != "dilated":
            assert "linear_scan" in kernels(rnn, x, resets=torch.zeros(T, B))


def test_a_transform_compiles_and_exports():
    check_cell(TRANSFORMS["variational"](Zoneout(create("gru", 3, 5))), slow=True)

"""LSTMs with more products, and NASCell, equal torchrecurrent's: outputs, final states, gradients, in float64."""

import pytest
import torch
import torchrecurrent

from rnnzoo.cells import create
from rnnzoo.testing.case import expect, gradients, results, run

T, B, I, H = 6, 4, 3, 5

OURS = {"weight_ih": "weight_ih", "weight_hh": "weight_hh", "bias_ih": "bias_ih"}
PEERS = {  # the peer, our names of its weights, and what it has beside the paper's, which is zero here
    "multiplicative_lstm": (
        torchrecurrent.MultiplicativeLSTMCell,
        {"weight_ih": "weight_ih", "weight_hh": "weight_hh", "weight_mh": "weight_mh", "bias_mh": "bias_mh"},
        ["bias_ih", "bias_hh"],  # they stand within m as well
    ),
    "wmc_lstm": (torchrecurrent.WMCLSTMCell, OURS | {"weight_mh": "weight_ch"}, ["bias_hh", "bias_mh"]),
    "residual_lstm": (
        torchrecurrent.ResLSTMCell,
        OURS | {"weight_proj": "weight_proj", "weight_res": "weight_res", "weight_ph": ("p_i", "p_f", "p_o")},
        ["bias_hh"],
    ),
    "nas_cell": (
        torchrecurrent.NASCell,
        {"weight_ih": "weight_ih", "weight_hh": "weight_hh", "bias_hh": "bias_hh"},
        ["bias_ih"],
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_a_cell_equals_torchrecurrents(name):
    make, names, zero = PEERS[name]
    cell, peer = create(name, I, H).double(), make(I, H).double()
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=0.5)
    with torch.no_grad():
        if name == "nas_cell":  # torchrecurrent adds in lane 3 where the authors' code multiplies
            for p in cell.parameters():
                p[3 * H : 4 * H] = 0
        for theirs, ours in names.items():
            parts = [getattr(cell, one) for one in (ours if isinstance(ours, tuple) else (ours,))]
            getattr(peer, theirs).copy_(torch.cat(parts))
        for theirs in zero:
            getattr(peer, theirs).zero_()
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in range(2))

    state, ys = (h, c), []
    for x_t in x:
        state = peer(x_t, state)
        ys.append(state[0])
    theirs = results(torch.stack(ys), cell.State(*state))
    ours = results(*run(cell, x, cell.State(h, c), {}))
    leaves = {"x": x, "h_0": h, "c_0": c}
    their_weights = {n: getattr(peer, n) for n in names}
    wanted = gradients(theirs, leaves | their_weights)
    got = gradients(ours, leaves | dict(cell.named_parameters()))
    for n, own in names.items():
        parts = [got.pop(f"gradient of {one}") for one in (own if isinstance(own, tuple) else (own,))]
        got[f"gradient of {n}"] = torch.cat(parts)
    if name == "nas_cell":
        for n in names:  # of a lane that is another function
            for grads in (got, wanted):
                grads[f"gradient of {n}"][3 * H : 4 * H] = 0
    expect(ours | got, theirs | wanted, f"expected {name} to equal torchrecurrent's", 1e-12)

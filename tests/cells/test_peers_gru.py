"""Cells of the GRU family equal torchrecurrent's: values, final states and gradients, in float64.

Its cells run on our weights, its two biases on a quarter and three quarters of our one. Where it deviates from the
paper, the row of the cell says how.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
import torchrecurrent
from torch import Tensor, nn
from torch.func import functional_call

from rnnzoo.cells import Cell, create
from rnnzoo.testing.case import expect, gradients, named, results, tracked
from rnnzoo.testing.case import run as run_cell

T, B, I, H = 6, 4, 3, 5


class Peer(NamedTuple):
    """Its cell, its weights from ours, and the arguments of both."""

    theirs: type[nn.Module]
    weights: Callable[[Any], dict[str, Tensor]]
    ours: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    input_size: int = I


class OldHardSigmoid(nn.Module):
    """torch's, which torchrecurrent takes, has slope 1/6; keras' had 0.2 when the paper was written."""

    def forward(self, a: Tensor) -> Tensor:
        return torch.clamp(0.2 * a + 0.5, 0, 1)


def same(ours: Cell) -> dict[str, Tensor]:
    b = ours.bias_ih
    return {"weight_ih": ours.weight_ih, "weight_hh": ours.weight_hh, "bias_ih": b / 4, "bias_hh": 3 * b / 4}


def swapped(ours: Cell) -> dict[str, Tensor]:
    return {name: torch.cat(a.chunk(2)[::-1]) for name, a in same(ours).items()}


def own_biases(ours: Cell) -> dict[str, Tensor]:
    return same(ours) | {"bias_ih": ours.bias_ih, "bias_hh": ours.bias_hh}


def first_bias(ours: Cell) -> dict[str, Tensor]:
    """All of b in its first bias: its second has fewer rows, or stands elsewhere."""
    return same(ours) | {"bias_ih": ours.bias_ih, "bias_hh": ours.bias_ih.new_zeros(len(ours.weight_hh))}


def without_content_bias(before: int, after: int) -> Callable[[Cell], dict[str, Tensor]]:
    """Zeros for a bias of its content, which the paper has not, before or after those of the gates."""
    return lambda ours: same(ours) | {"bias_ih": F.pad(ours.bias_ih / 4, (before * H, after * H))}


def mut1(ours: Cell) -> dict[str, Tensor]:
    """It has two biases in the content, one inside the inner tanh: the paper has but the outer one."""
    z, r, h = ours.bias_ih.chunk(3)
    return same(ours) | {"bias_ih": torch.cat([z, r / 4, 0 * h]), "bias_hh": torch.cat([3 * r / 4, h])}


def brc(ours: Cell) -> dict[str, Tensor]:
    b = ours.bias_ih
    w = {"weight_ih": ours.weight_ih, "weight_hh": torch.cat([ours.w_a, ours.w_c])}
    return w | {"bias_ih": F.pad(b / 4, (0, H)), "bias_hh": 3 * b / 4}


PEERS = {
    "mgu": Peer(torchrecurrent.MGUCell, same),
    "ligru": Peer(torchrecurrent.LiGRUCell, swapped, {"norm": "none"}),  # it has no batch normalisation
    "mut1": Peer(torchrecurrent.MUT1Cell, mut1),
    "mut2": Peer(torchrecurrent.MUT2Cell, same),
    "mut3": Peer(torchrecurrent.MUT3Cell, same),
    "ugrnn": Peer(torchrecurrent.UGRNNCell, same),
    "intersection_rnn": Peer(torchrecurrent.IntersectionRNNCell, same, input_size=H),
    "ran": Peer(torchrecurrent.RANCell, same),
    "atr": Peer(torchrecurrent.ATRCell, own_biases),
    # a bias on R_g (g h), zero here, which the paper has not
    "sgu": Peer(torchrecurrent.SGUCell, first_bias, options={"gate_nonlinearity": OldHardSigmoid()}),
    "dsgu": Peer(
        torchrecurrent.DSGUCell,
        lambda ours: first_bias(ours) | {"weight_ho": ours.weight_go},
        options={"gate_nonlinearity": OldHardSigmoid()},
    ),
    "light_ru": Peer(torchrecurrent.LightRUCell, without_content_bias(1, 0)),
    "cfn": Peer(torchrecurrent.CFNCell, without_content_bias(0, 1)),
    "star": Peer(torchrecurrent.STARCell, first_bias),
    "minimal_rnn": Peer(torchrecurrent.MinimalRNNCell, lambda ours: own_biases(ours) | {"weight_mm": ours.weight_z}),
    "brc": Peer(torchrecurrent.BRCell, brc),
    "nbrc": Peer(torchrecurrent.NBRCell, without_content_bias(0, 1)),
}


@pytest.mark.parametrize("name", PEERS)
def test_a_cell_equals_torchrecurrents(name):
    peer = PEERS[name]
    cell = create(name, peer.input_size, H, **(peer.ours or {})).double().eval()
    for p in cell.parameters():
        nn.init.normal_(p, std=0.5)
    theirs = peer.theirs(peer.input_size, H, **(peer.options or {})).double()
    start = cell.initial_state(B, torch.empty((), dtype=torch.float64))
    start = type(start)(*(torch.randn_like(a) for a in start))
    sequence = torch.randn(T, B, peer.input_size, dtype=torch.float64)

    def run_theirs(x: Tensor, s: Any) -> tuple[Tensor, Any]:
        ys, weights = [], peer.weights(cell)
        for x_t in x:
            # of ours, intersection_rnn carries the output beside the state, ran the output before the memory
            new = functional_call(theirs, weights, (x_t, tuple(s) if name == "ran" else s.h))
            s = type(s)(*new) if isinstance(new, tuple) else type(s)(new)
            ys.append(s[0])
        return torch.stack(ys), s

    def everything(run):
        x, s, _ = tracked(sequence, start, {})
        got = results(*run(x, s))
        return got | gradients(got, {"x": x} | named(s, "initial state") | dict(cell.named_parameters()))

    ours = everything(lambda x, s: run_cell(cell, x, s, {}))
    expect(ours, everything(run_theirs), f"expected {name} to equal torchrecurrent's", 1e-12)

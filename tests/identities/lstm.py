"""The LSTM family."""

import torch

from identities.notation import identity, random_cell, run
from rnnzoo.cells import HiddenCell


def sequence():
    return torch.randn(6, 4, 3, dtype=torch.float64)


def start():
    return HiddenCell(*torch.randn(2, 4, 5, dtype=torch.float64))


@identity("lstmp with the identity for its projection is lstm")
def projected_to_itself():
    ours, lstm, x, s = random_cell("lstmp", proj_size=5), random_cell("lstm"), sequence(), start()
    ours.load_state_dict({**lstm.state_dict(), "weight_hr": torch.eye(5)})
    return run(ours, x, s), run(lstm, x, s)


@identity("lstm_1997 is nfg with no peepholes, the candidate's rows and the memory halved")
def squashes_rescaled():
    ours, nfg, x, s = random_cell("lstm_1997"), random_cell("nfg"), sequence(), start()
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            getattr(nfg, name).copy_(getattr(ours, name))
            getattr(nfg, name)[5:10] /= 2
        nfg.p_i.zero_()
        nfg.p_o.zero_()
    (y, last), (wanted, half) = run(ours, x, s), run(nfg, x, s._replace(c=s.c / 2))
    return (y, last.c), (wanted, 2 * half.c)


@identity("lstm_1997 is lstm with its forget gate open, the candidate's rows and the memory halved")
def never_forgets():
    ours, lstm, x, s = random_cell("lstm_1997"), random_cell("lstm"), sequence(), start()
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            i, g, o = getattr(ours, name).chunk(3)
            f = torch.full_like(i, 40) if name == "bias_ih" else torch.zeros_like(i)  # σ(40) is 1 to the last bit
            getattr(lstm, name).copy_(torch.cat([i, f, g / 2, o]))
        lstm.bias_hh.zero_()
    (y, last), (wanted, half) = run(ours, x, s), run(lstm, x, s._replace(c=s.c / 2))
    return (y, last.c), (wanted, 2 * half.c)


@identity("sub_lstm with all weights zero halves its memory, and emits σ(c) - 1/2")
def halves():
    cell, s = random_cell("sub_lstm"), start()
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
    powers = torch.tensor([0.5**t for t in range(1, 7)], dtype=torch.float64)[:, None, None]
    return run(cell, sequence(), s)[0], (powers * s.c).sigmoid() - 0.5

"""A rhythm in the state."""

import torch

from oracles.notation import oracle
from oracles.odyssey import vanilla


def times(T, B):
    return 2 * torch.rand(B, 1) + torch.rand(T, B, 1).cumsum(0)


@oracle(
    "phased_lstm", settings=({}, {"ratio": 0.9}, {"ratio": 0.6, "leak": 0.2}), inputs={"time": times}, training=True
)
def phased_lstm(w, x, h, c, time):
    proposed_h, proposed_c, _ = vanilla(w, x, h, c, "ifzo")
    new_h, new_c = [], []
    for j in range(w.H):
        turns = (time[0] - w.shift[j]) / w.tau[j]  # a small random τ leaves no digits for another way to round
        phase = turns - turns.floor()
        k = 2 * (phase if phase < w.ratio / 2 else w.ratio - phase) / w.ratio if phase < w.ratio else w.leak * phase
        new_h.append(k * proposed_h[j] + (1 - k) * h[j])
        new_c.append(k * proposed_c[j] + (1 - k) * c[j])
    return new_h, (new_h, new_c)

"""Modules with clocks."""

import math

from oracles.notation import from_x, oracle, tanh


@oracle("clockwork_rnn", settings=({}, {"periods": (1, 3), "t0": 2}, {"periods": (2, 3, 4)}))
def clockwork_rnn(w, x, h, t):
    # t is whole by itself; where a test starts from any number, the nearest whole one counts
    g, now, new = len(w.periods), math.floor(t.item() + 0.5), []
    module = [j * g // w.H for j in range(w.H)]
    for j in range(w.H):
        slower = sum(w.weight_hh[j][k] * h[k] for k in range(w.H) if module[k] >= module[j])
        due = now % w.periods[module[j]] == 0
        new.append(tanh(from_x(w, 0, j, x) + slower) if due else h[j])
    cycle = math.lcm(*w.periods)
    return new, (new, t + 1 - (cycle if now + 1 >= cycle else 0))

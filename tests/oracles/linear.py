"""Cells that are linear in time."""

from oracles.notation import from_x, oracle, sigmoid


@oracle("mingru")
def mingru(w, x, h):
    new = []
    for j in range(w.H):
        write, a = sigmoid(from_x(w, 0, j, x)), from_x(w, 1, j, x)
        new.append((1 - write) * h[j] + write * (a + 0.5 if a >= 0 else sigmoid(a)))
    return new, (new,)

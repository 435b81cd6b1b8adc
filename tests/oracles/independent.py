"""Independent units."""

from oracles.notation import from_x, oracle, tanh


@oracle("indrnn", settings=({}, {"activation": "tanh", "max_steps": 5}))
def indrnn(w, x, h):
    a = [from_x(w, 0, j, x) + w.weight_hh[j] * h[j] for j in range(w.H)]
    h = [tanh(v) if w.activation == "tanh" else v if v > 0 else 0 * v for v in a]
    return h, (h,)

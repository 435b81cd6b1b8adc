"""FastRNN and FastGRNN."""

from oracles.notation import dot, entry, oracle, sigmoid, tanh

RANKS = ({}, {"rank_ih": 2, "rank_hh": 3}, {"rank_hh": 1})


def product(outer, inner, values):
    """Row by row; of the product of both matrices where there are two."""
    if inner is None:
        return [dot(row, values) for row in outer]
    full = [[sum(row[k] * inner[k][i] for k in range(len(inner))) for i in range(len(values))] for row in outer]
    return [dot(row, values) for row in full]


def both(w, x, h):
    wx = product(w.weight_ih, getattr(w, "weight_ih_low", None), x)
    rh = product(w.weight_hh, getattr(w, "weight_hh_low", None), h)
    return [a + b for a, b in zip(wx, rh, strict=True)]


@oracle("fastrnn", settings=RANKS)
def fastrnn(w, x, h):
    a = both(w, x, h)
    h = [sigmoid(w.alpha[0]) * tanh(a[j] + entry(w.bias_ih, j)) + sigmoid(w.beta[0]) * h[j] for j in range(w.H)]
    return h, (h,)


@oracle("fastgrnn", settings=RANKS)
def fastgrnn(w, x, h):
    new = []
    for j, a in enumerate(both(w, x, h)):
        z = sigmoid(a + entry(getattr(w, "bias_z", None), j))
        n = tanh(a + entry(getattr(w, "bias_n", None), j))
        new.append((sigmoid(w.zeta[0]) * (1 - z) + sigmoid(w.nu[0])) * n + z * h[j])
    return new, (new,)

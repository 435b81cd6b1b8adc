"""The bistable cells."""

from oracles.notation import dot, entry, oracle, sigmoid, tanh


@oracle("brc", "nbrc")
def brc(w, x, h):
    diagonal = w.weight_hh is None

    def fed_back(gate, j):
        return (w.w_a, w.w_c)[gate][j] * h[j] if diagonal else dot(w.weight_hh[gate * w.H + j], h)

    new = []
    for j in range(w.H):
        a, c = (dot(w.weight_ih[k * w.H + j], x) + fed_back(k, j) + entry(w.bias_ih, k * w.H + j) for k in (0, 1))
        fresh = tanh(dot(w.weight_ih[2 * w.H + j], x) + (1 + tanh(a)) * h[j])
        new.append(fresh + sigmoid(c) * (h[j] - fresh))
    return new, (new,)

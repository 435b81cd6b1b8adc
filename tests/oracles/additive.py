"""Cells whose state is a gated sum."""

from oracles.notation import dot, entry, from_h, from_x, oracle, sigmoid, tanh


def gate(w, k, row, x, h):
    """Of R and b row k, of W another."""
    return sigmoid(dot(w.weight_ih[row], x) + dot(w.weight_hh[k], h) + entry(w.bias_ih, k))


@oracle("ran", settings=({}, {"identity": True}))
def ran(w, x, h, c):
    memory = []
    for j in range(w.H):
        write, keep = gate(w, j, w.H + j, x, h), gate(w, w.H + j, 2 * w.H + j, x, h)
        memory.append(write * dot(w.weight_ih[j], x) + keep * c[j])
    out = memory if w.identity else [tanh(a) for a in memory]
    return out, (out, memory)


@oracle("atr")
def atr(w, x, h):
    new = []
    for j in range(w.H):
        p, q = from_x(w, 0, j, x), from_h(w, 0, j, h)
        new.append(sigmoid(p + q) * p + sigmoid(p - q) * h[j])
    return new, (new,)


@oracle("cfn")
def cfn(w, x, h):
    new = []
    for j in range(w.H):
        keep, write = gate(w, j, j, x, h), gate(w, w.H + j, w.H + j, x, h)
        new.append(keep * tanh(h[j]) + write * tanh(dot(w.weight_ih[2 * w.H + j], x)))
    return new, (new,)


@oracle("lrn", settings=({}, {"identity": True}))
def lrn(w, x, h):
    new = []
    for j in range(w.H):
        write, keep = sigmoid(from_x(w, 0, j, x) + h[j]), 1 - sigmoid(h[j] - from_x(w, 1, j, x))
        a = write * from_x(w, 2, j, x) + keep * h[j]
        new.append(a if w.identity else tanh(a))
    return new, (new,)

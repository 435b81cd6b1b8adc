"""The mutants of the GRU."""

from oracles.notation import both, dot, entry, from_h, from_x, oracle, sigmoid, tanh


@oracle("mut1")
def mut1(w, x, h):
    kept = [sigmoid(from_x(w, 1, k, x) + from_h(w, 0, k, h)) * h[k] for k in range(w.H)]
    new = []
    for j in range(w.H):
        write = sigmoid(from_x(w, 0, j, x))
        embedded = tanh(dot(w.weight_ih[2 * w.H + j], x))
        fresh = tanh(from_h(w, 1, j, kept) + embedded + entry(w.bias_ih, 2 * w.H + j))
        new.append(fresh * write + h[j] * (1 - write))
    return new, (new,)


@oracle("mut2")
def mut2(w, x, h):
    kept = [sigmoid(both(w, 1, k, x, h)) * h[k] for k in range(w.H)]
    new = []
    for j in range(w.H):
        write, fresh = sigmoid(both(w, 0, j, x, h)), tanh(both(w, 2, j, x, kept))
        new.append(fresh * write + h[j] * (1 - write))
    return new, (new,)


@oracle("mut3")
def mut3(w, x, h):
    squashed = [tanh(a) for a in h]
    kept = [sigmoid(both(w, 1, k, x, h)) * h[k] for k in range(w.H)]
    new = []
    for j in range(w.H):
        write, fresh = sigmoid(both(w, 0, j, x, squashed)), tanh(both(w, 2, j, x, kept))
        new.append(fresh * write + h[j] * (1 - write))
    return new, (new,)

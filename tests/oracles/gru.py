"""The GRU family."""

from oracles.notation import both, from_h, from_x, oracle, sigmoid, tanh


@oracle("gru", "cudnn_gru")
def gru(w, x, h):
    new = []
    for j in range(w.H):
        reset, keep = sigmoid(both(w, 0, j, x, h)), sigmoid(both(w, 1, j, x, h))
        fresh = tanh(from_x(w, 2, j, x) + reset * from_h(w, 2, j, h))
        new.append(fresh + keep * (h[j] - fresh))
    return new, (new,)


@oracle("cho_gru")
def cho_gru(w, x, h):
    reset = [sigmoid(both(w, 0, k, x, h)) * h[k] for k in range(w.H)]
    new = []
    for j in range(w.H):
        write, fresh = sigmoid(both(w, 1, j, x, h)), tanh(from_x(w, 2, j, x) + from_h(w, 2, j, reset))
        new.append(h[j] + write * (fresh - h[j]))
    return new, (new,)


@oracle("janet", settings=({}, {"beta": -0.4, "max_steps": 7}))
def janet(w, x, h):
    new = []
    for j in range(w.H):
        forget, fresh = both(w, 0, j, x, h), tanh(both(w, 1, j, x, h))
        new.append(sigmoid(forget) * h[j] + (1 - sigmoid(forget - w.beta)) * fresh)
    return new, (new,)

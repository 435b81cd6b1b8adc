"""Plain recurrences."""

from oracles.notation import both, oracle, tanh


@oracle("rnn", "cudnn_rnn")
def elman(w, x, h):
    h = [tanh(both(w, 0, j, x, h)) for j in range(w.H)]
    return h, (h,)


@oracle("rnn_relu", "irnn")
def elman_relu(w, x, h):
    a = [both(w, 0, j, x, h) for j in range(w.H)]
    h = [v if v > 0 else 0 * v for v in a]
    return h, (h,)

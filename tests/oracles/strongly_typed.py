"""The strongly typed cells."""

from oracles.notation import dot, entry, from_x, oracle, sigmoid, tanh


@oracle("t_rnn")
def t_rnn(w, x, h):
    new = []
    for j in range(w.H):
        keep = sigmoid(dot(w.weight_ih[w.H + j], x) + entry(w.bias_ih, j))
        new.append(keep * h[j] + (1 - keep) * dot(w.weight_ih[j], x))
    return new, (new,)


def preactivations(w, x, vx):
    """z f o of every unit; and what this input adds to the next step's."""
    rows = [[from_x(w, k, j, x) + vx[k * w.H + j] for j in range(w.H)] for k in range(3)]
    return *rows, [dot(row, x) for row in w.weight_previous]


@oracle("t_gru")
def t_gru(w, x, h, vx):
    z, f, o, later = preactivations(w, x, vx)
    new = [sigmoid(f[j]) * h[j] + z[j] * tanh(o[j]) for j in range(w.H)]
    return new, (new, later)


@oracle("t_lstm")
def t_lstm(w, x, h, c, vx):
    z, f, o, later = preactivations(w, x, vx)
    new_c = [z[j] + sigmoid(f[j]) * (c[j] - z[j]) for j in range(w.H)]
    new_h = [tanh(o[j]) * new_c[j] for j in range(w.H)]
    return new_h, (new_h, new_c, later)

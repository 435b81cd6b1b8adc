"""The LSTM family."""

from oracles.notation import both, oracle, sigmoid, tanh


@oracle("lstm", "cudnn_lstm")
def lstm(w, x, h, c):
    new_h, new_c = [], []
    for j in range(w.H):
        write, keep, show = (sigmoid(both(w, gate, j, x, h)) for gate in (0, 1, 3))
        new_c.append(keep * c[j] + write * tanh(both(w, 2, j, x, h)))
        new_h.append(show * tanh(new_c[j]))
    return new_h, (new_h, new_c)


@oracle("peephole_lstm")
def peephole_lstm(w, x, h, c):
    new_h, new_c = [], []
    for j in range(w.H):
        write = sigmoid(both(w, 0, j, x, h) + w.p_i[j] * c[j])
        keep = sigmoid(both(w, 1, j, x, h) + w.p_f[j] * c[j])
        new_c.append(keep * c[j] + write * tanh(both(w, 2, j, x, h)))
        show = sigmoid(both(w, 3, j, x, h) + w.p_o[j] * new_c[j])
        new_h.append(show * tanh(new_c[j]))
    return new_h, (new_h, new_c)

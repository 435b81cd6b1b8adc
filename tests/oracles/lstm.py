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

"""The LSTM family."""

from oracles.notation import both, dot, oracle, sigmoid, tanh


@oracle("lstm", "cudnn_lstm")
def lstm(w, x, h, c):
    new_h, new_c = [], []
    for j in range(w.H):
        write, keep, show = (sigmoid(both(w, gate, j, x, h)) for gate in (0, 1, 3))
        new_c.append(keep * c[j] + write * tanh(both(w, 2, j, x, h)))
        new_h.append(show * tanh(new_c[j]))
    return new_h, (new_h, new_c)


@oracle("lstm_1997")
def lstm_1997(w, x, h, c):
    new_h, new_c = [], []
    for j in range(w.H):
        write, show = sigmoid(both(w, 0, j, x, h)), sigmoid(both(w, 2, j, x, h))
        new_c.append(c[j] + write * (4 * sigmoid(both(w, 1, j, x, h)) - 2))
        new_h.append(show * (2 * sigmoid(new_c[j]) - 1))
    return new_h, (new_h, new_c)


@oracle("lstmp", settings=({}, {"proj_size": 7}))
def lstmp(w, x, r, c):
    m, (_, new_c) = lstm(w, x, r, c)
    new_r = [dot(row, m) for row in w.weight_hr]
    return new_r, (new_r, new_c)


@oracle("sub_lstm")
def sub_lstm(w, x, h, c):
    new_h, new_c = [], []
    for j in range(w.H):
        take, keep, add, hide = (sigmoid(both(w, gate, j, x, h)) for gate in range(4))
        new_c.append((c[j] * keep - take) + add)
        new_h.append(sigmoid(new_c[j]) - hide)
    return new_h, (new_h, new_c)

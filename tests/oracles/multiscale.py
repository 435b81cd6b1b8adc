"""Two states, one faster and one slower."""

from oracles.notation import dot, from_h, from_x, oracle, sigmoid, tanh


@oracle("scrn", settings=({"context_size": 4}, {"context_size": 2, "alpha": 0.3}))
def scrn(w, x, h, s):
    s = [w.alpha * old + (1 - w.alpha) * dot(row, x) for row, old in zip(w.weight_is, s, strict=True)]
    new = [sigmoid(dot(w.weight_sh[j], s) + from_x(w, 0, j, x) + from_h(w, 0, j, h)) for j in range(w.H)]
    return new + s, (new, s)


@oracle("lem", settings=({}, {"dt": 0.4}))
def lem(w, x, y, z):
    new_y, new_z = [], []
    for j in range(w.H):
        step = w.dt * sigmoid(from_x(w, 1, j, x) + from_h(w, 1, j, y))
        new_z.append(z[j] + step * (tanh(from_x(w, 2, j, x) + from_h(w, 2, j, y)) - z[j]))
    for j in range(w.H):
        step = w.dt * sigmoid(from_x(w, 0, j, x) + from_h(w, 0, j, y))
        new_y.append(y[j] + step * (tanh(from_x(w, 3, j, x) + dot(w.weight_zy[j], new_z)) - y[j]))
    return new_y, (new_y, new_z)

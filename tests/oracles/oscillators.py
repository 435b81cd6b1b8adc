"""Driven oscillators."""

from oracles.notation import dot, from_x, oracle, sigmoid, tanh


@oracle("cornn", settings=({}, {"dt": 0.5, "gamma": 0.9, "epsilon": 1.3}, {"dt": 0.5, "damping": "implicit"}))
def cornn(w, x, y, z):
    new_y, new_z = [], []
    for j in range(w.H):
        row = w.weight_hh[j]
        pull = tanh(from_x(w, 0, j, x) + dot(row[: w.H], y) + dot(row[w.H :], z)) - w.gamma * y[j]
        if w.damping == "implicit":  # the z that solves z = z_{t-1} + dt (pull - epsilon z)
            new_z.append((w.dt * pull + z[j]) / (1 + w.dt * w.epsilon))
        else:
            new_z.append(z[j] + w.dt * pull - w.dt * w.epsilon * z[j])
        new_y.append(y[j] + w.dt * new_z[j])
    return new_y, (new_y, new_z)


@oracle("unicornn", settings=({}, {"dt": 0.6, "alpha": 3.0}))
def unicornn(w, x, y, z):
    new_y, new_z = [], []
    for j in range(w.H):
        step = w.dt * sigmoid(w.c[j])
        new_z.append(z[j] - step * (tanh(w.weight_hh[j] * y[j] + from_x(w, 0, j, x)) + w.alpha * y[j]))
        new_y.append(y[j] + step * new_z[j])
    return new_y, (new_y, new_z)

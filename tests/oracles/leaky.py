"""Leaky integrators."""

from oracles.notation import both, from_h, from_x, oracle, tanh


@oracle("leaky_rnn", settings=({}, {"alpha": 0.9}))
def leaky_rnn(w, x, h):
    h = [h[j] + w.alpha * (tanh(both(w, 0, j, x, h)) - h[j]) for j in range(w.H)]
    return h, (h,)


@oracle("ctrnn", settings=({}, {"dt": 0.2}))
def ctrnn(w, x, v):
    rates, new = [tanh(a) for a in v], []
    for j in range(w.H):
        tau = w.dt + (1 + w.rho[j].exp()).log()
        change = (-v[j] + from_h(w, 0, j, rates) + from_x(w, 0, j, x)) / tau
        new.append(v[j] + w.dt * change)
    return [tanh(a) for a in new], (new,)

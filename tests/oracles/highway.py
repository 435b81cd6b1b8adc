"""Highway networks within a time step."""

from oracles.notation import from_h, from_x, oracle, sigmoid, tanh


def layers(w, gates, x, s, carry):
    for layer in range(w.depth):
        new = []
        for j in range(w.H):
            a = [from_h(w, layer * gates + k, j, s) + (from_x(w, k, j, x) if layer == 0 else 0) for k in range(gates)]
            transform = sigmoid(a[1])
            new.append(tanh(a[0]) * transform + s[j] * carry(transform, a))
        s = new
    return s, (s,)


@oracle("rhn", settings=({}, {"depth": 1}, {"depth": 4, "gate_bias": -4.0}))
def rhn(w, x, h):
    return layers(w, 2, x, h, lambda transform, a: 1 - transform)


@oracle("uncoupled_rhn", settings=({"depth": 2}, {"depth": 1}))
def uncoupled_rhn(w, x, h):
    return layers(w, 3, x, h, lambda transform, a: sigmoid(a[2]))

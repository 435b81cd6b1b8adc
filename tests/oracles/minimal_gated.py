"""The minimal gated unit and its simplifications."""

from oracles.notation import both, entry, from_h, from_x, oracle, sigmoid, tanh


def mixed(w, gate, fresh, h):
    """The gate weighs what is new; `fresh` gets a unit and what the gate leaves of h."""
    left = [gate[k] * h[k] for k in range(w.H)]
    new = [h[j] + gate[j] * (tanh(fresh(j, left)) - h[j]) for j in range(w.H)]
    return new, (new,)


@oracle("mgu")
def mgu(w, x, h):
    gate = [sigmoid(both(w, 0, j, x, h)) for j in range(w.H)]
    return mixed(w, gate, lambda j, left: both(w, 1, j, x, left), h)


@oracle("mgu1", "mgu2")
def mgu1(w, x, h):
    gate = [sigmoid(from_h(w, 0, j, h)) for j in range(w.H)]  # bias_hh is b_f alone; mgu2 has none

    def fresh(j, left):
        return from_x(w, 0, j, x) + sum(w.weight_hh[w.H + j][k] * left[k] for k in range(w.H))

    return mixed(w, gate, fresh, h)


@oracle("mgu3")
def mgu3(w, x, h):
    gate = [sigmoid(entry(w.b_f, j)) for j in range(w.H)]
    return mixed(w, gate, lambda j, left: both(w, 0, j, x, left), h)

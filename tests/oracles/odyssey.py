"""The LSTM and its eight variants of Greff et al. 2017: one step of "V", of which each variant replaces a part."""

from oracles.notation import both, dot, oracle, sigmoid, tanh


def vanilla(w, x, h, c, rows, hold=None, squash_in=tanh, squash_out=tanh, gate=lambda name, j: 0):
    """Block by block as in the paper's section 2: `rows` places each block that the variant has, `hold` is a gate
    for the f that stands in another's place, and `gate` is what else a gate hears."""

    def opened(name, j, memory):
        if name not in rows:
            return 1
        peephole = getattr(w, f"p_{name}", None)
        seen = 0 if peephole is None else peephole[j] * memory
        return sigmoid(both(w, rows.index(name), j, x, h) + seen + gate(name, j))

    new_h, new_c, gates = [], [], []
    for j in range(w.H):
        i = opened("i", j, c[j])
        f = hold(i) if hold else opened("f", j, c[j])
        new_c.append(squash_in(both(w, rows.index("z"), j, x, h)) * i + c[j] * f)
        o = opened("o", j, new_c[j])
        new_h.append(squash_out(new_c[j]) * o)
        gates.append((i, f, o))
    return new_h, new_c, gates


def itself(a):
    return a


def variant(name, rows, **parts):
    @oracle(name)
    def step(w, x, h, c):
        new_h, new_c, _ = vanilla(w, x, h, c, rows, **parts)
        return new_h, (new_h, new_c)


variant("peephole_lstm", "ifzo")
variant("nig", "fzo")
variant("nfg", "izo")
variant("nog", "ifz")
variant("niaf", "ifzo", squash_in=itself)
variant("noaf", "ifzo", squash_out=itself)
variant("np", "ifzo")
variant("cifg", "izo", hold=lambda i: 1 - i)


@oracle("fgr")
def fgr(w, x, h, c, i, f, o):
    old = i + f + o  # one list, as are the columns of G

    def heard(name, j):
        return dot(w.weight_gg["ifo".index(name) * w.H + j], old)

    new_h, new_c, gates = vanilla(w, x, h, c, "ifzo", gate=heard)
    return new_h, (new_h, new_c, *([g[k] for g in gates] for k in range(3)))

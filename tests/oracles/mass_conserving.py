"""Cells that conserve what they are given."""

from oracles.notation import dot, entry, oracle, sigmoid


def shares(a):
    powers = [v.exp() for v in a]
    return [p / sum(powers) for p in powers]


@oracle("mc_lstm", settings=({}, {"mass_size": 2}))
def mc_lstm(w, x, h, c):
    mass, other = x[: w.mass_size], x[w.mass_size :]
    total = sum(abs(v) for v in c)
    seen = [*other, *(v / total if total else v for v in c)]
    a = [
        dot([*p, *q], seen) + entry(w.bias_ih, k) for k, (p, q) in enumerate(zip(w.weight_ih, w.weight_hh, strict=True))
    ]
    sent = [shares(a[at : at + w.H]) for at in range(w.H, len(a), w.H)]  # from each mass, then from each unit
    new_h, new_c = [], []
    for j in range(w.H):
        held = sum(amount * to[j] for amount, to in zip([*mass, *c], sent, strict=True))
        new_h.append(sigmoid(a[j]) * held)
        new_c.append((1 - sigmoid(a[j])) * held)
    return new_h, (new_h, new_c)

"""A cell found by search."""

from oracles.notation import from_h, from_x, oracle, sigmoid, tanh


@oracle("nas_cell")
def nas_cell(w, x, h, c):
    new_h, new_c = [], []
    for j in range(w.H):
        a, q = ([part(w, k, j, values) for k in range(8)] for part, values in ((from_x, x), (from_h, h)))
        total = [p + r for p, r in zip(a, q, strict=True)]
        total[3] = a[3] * q[3]
        lane = [sigmoid(total[k]) if k in (0, 2, 5, 7) else tanh(total[k]) for k in range(8)]
        for k in (1, 3):
            lane[k] = total[k] if total[k] > 0 else 0 * total[k]
        memory = tanh(tanh(lane[0] * lane[1]) + c[j])
        new_c.append(memory * tanh(lane[2] + lane[3]))
        new_h.append(tanh(new_c[j] * tanh(tanh(lane[4] * lane[5]) + sigmoid(lane[6] + lane[7]))))
    return new_h, (new_h, new_c)

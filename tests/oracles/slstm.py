"""The scalar memory of xLSTM."""

from oracles.notation import dot, from_x, oracle, sigmoid, tanh


@oracle("slstm", settings=({}, {"heads": 5}))
def slstm(w, x, h, c, n, m):
    d, new = w.H // w.heads, []
    for j in range(w.H):
        head, unit = j // d, j % d
        mine = h[head * d : head * d + d]
        i, f, z, o = (from_x(w, k, j, x) + dot(w.weight_hh[head][k * d + unit], mine) for k in range(4))
        kept = m[j] - (1 + (-f).exp()).log()
        top = i if n[j] == 0 or i > kept else kept
        write, keep = (i - top).exp(), (kept - top).exp()
        c_j, n_j = keep * c[j] + write * tanh(z), keep * n[j] + write
        new.append((sigmoid(o) * c_j / n_j, c_j, n_j, top))
    h, c, n, m = (list(values) for values in zip(*new, strict=True))
    return h, (h, c, n, m)

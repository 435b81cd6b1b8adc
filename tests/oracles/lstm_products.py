"""LSTMs whose step holds products that depend on one another."""

from oracles.notation import both, dot, entry, from_h, from_x, oracle, sigmoid, tanh


@oracle("multiplicative_lstm")
def multiplicative_lstm(w, x, h, c):
    m = [dot(w.weight_ih[j], x) * dot(w.weight_hh[j], h) for j in range(w.H)]

    def gate(k, j):
        at = k * w.H + j
        return dot(w.weight_ih[w.H + at], x) + dot(w.weight_mh[at], m) + entry(getattr(w, "bias_mh", None), at)

    c = [sigmoid(gate(1, j)) * c[j] + sigmoid(gate(0, j)) * tanh(gate(2, j)) for j in range(w.H)]
    h = [sigmoid(gate(3, j)) * tanh(c[j]) for j in range(w.H)]
    return h, (h, c)


@oracle("mogrifier_lstm", settings=({}, {"rounds": 0}, {"rounds": 2}, {"rounds": 3, "rank": 2}))
def mogrifier_lstm(w, x, h, c):
    def scale(k, row, values):
        if w.rank:
            right = getattr(w, f"right_{k}")
            sum_ = sum(getattr(w, f"left_{k}")[row][p] * dot(right[p], values) for p in range(w.rank))
        else:
            sum_ = dot(getattr(w, f"full_{k}")[row], values)
        return 2 * sigmoid(sum_ + entry(getattr(w, f"bias_{k}", None), row))

    for k in range(1, w.rounds + 1):
        if k % 2 == 1:
            x = [scale(k, j, h) * x[j] for j in range(w.I)]
        else:
            h = [scale(k, j, x) * h[j] for j in range(w.H)]
    i, f, g, o = ([both(w, k, j, x, h) for j in range(w.H)] for k in range(4))
    c = [sigmoid(f[j]) * c[j] + sigmoid(i[j]) * tanh(g[j]) for j in range(w.H)]
    h = [sigmoid(o[j]) * tanh(c[j]) for j in range(w.H)]
    return h, (h, c)


@oracle("nested_lstm", settings=({}, {"depth": 3}))
def nested_lstm(w, x, h, c, inner):
    def level(n, x, h, memories):
        """The output of level n on inputs x and h, and the memories from that level inwards."""
        if n == 1:
            W, R, b, squash = w.weight_ih, w.weight_hh, w.bias_ih, lambda a: a
        else:
            W, R = getattr(w, f"weight_ih_{n}"), getattr(w, f"weight_hh_{n}")
            b, squash = getattr(w, f"bias_{n}", None), tanh
        a = [dot(W[k], x) + dot(R[k], h) + entry(b, k) for k in range(4 * w.H)]
        wrote = [sigmoid(a[j]) * squash(a[2 * w.H + j]) for j in range(w.H)]
        kept = [sigmoid(a[w.H + j]) * memories[0][j] for j in range(w.H)]
        if n == w.depth:
            new = [[kept[j] + wrote[j] for j in range(w.H)]]
        else:
            out, within = level(n + 1, wrote, kept, memories[1:])
            new = [out, *within]
        return [sigmoid(a[3 * w.H + j]) * tanh(new[0][j]) for j in range(w.H)], new

    levels = [c, *(inner[k * w.H : (k + 1) * w.H] for k in range(w.depth - 1))]
    h, (c, *levels) = level(1, x, h, levels)
    return h, (h, c, [v for one in levels for v in one])


@oracle("wmc_lstm")
def wmc_lstm(w, x, h, c):
    def gate(k, row, j, c):
        return sigmoid(both(w, k, j, x, h) + tanh(dot(w.weight_ch[row * w.H + j], c)))

    new_c = [gate(1, 1, j, c) * c[j] + gate(0, 0, j, c) * tanh(both(w, 2, j, x, h)) for j in range(w.H)]
    new_h = [gate(3, 2, j, new_c) * tanh(new_c[j]) for j in range(w.H)]
    return new_h, (new_h, new_c)


@oracle("residual_lstm")
def residual_lstm(w, x, h, c):
    new_c, show = [], []
    for j in range(w.H):
        write = sigmoid(from_x(w, 0, j, x) + from_h(w, 0, j, h) + w.p_i[j] * c[j])
        keep = sigmoid(from_x(w, 1, j, x) + from_h(w, 1, j, h) + w.p_f[j] * c[j])
        new_c.append(keep * c[j] + write * tanh(both(w, 2, j, x, h)))
        show.append(sigmoid(both(w, 3, j, x, h) + w.p_o[j] * new_c[j]))
    below = x if w.I == w.H else [dot(row, x) for row in w.weight_res]
    squashed = [tanh(v) for v in new_c]
    new_h = [show[j] * (dot(w.weight_proj[j], squashed) + below[j]) for j in range(w.H)]
    return new_h, (new_h, new_c)

"""Gated cells whose products are layer-normalised."""

from oracles.notation import dot, entry, oracle, sigmoid, tanh


def normed(a, gain, shift, eps):
    mean = sum(a) / len(a)
    var = sum((v - mean) ** 2 for v in a) / len(a)
    return [gain[k] * (v - mean) / (var + eps) ** 0.5 + entry(shift, k) for k, v in enumerate(a)]


@oracle("layernorm_lstm", settings=({}, {"eps": 0.1}))
def layernorm_lstm(w, x, h, c):
    from_x = normed([dot(row, x) for row in w.weight_ih], w.gain_ih, w.bias_ih, w.eps)
    from_h = normed([dot(row, h) for row in w.weight_hh], w.gain_hh, None, w.eps)
    i, f, g, o = ([from_x[k * w.H + j] + from_h[k * w.H + j] for j in range(w.H)] for k in range(4))
    c = [sigmoid(f[j]) * c[j] + sigmoid(i[j]) * tanh(g[j]) for j in range(w.H)]
    shown = normed(c, w.gain_c, getattr(w, "bias_c", None), w.eps)
    h = [sigmoid(o[j]) * tanh(shown[j]) for j in range(w.H)]
    return h, (h, c)


@oracle("layernorm_gru", settings=({}, {"eps": 0.1}))
def layernorm_gru(w, x, h):
    def block(rows, values, gain, shift, lo, hi):
        return normed([dot(row, values) for row in rows[lo:hi]], gain[lo:hi], shift and shift[lo:hi], w.eps)

    x_rz = block(w.weight_ih, x, w.gain_ih, w.bias_ih, 0, 2 * w.H)
    h_rz = block(w.weight_hh, h, w.gain_hh, None, 0, 2 * w.H)
    x_n = block(w.weight_ih, x, w.gain_ih, w.bias_ih, 2 * w.H, 3 * w.H)
    h_n = block(w.weight_hh, h, w.gain_hh, None, 2 * w.H, 3 * w.H)
    new = []
    for j in range(w.H):
        reset, keep = sigmoid(x_rz[j] + h_rz[j]), sigmoid(x_rz[w.H + j] + h_rz[w.H + j])
        fresh = tanh(x_n[j] + reset * (h_n[j] + entry(getattr(w, "bias_hn", None), j)))
        new.append(fresh + keep * (h[j] - fresh))
    return new, (new,)

"""Cells with an update gate and no reset."""

from oracles.notation import both, dot, entry, from_h, from_x, oracle, sigmoid, tanh


def ramp(a):
    return (a + abs(a)) / 2


@oracle("ugrnn")
def ugrnn(w, x, h):
    new = []
    for j in range(w.H):
        fresh, keep = tanh(both(w, 0, j, x, h)), sigmoid(both(w, 1, j, x, h))
        new.append(fresh + keep * (h[j] - fresh))
    return new, (new,)


@oracle("intersection_rnn")
def intersection_rnn(w, x, y, h):
    x = [dot(w.weight_p[j], x) + entry(getattr(w, "bias_p", None), j) for j in range(w.H)]
    out, new = [], []
    for j in range(w.H):
        deep, late = ramp(both(w, 0, j, x, h)), tanh(both(w, 1, j, x, h))
        pass_x, pass_h = sigmoid(both(w, 2, j, x, h)), sigmoid(both(w, 3, j, x, h))
        out.append(pass_x * x[j] + (1 - pass_x) * deep)
        new.append(pass_h * h[j] + (1 - pass_h) * late)
    return out, (out, new)


@oracle("ligru", settings=({}, {"norm": "layer"}, {"norm": "none"}))
def ligru(w, x, h):
    rows = [dot(row, x) for row in w.weight_ih]
    if w.norm == "layer":
        mean = sum(rows) / len(rows)
        variance = sum((a - mean) ** 2 for a in rows) / len(rows)
        rows = [g * (a - mean) / (variance + 1e-5) ** 0.5 for g, a in zip(w.gain, rows, strict=True)]
    if w.norm == "batch":  # in evaluation, from the running statistics that a cell starts with: 0 and 1
        rows = [g * a / (1 + 1e-5) ** 0.5 for g, a in zip(w.gain, rows, strict=True)]
    new = []
    for j in range(w.H):
        fresh, keep = (rows[k] + entry(w.bias_ih, k) + dot(w.weight_hh[k], h) for k in (j, w.H + j))
        new.append(sigmoid(keep) * h[j] + (1 - sigmoid(keep)) * ramp(fresh))
    return new, (new,)


@oracle("light_ru")
def light_ru(w, x, h):
    new = []
    for j in range(w.H):
        fresh = tanh(dot(w.weight_ih[j], x))
        write = sigmoid(dot(w.weight_ih[w.H + j], x) + dot(w.weight_hh[j], h) + entry(w.bias_ih, j))
        new.append((1 - write) * h[j] + write * fresh)
    return new, (new,)


@oracle("star", settings=({}, {"beta": 1.0, "max_steps": 7}))
def star(w, x, h):
    new = []
    for j in range(w.H):
        fresh, gate = tanh(from_x(w, 0, j, x)), -(from_x(w, 1, j, x) + from_h(w, 0, j, h))
        new.append(tanh(sigmoid(gate) * h[j] + (1 - sigmoid(gate - w.beta)) * fresh))
    return new, (new,)


@oracle("minimal_rnn")
def minimal_rnn(w, x, h):
    embedded = [tanh(from_x(w, 0, j, x)) for j in range(w.H)]
    new = []
    for j in range(w.H):
        keep = sigmoid(from_h(w, 0, j, h) + dot(w.weight_z[j], embedded))
        new.append(keep * h[j] + (1 - keep) * embedded[j])
    return new, (new,)

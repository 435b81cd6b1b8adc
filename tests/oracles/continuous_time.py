"""Cells of continuous time."""

import torch

from oracles.gru import gru
from oracles.notation import dot, entry, from_x, oracle, sigmoid, tanh

DT = {"dt": lambda T, B: 2 * torch.rand(T, B, 1)}
BACKBONES = ({"backbone_units": 4}, {"backbone_units": 2, "backbone_layers": 3})


def heads(w, x, h):
    """What each head says of a unit j: a function of head and j."""

    def squash(a):
        return 1.7159 * tanh(0.666 * a)

    z = [squash(dot(w.weight_ih[k] + w.weight_hh[k], x + h) + entry(w.bias_ih, k)) for k in range(w.backbone_units)]
    for layer in range(w.backbone_layers - 1):
        b = entry(w.bias_deep, layer)
        z = [squash(dot(row, z) + entry(b or None, k)) for k, row in enumerate(w.weight_deep[layer])]
    return lambda head, j: dot(w.weight_head[head * w.H + j], z) + entry(w.bias_head, head * w.H + j)


@oracle("cfc", settings=BACKBONES, inputs=DT)
def cfc(w, x, h, dt):
    say, new = heads(w, x, h), []
    for j in range(w.H):
        early = sigmoid(-(say(2, j) * dt[0] + say(3, j)))
        new.append(early * tanh(say(0, j)) + (1 - early) * tanh(say(1, j)))
    return new, (new,)


@oracle("cfc_no_gate", settings=BACKBONES, inputs=DT)
def cfc_no_gate(w, x, h, dt):
    say, new = heads(w, x, h), []
    for j in range(w.H):
        new.append(tanh(say(0, j)) + sigmoid(say(2, j) * dt[0] + say(3, j)) * tanh(say(1, j)))
    return new, (new,)


@oracle("cfc_pure", settings=BACKBONES, inputs=DT)
def cfc_pure(w, x, h, dt):
    say, new = heads(w, x, h), []
    for j in range(w.H):
        f = say(0, j)
        new.append(w.A[j] * (1 - f / ((abs(w.w[j]) + abs(f)) * dt[0]).exp()))
    return new, (new,)


@oracle("ltc", settings=({}, {"unfolds": 2}), inputs=DT)
def ltc(w, x, h, dt):
    def softplus(a):
        return (1 + a.exp()).log()

    def conductances(i, v):
        for side, senders in (("ih", x), ("hh", v)):
            weight, slope, mid, reversal = (vars(w)[f"{n}_{side}"][i] for n in ("weight", "slope", "mid", "reversal"))
            for j, a in enumerate(senders):
                yield softplus(weight[j]) * sigmoid(slope[j] * (a - mid[j])), reversal[j]

    v = h
    for _ in range(w.unfolds):
        new = []
        for i in range(w.H):
            rate, leak = softplus(w.c[i]) * w.unfolds / dt[0], softplus(w.g[i])
            above, below = rate * v[i] + leak * entry(w.resting, i), rate + leak
            for conductance, reversal in conductances(i, v):
                above, below = above + conductance * reversal, below + conductance
            new.append(above / below)
        v = new
    return v, (v,)


@oracle("gru_ode", settings=({}, {"unfolds": 1}), inputs=DT)
def gru_ode(w, x, h, dt):
    for _ in range(w.unfolds):

        def gate(k, j, h):
            return from_x(w, k, j, x) + dot(w.weight_hh[k * w.H + j], h)

        reset, slopes = [sigmoid(gate(0, k, h)) * h[k] for k in range(w.H)], []
        for j in range(w.H):
            slopes.append((1 - sigmoid(gate(1, j, h))) * (tanh(gate(2, j, reset)) - h[j]))
        h = [a + dt[0] / w.unfolds * slope for a, slope in zip(h, slopes, strict=True)]
    return h, (h,)


@oracle("ode_rnn", settings=({"ode_units": 4}, {"ode_units": 2, "unfolds": 1}), inputs=DT)
def ode_rnn(w, x, h, dt):
    for _ in range(w.unfolds):
        z = [tanh(dot(row, h) + entry(w.bias_hu, k)) for k, row in enumerate(w.weight_hu)]
        h = [h[j] + dt[0] * (dot(row, z) + entry(w.bias_uh, j)) / w.unfolds for j, row in enumerate(w.weight_uh)]
    return gru(w, x, h)

"""Cells for series with missing values."""

import torch

from oracles.notation import dot, entry, from_x, oracle, sigmoid, tanh

INPUTS = {"mask": lambda T, B: (torch.rand(T, B, 3) < 0.5).float(), "dt": lambda T, B: 2 * torch.rand(T, B, 3)}


@oracle("gru_d", inputs=INPUTS)
def gru_d(w, x, h, seen, mask, dt):
    def decayed(a):
        return (-a).exp() if a > 0 else (0 * a).exp()

    seen = [now if m > 0.5 else before for now, before, m in zip(x, seen, mask, strict=True)]
    filled = []
    for i in range(w.I):
        keep = decayed(w.decay_x[i] * dt[i] + entry(w.bias_decay_x, i))
        filled.append(x[i] if mask[i] > 0.5 else w.mean[i] + keep * (seen[i] - w.mean[i]))
    h = [decayed(dot(w.decay_h[j], dt) + entry(w.bias_decay_h, j)) * h[j] for j in range(w.H)]

    def gate(k, j, h):
        row = k * w.H + j
        return from_x(w, k, j, filled) + dot(w.weight_hh[row] + w.weight_mh[row], h + mask)

    reset = [sigmoid(gate(0, k, h)) * h[k] for k in range(w.H)]
    new = []
    for j in range(w.H):
        new.append(h[j] + sigmoid(gate(1, j, h)) * (tanh(gate(2, j, reset)) - h[j]))
    return new, (new, seen)

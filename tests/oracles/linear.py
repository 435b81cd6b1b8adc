"""Cells that are linear in time, of one number a unit."""

import torch

from oracles.notation import dot, entry, from_x, oracle, sigmoid, tanh


def softplus(a):
    return (1 + a.exp()).log()


def silu(a):
    return a * sigmoid(a)


def layer_norm(values, gain, shift):
    mean = sum(values) / len(values)
    spread = torch.sqrt(sum((a - mean) ** 2 for a in values) / len(values) + 1e-5)
    return [gain[n] * (a - mean) / spread + entry(shift, n) for n, a in enumerate(values)]


ACTIVATIONS = {"tanh": tanh, "identity": lambda a: a, "silu": silu}


def positive(a):
    return a + 0.5 if a >= 0 else sigmoid(a)


def one_each(w, x):
    """What each unit reads: its own feature where there are as many, otherwise a weighting of all."""
    return x if w.weight_ih is None else [from_x(w, 0, j, x) for j in range(w.H)]


@oracle("ema", settings=({}, {"max_steps": 30.0}))
def ema(w, x, h):
    v = one_each(w, x)
    new = [v[j] + sigmoid(w.rho[j]) * (h[j] - v[j]) for j in range(w.H)]
    return new, (new,)


@oracle("gilr", settings=({}, {"activation": "identity"}, {"activation": "silu"}))
def gilr(w, x, h):
    new = []
    for j in range(w.H):
        keep, impulse = sigmoid(from_x(w, 0, j, x)), ACTIVATIONS[w.activation](from_x(w, 1, j, x))
        new.append(keep * h[j] + (1 - keep) * impulse)
    return new, (new,)


@oracle("mingru")
def mingru(w, x, h):
    new = []
    for j in range(w.H):
        write, a = sigmoid(from_x(w, 0, j, x)), from_x(w, 1, j, x)
        new.append((1 - write) * h[j] + write * positive(a))
    return new, (new,)


@oracle("minlstm")
def minlstm(w, x, h):
    new = []
    for j in range(w.H):
        keep, write = sigmoid(from_x(w, 0, j, x)), sigmoid(from_x(w, 1, j, x))
        fresh = positive(from_x(w, 2, j, x))
        new.append(keep / (keep + write) * h[j] + write / (keep + write) * fresh)
    return new, (new,)


@oracle("hgrn", settings=({}, {"lower_bound": 0.7}))
def hgrn(w, x, h):
    new = []
    for j in range(w.H):
        keep = w.lower_bound + (1 - w.lower_bound) * sigmoid(from_x(w, 0, j, x))
        new.append(keep * h[j] + (1 - keep) * silu(from_x(w, 1, j, x)))
    return new, (new,)


@oracle("complex_hgrn", settings=({}, {"lower_bound": 0.7}))
def complex_hgrn(w, x, h):
    new, shown = [], []
    for j in range(w.H):
        f, re, im = (from_x(w, g, j, x) for g in range(3))
        keep = w.lower_bound + (1 - w.lower_bound) * sigmoid(f)
        turn = torch.exp(1j * w.theta[j])
        new.append(keep * turn * h[j] + (1 - keep) * torch.complex(silu(re), silu(im)))
    for part, values in enumerate(([a.real for a in new], [a.imag for a in new])):
        shown += [a * sigmoid(from_x(w, 3 + part, j, x)) for j, a in enumerate(values)]
    normed = layer_norm(shown, w.gain, w.shift)
    return [dot(w.weight_out[j], normed) + entry(w.bias_out, j) for j in range(w.H)], (new,)


@oracle("rg_lru", settings=({}, {"heads": 5, "c": 2.0}))
def rg_lru(w, x, h):
    v, width = one_each(w, x), w.H // w.heads
    new = []
    for j in range(w.H):
        head, k = j // width, j % width
        seen = v[head * width : (head + 1) * width]
        biases = w.bias_gates or [[0] * w.H] * 2
        recur, read = (sigmoid(dot(w.weight_gates[g][head][k], seen) + biases[g][j]) for g in (0, 1))
        a = sigmoid(w.Lambda[j]) ** (w.c * recur)
        new.append(a * h[j] + torch.sqrt(1 - a * a) * read * v[j])
    return new, (new,)

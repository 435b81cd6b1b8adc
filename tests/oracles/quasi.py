"""Quasi-recurrent cells: QRNN and the SRU family."""

import math

import torch

from oracles.linear import ACTIVATIONS, layer_norm
from oracles.notation import dot, entry, oracle, sigmoid, tanh


@oracle("qrnn", settings=({}, {"pooling": "f", "window": 3}, {"pooling": "ifo", "window": 4}))
def qrnn(w, x, h, c, ahead):
    rows = (1 + len(w.pooling)) * w.H
    now = [*ahead, *[0] * rows]  # what earlier inputs have left for this step, the next one, ...
    now = [a + dot(row, x) for a, row in zip(now, w.weight_ih, strict=True)]
    z, f, *more = ([now[g * w.H + j] + entry(w.bias_ih, g * w.H + j) for j in range(w.H)] for g in range(rows // w.H))
    keep = [sigmoid(a) for a in f]
    write = [sigmoid(a) for a in more[1]] if w.pooling == "ifo" else [1 - k for k in keep]
    c = [keep[j] * c[j] + write[j] * tanh(z[j]) for j in range(w.H)]
    h = c if w.pooling == "f" else [sigmoid(o) * m for o, m in zip(more[0], c, strict=True)]
    return h, (h, c, now[rows:])


def highway(w, x):
    """x', which passes the recurrence."""
    alpha = math.sqrt(1 + 2 * math.exp(w.highway_bias if w.bias else 0)) if w.rescale else 1
    return [alpha * a for a in x] if w.weight_skip is None else [dot(row, x) for row in w.weight_skip]


def sru_unit(w, j, z, f, r, past, old):
    """h and c of a unit, from the three products, x' and the old c."""
    keep, show = sigmoid(f + entry(w.bias_ih, j)), sigmoid(r + entry(w.bias_ih, w.H + j))
    c = keep * old + (1 - keep) * z
    return show * ACTIVATIONS[w.activation](c) + (1 - show) * past, c


SETTINGS = ({}, {"rescale": False, "highway_bias": -1.5, "activation": "tanh"})


@oracle("sru_v1", settings=({}, {"rescale": True, "highway_bias": -1.5, "activation": "identity"}))
def sru_v1(w, x, c):
    past, W = highway(w, x), w.weight_ih
    units = [sru_unit(w, j, *(dot(W[g * w.H + j], x) for g in range(3)), past[j], c[j]) for j in range(w.H)]
    return [h for h, _ in units], ([c for _, c in units],)


@oracle("sru", settings=SETTINGS)
def sru(w, x, h, c):
    past, W = highway(w, x), w.weight_ih
    units = []
    for j in range(w.H):
        z, f, r = (dot(W[g * w.H + j], x) for g in range(3))
        units.append(sru_unit(w, j, z, f + w.v_f[j] * c[j], r + w.v_r[j] * c[j], past[j], c[j]))
    h, c = map(list, zip(*units, strict=True))
    return h, (h, c)


@oracle("sru_pp", settings=(*SETTINGS, {"window": 2, "attention_size": 6}))
def sru_pp(w, x, h, c, keys, values, seen):
    q = [dot(row, x) for row in w.weight_q]
    keys, values = [*keys[1:], [dot(row, q) for row in w.weight_k]], [*values[1:], [dot(row, q) for row in w.weight_v]]
    seen = [*seen[1:], torch.ones_like(seen[0])]
    there = [(k, v) for k, v, s in zip(keys, values, seen, strict=True) if s > 0.5]
    shares = [torch.exp(dot(q, k) / math.sqrt(len(q))) for k, _ in there]
    total = sum(shares)
    mixed = [
        a + w.scale[0] * sum(share * v[n] for share, (_, v) in zip(shares, there, strict=True)) / total
        for n, a in enumerate(q)
    ]
    normed = layer_norm(mixed, w.gain, w.shift)
    past, units = highway(w, x), []
    for j in range(w.H):
        z, f, r = (dot(w.weight_o[g * w.H + j], normed) for g in range(3))
        units.append(sru_unit(w, j, z, f + w.v_f[j] * c[j], r + w.v_r[j] * c[j], past[j], c[j]))
    h, c = map(list, zip(*units, strict=True))
    return h, (h, c, keys, values, seen)

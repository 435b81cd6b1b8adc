"""Orthogonal and unitary recurrences."""

import cmath
import math

import torch

from oracles.notation import dot, entry, oracle


def skew_symmetric(w):
    entries = iter(w.skew)
    A = [[0.0] * w.H for _ in range(w.H)]
    for i in range(w.H):
        for j in range(i):
            A[i][j] = next(entries)
            A[j][i] = -A[i][j]
    return A


def solved(M, y):
    """x of M x = y, by elimination without pivots, which I + A needs none of."""
    n, rows = len(y), [[*row, value] for row, value in zip(M, y, strict=True)]
    for k in range(n):
        for i in range(k + 1, n):
            share = rows[i][k] / rows[k][k]
            rows[i] = [a - share * b for a, b in zip(rows[i], rows[k], strict=True)]
    x = [0.0] * n
    for k in reversed(range(n)):
        x[k] = (rows[k][n] - sum(rows[k][j] * x[j] for j in range(k + 1, n))) / rows[k][k]
    return x


def modrelu(w, j, size):
    """By how much modReLU scales a number of a given modulus."""
    grown = size + entry(w.offset, j)
    return grown / size if grown > 0 else 0 * size


def squashed(w, rotated, x):
    z = [rotated[j] + dot(w.weight_ih[j], x) for j in range(w.H)]
    h = [modrelu(w, j, abs(v)) * v for j, v in enumerate(z)]
    return h, (h,)


@oracle("orthogonal_rnn", settings=({}, {"negative": 2}))
def scornn(w, x, h):
    A = skew_symmetric(w)
    h = [-v if j >= w.H - w.negative else v for j, v in enumerate(h)]
    plus = [[(i == j) + A[i][j] for j in range(w.H)] for i in range(w.H)]
    return squashed(w, solved(plus, [h[i] - dot(A[i], h) for i in range(w.H)]), x)


@oracle("exprnn")
def exprnn(w, x, h):
    A = skew_symmetric(w)
    term = total = h
    for k in range(1, 40):  # exp(A) h = h + A h + A (A h) / 2 + ...
        term = [dot(row, term) / k for row in A]
        total = [a + b for a, b in zip(total, term, strict=True)]
    return squashed(w, total, x)


def fourier(z, sign):
    n = len(z)
    turns = [cmath.rect(n**-0.5, sign * 2 * math.pi * k / n) for k in range(n)]
    return [sum(turns[j * k % n] * z[k] for k in range(n)) for j in range(n)]


def reflected(z, re, im):
    v = [torch.complex(a, b) for a, b in zip(re, im, strict=True)]
    along = sum(a.conj() * b for a, b in zip(v, z, strict=True)) / sum(
        a * a + b * b for a, b in zip(re, im, strict=True)
    )
    return [b - 2 * along * a for a, b in zip(v, z, strict=True)]


@oracle("unitary_rnn")
def urnn(w, x, h):
    def turned(z, k):
        return [torch.complex(p.cos(), p.sin()) * a for p, a in zip(w.phases[k], z, strict=True)]

    z = [torch.complex(a, b) for a, b in zip(h[: w.H], h[w.H :], strict=True)]
    z = reflected(fourier(turned(z, 0), -1), *w.reflections[0])
    z = turned([z[int(k)] for k in w.permutation], 1)
    z = turned(reflected(fourier(z, 1), *w.reflections[1]), 2)
    z = [z[j] + torch.complex(dot(w.weight_ih[j], x), dot(w.weight_ih[w.H + j], x)) for j in range(w.H)]
    scales = [modrelu(w, j, (v.real**2 + v.imag**2 + 1e-6) ** 0.5) for j, v in enumerate(z)]
    new = [s * v.real for s, v in zip(scales, z, strict=True)] + [s * v.imag for s, v in zip(scales, z, strict=True)]
    return new, (new,)

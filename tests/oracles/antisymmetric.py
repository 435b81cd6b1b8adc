"""Euler steps of equations whose matrix has a bounded symmetric part."""

from oracles.notation import from_x, oracle, sigmoid, tanh

STEPS = ({}, {"epsilon": 0.7, "gamma": 0.4})


def recurrent(w, j, h):
    M = w.weight_hh
    return sum((M[j][k] - M[k][j] - (w.gamma if k == j else 0)) * h[k] for k in range(w.H))


@oracle("antisymmetric_rnn", settings=STEPS)
def antisymmetric_rnn(w, x, h):
    h = [h[j] + w.epsilon * tanh(recurrent(w, j, h) + from_x(w, 0, j, x)) for j in range(w.H)]
    return h, (h,)


@oracle("gated_antisymmetric_rnn", settings=STEPS)
def gated_antisymmetric_rnn(w, x, h):
    new = []
    for j in range(w.H):
        a = recurrent(w, j, h)
        new.append(h[j] + w.epsilon * sigmoid(a + from_x(w, 0, j, x)) * tanh(a + from_x(w, 1, j, x)))
    return new, (new,)


@oracle(
    "lipschitz_rnn",
    settings=({}, {"epsilon": 0.5, "beta_a": 0.3, "gamma_a": 0.2, "beta_w": 0.6, "gamma_w": 0.1, "init_std": 2.0}),
)
def lipschitz_rnn(w, x, h):
    def matrix(M, beta, gamma):
        def at(i, j):
            symmetric, skew = M[i][j] + M[j][i], M[i][j] - M[j][i]
            return (1 - beta) * symmetric + beta * skew - (gamma if i == j else 0)

        return [[at(i, j) for j in range(w.H)] for i in range(w.H)]

    A = matrix(w.weight_hh[: w.H], w.beta_a, w.gamma_a)
    W = matrix(w.weight_hh[w.H :], w.beta_w, w.gamma_w)
    new = []
    for j in range(w.H):
        ah, wh = (sum(M[j][k] * h[k] for k in range(w.H)) for M in (A, W))
        new.append(h[j] + w.epsilon * (ah + tanh(wh + from_x(w, 0, j, x))))
    return new, (new,)

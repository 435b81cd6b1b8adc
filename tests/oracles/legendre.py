"""Memories of a sliding window. Their matrices, which are buffers, have tests of their own."""

from oracles.notation import dot, entry, oracle, tanh


@oracle("lmu", settings=({}, {"order": 3, "theta": 5.0}))
def lmu(w, x, h, m):
    (e_x,), (e_h,), (e_m,) = w.encoder_ih, w.encoder_hh, w.encoder_mh
    write = dot(e_x, x) + dot(e_h, h) + dot(e_m, m)
    m = [dot(w.A[i], m) + w.B[i] * write for i in range(w.order)]
    new = []
    for j in range(w.H):
        new.append(tanh(dot(w.weight_ih[j] + w.weight_hh[j] + w.weight_mh[j], x + h + m) + entry(w.bias_ih, j)))
    return new, (new, m)

"""The simple gated units."""

from oracles.notation import both, dot, from_x, oracle, sigmoid, tanh


@oracle("sgu", "dsgu")
def sgu(w, x, h):
    by_x = [from_x(w, 0, k, x) * h[k] for k in range(w.H)]
    inner = [tanh(dot(w.weight_hh[k], by_x)) * h[k] for k in range(w.H)]
    new = []
    for j in range(w.H):
        deep = hasattr(w, "weight_go")
        fresh = sigmoid(dot(w.weight_go[j], inner)) if deep else (1 + inner[j].exp()).log()
        write = min(max(both(w, 1, j, x, h) / 5 + 1 / 2, 0 * h[j]), 1 + 0 * h[j])
        new.append(h[j] + write * (fresh - h[j]))
    return new, (new,)

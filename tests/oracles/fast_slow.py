"""A fast network around a slow one, wired by hand from the oracles of the cells in it."""

from types import SimpleNamespace

from oracles.notation import ORACLES, oracle


def part(w, path, cell, I, H):
    """The oracle of one of the cells, with its own weights."""
    names = dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    own = {n.removeprefix(path + "."): a for n, a in vars(w).items() if n.startswith(path + ".")}
    return lambda x, *state: ORACLES[cell].step(SimpleNamespace(I=I, H=H, **(names | own)), x, *state)


@oracle("fast_slow_rnn", settings=({}, {"fast": "gru", "slow": "rnn", "depth": 4, "slow_size": 2}))
def fast_slow_rnn(w, x, *state):
    fields = 2 if w.fast == "lstm" else 1
    fast, slow, S = state[:fields], state[fields:], w.H if w.slow_size is None else w.slow_size
    y, fast = part(w, "fast_cells.0", w.fast, w.I, w.H)(x, *fast)
    y, slow = part(w, "slow_cell", w.slow, w.H, S)(y, *slow)
    y, fast = part(w, "fast_cells.1", w.fast, S, w.H)(y, *fast)
    for k in range(2, w.depth):
        y, fast = part(w, f"fast_cells.{k}", w.fast, 1, w.H)([1], *fast)
    return y, (*fast, *slow)

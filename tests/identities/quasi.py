"""Quasi-recurrent cells: QRNN and the SRU family."""

import torch
import torch.nn.functional as F

from identities.notation import identity, random_cell, run


def sequences():
    return torch.randn(7, 4, 3, dtype=torch.float64)


@identity("qrnn with f-pooling that sees no past inputs is gilr")
def window_of_one():
    ours, impulses = random_cell("qrnn", pooling="f"), random_cell("gilr")
    with torch.no_grad():
        ours.weight_ih[10:] = 0
        for name in ("weight_ih", "bias_ih"):
            g, i = getattr(impulses, name).chunk(2)
            getattr(ours, name)[:10] = torch.cat([i, g])
    x = sequences()
    return run(ours, x)[0], run(impulses, x)[0]


@identity("qrnn with ifo-pooling whose gates i and f have opposite rows has fo-pooling")
def opposite_gates():
    ours, simple = random_cell("qrnn", pooling="ifo", window=3), random_cell("qrnn", pooling="fo", window=3)
    with torch.no_grad():
        for name, k in (("weight_ih", 3), ("bias_ih", 1)):
            z, f, o = getattr(simple, name).unflatten(0, (k, 3, 5)).unbind(1)
            getattr(ours, name).copy_(torch.stack([z, f, o, -f], 1).flatten(0, 2))
    x = sequences()
    return run(ours, x)[0], run(simple, x)[0]


@identity("qrnn's gates are those of a causal convolution")
def gates_by_convolution():
    cell, x = random_cell("qrnn", window=4), sequences()
    W = cell.weight_ih.unflatten(0, (4, 15)).flip(0).permute(1, 2, 0)  # conv1d's last column is for the present
    gates = F.conv1d(F.pad(x.permute(1, 2, 0), (3, 0)), W, cell.bias_ih).permute(2, 0, 1)
    c, wanted = torch.zeros(4, 5, dtype=torch.float64), []
    for z, f, o in (g.chunk(3, -1) for g in gates):
        c = f.sigmoid() * c + (1 - f.sigmoid()) * z.tanh()
        wanted.append(o.sigmoid() * c)
    return run(cell, x)[0], torch.stack(wanted)


@identity("sru whose gates do not see its memory is sru_v1")
def memory_unseen():
    constants = {"activation": "tanh", "rescale": True, "highway_bias": -1.0}
    ours, first = random_cell("sru", **constants), random_cell("sru_v1", **constants)
    ours.load_state_dict(first.state_dict() | {"v_f": torch.zeros(5), "v_r": torch.zeros(5)})
    x = sequences()
    return run(ours, x)[0], run(first, x)[0]


@identity("sru_v1 without activation and with its highway shut is gilr without tanh")
def highway_shut():
    ours, impulses = random_cell("sru_v1", activation="identity"), random_cell("gilr", activation="identity")
    with torch.no_grad():
        ours.weight_ih[10:], ours.bias_ih[5:] = 0, 60
        z, f = ours.weight_ih[:5], ours.weight_ih[5:10]
        impulses.weight_ih.copy_(torch.cat([f, z]))
        impulses.bias_ih.copy_(torch.cat([ours.bias_ih[:5], torch.zeros(5)]))
    x = sequences()
    return run(ours, x)[0], run(impulses, x)[0]


@identity("sru whose memory is kept for ever shows its activation")
def kept_for_ever():
    cell = random_cell("sru", activation="tanh")
    with torch.no_grad():
        cell.weight_ih[5:], cell.bias_ih[:], cell.v_f[:], cell.v_r[:] = 0, 60, 0, 0
    c = torch.randn(4, 5, dtype=torch.float64)
    return run(cell, sequences(), cell.State(0 * c, c))[0], c.tanh().expand(7, 4, 5)


def sru_after(attending, mixed, x):
    """The recurrence of an SRU++ cell by `sru`, which is given its normalised attention and, for the highway, x."""
    A = attending.attention_size
    plain = random_cell("sru", A + 3)
    with torch.no_grad():
        plain.weight_ih.copy_(F.pad(attending.weight_o, (0, 3)))
        plain.weight_skip.copy_(F.pad(attending.weight_skip, (A, 0)))
        for name in ("bias_ih", "v_f", "v_r"):
            getattr(plain, name).copy_(getattr(attending, name))
    normed = F.layer_norm(mixed, (A,), attending.gain, attending.shift)
    return run(plain, torch.cat([normed, x], -1))[0]


@identity("sru_pp whose attention counts for nothing is sru behind a normalised product")
def attention_off():
    cell, x = random_cell("sru_pp"), sequences()
    torch.nn.init.zeros_(cell.scale)
    return run(cell, x)[0], sru_after(cell, x @ cell.weight_q.t(), x)


@identity("sru_pp with a window that nothing leaves has torch's causal attention")
def attention_over_all():
    cell, x = random_cell("sru_pp", window=7, attention_size=6), sequences()
    q = x @ cell.weight_q.t()
    heads = [a.transpose(0, 1) for a in (q, q @ cell.weight_k.t(), q @ cell.weight_v.t())]
    a = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(0, 1)
    return run(cell, x)[0], sru_after(cell, q + cell.scale * a, x)


@identity("sru_pp with a window of one attends to itself")
def attention_to_itself():
    cell, x = random_cell("sru_pp", window=1), sequences()
    q = x @ cell.weight_q.t()
    return run(cell, x)[0], sru_after(cell, q + cell.scale * (q @ cell.weight_v.t()), x)

"""Stacks whose layers differ, connections past layers, dilation, resets in mid-sequence, and states of all steps."""

import copy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnnzoo import RNN, RnnZooError
from rnnzoo.cells import Cell, Hidden, LinearCell
from rnnzoo.testing.case import expect, gradients, named, results
from rnnzoo.transforms import LearnedInitialState, weight_drop

T, B, I, H = 7, 4, 3, 5
LENGTHS = [3, 7, 1, 5]
BEGINS = torch.zeros(T, B)
for t, b in ((0, 1), (2, 0), (3, 1), (4, 1), (6, 1), (4, 3)):
    BEGINS[t, b] = 1


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def refuses(message, call, *args, **options):
    with pytest.raises(RnnZooError) as error:
        call(*args, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def stepped(rnn, x, hx=None, **inputs):
    ys = []
    for t in range(len(x)):
        y, hx = rnn.step(x[t], hx, **{n: a[t] for n, a in inputs.items()})
        ys.append(y)
    return torch.stack(ys), hx


def consistent(rnn, **inputs):
    """Lengths equal each sequence alone, packed equals lengths, pieces and steps equal the whole, kernels agree."""
    x = double(T, B, I)
    rnn = rnn.double().eval()
    y, last = rnn(x, lengths=LENGTHS, **inputs)
    for b, n in enumerate(LENGTHS):
        alone = rnn(x[:n, b], **{m: a[:n, b] for m, a in inputs.items()})
        torch.testing.assert_close(y[:n, b], alone[0])
        of_row = [a[:, b] for a in named(last, "").values()]
        torch.testing.assert_close(of_row, list(named(alone[1], "").values()))
        assert not y[n:, b].any()

    def pack(a):
        return pack_padded_sequence(a, torch.tensor(LENGTHS), enforce_sorted=False)

    packed, packed_last = rnn(pack(x), **{n: pack(a) for n, a in inputs.items()})
    expect(results(packed.data, packed_last), results(pack(y).data, last), "expected packed to equal lengths")
    wanted = results(*rnn(x, **inputs))
    if not rnn.bidirectional:
        expect(results(*stepped(rnn, x, **inputs)), wanted, "expected steps to equal the whole")
        _, middle = rnn(x[:3], **{n: a[:3] for n, a in inputs.items()})
        y2, end = rnn(x[3:], middle, **{n: a[3:] for n, a in inputs.items()})
        expect(results(y2, end), {**wanted, "outputs": wanted["outputs"][3:]}, "expected the state to carry on")
    by = {}
    leaves = dict(rnn.named_parameters()) | {"x": x.requires_grad_()}
    able = {row.kernel for row in rnn.explain(x, **inputs).rows if row.why_not is None}
    for kernel in able - {"triton"}:  # its interpreter takes minutes
        rnn.kernel = kernel
        for every in (None, 2):
            rnn.checkpoint_every = every
            got = results(*rnn(x, **inputs))
            by[kernel, every] = got | gradients(got, leaves)
    for got in by.values():
        expect(got, by["reference", None], "expected every kernel, in pieces or not, to give the same")
    return {kernel for kernel, _ in by}


# ---- Layers that differ


@pytest.mark.compiler
def test_cells_and_sizes_differ_from_layer_to_layer():
    rnn = RNN(["lstm", "mingru"], I, [6, 4])
    assert (rnn.num_layers, rnn.hidden_size, rnn.output_size) == (2, (6, 4), 4)
    y, (first, second) = rnn(torch.randn(T, B, I))
    assert (y.shape, first.h.shape, first.c.shape, second.shape) == ((T, B, 4), (1, B, 6), (1, B, 6), (1, B, 4))
    reasons = {row.kernel: row.why_not for row in rnn.explain(torch.randn(T, B, I)).rows}
    assert reasons["native"] == "the stack mixes lstm and mingru"
    assert reasons["fused"] is None
    assert consistent(rnn) == {"fused", "reference"}
    both = RNN(["gru", "lstm", "janet"], I, [6, 4, 5], 3, bidirectional=True)
    consistent(both)
    other = copy.deepcopy(both)
    other.load_state_dict(both.state_dict())
    sizes = RNN("gru", I, (6, 4))
    assert "hidden sizes differ: 6 and 4" in str(sizes.explain(torch.randn(T, B, I)))
    consistent(sizes)


def test_layers_that_do_not_fit_together_are_named():
    refuses("hidden_size must have one entry for each of the 2 layers, not 3", RNN, ["lstm", "gru"], I, [5, 4, 3])
    refuses("cell must have one entry for each of the 3 layers, not 2", RNN, ["lstm", "gru"], I, H, 3)
    refuses("dilation must have one entry for each of the 1 layers, not 2", RNN, "lstm", I, H, 1, dilation=[1, 2])
    refuses("hidden_size must be a whole number of at least 1, not 0", RNN, "lstm", I, [4, 0])
    refuses("num_layers must be a whole number of at least 1, not 0", RNN, [], I, H, 0)
    refuses("unknown transform 'zoneout'; did you mean 'Zoneout'?", RNN, "lstm", I, H, transforms=["zoneout"])
    refuses("transforms must be functions of a cell, such as Zoneout, not 3", RNN, "lstm", I, H, transforms=[3])
    refuses(
        "a transform, called with a cell, must make a Cell, not None", RNN, "lstm", I, H, transforms=lambda cell: None
    )


class Gap(Cell):
    gates, State, inputs = 1, Hidden, ("dt",)

    def project(self, x, dt):
        return super().project(x), (-dt).exp()

    def step(self, u, s):
        return Hidden((u[1] * s.h + u[0]).tanh())


class Strict(LinearCell):
    gates, State = 1, Hidden

    def project(self, x):
        return super().project(x)

    def coefficients(self, u):
        return u.sigmoid(), u


def test_each_layer_gets_what_its_cell_takes():
    dt = torch.rand(T, B, 1, dtype=torch.float64)
    rnn = RNN([Strict, Gap, "gru"], I, H)
    consistent(rnn, dt=dt)
    refuses("Strict and Gap and GRU takes dt besides x; ['dt'] is missing", rnn, double(T, B, I))


# ---- Connections


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both ways"])
@pytest.mark.parametrize("connect", ["residual", "highway", "dense"])
def test_connections_equal_layers_by_hand(connect, both):
    rnn = RNN("gru", I, H, 3, connect=connect, bidirectional=both, dtype=torch.float64)
    assert rnn.output_size == {"dense": I + 3 * H * (1 + both)}.get(connect, H * (1 + both))
    x = double(T, B, I)
    z, finals = x, []
    for k, layer in enumerate(rnn.layers):
        one = RNN("gru", layer[0].input_size, H, bidirectional=both, dtype=torch.float64)
        one.layers[0] = layer
        y, last = one(z)
        finals.append(last)
        past = rnn.connections[k]
        if connect == "dense":
            z = torch.cat([z, y], -1)
        else:
            skip = z if k else z @ past.skip.weight.T
            t = (z @ past.gate.weight.T + past.gate.bias).sigmoid() if connect == "highway" else None
            z = skip + y if t is None else t * y + (1 - t) * skip
    got = rnn(x)
    expect(results(*got), results(z, torch.cat(finals)), "expected connections to be those by hand")
    assert "torch's modules have no connections past a layer" in str(rnn.explain(x))
    consistent(rnn)


def test_what_goes_past_a_layer_is_not_dropped():
    rnn = RNN("gru", H, H, 2, connect="residual", dropout=0.9)
    with torch.no_grad():
        for p in rnn.parameters():
            p.zero_()
    x = torch.randn(T, B, H)
    assert torch.equal(rnn(x)[0], x)
    assert torch.equal(rnn.step(x[0])[0], x[0])


def test_a_connection_can_be_ones_own_and_an_unknown_one_is_named():
    class Mean(nn.Module):
        def __init__(self, input_size, output_size):
            super().__init__()
            self.output_size = output_size

        def forward(self, x, y):
            return (x.mean(-1, keepdim=True) + y) / 2

    consistent(RNN("gru", I, H, 2, connect=Mean))
    refuses("unknown connection 'residul'; did you mean 'residual'?", RNN, "gru", I, H, connect="residul")


# ---- Dilation


@pytest.mark.parametrize("T", [1, 2, 7, 9])
def test_a_dilated_layer_is_many_sequences(T):
    k = 3
    rnn, plain = RNN("lstm", I, H, dilation=k, dtype=torch.float64), RNN("lstm", I, H, dtype=torch.float64)
    plain.load_state_dict({n.replace("cell.", ""): a for n, a in rnn.state_dict().items()})
    x = double(T, B, I)
    _, hx = rnn(double(5, B, I))
    hx = tuple(a.detach() for a in hx)
    y, last = rnn(x, hx)
    slots = [tuple(a[..., j * H : (j + 1) * H] for a in hx) for j in range(k)]  # the oldest first
    for phase in range(min(k, T)):
        wanted, end = plain(x[phase::k], slots[phase])
        torch.testing.assert_close(y[phase::k], wanted)
        ago = (T - 1 - phase) % k  # steps between the last of this phase and the end
        at = k - 1 - ago
        torch.testing.assert_close([a[..., at * H : (at + 1) * H] for a in last], list(end))


@pytest.mark.compiler
def test_dilation_goes_with_everything_else():
    assert consistent(RNN("lstm", I, H, 3, dilation=[1, 2, 4])) == {"fused", "reference"}
    assert "linear_scan" not in consistent(RNN("mingru", I, H, dilation=2, bidirectional=True))
    consistent(RNN("gru", I, H, 2, dilation=2, connect="residual", transforms=LearnedInitialState))
    rnn = weight_drop(RNN("gru", I, H, 2, dilation=[1, 2]), 0.5)
    assert [type(layer[0]).__name__ for layer in rnn.layers] == ["ParametrizedGRU", "Dilated"]
    rnn(torch.randn(T, B, I), resets=BEGINS)
    refuses("dilation must be a whole number of at least 1, not 0", RNN, "gru", I, H, dilation=0)


# ---- Resets


@pytest.mark.parametrize("kernel", ["fused", "linear_scan", "reference"])
@pytest.mark.parametrize("cell", ["lstm", "mingru", "gru"])
def test_a_reset_cuts_a_sequence_in_two(cell, kernel):
    if kernel == "linear_scan" and cell != "mingru":
        return
    rnn = RNN(cell, I, H, 2, transforms=LearnedInitialState, bidirectional=True, dtype=torch.float64, kernel=kernel)
    for layer in rnn.layers:
        for c in layer:
            nn.init.normal_(c.initial_h)
    x = double(T, 1, I)
    _, hx = rnn(double(2, 1, I))
    begins = torch.zeros(T, 1, dtype=torch.bool)
    begins[3] = begins[4] = True
    y, last = rnn(x, hx, resets=begins)
    # one layer: what is before and what is after know nothing of each other
    one = RNN(cell, I, H, transforms=LearnedInitialState, bidirectional=True, dtype=torch.float64, kernel=kernel)
    one.layers[0] = rnn.layers[0]
    first, _ = one(x, resets=begins)
    parts = [one(part)[0] for part in (x[:3], x[3:4], x[4:])]
    torch.testing.assert_close(first, torch.cat(parts))
    assert y.shape == (T, 1, 2 * H)
    for a, b in zip(named(last, "").values(), named(rnn(x, resets=begins)[1], "").values(), strict=True):
        torch.testing.assert_close(a[0], b[0])  # forwards nothing is left of hx


@pytest.mark.compiler
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both ways"])
@pytest.mark.parametrize("cell", ["lstm", "mingru", ["gru", "mingru"]], ids=str)
def test_resets_go_with_everything_else(cell, both):
    kernels = consistent(RNN(cell, I, H, 2, bidirectional=both), resets=BEGINS)
    assert kernels == {"fused", "reference"} | ({"linear_scan"} if cell == "mingru" else set())


def test_resets_of_no_step_change_nothing_and_those_of_all_leave_no_memory():
    rnn, x = RNN("lstm", I, H, 2, batch_first=True), torch.randn(B, T, I)
    torch.testing.assert_close(rnn(x, resets=torch.zeros(B, T)), rnn(x))
    y = rnn(x, resets=torch.ones(B, T, dtype=torch.bool))[0]
    torch.testing.assert_close(y.flatten(0, 1), rnn(x.reshape(-1, 1, I))[0].flatten(0, 1))


def test_resets_that_do_not_fit_are_named():
    rnn, x = RNN("lstm", I, H), torch.randn(T, B, I)
    refuses("resets must be laid out as x, (7, 4) and what follows, not of shape (4, 7)", rnn, x, resets=BEGINS.T)
    refuses("resets must be of shape (T, B), bool or 0 and 1, laid out as x, not", rnn, x, resets=BEGINS[..., None])
    refuses(
        "resets must be laid out as x, (4,) and what follows, not of shape (3,)", rnn.step, x[0], resets=BEGINS[0, :3]
    )
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    refuses("resets must be a PackedSequence with the lengths of x, as x is one", rnn, packed, resets=BEGINS)


class Mixed(NamedTuple):
    h: Tensor  # complex
    steps: Tensor  # (B,), whole numbers
    M: Tensor  # (B, 2, 3)


class Odd(Cell):
    """A state of every kind of numbers and shapes."""

    gates, State = 1, Mixed

    def initial_state(self, batch, like):
        h = like.new_zeros(batch, self.hidden_size, dtype=like.dtype.to_complex())
        return Mixed(h, torch.ones(batch, dtype=torch.long, device=like.device), like.new_ones(batch, 2, 3))

    def step(self, u, s):
        return Mixed((s.h * 1j + u) / 2, s.steps + 1, s.M * u.mean(-1)[:, None, None])

    def emit(self, s):
        return s.h.imag + s.steps[:, None]


def test_resets_and_dilation_are_for_states_of_every_kind():
    consistent(RNN(Odd, I, H, 2), resets=BEGINS)
    consistent(RNN(Odd, I, H, 2, dilation=2))


# ---- States of all steps


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both ways"])
@pytest.mark.parametrize("cell", ["lstm", "mingru", Odd, ["lstm", "gru"]], ids=["lstm", "mingru", "odd", "mixed"])
def test_the_states_of_all_steps(cell, both):
    rnn = RNN(cell, I, H, 2, bidirectional=both, dtype=torch.float64)
    x = double(T, B, I)
    y, last = rnn(x, lengths=LENGTHS)
    y_all, last_all, states = rnn(x, lengths=LENGTHS, return_states=True)
    expect(results(y_all, last_all), results(y, last), "expected the states of all steps to be an addition")
    for (name, end), steps in zip(named(last, "").items(), named(states, "").values(), strict=True):
        assert (steps.shape, steps.dtype) == ((T, *end.shape), end.dtype), name
        for b, n in enumerate(LENGTHS):
            for d in range(len(end)):
                backward = both and d % 2 == 1
                torch.testing.assert_close(steps[0 if backward else n - 1, d, b], end[d, b])
            assert not steps[n:, :, b].any()
    if not both:
        for t in (0, 2):
            middle = rnn(x[: t + 1])[1]
            for a, b in zip(named(middle, "").values(), named(rnn(x, return_states=True)[2], "").values(), strict=True):
                torch.testing.assert_close(b[t], a)


def test_the_states_of_all_steps_carry_gradients_in_any_layout():
    rnn = RNN("lstm", I, H, 2, dtype=torch.float64, batch_first=True, checkpoint_every=2)
    x = double(B, T, I).requires_grad_()
    y, _, states = rnn(x, return_states=True)
    assert states.c.shape == (T, 2, B, H)
    torch.testing.assert_close(states.h[:, 1].transpose(0, 1), y)
    (got,) = torch.autograd.grad(states.c[2].sum(), x)
    (wanted,) = torch.autograd.grad(rnn(x[:, :3])[1].c.sum(), x)
    torch.testing.assert_close(got, wanted)
    one = rnn(x[1], return_states=True, lengths=[4])
    assert one[2].h.shape == (T, 2, H)
    torch.testing.assert_close(one[2].h[:4], states.h[:4, :, 1])
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False, batch_first=True)
    torch.testing.assert_close(rnn(packed, return_states=True)[2], rnn(x, lengths=LENGTHS, return_states=True)[2])
    rnn.kernel = "fused"
    torch.testing.assert_close(rnn(x, return_states=True)[2], states)
    rnn.kernel = "native"
    refuses("kernel 'native' cannot run this RNN", rnn, x, return_states=True)

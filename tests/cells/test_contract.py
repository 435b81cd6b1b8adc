"""The contract holds what a hundred cells will need: each kind of cell is written here once, as a user would."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells import Cell, GatedCell, Hidden, HiddenCell, LinearCell
from rnnzoo.testing import check_cell
from rnnzoo.testing.case import cut, expect, gradients, results

# ---- Cells of the sketch beside the design, as they stand there


class IndRNN(Cell):
    """Li et al. 2018: each unit sees only itself, h_t = relu(W x + w * h_{t-1})."""

    gates, State, vectors = 1, Hidden, ("weight_hh",)

    def step(self, u, s):
        return Hidden((u + self.weight_hh * s.h).relu())


class Leaky(GatedCell):
    """h_t = (1 - α) h_{t-1} + α tanh(W x + R h), with one learned rate α = σ(rate) a unit."""

    gates, State, vectors = 1, Hidden, ("rate",)

    def update(self, wx, rh, s):
        a = self.rate.sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())


class Zoneout(Cell):
    """Krueger et al. 2016: each state unit keeps its old value with probability p.

    The masks are drawn in ``project``, for all time steps at once, so the loop stays deterministic and compiles.
    """

    def __init__(self, cell: Cell, p: float):
        super().__init__(cell.input_size, cell.hidden_size)
        self.cell, self.p, self.State = cell, p, cell.State

    def reset_parameters(self):
        self.cell.reset_parameters()

    def project(self, x, **inputs):
        shape = (*x.shape[:-1], self.hidden_size)
        keep = [
            torch.bernoulli(x.new_full(shape, self.p)) if self.training else x.new_full(shape, self.p)
            for _ in self.State._fields
        ]
        return self.cell.project(x, **inputs), *keep

    def step(self, u, s):
        u, *keep = u
        return self.State(*(n + k * (o - n) for n, o, k in zip(self.cell.step(u, s), s, keep)))  # noqa: B905

    def emit(self, s):
        return self.cell.emit(s)

    def readout(self, h, u, x):
        return self.cell.readout(h, u[0], x)


# ---- One cell for each thing that a cell may be


class Slow(GatedCell):
    """A constant: h_t = (1 - α) h_{t-1} + α tanh(W x + R h)."""

    gates, State = 1, Hidden

    def __init__(self, input_size: int, hidden_size: int, *, alpha: float = 0.5, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.alpha = alpha

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden((1 - self.alpha) * s.h + self.alpha * (wx + rh).tanh())


class ProjectedLSTM(GatedCell):
    """A projected output: h is of size P, c of size H. As nn.LSTM(proj_size=P)."""

    gates, State = 4, HiddenCell
    weight_hr: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, proj_size: int = 2, bias: bool = True):
        self.proj_size = proj_size
        super().__init__(input_size, hidden_size, bias=bias)

    @property
    def recurrent_size(self) -> int:
        return self.proj_size

    @property
    def output_size(self) -> int:
        return self.proj_size

    def parameter_shapes(self):
        return super().parameter_shapes() | {"weight_hr": (self.proj_size, self.hidden_size)}

    def initial_state(self, batch: int, like: Tensor) -> HiddenCell:
        return HiddenCell(like.new_zeros(batch, self.proj_size), like.new_zeros(batch, self.hidden_size))

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(F.linear(o.sigmoid() * c.tanh(), self.weight_hr), c)


class Matrix(NamedTuple):
    M: Tensor  # (B, H, H)
    clock: Tensor  # (B,), whole steps so far
    last: Tensor  # (B, I), the last input


class FastWeights(Cell):
    """A matrix, a clock and the last input in the state; M_t is the running mean of outer products v k^T."""

    gates, State, vectors = 3, Matrix, ("gain",)
    gain: Tensor

    def initial_state(self, batch: int, like: Tensor) -> Matrix:
        H = self.hidden_size
        clock = torch.zeros(batch, dtype=torch.int64, device=like.device)
        return Matrix(like.new_zeros(batch, H, H), clock, like.new_zeros(batch, self.input_size))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().project(x), x

    def step(self, u: tuple[Tensor, Tensor], s: Matrix) -> Matrix:
        (_, k, v), x = u[0].chunk(3, -1), u[1]
        change = (x - s.last).square().mean(-1, keepdim=True)
        share = (1 / (1 + s.clock.to(s.M.dtype)))[:, None, None]
        new = (v * self.gain)[..., None] * (k + change).tanh()[..., None, :]
        return Matrix((1 - share) * s.M + share * new, s.clock + 1, x.to(s.last.dtype))

    def readout(self, h: Tensor, u: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        q = u[0].chunk(3, -1)[0]
        return (h @ q.to(h.dtype)[..., None]).squeeze(-1)


class Oscillator(LinearCell):
    """A complex state, emitted as its real part: h_t = exp(-e^ν + iθ) h_{t-1} + b_t."""

    gates, State, vectors = 2, Hidden, ("nu", "theta")
    nu: Tensor
    theta: Tensor

    def initial_state(self, batch: int, like: Tensor) -> Hidden:
        return Hidden(like.new_zeros(batch, self.hidden_size, dtype=like.dtype.to_complex()))

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        b = torch.complex(*u.to(self.nu.dtype).chunk(2, -1))
        return torch.polar((-self.nu.exp()).exp(), self.theta).expand_as(b), b

    def emit(self, s: Hidden) -> Tensor:
        return s.h.real


class MemoryFirst(NamedTuple):
    c: Tensor
    h: Tensor


class Swapped(GatedCell):
    """An output that is not the first field of the state."""

    gates, State = 2, MemoryFirst

    def update(self, wx: Tensor, rh: Tensor, s: MemoryFirst) -> MemoryFirst:
        f, g = (wx + rh).chunk(2, -1)
        c = f.sigmoid() * s.c + g.tanh()
        return MemoryFirst(c, c.tanh())

    def emit(self, s: MemoryFirst) -> Tensor:
        return s.h


class OutputGated(LinearCell):
    """An output gate that ``readout`` takes from u, where the input product has left it."""

    gates, State = 3, Hidden

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        f, g, _ = u.chunk(3, -1)
        return f.sigmoid(), g.tanh()

    def readout(self, h: Tensor, u: Tensor, x: Tensor) -> Tensor:
        return u.chunk(3, -1)[2].sigmoid() * h


class Decaying(Cell):
    """A per-step input dt (..., 1), in seconds: between samples the state decays by exp(-dt / τ)."""

    gates, State, inputs, vectors = 1, Hidden, ("dt",), ("log_tau",)
    log_tau: Tensor

    def project(self, x: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        return super().project(x), (-dt / self.log_tau.exp()).exp()

    def step(self, u: tuple[Tensor, Tensor], s: Hidden) -> Hidden:
        return Hidden((u[1] * s.h + u[0]).tanh())


KINDS = {
    "indrnn": IndRNN,
    "leaky": Leaky,
    "zoneout": lambda i, h: Zoneout(create("lstm", i, h), 0.2),
    "constant": Slow,
    "projection": ProjectedLSTM,
    "matrix, clock and last input": FastWeights,
    "complex": Oscillator,
    "not the first field": Swapped,
    "readout from u": OutputGated,
    "input dt": Decaying,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_each_kind_of_cell_passes_every_check(make):
    check_cell(make(3, 5))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both ways"])
@pytest.mark.parametrize("cell", KINDS.values(), ids=KINDS)
def test_a_stack_of_each_kind_gives_a_sequence_what_it_has_alone(cell, bidirectional):
    T, B = 7, 4
    rnn = RNN(cell, 3, 5, 2, bidirectional=bidirectional, dtype=torch.float64).eval()
    x, dt = torch.randn(T, B, 3, dtype=torch.float64), torch.rand(T, B, 1, dtype=torch.float64)
    inputs = {"dt": dt} if cell is Decaying else {}
    lengths = [2, 7, 5, 1]
    y, last = rnn(x, lengths=lengths, **inputs)
    assert y.shape == (T, B, rnn.output_size)
    for b, n in enumerate(lengths):
        alone, of_state = (slice(n), slice(b, b + 1)), (slice(None), slice(b, b + 1))
        got = rnn(x[alone], **cut(inputs, alone))
        expect(results(y[alone], cut(last, of_state)), results(*got), f"expected row {b} to equal itself alone")
        assert not y[n:, b].any()


def test_two_instances_with_different_constants_differ_and_each_keeps_its_own():
    torch.manual_seed(1)
    a = RNN(Slow, 3, 5, alpha=0.25)
    torch.manual_seed(1)
    b = RNN(Slow, 3, 5, alpha=0.75)
    x = torch.randn(6, 4, 3)
    before = a(x)[0]
    assert torch.equal(a.layers[0][0].weight_hh, b.layers[0][0].weight_hh)
    assert (before - b(x)[0]).abs().max() > 0.01
    assert torch.equal(a(x)[0], before)
    assert (a.layers[0][0].alpha, b.layers[0][0].alpha) == (0.25, 0.75)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(("num_layers", "directions"), [(1, 1), (2, 2)])
def test_a_cell_with_a_projection_equals_nn_lstm_with_proj_size(num_layers, directions, bias):
    options = {"bias": bias, "bidirectional": directions == 2, "dtype": torch.float64}
    module = nn.LSTM(3, 5, num_layers, proj_size=2, **options)
    rnn = RNN(ProjectedLSTM, 3, 5, num_layers, proj_size=2, **options)
    rnn.load_state_dict(module.state_dict())
    x = torch.randn(7, 4, 3, dtype=torch.float64, requires_grad=True)
    shape = (num_layers * directions, 4)
    hx = tuple(torch.randn(*shape, n, dtype=torch.float64, requires_grad=True) for n in (2, 5))
    leaves = {"x": x, "h_0": hx[0], "c_0": hx[1]}
    y, last = module(x, hx)
    theirs = results(y, HiddenCell(*last))
    theirs |= gradients(theirs, leaves | {f"weight {k}": p for k, p in enumerate(module.parameters())})
    ours = results(*rnn(x, hx))
    ours |= gradients(ours, leaves | {f"weight {k}": p for k, p in enumerate(rnn.parameters())})
    expect(ours, theirs, "expected the projected cell to equal nn.LSTM(proj_size=2)", 1e-10)


def test_states_of_sizes_that_differ_between_layers_come_as_a_list_and_go_in_as_one():
    rnn = RNN(FastWeights, 3, 5, 2, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    y, last = rnn(x)
    assert isinstance(last, list)
    assert [type(layer) for layer in last] == [Matrix, Matrix]
    assert [tuple(layer.last.shape) for layer in last] == [(1, 4, 3), (1, 4, 5)]
    assert [tuple(layer.M.shape) for layer in last] == [(1, 4, 5, 5), (1, 4, 5, 5)]
    assert last[0].clock.tolist() == [[6, 6, 6, 6]]
    y1, middle = rnn(x[:2])
    y2, end = rnn(x[2:], middle)
    expect(results(torch.cat([y1, y2]), end), results(y, last), "expected to go on from a list of states")
    assert rnn(x, lengths=[2, 6, 1, 4])[1][1].clock.tolist() == [[2, 6, 1, 4]]


def test_a_complex_state_comes_back_complex_and_the_output_is_real():
    rnn = RNN(Oscillator, 3, 5, 2, dtype=torch.float64)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    y, h_n = rnn(x)
    assert (y.dtype, h_n.dtype) == (torch.float64, torch.complex128)
    assert rnn.explain(x).chosen == "linear_scan"
    torch.testing.assert_close(y[-1], h_n[-1].real, rtol=0, atol=0)
    cell = rnn.layers[0][0]  # by hand, in plain complex numbers
    (row,) = x[:2, :1].unbind(1)
    a = torch.exp(torch.complex(-cell.nu.exp(), cell.theta))
    re, im = F.linear(row, cell.weight_ih, cell.bias_ih).chunk(2, -1)
    h = a * (re[0] + 1j * im[0]) + re[1] + 1j * im[1]
    torch.testing.assert_close(cell(row[1:], Hidden((re[0] + 1j * im[0])[None]))[1].h[0], h)


def test_an_input_dt_reaches_every_layer_and_direction():
    rnn = RNN(Decaying, 3, 5, 2, bidirectional=True, dtype=torch.float64)
    x, dt = torch.randn(6, 4, 3, dtype=torch.float64), torch.ones(6, 4, 1, dtype=torch.float64)
    y, _ = rnn(x, dt=dt)
    later = dt.clone()
    later[3, 1] = 9.0
    moved = (rnn(x, dt=later)[0] - y).abs().sum((0, 2))
    assert moved.nonzero().flatten().tolist() == [1]  # the one row whose gap has grown
    with pytest.raises(RnnZooError, match=r"Decaying takes dt besides x; \['dt'\] is missing"):
        rnn(x)
    with pytest.raises(RnnZooError, match=r"Decaying takes dt besides x; got \['mask'\]"):
        rnn(x, dt=dt, mask=dt)
    with pytest.raises(RnnZooError, match=r"dt must be laid out as x, \(6, 4\) and what follows, not of shape \(5, 4"):
        rnn(x, dt=dt[:5])


@pytest.mark.parametrize("length", [6, 4], ids=["whole", "lengths"])
def test_the_backward_direction_reads_x_and_its_inputs_from_each_sequences_end(length):
    both = RNN(Decaying, 3, 5, bidirectional=True, dtype=torch.float64)
    back = RNN(Decaying, 3, 5, dtype=torch.float64)
    back.layers[0][0].load_state_dict(both.layers[0][1].state_dict())
    x, dt = torch.randn(6, 2, 3, dtype=torch.float64), torch.rand(6, 2, 1, dtype=torch.float64)
    y, last = both(x, dt=dt, lengths=[6, length])
    y_back, last_back = back(x[:length, 1:].flip(0), dt=dt[:length, 1:].flip(0))
    expect({"y": y[:length, 1:, 5:]}, {"y": y_back.flip(0)}, "expected the backward half to equal a reversed run")
    expect({"h": last[1:, 1:]}, {"h": last_back}, "expected its final state to be that of the sequence's start")


def test_an_input_dt_is_laid_out_as_x_is():
    rnn = RNN(Decaying, 3, 5, 2, bidirectional=True, dtype=torch.float64)
    x, dt = torch.randn(6, 4, 3, dtype=torch.float64), torch.rand(6, 4, 1, dtype=torch.float64)
    lengths = torch.tensor([2, 6, 1, 5])
    y, last = rnn(x, dt=dt)
    y_cut, last_cut = rnn(x, dt=dt, lengths=lengths)
    packed, packed_last = rnn(pack(x, lengths), dt=pack(dt, lengths))
    expect(
        results(pad_packed_sequence(packed)[0], packed_last), results(y_cut, last_cut), "expected packed to equal it"
    )
    expect({"y": rnn(x[:, 2], dt=dt[:, 2])[0]}, {"y": y[:, 2]}, "expected one sequence alone to equal its row")
    rnn.batch_first = True
    x, dt = x.transpose(0, 1), dt.transpose(0, 1)
    y_first, last_first = rnn(x, dt=dt)
    expect(results(y_first.transpose(0, 1), last_first), results(y, last), "expected batch_first to equal it")
    with pytest.raises(
        RnnZooError, match=r"dt must be laid out as x, \(4, 6\) and what follows, not of shape \(6, 4, 1\)"
    ):
        rnn(x, dt=dt.transpose(0, 1))
    with pytest.raises(RnnZooError, match="dt must be a PackedSequence with the lengths of x, as x is one"):
        rnn(pack(x.transpose(0, 1), lengths), dt=dt)
    one_way = RNN(Decaying, 3, 5, 2)
    with pytest.raises(RnnZooError, match=r"dt must be laid out as x, \(4,\) and what follows, not of shape \(3, 1\)"):
        one_way.step(torch.randn(4, 3), dt=torch.rand(3, 1))


def pack(a, lengths):
    return pack_padded_sequence(a, lengths, enforce_sorted=False)


def test_a_transform_draws_its_masks_before_the_loop_and_averages_in_evaluation():
    p = 0.25
    rnn = RNN(lambda i, h: Zoneout(create("rnn", i, h), p), 3, 600)
    x = torch.randn(2, 1, 3)
    hx = torch.randn(1, 1, 600)
    new, _ = rnn.layers[0][0].cell(x[0], Hidden(hx[0]))
    kept = rnn.train()(x[:1], hx)[0][0].isclose(hx[0])
    assert 0.2 < kept.float().mean() < 0.3
    torch.testing.assert_close(rnn.eval()(x[:1], hx)[0][0], (1 - p) * new + p * hx[0])


def test_a_cell_that_starts_from_elsewhere_than_zero_does_so_in_every_layer():
    class Warm(Slow):
        def initial_state(self, batch, like):
            return Hidden(like.new_ones(batch, self.hidden_size))

    rnn = RNN(Warm, 3, 5, 2, bidirectional=True)
    x = torch.randn(6, 4, 3)
    for lengths in (None, [6, 2, 3, 1]):
        torch.testing.assert_close(rnn(x, lengths=lengths), rnn(x, torch.ones(4, 4, 5), lengths=lengths))
    assert rnn.explain(x).chosen == "reference"


def test_parameters_are_initialised_once_when_all_of_them_exist():
    calls = []

    class Counting(Slow):
        def __init__(self, input_size: int, hidden_size: int):
            super().__init__(input_size, hidden_size)
            self.late = nn.Parameter(torch.empty(2))

        def reset_parameters(self):
            calls.append([name for name, _ in self.named_parameters()])
            super().reset_parameters()

    Counting(3, 5)
    assert calls == [["weight_ih", "weight_hh", "bias_ih", "bias_hh", "late"]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"gates": ("z",)}, r"Odd.gates must be a number of gates, not \('z',\)"),
        ({"gates": 1, "vectors": ("rate")}, r"Odd.vectors must be a tuple of names, such as \('rate',\)"),
    ],
)
def test_what_a_class_says_of_itself_must_be_of_the_right_kind(more, message):
    odd = type("Odd", (GatedCell,), more | {"update": lambda self, wx, rh, s: s})
    with pytest.raises(RnnZooError, match=message):
        odd(3, 5)


def test_a_cell_without_its_own_method_is_refused_by_name():
    for base, missing in ((Cell, "step(u, s)"), (GatedCell, "update(wx, rh, s)"), (LinearCell, "coefficients(u)")):
        incomplete = type("Incomplete", (base,), {"gates": 2})
        with pytest.raises(RnnZooError) as error:
            incomplete(3, 5)
        assert str(error.value) == f"cell Incomplete must define {missing}"
    with pytest.raises(RnnZooError, match="cell NoGates must define gates, the rows of weight_ih / hidden_size"):
        type("NoGates", (GatedCell,), {"update": Leaky.update})(3, 5)


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "5"])
def test_a_size_below_one_or_no_whole_number_is_refused(size):
    with pytest.raises(RnnZooError, match=f"hidden_size must be a whole number of at least 1, not {size!r}"):
        create("lstm", 3, size)
    with pytest.raises(RnnZooError, match=f"input_size must be a whole number of at least 1, not {size!r}"):
        create("gru", size, 3)


class Broken(GatedCell):
    """What `update` returns is set by the test."""

    gates, State = 1, Hidden
    result = None

    def update(self, wx, rh, s):
        return type(self).result(wx + rh)


class Other(NamedTuple):
    h: Tensor
    c: Tensor


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda a: a, "cell Broken must return a Hidden from a step, not a Tensor"),
        (lambda a: (a,), "cell Broken must return a Hidden from a step, not a tuple"),
        (lambda a: None, "cell Broken must return a Hidden from a step, not a NoneType"),
        (lambda a: Other(a, a), "cell Broken must return a Hidden from a step, not a Other"),
        (lambda a: Hidden(a[:, :2]), r"cell Broken returned h of shape \(4, 2\) from a step; its state has \(4, 5\)"),
        (lambda a: Hidden(a[0]), r"cell Broken returned h of shape \(5,\) from a step; its state has \(4, 5\)"),
        (lambda a: Hidden(None), r"cell Broken returned h of shape NoneType from a step; its state has \(4, 5\)"),
        (lambda a: Hidden(a.long()), r"cell Broken returned h as torch.int64 from a step, not torch.float32"),
    ],
)
def test_an_update_that_returns_no_such_state_is_named(monkeypatch, result, message):
    monkeypatch.setattr(Broken, "result", staticmethod(result))
    rnn = RNN(Broken, 3, 5)
    with pytest.raises(RnnZooError, match=message):
        rnn(torch.randn(6, 4, 3))
    with pytest.raises(RnnZooError, match=message):
        rnn(torch.randn(6, 4, 3), lengths=[6, 1, 2, 3])
    with pytest.raises(RnnZooError, match=message):
        rnn.step(torch.randn(4, 3))


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        (
            lambda u: (u, u),
            r"coefficient a as torch.float32 of shape \(6, 4, 10\); its state needs torch.float32 of \(6",
        ),
        (lambda u: (u[..., :1], u), r"coefficient b as torch.float32 of shape \(6, 4, 10\)"),
        (lambda u: (u[..., :5] + 0j, u[..., 5:]), r"coefficient a as torch.complex64 of shape \(6, 4, 5\)"),
    ],
    ids=["a too wide", "b too wide", "complex for a real state"],
)
def test_coefficients_of_a_wrong_shape_or_kind_are_named(coefficients, message):
    cls = type("Bad", (LinearCell,), {"gates": 2, "coefficients": lambda self, u: coefficients(u)})
    with pytest.raises(RnnZooError, match=message):
        RNN(cls, 3, 5)(torch.randn(6, 4, 3))


def test_coefficients_may_be_one_number_for_all_units():
    def coefficients(self, u):
        return self.rate.sigmoid(), u

    cls = type("OneRate", (LinearCell,), {"gates": 1, "vectors": ("rate",), "coefficients": coefficients})
    check_cell(cls(3, 5), slow=False)

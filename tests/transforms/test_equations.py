"""Every transform equals a plain loop, values and gradients in float64, in training and in evaluation, by fused."""

from typing import NamedTuple

import pytest
import torch
from loops import B, H, I, T, double, equal, kernels, lstm, products, run, start
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells import Cell, Hidden
from rnnzoo.transforms import (
    LayerNormGates,
    LearnedInitialState,
    MultiplicativeIntegration,
    RecurrentDropout,
    VariationalDropout,
    Zoneout,
)

MODES = pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])


def both(make, train=True):
    """An LSTM in a transform, once by each kernel that is to give the same."""
    for kernel in ("fused", "reference"):
        torch.manual_seed(1)
        rnn = RNN("lstm", I, H, transforms=make, dtype=torch.float64, kernel=kernel).train(train)
        yield rnn, rnn.layers[0][0], rnn.layers[0][0].cell


def seeded(call, *args):
    torch.manual_seed(2)
    return call(*args)


@MODES
def test_zoneout(train):
    for rnn, outer, cell in both(lambda cell: Zoneout(cell, {"h": 0.3, "c": 0.6}), train):
        x, hx = start()
        masks = seeded(outer.project, x)[1]
        d_h, d_c = masks if train else ([0.3] * T, [0.6] * T)

        def step(t, h, c, cell=cell, x=x, d_h=d_h, d_c=d_c):
            h_new, c_new = lstm(cell, *products(cell, x[t], h), c)
            return d_h[t] * h + (1 - d_h[t]) * h_new, d_c[t] * c + (1 - d_c[t]) * c_new

        equal(rnn, seeded(rnn, x, hx), run(step, hx[0][0], hx[1][0]), x, hx)


def test_zoneout_keeps_as_often_as_it_says_and_evaluation_is_the_mean_of_a_step():
    cell = Zoneout(create("gru", 3, 400), 0.25)
    x, s = torch.randn(8, 3), Hidden(torch.randn(8, 400))
    new = cell.cell(x, s)[0]
    y = torch.stack([cell(x, s)[0] for _ in range(200)])
    assert (y == s.h).float().mean() == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(cell.eval()(x, s)[0], 0.25 * s.h + 0.75 * new)
    assert (y.mean(0) - cell(x, s)[0]).abs().max() < 0.3


def test_zoneout_of_nothing_is_the_cell_and_a_linear_cell_stays_linear():
    x = torch.randn(T, B, I)
    rnn = RNN("lstm", I, H)
    plain = rnn(x)[0]
    rnn.layers[0][0] = Zoneout(rnn.layers[0][0], 0.0)
    torch.testing.assert_close(rnn(x)[0], plain)
    linear_rnn = RNN("mingru", I, H, 2, transforms=Zoneout, dtype=torch.float64)
    for mode in (True, False):
        linear_rnn.train(mode)
        seen = {}
        for kernel in ("linear_scan", "fused", "reference"):
            linear_rnn.kernel = kernel
            seen[kernel] = seeded(linear_rnn, x.double())[0]
            torch.testing.assert_close(seen[kernel], seen["linear_scan"])


class Clocked(NamedTuple):
    h: Tensor
    steps: Tensor  # whole numbers
    age: Tensor  # one number a row


class Counting(Cell):
    gates, State = 1, Clocked

    def initial_state(self, batch, like):
        h = like.new_zeros(batch, self.hidden_size)
        return Clocked(h, torch.zeros(batch, 2, dtype=torch.long), like.new_zeros(batch))

    def step(self, u, s):
        return Clocked((u + s.h).tanh(), s.steps + 1, s.age + 1)


def test_zoneout_leaves_counters_alone():
    cell = Zoneout(Counting(I, H), 0.9)
    s = cell(torch.randn(B, I))[1]
    assert s.steps.tolist() == [[1, 1]] * B
    assert s.age.tolist() == [1.0] * B
    with pytest.raises(RnnZooError, match="zoneout's p names 'age'; Counting has h"):
        Zoneout(Counting(I, H), {"age": 0.1})


@pytest.mark.parametrize("lengths", [None, [3, 7, 1, 5]])
def test_variational_dropout_has_one_mask_a_sequence(lengths):
    for rnn, outer, cell in both(lambda cell: VariationalDropout(cell, input_p=0.3, state_p=0.4)):
        x, hx = start()
        order = list(range(B)) if lengths is None else sorted(range(B), key=lambda b: -lengths[b])
        drawn = seeded(outer.draw, B, x)
        m_x, m_h = (torch.empty_like(drawn[n]).index_copy(0, torch.tensor(order), drawn[n]) for n in sorted(drawn))
        assert set(m_h.unique().tolist()) == {0, 1 / 0.6}

        def step(t, h, c, cell=cell, x=x, m_x=m_x, m_h=m_h):
            return lstm(cell, *products(cell, x[t] * m_x, h * m_h), c)

        if lengths is None:
            equal(rnn, seeded(rnn, x, hx), run(step, hx[0][0], hx[1][0]), x, hx)
            continue
        torch.manual_seed(2)
        y, last = rnn(x, hx, lengths=lengths)
        wanted = run(step, hx[0][0], hx[1][0])[0]
        for b, n in enumerate(lengths):
            torch.testing.assert_close(y[:n, b], wanted[:n, b])
            torch.testing.assert_close(last.h[0, b], wanted[n - 1, b])


def test_variational_dropout_is_the_same_in_pieces_in_both_directions_and_off_in_evaluation():
    rnn = RNN("lstm", I, H, 2, bidirectional=True, dtype=torch.float64, transforms=variational)
    x = double(T, B, I)
    for options in ({}, {"lengths": [3, 7, 1, 5]}):
        rnn.checkpoint_every = None
        wanted = seeded(rnn_of, rnn, x, options)
        rnn.checkpoint_every = 2
        torch.testing.assert_close(seeded(rnn_of, rnn, x, options), wanted)
    plain = RNN("lstm", I, H, 2, bidirectional=True, dtype=torch.float64)
    plain.load_state_dict({n.replace("cell.", ""): a for n, a in rnn.state_dict().items()})
    torch.testing.assert_close(rnn.eval()(x), plain(x))


def rnn_of(rnn, x, options):
    return rnn(x, **options)[0]


def variational(cell):
    return VariationalDropout(cell, input_p=0.2, state_p=0.5)


@pytest.mark.compiler
def test_variational_dropout_of_inputs_is_for_every_cell():
    rnn = RNN("mingru", I, 50, transforms=lambda cell: VariationalDropout(cell, input_p=0.5), dtype=torch.float64)
    x = torch.ones(T, B, I, dtype=torch.float64)
    assert {"linear_scan", "fused"} <= set(kernels(rnn, x))
    message = "variational dropout of states needs a cell with one product .* which mingru is not; .* gru, .*lstm"
    with pytest.raises(RnnZooError, match=message):
        VariationalDropout(create("mingru", I, H), state_p=0.5)
    with pytest.raises(RnnZooError, match="variational dropout stands twice around a cell"):
        RNN("lstm", I, H, transforms=[variational, lambda c: VariationalDropout(c, input_p=0.5)])(torch.randn(T, B, I))


@MODES
def test_recurrent_dropout_drops_what_is_written(train):
    p = 0.3
    for rnn, outer, cell in both(lambda cell: RecurrentDropout(cell, p), train):
        x, hx = start()
        masks = seeded(outer.project, x)[1]
        m = masks[0] if train else [1 - p] * T

        def step(t, h, c, cell=cell, x=x, m=m):
            return lstm(cell, *products(cell, x[t], h), c, lambda g: m[t] * g.tanh())

        equal(rnn, seeded(rnn, x, hx), run(step, hx[0][0], hx[1][0]), x, hx)


@MODES
def test_recurrent_dropout_of_a_gru_keeps_what_z_keeps(train):
    p = 0.3
    outer = RecurrentDropout(create("gru", I, H), p).double().train(train)
    x, h = double(B, I), double(B, H)
    masks = seeded(outer.project, x)[1]
    m = masks[0] if train else 1 - p
    wx, rh = products(outer.cell, x, h)
    (a, b, n), (c, d, k) = wx.chunk(3, -1), rh.chunk(3, -1)
    z = (b + d).sigmoid()
    wanted = (1 - z) * m * (n + (a + c).sigmoid() * k).tanh() + z * h
    torch.testing.assert_close(seeded(outer, x, Hidden(h))[0], wanted)


def test_masks_drop_as_often_as_they_say():
    cell, x = create("lstm", 200, 200), torch.ones(400, 200)
    drawn = VariationalDropout(cell, input_p=0.2, state_p=0.7).draw(400, x)
    assert drawn["input_mask"].eq(0).float().mean() == pytest.approx(0.2, abs=0.01)
    assert drawn["state_mask"].eq(0).float().mean() == pytest.approx(0.7, abs=0.01)
    (m,) = RecurrentDropout(cell, 0.3).project(x)[1]
    assert m.eq(0).float().mean() == pytest.approx(0.3, abs=0.01)


def test_recurrent_dropout_of_saturated_candidates_is_finite_and_of_nothing_is_the_cell():
    cell = create("lstm", I, H)
    outer = RecurrentDropout(cell, 0.3).eval()
    x = (1e4 * torch.randn(B, I)).requires_grad_()
    y = outer(x)[0]
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(RecurrentDropout(cell, 0.0)(x)[0], cell(x)[0])
    with pytest.raises(RnnZooError, match=r"recurrent dropout without memory loss needs .* which rnn is not; .*lstm"):
        RecurrentDropout(create("rnn", I, H))


@pytest.mark.parametrize("bias", [True, False])
def test_multiplicative_integration(bias):
    for kernel in ("fused", "reference"):
        rnn = RNN("lstm", I, H, bias=bias, transforms=MultiplicativeIntegration, dtype=torch.float64, kernel=kernel)
        outer = rnn.layers[0][0]
        cell = outer.cell
        x, hx = start()

        def step(t, h, c, cell=cell, outer=outer, x=x):
            wx, rh = linear(x[t], cell.weight_ih), linear(h, cell.weight_hh)
            a = outer.alpha * wx * rh + outer.beta_1 * rh + outer.beta_2 * wx
            return lstm(cell, a, cell.bias_ih + cell.bias_hh if bias else 0.0, c)

        for p in (outer.alpha, outer.beta_1, outer.beta_2):
            assert p.eq(1).all()
            torch.nn.init.normal_(p)
        equal(rnn, rnn(x, hx), run(step, hx[0][0], hx[1][0]), x, hx)


def test_multiplicative_integration_without_its_product_is_the_cell_and_is_refused_where_it_is_not_defined():
    cell = create("lstm", I, H)
    x = torch.randn(B, I)
    torch.testing.assert_close(MultiplicativeIntegration(cell, start_alpha=0.0)(x)[0], cell(x)[0])
    for name in ("gru", "mingru", "cho_gru"):
        with pytest.raises(RnnZooError, match=f"which {name} is not; it is defined for .*lstm"):
            MultiplicativeIntegration(create(name, I, H))
    with pytest.raises(RnnZooError, match="put it inside, next to lstm"):
        MultiplicativeIntegration(Zoneout(cell))
    with pytest.raises(RnnZooError, match="MultiplicativeIntegration goes around a cell"):
        MultiplicativeIntegration("lstm")
    meta = RNN("lstm", I, H, transforms=MultiplicativeIntegration, device="meta")
    assert {p.device.type for p in meta.parameters()} == {"meta"}


def test_layer_norm_of_gates():
    for rnn, outer, cell in both(LayerNormGates):
        x, hx = start()
        torch.nn.init.normal_(outer.gain_ih)
        torch.nn.init.normal_(outer.gain_hh)

        def step(t, h, c, cell=cell, outer=outer, x=x):
            wx = layer_norm(linear(x[t], cell.weight_ih), (4 * H,)) * outer.gain_ih + cell.bias_ih
            rh = layer_norm(linear(h, cell.weight_hh), (4 * H,)) * outer.gain_hh + cell.bias_hh
            return lstm(cell, wx, rh, c)

        equal(rnn, rnn(x, hx), run(step, hx[0][0], hx[1][0]), x, hx)
        with torch.no_grad():
            cell.weight_ih.mul_(100)  # so that ε is nothing
            before = rnn(x)[0]
            cell.weight_ih.mul_(1000)
            torch.testing.assert_close(rnn(x)[0], before, rtol=0, atol=1e-3)


def test_a_learned_initial_state_starts_as_the_cells_and_learns():
    rnn = RNN("lstm", I, H, 2, bidirectional=True, transforms=LearnedInitialState, dtype=torch.float64)
    x = double(T, B, I)
    torch.testing.assert_close(rnn(x), rnn(x, (torch.zeros(4, B, H).double(),) * 2))
    cells = [cell for layer in rnn.layers for cell in layer]
    for cell in cells:
        torch.nn.init.normal_(cell.initial_h)
        torch.nn.init.normal_(cell.initial_c)
    hx = tuple(torch.stack([getattr(c, n).expand(B, H) for c in cells]).detach() for n in ("initial_h", "initial_c"))
    for a in hx:
        a.requires_grad_()
    for options in ({}, {"lengths": [3, 7, 1, 5]}):
        y, wanted = rnn(x, **options)[0], rnn(x, hx, **options)[0]
        torch.testing.assert_close(y, wanted)
        grads = torch.autograd.grad(y.square().sum(), [c.initial_c for c in cells])
        (each,) = torch.autograd.grad(wanted.square().sum(), [hx[1]])
        torch.testing.assert_close(torch.stack(grads), each.sum(1))  # the sum over sequences


@pytest.mark.compiler
def test_transforms_of_transforms_keep_their_order():
    rnn = RNN("lstm", I, H, 2, transforms=[RecurrentDropout, variational, Zoneout, LearnedInitialState])
    kinds = [type(m).__name__ for m in rnn.layers[1][0].modules()]
    assert kinds == ["LearnedInitialState", "Zoneout", "VariationalDropout", "RecurrentDropout", "LSTM"]
    x = torch.randn(T, B, I)
    assert "fused" in kernels(rnn, x)
    rnn.kernel = "fused"
    y = seeded(rnn, x)[0]
    rnn.kernel = "reference"
    torch.testing.assert_close(y, seeded(rnn, x)[0], rtol=1e-4, atol=1e-5)


def test_what_goes_around_a_cell_leaves_its_weights_as_they_are():
    for make in (
        Zoneout,
        RecurrentDropout,
        LayerNormGates,
        MultiplicativeIntegration,
        LearnedInitialState,
        variational,
    ):
        cell = create("lstm", I, H)
        before = cell.weight_hh.clone()
        assert torch.equal(make(cell).cell.weight_hh, before)


@pytest.mark.parametrize("p", [-0.1, 1.0, True, "half", float("nan")])
def test_a_probability_that_is_none_is_an_error(p):
    cell = create("lstm", I, H)
    for make in (
        lambda: Zoneout(cell, p),
        lambda: Zoneout(cell, {"h": p}),
        lambda: VariationalDropout(cell, input_p=p),
        lambda: VariationalDropout(cell, state_p=p),
        lambda: RecurrentDropout(cell, p),
    ):
        with pytest.raises(RnnZooError, match=r"must be a probability in \[0, 1\), not "):
            make()

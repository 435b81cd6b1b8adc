"""What papers say of cells of the GRU family besides equations: sizes, where they start, what bounds them."""

import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError
from rnnzoo.cells import create
from rnnzoo.testing import check_cell
from rnnzoo.testing.case import expect, results

I, H = 3, 5
SIZES = {  # parameters, in products of sizes
    "mgu": 2 * (I * H + H * H + H),
    "mgu1": I * H + 2 * H * H + 2 * H,
    "mgu2": I * H + 2 * H * H + H,
    "mgu3": I * H + H * H + 2 * H,
    "ligru": 2 * (I * H + H * H) + 4 * H,
    "mut1": 3 * I * H + 2 * H * H + 3 * H,
    "mut2": 3 * I * H + 3 * H * H + 3 * H,
    "mut3": 3 * I * H + 3 * H * H + 3 * H,
    "ugrnn": 2 * (I * H + H * H + H),
    "intersection_rnn": 4 * (H * H + H * H + H) + I * H + H,  # all but P read P x
    "ran": 3 * I * H + 2 * H * H + 2 * H,
    "atr": I * H + H * H + 2 * H,
    "sgu": 2 * I * H + 2 * H * H + 2 * H,
    "dsgu": 2 * I * H + 3 * H * H + 2 * H,
    "light_ru": 2 * I * H + H * H + H,
    "cfn": 3 * I * H + 2 * H * H + 2 * H,
    "star": 2 * I * H + H * H + 2 * H,
    "minimal_rnn": I * H + 2 * H * H + 2 * H,
    "brc": 3 * I * H + 2 * H + 2 * H,
    "nbrc": 3 * I * H + 2 * H * H + 2 * H,
    "lrn": 3 * I * H + 3 * H,
}
CONVEX = ["mgu", "mgu1", "mgu2", "mgu3", "mut1", "mut2", "mut3", "ugrnn", "light_ru", "minimal_rnn", "brc", "nbrc"]
SQUASHED = ["star", "ran", "lrn"]
ORTHOGONAL = ["mgu", "mgu1", "mgu2", "mgu3", "ugrnn", "ligru", "star", "sgu", "dsgu", "minimal_rnn"]


@pytest.mark.parametrize("name", SIZES)
def test_a_cell_has_as_many_parameters_as_its_paper_counts(name):
    assert sum(p.numel() for p in create(name, I, H).parameters()) == SIZES[name]


@pytest.mark.parametrize("name", CONVEX + SQUASHED)
def test_a_state_stays_between_the_one_it_started_from_and_1(name):
    cell = create(name, I, H).double()
    for p in cell.parameters():
        nn.init.normal_(p, std=3)
    h = 2 * torch.randn(4, H, dtype=torch.float64)
    s = cell.State(*(h for _ in cell.State._fields))
    bound = torch.ones_like(h) if name in SQUASHED else h.abs().clamp(min=1)
    for x in 5 * torch.randn(20, 4, I, dtype=torch.float64):
        s = cell(x, s)[1]
        assert (s.h.abs() <= bound).all()


def test_cfn_forgets_without_input_and_stays_below_2():
    cell = create("cfn", I, H).double()
    for p in cell.parameters():
        nn.init.normal_(p, std=3)
    x, s = torch.randn(50, 4, I, dtype=torch.float64), cell.State(1.9 * torch.ones(4, H, dtype=torch.float64))
    for x_t in x:
        s = cell(x_t, s)[1]
        assert (s.h.abs() < 2).all()
    nn.init.zeros_(cell.weight_ih)
    for _ in range(50):
        old, s = s, cell(x[0], s)[1]
        assert (s.h.abs() < old.h.abs()).all()


def test_dsgu_stays_between_0_and_1():
    cell = create("dsgu", I, H).double()
    for p in cell.parameters():
        nn.init.normal_(p, std=3)
    s = cell.State(torch.rand(4, H, dtype=torch.float64))
    for x in torch.randn(20, 4, I, dtype=torch.float64):
        s = cell(x, s)[1]
        assert ((s.h >= 0) & (s.h <= 1)).all()


def test_gates_start_where_their_papers_say():
    assert create("ugrnn", I, H).bias_ih.tolist() == [0] * H + [1] * H
    assert create("intersection_rnn", I, H).bias_ih.tolist() == [0] * 2 * H + [1] * 2 * H
    assert create("cfn", I, H).bias_ih.tolist() == [1] * H + [-1] * H
    assert create("brc", I, H).w_a.tolist() == create("brc", I, H).w_c.tolist() == [1] * H
    assert create("ligru", I, H).gain.tolist() == [1] * 2 * H
    b_z, b_k = create("star", I, 400, max_steps=50).bias_ih.detach().chunk(2)
    assert not b_z.any()
    assert b_k.exp().pow(-1).min() >= 1
    assert 45 < b_k.neg().exp().max() <= 49.001


@pytest.mark.parametrize(
    ("name", "bound"), [("cfn", 0.07), ("atr", 0.08), ("ligru", 7**-0.5), ("mut1", 30**-0.5), ("ran", 30**-0.5)]
)
def test_weights_start_within_the_bounds_that_their_papers_say(name, bound):
    largest = create(name, 7, 30).weight_ih.abs().max()
    assert 0.9 * bound < largest <= bound


@pytest.mark.parametrize(
    "name", ["mgu", "mgu1", "mgu2", "mgu3", "ugrnn", "ligru", "star", "sgu", "dsgu", "minimal_rnn"]
)
def test_each_block_of_recurrent_rows_starts_orthogonal(name):
    cell = create(name, I, H)
    extra = [p for n, p in cell.named_parameters() if n in ("weight_z", "weight_go")]
    for R in (*cell.weight_hh.split(H), *extra):
        torch.testing.assert_close(R @ R.t(), torch.eye(H), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mut1", "mut2"])
def test_a_mutant_of_raw_x_passes_every_check(name):
    check_cell(create(name, H, H, raw_input=True), slow=False)
    with pytest.raises(RnnZooError, match=r"raw_input adds x to 5 units \(hidden_size\): input_size must be as many"):
        create(name, I, H, raw_input=True)


def test_an_intersection_rnn_of_as_many_inputs_as_units_has_no_projection_and_passes_every_check():
    cell = create("intersection_rnn", H, H)
    assert cell.weight_p is None
    check_cell(cell, slow=False)


def test_ligru_refuses_another_norm():
    with pytest.raises(RnnZooError, match="norm of ligru must be 'batch', 'layer' or 'none', not 'group'"):
        create("ligru", I, H, norm="group")


@pytest.mark.parametrize("lengths", [None, [4, 6, 1, 3]], ids=["whole", "lengths"])
def test_ligru_in_training_normalises_by_all_rows_but_padding_as_batchnorm1d(lengths):
    T, B = 6, 4
    rnn = RNN("ligru", I, H, dtype=torch.float64).train()
    (cell,) = rnn.layers[0]
    norm = nn.BatchNorm1d(2 * H, momentum=0.05, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in ((cell.gain, norm.weight), (cell.bias_ih, norm.bias)):
            theirs.copy_(ours.normal_())
    plain = RNN("ligru", 2 * H, H, norm="none", bias=False, dtype=torch.float64)
    plain.layers[0][0].weight_ih.data.copy_(torch.eye(2 * H))
    plain.layers[0][0].weight_hh.data.copy_(cell.weight_hh)
    x = torch.randn(T, B, I, dtype=torch.float64)
    there = torch.ones(T, B, dtype=torch.bool) if lengths is None else torch.arange(T)[:, None] < torch.tensor(lengths)
    for _ in range(2):
        wx = torch.zeros(T, B, 2 * H, dtype=torch.float64)
        wx[there] = norm((x @ cell.weight_ih.t())[there])
        expect(results(*rnn(x, lengths=lengths)), results(*plain(wx, lengths=lengths)), "expected batch normalisation")
    expect(
        {"mean": cell.running_mean, "variance": cell.running_var},
        {"mean": norm.running_mean, "variance": norm.running_var},
        "expected the running statistics",
    )
    one = x[:1, :1]
    expect(results(*rnn(one)), results(*rnn.eval()(one)), "expected a single row to have the running statistics")
    cell.reset_parameters()
    assert not cell.running_mean.any()
    assert (cell.running_var == 1).all()

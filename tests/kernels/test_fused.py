"""The kernel `fused` gives what the reference gives: every kind of cell, dense and packed, in both dtypes."""

import copy
import pickle

import pytest
import torch
from fused_cells import CELLS, Gap
from matrix_cells import MATRIX_CELLS
from together import compile_group, in_groups
from torch.utils._pytree import tree_leaves, tree_map

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.testing.case import expect, gradients, named, results

SIZES = [(9, 5, 7, 21), (1, 1, 2, 1), (13, 11, 3, 33)]  # T, B, I, H


def compare(rnn, x, hx, lengths, inputs, tolerance):
    """Every result and gradient of `rnn` by fused and by the reference."""
    by = {}
    for kernel in ("fused", "reference"):
        rnn.kernel = kernel
        got = results(*rnn(x, hx, lengths=lengths, **inputs))
        leaves = {"x": x} | (named(hx, "hx") if hx is not None else {}) | inputs | dict(rnn.named_parameters())
        by[kernel] = got | gradients(got, leaves)
    expect(by["fused"], by["reference"], "expected fused to equal the reference", tolerance)


def work(make, sizes, dtype, layers=1, both=False):
    T, B, I, H = sizes
    torch.manual_seed(0)
    rnn = RNN(make, I, H, layers, bidirectional=both, dtype=dtype)
    x = torch.randn(T, B, I, dtype=dtype, requires_grad=True)
    inputs = {"dt": torch.rand(T, B, 1, dtype=dtype, requires_grad=True)} if make is Gap else {}
    rnn.kernel = "reference"
    with torch.no_grad():
        last = rnn(x, **inputs)[1]
    hx = tree_map(lambda a: torch.randn_like(a).requires_grad_(), last)
    return rnn, x, hx, inputs


@pytest.fixture
def _compiled(request):
    def work_of(item):
        rnn, x, _, inputs = work(*(item.callspec.params[n] for n in ("make", "sizes", "dtype")))
        return rnn, x, inputs

    compile_group(request, work_of)


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize(
    ("sizes", "dtype"), [*((sizes, torch.float64) for sizes in SIZES), (SIZES[0], torch.float32)], ids=str
)
@pytest.mark.parametrize("make", in_groups(CELLS, "fused"))
def test_outputs_final_states_and_every_gradient_equal_the_references(make, sizes, dtype):
    near = 1e-10 if dtype == torch.float64 else 3e-4
    T, B = sizes[:2]
    rnn, x, hx, inputs = work(make, sizes, dtype)
    for start in (None, hx):
        for lengths in (None, torch.randint(1, T + 1, (B,))):
            compare(rnn, x, start, lengths, inputs, near)


@pytest.mark.parametrize("make", MATRIX_CELLS.values(), ids=MATRIX_CELLS)
def test_heads_and_matrices_equal_the_reference(make):
    """Few of them, printed one by one, and many, printed as loops; in two layers, the second of both directions."""
    for T, B, I, H in ((5, 4, 2, 3), (3, 5, 4, 6), (4, 1, 2, 12)):
        rnn, x, hx, inputs = work(make, (T, B, I, H), torch.float64, 2 if H == 6 else 1, H == 6)
        for lengths in (None, torch.randint(1, T + 1, (B,))):
            compare(rnn, x, hx, lengths, inputs, 1e-10)
    rnn, x, hx, inputs = work(make, (6, 3, 2, 9), torch.float32)
    compare(rnn, x, hx, None, inputs, 3e-4)


@pytest.mark.parametrize(
    "make", [CELLS[n] for n in ("lstm", "cho_gru", "computed")], ids=["lstm", "cho_gru", "computed"]
)
def test_a_stack_of_both_directions_equals_the_reference(make):
    rnn, x, hx, inputs = work(make, (7, 6, 3, 5), torch.float64, 2, True)
    for lengths in (None, [1, 7, 3, 7, 2, 5]):
        compare(rnn, x, hx, lengths, inputs, 1e-10)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_threads_share_the_rows(threads, dtype):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rnn, x, hx, inputs = work(CELLS["lstm"], (9, 17, 3, 33), dtype)
        for lengths in (None, torch.randint(1, 10, (17,)), [9] + [1] * 16):
            compare(rnn, x, hx, lengths, inputs, 1e-10 if dtype == torch.float64 else 3e-4)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", ["lstm", "cho_gru", "layer norm"])
def test_threads_share_the_columns_where_rows_are_few(name, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for B, lengths in ((1, None), (3, None), (3, [7, 2, 1]), (7, [7, 1, 4, 2, 2, 7, 3])):
            rnn, x, hx, inputs = work(CELLS[name], (7, B, 250, 260), torch.float64)
            compare(rnn, x, hx, lengths, inputs, 1e-10)
            with torch.no_grad():
                rnn.kernel = "fused"
                y = rnn(x, hx, lengths=lengths)[0]
                rnn.kernel = "reference"
                torch.testing.assert_close(y, rnn(x, hx, lengths=lengths)[0])
    finally:
        torch.set_num_threads(before)


def test_gradients_equal_finite_differences():
    rnn, x, hx, _ = work(CELLS["cho_gru"], (4, 2, 2, 3), torch.float64)
    rnn.kernel = "fused"
    assert torch.autograd.gradcheck(lambda x, hx, *p: rnn(x, hx), (x, hx, *rnn.parameters()))


def test_the_gradient_by_one_input_alone_is_right():
    rnn, x, hx, inputs = work(CELLS["lstm"], (5, 3, 2, 4), torch.float64)
    for kept in range(3):
        for p in rnn.parameters():
            p.requires_grad_(kept == 0)
        x.requires_grad_(kept == 1)
        start = tree_map(lambda a, k=kept: a.detach().requires_grad_(k == 2), hx)
        compare(rnn, x, start, None, inputs, 1e-10)


@pytest.mark.parametrize("name", ["gru", "leaky", "indrnn", "gap", "swapping"])
def test_a_second_derivative_is_an_error_that_names_the_reference(name):
    """By whatever it is taken: what the loop has given must not count as a constant."""
    rnn, x, hx, inputs = work(CELLS[name], (4, 2, 2, 3), torch.float64)
    rnn.kernel = "fused"
    start = tree_leaves(hx)
    (grad,) = torch.autograd.grad(rnn(x, hx, **inputs)[0].sin().sum(), x, create_graph=True)
    for by in ([x], list(rnn.parameters()), start):
        with pytest.raises(RuntimeError, match="set kernel='reference'"):
            torch.autograd.grad(grad.square().sum(), by, allow_unused=True)


def test_without_gradients_nothing_is_saved_and_the_results_are_the_same():
    for name in ("lstm", "computed", "zoneout"):
        rnn, x, hx, _ = work(CELLS[name], (6, 5, 3, 7), torch.float64)
        rnn.kernel = "fused"
        for lengths in (None, [6, 1, 3, 3, 5]):
            wanted = results(*rnn(x, hx, lengths=lengths))
            for mode in (torch.no_grad, torch.inference_mode):
                with mode():
                    got = results(*rnn(x, hx, lengths=lengths))
                assert all(a.grad_fn is None for a in got.values())
                expect(got, wanted, "expected the same without gradients", 1e-14)


def test_copies_and_pickles_of_a_layer_that_has_run_run():
    rnn, x, _, _ = work(CELLS["gru"], (4, 2, 2, 3), torch.float32)
    rnn = RNN("gru", 2, 3, kernel="fused")
    x = x.detach()
    wanted = rnn(x)[0]
    for other in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(other(x)[0], wanted)


def test_a_constant_that_changes_changes_the_result():
    rnn = RNN("janet", 3, 5, beta=0.5, dtype=torch.float64)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    seen = []
    for beta in (0.5, 2.0, 0.5):
        rnn.layers[0][0].beta = beta
        compare(rnn, x.requires_grad_(), None, None, {}, 1e-10)
        rnn.kernel = "fused"
        seen.append(rnn(x)[0])
    assert torch.equal(seen[0], seen[2])
    assert not torch.allclose(seen[0], seen[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_row_with_nan_leaves_the_others_alone_and_keeps_its_nan(dtype):
    for name in ("lstm", "rnn_relu", "odd", "swapping"):
        rnn, x, _, inputs = work(CELLS[name], (5, 4, 3, 6), dtype)
        x = x.detach().clone()
        clean = {}
        for kernel in ("fused", "reference"):
            rnn.kernel = kernel
            bad = x.clone()
            bad[2, 1, 0] = torch.nan
            bad[2, 2, 1] = torch.inf
            clean[kernel] = rnn(bad, **inputs)[0]
        torch.testing.assert_close(clean["fused"], clean["reference"], equal_nan=True)
        assert clean["fused"][2:, 1].isnan().any()
        assert clean["fused"][:, [0, 3]].isfinite().all()


def test_derived_weights_get_their_gradient():
    rnn, x, hx, inputs = work(CELLS["gru"], (4, 3, 2, 5), torch.float64)
    torch.nn.utils.parametrizations.weight_norm(rnn.layers[0][0], "weight_hh")
    compare(rnn, x, hx, None, inputs, 1e-10)


def test_a_cell_is_refused_when_it_is_run_with_other_inputs_than_it_can_take():
    rnn = RNN("gru", 3, 5, kernel="fused", dtype=torch.bfloat16)
    with pytest.raises(RnnZooError, match=r"it computes in float32 and float64, not in torch\.bfloat16"):
        rnn(torch.randn(4, 2, 3).bfloat16())


def test_a_stack_of_different_cells_runs():
    names = iter(["gru", "lstm"])
    rnn = RNN(lambda i, h: create(next(names), i, h), 3, 5, 2, dtype=torch.float64)
    compare(rnn, torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True), None, [4, 2], {}, 1e-10)

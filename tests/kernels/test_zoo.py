"""Every kernel gives for every registered cell what the reference gives: outputs, final states and every gradient."""

import pytest
import torch
from oracles import ORACLES
from together import compile_group, in_groups

from rnnzoo import RNN
from rnnzoo.cells import LinearCell, list_cells
from rnnzoo.kernels.native import VENDORS
from rnnzoo.testing.case import expect, gradients, named, results

SIZES, ONES = (7, 3, 5, 33), (1, 1, 1, 1)  # T, B, I, H
NARROW = (7, 3, 5, 8)
MORE_SIZES = [(13, 2, 1, 17), (33, 5, 9, 3)]
FUSED = {f"{name}-fused": (name, "fused") for name, cls in list_cells().items() if cls.not_fused is None}
OTHERS = [
    *((name, "native") for name, cls in list_cells().items() if cls in VENDORS),
    *((name, "linear_scan") for name, cls in list_cells().items() if issubclass(cls, LinearCell)),
]
PAIRS = [*in_groups(FUSED, "zoo"), *OTHERS]
# every third cell; those of the others are slow tests, which take minutes to compile: each cell is tested in float64
# and under autocast by tests/cells/test_conformance.py
STACKED = [*in_groups(dict(list(FUSED.items())[::3]), "zoo of stacks"), *OTHERS]
IN_NARROW_NUMBERS = dict(list(FUSED.items())[1::3])
WITH_ONES = ("cfc", "gru", "lem", "lmu", "lstm", "mgu", "multiplicative_lstm", "s4d")  # the others are slow tests
INTERPRETED = [(name, "triton") for name, _ in FUSED.values()]


def inputs_of(rnn, T, B):
    """What its cells take besides x: as their oracles have it where that fits every layer, else one number a row."""
    cell = rnn.layers[0][0]
    made = {n: make(T, B).double() for n, make in ORACLES.get(name_of(cell), ORACLES["lstm"]).inputs.items()}
    return {n: a if a.shape[-1] == 1 else a[..., :1].contiguous() for n, a in made.items()}


def name_of(cell):
    return next(name for name, cls in list_cells().items() if cls is type(cell))


def stack(name, sizes, layers=2):
    """Two layers of both directions in float64, a sequence for each length from 1 to T, and a state to start from."""
    T, B, I, H = sizes
    rnn = RNN(name, I, H, layers, bidirectional=layers > 1, dtype=torch.float64).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    inputs = inputs_of(rnn, T, B)
    with torch.no_grad():
        _, last = rnn(x[:2], **{n: a[:2] for n, a in inputs.items()})
    return rnn, x, inputs, last


@pytest.fixture(autouse=True)
def _compiled(request):
    def work_of(item):
        name, sizes = item.callspec.params["name"], item.callspec.params.get("sizes")
        rnn, x, inputs, _ = stack(name, sizes) if sizes else stack(name, NARROW, 1)
        dtype = torch.float64 if sizes else torch.float32
        return rnn.to(dtype), x.to(dtype), {n: a.to(dtype) for n, a in inputs.items()}

    compile_group(request, work_of)


def mapped(fn, state):
    if isinstance(state, torch.Tensor):
        return fn(state)
    if isinstance(state, list):
        return [mapped(fn, a) for a in state]
    return type(state)(*(fn(a) for a in state))


def leaf(a):
    return a.detach().clone().requires_grad_(a.is_floating_point() or a.is_complex())


def everything(rnn, kernel, x, hx, lengths, inputs):
    """Outputs, final state and gradients by a kernel."""
    rnn.kernel = kernel
    x, inputs = leaf(x), {n: leaf(a) for n, a in inputs.items()}
    hx = None if hx is None else mapped(leaf, hx)
    got = results(*rnn(x, hx, lengths=lengths, **inputs))
    starts = {} if hx is None else {n: a for n, a in named(hx, "hx").items() if a.requires_grad}
    return got | gradients(got, {"x": x} | inputs | starts | dict(rnn.named_parameters()))


def equals_the_reference(name, kernel, sizes):
    rnn, x, inputs, last = stack(name, sizes)
    T, B = sizes[:2]
    lengths = torch.tensor([*([T, 1] if B > 1 else [T]), *([max(1, T - 2)] * (B - 2))])
    for hx in (None, last):
        for n in (None, lengths) if T > 1 else (None,):
            got, wanted = (everything(rnn, k, x, hx, n, inputs) for k in (kernel, "reference"))
            expect(got, wanted, f"expected {kernel} to equal the reference", 1e-9)


@pytest.mark.parametrize("sizes", [SIZES], ids=str)
@pytest.mark.parametrize(("name", "kernel"), STACKED)
def test_a_kernel_equals_the_reference_in_a_stack_of_odd_sizes(name, kernel, sizes):
    equals_the_reference(name, kernel, sizes)


@pytest.mark.parametrize("sizes", [ONES], ids=str)
@pytest.mark.parametrize(("name", "kernel"), in_groups({f"{n}-fused": (n, "fused") for n in WITH_ONES}, "zoo of ones"))
def test_a_kernel_equals_the_reference_where_every_size_is_one(name, kernel, sizes):
    equals_the_reference(name, kernel, sizes)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [ONES, SIZES, *MORE_SIZES], ids=str)
@pytest.mark.parametrize(("name", "kernel"), PAIRS)
def test_every_kernel_equals_the_reference_in_stacks(name, kernel, sizes):
    equals_the_reference(name, kernel, sizes)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kernel"), INTERPRETED)
def test_triton_interpreted_equals_the_reference(name, kernel):
    rnn, x, inputs, last = stack(name, (3, 2, 3, 4), 1)
    reason = next(row.why_not for row in rnn.explain(x, **inputs).rows if row.kernel == kernel)
    if reason:
        assert "pieces" in reason
        pytest.skip(reason)
    got, wanted = (everything(rnn, k, x, last, None, inputs) for k in (kernel, "reference"))
    expect(got, wanted, "expected triton to equal the reference", 1e-9)


def off(got, wanted):
    """The largest error of anything, relative to 1 + the largest number expected of it."""
    errors = [((got[n].double() - a).abs().max() / (1 + a.abs().max())).item() for n, a in real(wanted).items()]
    assert all(e == e for e in errors)
    return max(errors)


def real(named_values):
    return {n: torch.view_as_real(a) if a.is_complex() else a for n, a in named_values.items()}


def lose_no_more_in_narrow_numbers(name, kernel):
    within = 0
    for _ in range(3):
        rnn, x, inputs, _ = stack(name, NARROW, 1)
        truth = everything(rnn, "reference", x, None, None, inputs)
        rnn.float()
        x, inputs = x.float(), {n: a.float() for n, a in inputs.items()}
        single = {k: off(real(everything(rnn, k, x, None, None, inputs)), truth) for k in (kernel, "reference")}
        assert single[kernel] <= 4 * single["reference"] + 1e-6
        with torch.autocast("cpu", torch.bfloat16):
            half = {k: off(real(everything(rnn, k, x, None, None, inputs)), truth) for k in (kernel, "reference")}
        within += half[kernel] <= 2 * half["reference"] + 1e-3
        if within == 2:  # of three draws: a ReLU that rounding takes past its kink has another gradient
            break
    assert within == 2, half

    rnn.kernel = kernel
    with torch.no_grad():
        whole, _ = rnn(x, **inputs)
        x[:, 1] = torch.nan
        spoilt, _ = rnn(x, **inputs)
    assert spoilt[:, 1].isnan().any()
    assert torch.equal(spoilt[:, [0, 2]], whole[:, [0, 2]])


@pytest.mark.parametrize(("name", "kernel"), [*in_groups(IN_NARROW_NUMBERS, "zoo"), *OTHERS])
def test_narrow_numbers_lose_no_more_by_a_kernel_and_a_row_of_nan_spoils_no_other(name, kernel):
    lose_no_more_in_narrow_numbers(name, kernel)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kernel"), PAIRS)
def test_narrow_numbers_of_every_cell_lose_no_more_by_a_kernel(name, kernel):
    lose_no_more_in_narrow_numbers(name, kernel)

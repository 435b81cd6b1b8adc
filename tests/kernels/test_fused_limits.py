"""What the kernel `fused` cannot run, and that it says so; what it remembers, and what it must not."""

import copy
import os
from collections import Counter
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rnnzoo import RNN, RnnZooError
from rnnzoo.cells import Cell, GatedCell, Hidden
from rnnzoo.kernels.fused import kernel, prepared
from rnnzoo.kernels.fused.c_bodies import CODE
from rnnzoo.kernels.fused.expressions import ROWWISE
from rnnzoo.kernels.fused.products import in_tiles

X = torch.randn(7, 4, 3)


def why(make, x=X, **options):
    rnn = RNN(make, 3, 5, kernel="reference", **options)
    return next(row.why_not for row in rnn.explain(x).rows if row.kernel == "fused")


def cell(step, **attributes):
    """A cell of one gate with a step of its own."""
    return type("Custom", (GatedCell,), {"gates": 1, "step": step, **attributes})


def test_an_operation_that_it_does_not_know_is_named():
    said = why(cell(lambda self, u, s: Hidden(torch.cumsum(u + s.h, -1))))
    assert said == f"{__name__}.Custom: its step uses aten.cumsum.default, an operation that it does not know"
    x = torch.randn(7, 4, 3)
    assert RNN(cell(lambda self, u, s: Hidden(torch.cumsum(u + s.h, -1))), 3, 5).explain(x).chosen == "reference"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda self, u, s: Hidden(F.dropout(u + s.h, 0.5)), "its step draws random numbers"),
        (lambda self, u, s: Hidden(u if s.h.sum() > 0 else s.h), "reads the value of a tensor into Python"),
        (lambda self, u, s: Hidden(u + s.h - s.h.mean(0)), "its step mixes the rows of a batch"),
        (lambda self, u, s: Hidden((u + s.h) @ (s.h.t() @ s.h)), "its step mixes the rows of a batch"),
        (lambda self, u, s: Hidden(u + torch.tensor(s.h.numpy())), "cannot be traced|cannot follow|neither a param"),
        (lambda self, u, s: Hidden((u + s.h).view(-1, 5, 1).mul(2).flatten(1)), None),
        (lambda self, u, s: Hidden((u + s.h.double()).to(u.dtype)), "torch.float64"),
        (lambda self, u, s: Hidden(u + s.h * torch.arange(5).to(u.dtype).flip(0)), None),
        (lambda self, u, s: Hidden(u * OUTSIDE + s.h), "neither a parameter nor a buffer"),
        (lambda self, u, s: Hidden(u + _without(s.h)), "cannot follow"),
        (lambda self, u, s: Hidden(Straight.apply(u + s.h)), "autograd.Function"),
    ],
)
def test_what_it_cannot_run_it_says(step, reason):
    said = why(cell(step))
    if reason is None:
        assert said is None
    else:
        assert any(part in said for part in reason.split("|")), said


OUTSIDE = torch.ones(5)


def _without(h):
    with torch.no_grad():
        return h * 2


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_states_and_inputs_that_do_not_fit_are_named():
    class Clocked(GatedCell):
        gates = 1

        def initial_state(self, batch, like):
            return Hidden(torch.zeros(batch, dtype=torch.int64))

        def step(self, u, s):
            return Hidden(s.h + 1)

    assert why(Clocked).endswith("its state has h in torch.int64")

    class Masked(Cell):
        gates = 1

        def project(self, x):
            return super().project(x), x[..., :1] > 0

        def step(self, u, s):
            return Hidden(torch.where(u[1], u[0], s.h))

    assert why(Masked) is None  # its project is compiled with its step, and no mask leaves it

    class Read(Masked):
        def readout(self, h, u, x):
            return h * u[1]

    assert why(Read).endswith("its u holds torch.bool, not torch.float32 alone")


def test_reasons_of_the_call_are_sentences():
    assert why("gru", dtype=torch.bfloat16, x=X.bfloat16()) == (
        "it computes in float32 and float64, not in torch.bfloat16"
    )
    with torch.autocast("cpu", torch.float16):
        assert why("gru").endswith("not for float16")
        with pytest.raises(RnnZooError, match="not for float16; kernel='auto' would use 'reference'"):
            RNN("janet", 3, 5, kernel="fused")(X)
    assert why("gru") is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_it_computes_in_float32_where_bfloat16_is_no_faster(dtype, monkeypatch):
    monkeypatch.setattr(kernel, "in_tiles", lambda: False)
    rnn = RNN("lstm", 3, 5, 2, kernel="fused")
    y, h = rnn(X.to(dtype).float())
    z, _ = rnn(X.to(dtype).float(), h)
    with torch.autocast("cpu", torch.bfloat16):
        got, last = rnn(X.to(dtype))
        assert torch.equal(got, y)
        assert got.dtype == last[0].dtype == torch.float32
        assert torch.equal(rnn(X.to(dtype), last)[0], z)
        wider = rnn(X.to(dtype), type(last)(*(a.bfloat16() for a in last)))[0]
    torch.testing.assert_close(wider, z, rtol=0.02, atol=0.02)


needs_tiles = pytest.mark.skipif(not in_tiles(), reason="this processor has no tiles of bfloat16 (AMX)")


@needs_tiles
@pytest.mark.parametrize("lengths", [None, [7, 40, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", ["lstm", "gru", "cho_gru", "peephole_lstm", "lem", "mingru"])
def test_in_tiles_of_bfloat16_it_is_as_close_to_float64_as_the_reference_under_autocast(name, lengths):
    """What is multiplied is rounded; sums, states and results are not."""

    def run(by, rnn, x, narrow):
        rnn.kernel = by
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            y, last = rnn(x, lengths=lengths)
        assert by == "reference" or y.dtype == last[0].dtype == x.dtype
        found = torch.autograd.grad(y.double().square().sum(), [x, *rnn.parameters()])
        return torch.cat([a.detach().double().flatten() for a in (y, *found)])

    off = Counter()
    for seed in range(3):
        torch.manual_seed(seed)
        rnn = RNN(name, 20, 36, 2, bidirectional=True)
        x = torch.randn(40, 3, 20, requires_grad=True)
        exact = run("reference", copy.deepcopy(rnn).double(), x.detach().double().requires_grad_(), False)
        for by in ("fused", "reference"):
            off[by] += (run(by, rnn, x, True) - exact).norm() / exact.norm() / 3
    assert 1e-4 < off["fused"] <= 1.1 * off["reference"]


def test_autocast_leaves_float64_alone():
    rnn = RNN("lstm", 3, 5, kernel="fused", dtype=torch.float64)
    wanted = rnn(X.double())[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rnn(X.double())[0], wanted)
        assert "bfloat16" not in str(rnn.explain(X.double()))


@needs_tiles
def test_tiles_and_float32_do_not_disturb_each_other():
    rnn, x = RNN("lstm", 20, 36, kernel="fused"), torch.randn(7, 40, 20)
    wide = rnn(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        narrow = rnn(x)[0]
        assert "bfloat16" in str(rnn.explain(x))
    assert torch.equal(rnn(x)[0], wide)
    assert 1e-5 < (narrow - wide).abs().max() < 1e-2
    assert "bfloat16" not in str(rnn.explain(x))
    y = x @ torch.randn(20, 20)  # torch's own products, which may use tiles as well
    assert y.isfinite().all()


def test_transforms_of_torch_func_and_the_compiler_go_past_it():
    rnn = RNN("janet", 3, 5)
    wanted = rnn(X)[0]
    found = torch.func.vmap(lambda x: rnn(x)[0])(X[None])
    torch.testing.assert_close(found[0], wanted)
    torch.compiler.reset()
    compiled = torch.compile(rnn, backend="eager")
    torch.testing.assert_close(compiled(X)[0], wanted)


def test_every_row_wise_operation_has_its_c():
    assert set(CODE) == ROWWISE


def test_the_reason_is_remembered_and_so_is_the_program(monkeypatch):
    rnn = RNN("janet", 3, 5, kernel="fused")
    rnn(X)
    rnn(X, lengths=[1, 7, 2, 3])

    def never(*_):
        raise AssertionError("traced again")

    monkeypatch.setattr(prepared, "Program", never)
    monkeypatch.setattr(prepared, "_prepare", never)
    for T, B in ((3, 2), (11, 9), (1, 1)):
        rnn(torch.randn(T, B, 3))
        rnn(torch.randn(T, B, 3), lengths=[T] * (B - 1) + [1])
    RNN("janet", 3, 5, kernel="fused")(X)
    with pytest.raises(AssertionError, match="traced again"):
        RNN("janet", 3, 61, kernel="fused")(X)


@pytest.mark.parametrize("kind", ["number", "list"])
def test_cells_that_differ_in_what_they_make_of_a_parameter_have_programs_of_their_own(kind):
    def scaled(scale):
        def step(self, u, s):
            by = scale if kind == "number" else torch.tensor([scale] * 5, dtype=u.dtype)
            return Hidden((u + s.h @ (self.weight_hh * by)).tanh())

        return RNN(cell(step), 3, 5, kernel="fused")

    rnns = [scaled(1.0), scaled(3.0)]
    for rnn in rnns:
        rnn(X)
    for rnn in rnns:
        got = rnn(X)[0]
        rnn.kernel = "reference"
        torch.testing.assert_close(got, rnn(X)[0])


def test_a_trace_leaves_the_random_numbers_as_they_are():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    why(cell(lambda self, u, s: Hidden((u + 3 * s.h).tanh())))
    torch.manual_seed(5)
    rnn = RNN(cell(lambda self, u, s: Hidden((u + 7 * s.h).tanh())), 3, 5)
    torch.manual_seed(5)
    rnn.explain(X)
    assert torch.equal(torch.rand(1), wanted)


def test_constants_of_every_kind_are_part_of_what_a_program_is_known_by():
    class Options:
        def __init__(self, gain):
            self.gain = gain

    class Many(GatedCell):
        gates = 1

        def __init__(self, i, h):
            super().__init__(i, h)
            self.options, self.table, self.act = Options(1.0), {"a": [1.0]}, torch.tanh
            self.inner = nn.Identity()

        def update(self, wx, rh, s):
            return Hidden(self.act(self.options.gain * wx + self.table["a"][0] * rh))

    rnn = RNN(Many, 3, 5)
    own = rnn.layers[0][0]

    def agree():
        by = {}
        for rnn.kernel in ("fused", "reference"):
            by[rnn.kernel] = rnn(X)[0]
        torch.testing.assert_close(by["fused"], by["reference"])
        return by["fused"]

    seen = [agree()]
    own.options.gain = 2.0
    seen.append(agree())
    own.table["a"][0] = 3.0
    seen.append(agree())
    own.act = torch.sigmoid
    seen.append(agree())
    own.act = lambda z: z.sin()
    seen.append(agree())
    assert all(not torch.equal(a, b) for a, b in pairwise(seen))


def test_training_mode_is_part_of_it():
    class Noisy(GatedCell):
        gates = 1

        def update(self, wx, rh, s):
            return Hidden((wx + rh).tanh() * (0.5 if self.training else 1.0))

    rnn = RNN(Noisy, 3, 5, kernel="fused")
    trained, steady = rnn(X)[0], rnn.eval()(X)[0]
    torch.testing.assert_close(trained[0], steady[0] / 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_does_not_hang_and_runs_with_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rnn, x = RNN("gru", 3, 5, kernel="fused"), torch.randn(5, 16, 3)
        rnn(x)[0].sum().backward()  # its threads exist now
        child = os.fork()
        if not child:
            try:
                refused = not _runs(rnn, x)
                torch.set_num_threads(1)
                os._exit(0 if refused and _runs(rnn, x) else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


def _runs(rnn, x):
    try:
        rnn(x)[0].sum().backward()
    except RnnZooError:
        return False
    return True


def test_explain_says_what_is_kept_for_the_backward():
    for name, kept in (("rnn", 1), ("lstm", 7), ("gru", 5)):  # h; h, c, four gates and tanh c; h, r, z, n and R h
        rnn = RNN(name, 3, 5, 2)
        assert f"; keeps {kept} numbers a step and unit for the backward" in str(rnn.explain(X)), name


def test_a_cell_that_takes_whole_numbers_runs_from_its_projection_on():
    class Counting(Cell):
        vectors = ("rate",)

        def project(self, x):
            return x.sum(-1, keepdim=True).to(self.rate.dtype)

        def step(self, u, s):
            return Hidden((self.rate * s.h + u).tanh())

    rnn, x = RNN(Counting, 3, 5), torch.randint(-1, 2, (700, 4, 3))
    assert rnn.explain(x).chosen == "fused"
    got = rnn(x)[0]
    rnn.kernel = "reference"
    torch.testing.assert_close(got, rnn(x)[0])

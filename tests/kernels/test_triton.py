"""The kernel `triton` and the scan gives what the reference gives: on a GPU, else by Triton's interpreter on a CPU."""

import copy
import importlib.util
from collections import Counter

import pytest
import torch
from fused_cells import CELLS, Gap
from torch.utils._pytree import tree_map

from rnnzoo import RNN, RnnZooError
from rnnzoo.cells import GatedCell, Hidden
from rnnzoo.kernels import linear_scan
from rnnzoo.kernels.fused.expressions import ROWWISE
from rnnzoo.kernels.triton import available, graphs, printer
from rnnzoo.kernels.triton.kernel import Triton
from rnnzoo.testing.case import expect, gradients, named, results
from rnnzoo.transforms import weight_drop

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed"),
    pytest.mark.skipif(
        DEVICE == "cpu" and not available.interpreted(),
        reason="triton is not in its interpreter: TRITON_INTERPRET is set to something else than 1",
    ),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of columns that are computed and not stored
]


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    """In float32 as it is: by torch's default recurrent layers multiply in TF32 on a GPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


T, B, I, H = 4, 3, 2, 5
LENGTHS = [2, 4, 1]


def compare(rnn, x, hx, lengths, inputs, tolerance=1e-9):
    """Every result and gradient of `rnn` by triton and by the reference."""
    by = {}
    for kernel in ("triton", "reference"):
        rnn.kernel = kernel
        got = results(*rnn(x, hx, lengths=lengths, **inputs))
        leaves = {"x": x} | (named(hx, "hx") if hx is not None else {}) | inputs | dict(rnn.named_parameters())
        by[kernel] = got | gradients(got, leaves)
    expect(by["triton"], by["reference"], "expected triton to equal the reference", tolerance)


def work(make, dtype=torch.float64, layers=1, both=False):
    torch.manual_seed(0)
    rnn = RNN(make, I, H, layers, bidirectional=both, dtype=dtype).to(DEVICE)
    x = torch.randn(T, B, I, dtype=dtype, device=DEVICE, requires_grad=True)
    inputs = {"dt": torch.rand(T, B, 1, dtype=dtype, device=DEVICE, requires_grad=True)} if make is Gap else {}
    rnn.kernel = "reference"
    with torch.no_grad():
        last = rnn(x, **inputs)[1]
    return rnn, x, tree_map(lambda a: torch.randn_like(a).requires_grad_(), last), inputs


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_outputs_final_states_and_every_gradient_equal_the_references(make):
    rnn, x, hx, inputs = work(make)
    for start in (None, hx):
        for lengths in (None, LENGTHS):
            compare(rnn, x, start, lengths, inputs)


@pytest.mark.parametrize("name", ["lstm", "computed"])
def test_a_stack_of_both_directions_equals_the_reference(name):
    rnn, x, hx, inputs = work(CELLS[name], layers=2, both=True)
    for lengths in (None, LENGTHS):
        compare(rnn, x, hx, lengths, inputs)


@pytest.mark.parametrize("name", ["lstm", "layer norm"])
def test_float32_is_as_close_as_it_can_be(name):
    rnn, x, hx, inputs = work(CELLS[name], torch.float32)
    compare(rnn, x, hx, LENGTHS, inputs, 1e-4)


def test_without_gradients_the_results_are_the_same():
    for name in ("lstm", "computed", "zoneout"):
        rnn, x, hx, _ = work(CELLS[name])
        rnn.kernel = "triton"
        for lengths in (None, LENGTHS):
            wanted = results(*rnn(x, hx, lengths=lengths))
            for mode in (torch.no_grad, torch.inference_mode):
                with mode():
                    got = results(*rnn(x, hx, lengths=lengths))
                expect(got, wanted, "expected the same without gradients", 1e-12)


def test_pieces_of_a_sequence_and_dropped_weights_give_the_same():
    rnn, x, hx, inputs = work("lstm", layers=2, both=True)
    rnn.checkpoint_every = 3
    for lengths in (None, LENGTHS):
        compare(rnn, x, hx, lengths, inputs)
    rnn.checkpoint_every = None
    weight_drop(rnn, 0.5)
    by = {}
    for kernel in ("triton", "reference"):
        rnn.kernel = kernel
        torch.manual_seed(3)
        got = results(*rnn(x, hx))
        by[kernel] = got | gradients(got, {"x": x} | dict(rnn.named_parameters()))
    expect(by["triton"], by["reference"], "expected triton to drop the reference's weights", 1e-9)


def test_the_gradient_by_one_input_alone_is_right():
    rnn, x, hx, inputs = work(CELLS["gru"])
    for kept in range(3):
        for p in rnn.parameters():
            p.requires_grad_(kept == 0)
        x.requires_grad_(kept == 1)
        compare(rnn, x, tree_map(lambda a, k=kept: a.detach().requires_grad_(k == 2), hx), None, inputs)


def test_a_second_derivative_is_an_error_that_names_the_reference():
    rnn, x, _, _ = work(CELLS["gru"])
    rnn.kernel = "triton"
    (grad,) = torch.autograd.grad(rnn(x)[0].sin().sum(), x, create_graph=True)
    for by in ([x], list(rnn.parameters())):
        with pytest.raises(RuntimeError, match="kernel 'triton' has no second derivative; set kernel='reference'"):
            torch.autograd.grad(grad.sum(), by)


@pytest.mark.parametrize("name", ["lstm", "rnn_relu", "odd", "swapping"])
def test_a_row_with_nan_leaves_the_others_alone_and_keeps_its_nan(name):
    rnn, x, _, _ = work(CELLS[name], torch.float32)
    bad = x.detach().clone()
    bad[1, 1, 0] = torch.nan
    by = {}
    for kernel in ("triton", "reference"):
        rnn.kernel = kernel
        by[kernel] = rnn(bad)[0]
    torch.testing.assert_close(by["triton"], by["reference"], equal_nan=True)
    assert by["triton"][1:, 1].isnan().any()
    assert by["triton"][:, [0, 2]].isfinite().all()


def test_rows_wider_than_a_block_are_computed_by_many_programs():
    rnn = RNN("janet", 2, 300, dtype=torch.float64).to(DEVICE)
    x = torch.randn(2, 2, 2, dtype=torch.float64, device=DEVICE, requires_grad=True)
    compare(rnn, x, None, [2, 1], {})


NUMBERS = [0, 0.5, -0.5, 1, -1, 1.5, 2.5, -2.5, 0.0999, 0.1001, 1e-6, -1e-3, 0.999, 3, -20, 45, 200, 1e9]
NUMBERS += [torch.inf, -torch.inf, torch.nan]
TWO = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "logical_and", "logical_or"]
TWO += ["gt", "ge", "lt", "le", "eq", "ne", "fmod", "remainder"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_every_row_wise_operation_gives_torchs_numbers(dtype):
    import numpy as np

    from rnnzoo.kernels.triton.source import module

    assert set(printer.CODE) == ROWWISE
    one = sorted(ROWWISE - set(TWO) - {"bitwise_and", "bitwise_or", "bitwise_not", "where"})
    real = "tl.float64" if dtype == torch.float64 else "tl.float32"
    text = printer._HEAD
    for op in [*one, *TWO]:
        text += f"\n\n@triton.jit\ndef of_{op}(x, y, z, n, BLOCK: tl.constexpr):\n    j = tl.arange(0, BLOCK)\n"
        text += "    a = tl.load(x + j, mask=j < n, other=0.0)\n    b = tl.load(y + j, mask=j < n, other=0.0)\n"
        text += f"    tl.store(z + j, {printer.CODE[op].format('a', 'b', real=real)}, mask=j < n)\n"
    kernels = module(text)
    x = torch.tensor(NUMBERS, dtype=dtype).repeat_interleave(len(NUMBERS)).to(DEVICE)
    y = torch.tensor(NUMBERS, dtype=dtype).repeat(len(NUMBERS)).to(DEVICE)
    keep = ~((x == -1) & y.isinf()) & ~((x.abs() == 1e9) & (y.abs() > 9) & y.isfinite())  # of no use to anyone
    x, y = x[keep], y[keep]
    for op in [*one, *TWO]:
        z = torch.full_like(x, 7)
        with np.errstate(all="ignore"):
            getattr(kernels, f"of_{op}")[(1,)](
                x, y, z, len(x), BLOCK=printer.power_of_two(len(x)), enable_fp_fusion=False
            )
        given = (x, y) if op in TWO else (x,)
        wanted = getattr(torch, op)(*(a.double() for a in given)).to(dtype)
        near = 1e-13 if dtype == torch.float64 else 2e-6
        if op in ("exp", "expm1", "cosh", "sinh") and DEVICE == "cuda":
            near *= 3  # a GPU's exp is off by more the larger the exponent is
        if op in ("sin", "cos", "tan") and dtype == torch.float32:
            z, wanted = z[x.abs() < 1e8], wanted[x.abs() < 1e8]
        torch.testing.assert_close(z, wanted, rtol=near, atol=1e-35, equal_nan=True, msg=lambda m, op=op: f"{op}: {m}")


class Replayed:
    """In place of a CUDA graph: launches what was recorded."""

    made = 0

    def __init__(self, run):
        Replayed.made += 1
        self.replay = run


@pytest.mark.slow  # in the interpreter; on a GPU `make test-long` and benchmarks/gpu.sh run it in seconds
def test_a_loop_that_is_replayed_gives_the_same_whatever_came_before(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setattr(graphs, "_recorded", Replayed)
        monkeypatch.setattr("rnnzoo.kernels.triton.program.stream", lambda device: 0)
        monkeypatch.setattr(graphs.Graphs, "can", lambda self, steps, device, parts: not steps.packed)
    for name in ("lstm", "computed"):
        for lengths in ([None] * 4, [LENGTHS, [4, 4, 1], [1, 3, 4], LENGTHS]):
            rnn, x, hx, inputs = work(CELLS[name], layers=2)  # the second layer's program is another: it is wider
            for k in range(4):
                with torch.no_grad():
                    for p in rnn.parameters():
                        p.add_(0.1 * k)
                compare(rnn, x, hx if k % 2 else None, lengths[k], inputs)
            # two sequences in flight: what the first has kept is its own
            rnn.kernel = "triton"
            with torch.no_grad():
                before = rnn(2 * x, hx, lengths=lengths[1])[0].clone()
            a, b = rnn(x, hx, lengths=lengths[0])[0], rnn(2 * x, hx, lengths=lengths[1])[0]
            first = torch.autograd.grad(a.sin().sum(), x, retain_graph=True)[0]
            rnn.kernel = "reference"
            expect({"y": b}, {"y": before}, "expected the same of both loops", 1e-9)
            wanted = torch.autograd.grad(rnn(x, hx, lengths=lengths[0])[0].sin().sum(), x)[0]
            expect({"dx": first}, {"dx": wanted}, "expected the first sequence's gradient", 1e-9)
    assert DEVICE == "cuda" or Replayed.made >= 12


def test_where_more_sizes_are_in_use_than_there_may_be_graphs_those_that_are_stay(monkeypatch):
    monkeypatch.setattr(graphs, "_recorded", Replayed)
    monkeypatch.setattr(graphs, "_MOST", 2)
    monkeypatch.setattr(graphs, "_REST", 6)
    found = graphs.Graphs()

    def has(key):
        buffers = {"y": torch.zeros(1)}
        return found.replayed(key, lambda _: buffers, lambda _: [], lambda p, _: p, [], ["y"]) is not None

    assert [has(key) for key in "aabb"] == [False, True, False, True]
    assert [has(key) for key in "ccab"] == [False, False, True, True]  # no room for a third
    assert [has(key) for key in "bbbbb"] == [True] * 5
    assert [has(key) for key in "cac"] == [True, False, True]  # which another has left


@pytest.mark.parametrize("name", ["lstm", "computed", "swapping"])
def test_what_would_be_mostly_padding_is_not_padded(name):
    rnn, _, _, inputs = work(CELLS[name])
    x = torch.randn(40, 9, I, dtype=torch.float64, device=DEVICE, requires_grad=True)
    compare(rnn, x, None, [2, 40, *[1] * 7], inputs)


def test_what_lies_behind_the_end_of_a_sequence_does_not_grow():
    rnn = RNN("rnn_relu", 1, 1, bias=False).to(DEVICE)
    with torch.no_grad():
        for p in rnn.parameters():
            p.fill_(5.0)  # 5 ** 60 is beyond float32
    x = torch.zeros(60, 2, 1, device=DEVICE)
    x[0, 1] = 1.0
    compare(rnn, x.requires_grad_(), None, [60, 1], {}, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("T", [1, 2, 31, 32, 33, 70])
def test_the_scan_and_its_gradient_are_those_of_the_loop(T, dtype):
    from rnnzoo.kernels.triton import scan

    a, b, dh = (torch.randn(T, 3, 5, dtype=torch.float64) for _ in range(3))
    a, h0 = a.sigmoid(), torch.randn(3, 5, dtype=torch.float64)
    leaves = [z.to(dtype).requires_grad_() for z in (a, b, h0)]
    wanted = linear_scan.Scan.apply(*(z.double() for z in leaves))
    grads = torch.autograd.grad(wanted, leaves, dh)
    ours = [z.detach().to(DEVICE) for z in leaves]
    h = scan.forward(*ours)
    got = scan.backward(ours[0], h, ours[2], dh.to(h))
    near = 1e-12 if dtype == torch.float64 else 1e-5
    for z, w in zip((h, *got), (wanted, *grads), strict=True):
        assert z.dtype == dtype
        torch.testing.assert_close(z.cpu().double(), w.double(), rtol=near, atol=near)


def test_the_scan_accumulates_bfloat16_in_float32_and_nan_stays_in_its_column():
    from rnnzoo.kernels.triton import scan

    a, b = torch.full((200, 1, 3), 1.0), torch.full((200, 1, 3), 1 / 256)
    b[50, 0, 1] = torch.nan
    a, b = a.bfloat16().to(DEVICE), b.bfloat16().to(DEVICE)
    h = scan.forward(a, b, torch.ones(1, 3, device=DEVICE).bfloat16())
    assert h[-1, 0, 0] == 1 + 200 / 256  # in bfloat16 1 + 1/256 is 1
    assert h[:50, 0, 1].isfinite().all()
    assert h[50:, 0, 1].isnan().all()
    assert h[:, 0, [0, 2]].isfinite().all()


def test_a_layer_scans_by_triton_where_it_can(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setattr(linear_scan, "_by_triton", lambda b: not b.is_complex())
    rnn, x, hx, _ = work("mingru", layers=2, both=True)
    by = {}
    for kernel in ("linear_scan", "reference"):
        rnn.kernel = kernel
        got = results(*rnn(x, hx))
        by[kernel] = got | gradients(got, {"x": x} | named(hx, "hx") | dict(rnn.named_parameters()))
    expect(by["linear_scan"], by["reference"], "expected the scan to equal the loop", 1e-10)


def why(make="janet", x=None, **options):
    rnn = RNN(make, I, H, kernel="reference", **options)
    table = rnn.to(DEVICE).explain(torch.randn(T, B, I, device=DEVICE) if x is None else x)
    return next((row.why_not for row in table.rows if row.kernel == "triton"), None)


def test_reasons_are_sentences(monkeypatch):
    assert why() is None
    assert why(dtype=torch.bfloat16, x=torch.randn(T, B, I, device=DEVICE).bfloat16()) == (
        "it computes in float32 and float64, not in torch.bfloat16"
    )
    custom = type("Custom", (GatedCell,), {"gates": 1, "step": lambda self, u, s: Hidden((u + s.h).cumsum(-1))})
    assert why(custom).endswith("its step uses aten.cumsum.default, an operation that it does not know")
    x = torch.randn(T, B, I)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    said = "kernel 'triton' cannot run this RNN: it runs on a CUDA device, and x lies on cpu"
    with pytest.raises(RnnZooError, match=said):
        RNN("janet", I, H, kernel="triton")(x)
    monkeypatch.setattr(available, "installed", lambda: False)
    assert why() == "triton is not installed; pip install triton"


def test_a_device_for_which_triton_cannot_compile_is_named(monkeypatch):
    def broken(*_):
        raise RuntimeError("Failed to find C compiler.\nPlease specify CC")

    from rnnzoo.kernels.triton import scan

    monkeypatch.setattr(scan, "forward", broken)
    monkeypatch.setattr(available, "why_not_device", available.why_not_device.__wrapped__)
    assert why() == f"triton fails on {torch.empty(0, device=DEVICE).device}: Failed to find C compiler."


def test_it_does_without_the_compiler_that_fused_needs(monkeypatch):
    said = "no C compiler (gcc) is on PATH"
    for module in ("kernel", "prepared"):
        monkeypatch.setattr(f"rnnzoo.kernels.fused.{module}.why_no_compiler", lambda: said)
    rnn, x, hx, inputs = work(CELLS["lstm"])
    reasons = {row.kernel: row.why_not for row in rnn.explain(x).rows}
    assert reasons["triton"] is None
    assert DEVICE == "cuda" or reasons["fused"] == said
    compare(rnn, x, hx, None, inputs)


def test_auto_leaves_the_cpu_to_others_even_in_the_interpreter():
    for name in ("janet", "mingru"):
        rnn = RNN(name, I, H)
        table = rnn.explain(torch.randn(T, B, I))
        assert table.chosen != "triton"
        row = next(row for row in table.rows if row.kernel == "triton")
        assert row.why_not is not None or row.milliseconds == float("inf")


def test_on_a_gpu_it_is_cheaper_than_the_reference_and_where_measured_than_cudnn():
    from rnnzoo.kernels import KERNELS, layout
    from rnnzoo.kernels.base import Work

    class Elsewhere:
        shape, device, dtype = (T, B, I), torch.device("cuda"), torch.float32

        def dim(self):
            return 3

    def quicker(name, other, hidden=H, lengths=None, autocast=False):
        lies = layout.Dense(torch.empty(T, B, I))
        if lengths:
            lies = layout.Packed(torch.nn.utils.rnn.pack_padded_sequence(torch.empty(T, B, I), torch.tensor(lengths)))
        work = Work(RNN(name, I, hidden).layers, Elsewhere(), lies)
        torch.set_autocast_enabled("cuda", autocast)  # torch.autocast does nothing where there is no CUDA
        try:
            return Triton().cost(work) < KERNELS[other].cost(work)
        finally:
            torch.set_autocast_enabled("cuda", False)

    assert quicker("janet", "reference")
    assert not quicker("mingru", "linear_scan")
    for name in ("lstm", "gru"):
        assert not quicker(name, "native")  # cuDNN keeps so few weights on the chip
        assert quicker(name, "native", 256)
        assert not quicker(name, "native", 256, [4, 3, 2])
    assert quicker("gru", "native", 256, autocast=True)
    assert not quicker("lstm", "native", 256, autocast=True)


@pytest.mark.parametrize("lengths", [pytest.param(None, marks=pytest.mark.slow), LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", ["lstm", "gru", "cho_gru", "peephole_lstm", "lem"])
def test_under_autocast_it_is_as_close_to_float64_as_the_reference(name, lengths):
    """Products are of rounded rows and matrices; all else stays in float32."""

    def run(kernel, rnn, x, dtype):
        rnn.kernel = kernel
        with torch.autocast(DEVICE, dtype, enabled=dtype is not None):
            y, _ = rnn(x, lengths=lengths)
        found = torch.autograd.grad(y.double().square().sum(), [x, *rnn.parameters()])
        return torch.cat([a.detach().double().flatten() for a in (y, *found)])

    off = Counter()
    for seed in range(3):
        torch.manual_seed(seed)
        rnn = RNN(name, 6, 8, 2, bidirectional=True).to(DEVICE)
        x = torch.randn(9, 3, 6, device=DEVICE, requires_grad=True)
        exact = run("reference", copy.deepcopy(rnn).double(), x.detach().double().requires_grad_(), None)
        for kernel, dtype in (("triton", torch.bfloat16), ("reference", torch.bfloat16), ("triton", torch.float16)):
            if DEVICE == "cuda" or dtype == torch.bfloat16:
                off[kernel, dtype] += (run(kernel, rnn, x, dtype) - exact).norm() / exact.norm() / 3
    assert 1e-4 < off["triton", torch.bfloat16] <= 1.1 * off["reference", torch.bfloat16]
    if DEVICE == "cuda":
        assert off["triton", torch.float16] < 0.3 * off["triton", torch.bfloat16]


def test_autocast_leaves_float64_alone():
    rnn, x, hx, _ = work("lstm")
    rnn.kernel = "triton"
    wanted = rnn(x, hx)[0]
    with torch.autocast(DEVICE, torch.bfloat16):
        assert torch.equal(rnn(x, hx)[0], wanted)


def test_under_autocast_states_and_results_stay_wide():
    rnn, x, hx, _ = work(CELLS["peephole_lstm"], torch.float32)
    rnn.kernel = "triton"
    with torch.autocast(DEVICE, torch.bfloat16):
        y, last = rnn(x.bfloat16(), hx)
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in rnn.parameters())
    assert y.dtype == last.h.dtype == torch.float32


def test_transforms_of_torch_func_and_the_compiler_go_past_it():
    rnn, x, _, _ = work("janet", torch.float32)
    x = x.detach()
    wanted = rnn(x)[0]
    rnn.kernel = "auto"
    found = torch.func.vmap(lambda x: rnn(x)[0])(x[None])
    torch.testing.assert_close(found[0], wanted)


def test_source_in_the_cache_is_written_again_when_it_is_not_whole(monkeypatch, tmp_path):
    from rnnzoo.kernels.triton import source

    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path))
    text = "number = 7\n"
    assert source._module.__wrapped__(text).number == 7
    (path,) = (tmp_path / "kernels").glob("triton_*.py")
    path.write_text("number")
    assert source._module.__wrapped__(text).number == 7
    assert path.read_text() == text


def test_a_matrix_that_lies_by_columns_is_read_by_number():
    rnn = RNN("s4d", 2, H, state_size=4, dtype=torch.float64, device=DEVICE)  # complex constants, as their real parts
    x = torch.randn(T, B, 2, dtype=torch.float64, device=DEVICE, requires_grad=True)
    compare(rnn, x, None, LENGTHS, {})

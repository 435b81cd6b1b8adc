"""What kernels remember a cell by: whatever its step can read, so that no cell runs by the trace of another."""

import copy
import functools
import gc
import os
import pickle
import random
import re
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path

import changing_cells
import numpy as np
import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells import GatedCell, Hidden, LinearCell
from rnnzoo.kernels.fingerprint import fingerprint, recognised
from rnnzoo.kernels.fused import program
from rnnzoo.kernels.triton import available
from rnnzoo.transforms import Zoneout, weight_drop

HERE = Path(__file__).parent


def compared(rnn, x, by="fused", **more):
    """Outputs and gradients by a kernel, which must be those of the reference."""
    results = []
    for kernel in (by, "reference"):
        rnn.kernel = kernel
        y, _ = rnn(x, **more)
        gradients = torch.autograd.grad(y.square().sum(), [*rnn.parameters()], allow_unused=True)
        results.append([y, *(torch.zeros(()) if g is None else g for g in gradients)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10, check_dtype=False)
    return results[0][0]


def layer(update, attributes=None, **set_on_cell):
    """An RNN of a cell with an update of its own, and attributes of its class and of the cell."""
    cls = type("Own", (GatedCell,), {"gates": 1, "update": update, **(attributes or {})})
    rnn = RNN(cls, 3, 5, dtype=torch.float64)
    for name, value in set_on_cell.items():
        setattr(rnn.layers[0][0], name, value)
    return rnn


def drawn(batch=4):
    return torch.randn(6, batch, 3, dtype=torch.float64)


# ---- what is remembered, in one process


def test_tied_parameters_and_untied_ones_have_programs_of_their_own():
    tied, plain = (RNN("lstm", 5, 5, dtype=torch.float64) for _ in range(2))
    tied.layers[0][0].weight_ih = tied.layers[0][0].weight_hh
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    compared(tied, x)
    compared(plain, x)
    tied, plain = (RNN("mogrifier_lstm", 5, 5, dtype=torch.float64) for _ in range(2))
    tied.layers[0][0].full_3 = tied.layers[0][0].full_1
    compared(tied, x)
    compared(plain, x)


def test_an_attribute_of_the_class_is_read_at_every_call():
    rnn = layer(lambda self, wx, rh, s: Hidden(self.alpha * (wx + rh).tanh()), {"alpha": 0.1})
    x = drawn()
    small = compared(rnn, x)
    type(rnn.layers[0][0]).alpha = 0.5
    assert compared(rnn, x).abs().max() > 2 * small.abs().max()


def test_a_partial_made_anew_at_every_turn_is_never_taken_for_one_that_was_freed():
    rnn = layer(lambda self, wx, rh, s: Hidden(self.f(wx + rh)))
    x = drawn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(6):
            rnn.layers[0][0].f = functools.partial(torch.mul, other=(k + 1) / 7)
            compared(rnn, x)
            gc.collect()


def test_an_object_that_nothing_can_be_read_of_is_told_by_itself_alone():
    class Opaque:
        def __init__(self, factor):
            self.box = {"factor": factor}.__getitem__  # a method of C, of an object that is told by its contents

    rnn = layer(lambda self, wx, rh, s: Hidden(self.o.box("factor") * (wx + rh).tanh()))
    for factor in (0.5, 0.25):
        rnn.layers[0][0].o = Opaque(factor)
        compared(rnn, drawn())
    rnn.layers[0][0].generator = torch.Generator()  # it has no pickle; the step never reads it
    compared(rnn, drawn())
    reading = layer(lambda self, wx, rh, s: Hidden((wx + rh).tanh() * (1 if self.lock.locked() else 0.5)))
    reading.layers[0][0].lock = threading.Lock()
    compared(reading, drawn())
    assert not fingerprint(reading.layers[0][0]).portable


def test_numbers_of_large_arrays_and_of_tensors_that_are_no_buffers_count():
    numbers, plain = np.zeros(5000), torch.full((3,), 0.5)
    rnn = layer(lambda self, wx, rh, s: Hidden((wx + rh).tanh() + float(numbers[4321]) * plain.tolist()[1]))
    x = drawn()
    compared(rnn, x)
    numbers[4321] = 1.0
    compared(rnn, x)
    plain.data[1] = 2.0
    assert compared(rnn, x).max() > 1


def test_what_no_code_reads_costs_no_trace(monkeypatch):
    traced, trace = [], program.trace
    monkeypatch.setattr(program, "trace", lambda *given: (traced.append(1), trace(*given))[1])
    rnn = layer(lambda self, wx, rh, s: Hidden((wx + rh).tan()))
    x = drawn()
    compared(rnn, x)
    once = len(traced)
    for k in range(3):
        rnn.layers[0][0].notes = [k]
        rnn.train(k % 2 == 0)
        compared(rnn, x)
    compared(RNN(type(rnn.layers[0][0]), 3, 5, dtype=torch.float64), x)
    assert len(traced) == once


def test_a_project_that_counts_its_calls_is_left_out_of_the_program(monkeypatch):
    def project(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return GatedCell.project(self, x)

    rnn = layer(lambda self, wx, rh, s: Hidden((wx + rh).tan()), {"project": project})
    x = drawn()
    compared(rnn, x)
    monkeypatch.setattr(program, "trace", None)  # a trace would fail now
    before = rnn.layers[0][0].calls
    compared(rnn, x)
    assert rnn.layers[0][0].calls == before + 2


def test_a_fingerprint_is_remembered_with_the_cell_and_dies_with_it():
    rnn = RNN("janet", 3, 5)
    cell = rnn.layers[0][0]
    first = fingerprint(cell)
    assert fingerprint(cell) is first
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert fingerprint(other) is not first
        assert fingerprint(other).digest == first.digest
    gone = weakref.ref(cell)
    del rnn, cell, other
    gc.collect()
    assert gone() is None


def test_derived_weights_cost_one_walk_and_not_one_a_call(monkeypatch):
    rnn = weight_drop(RNN("janet", 3, 5), 0.5)
    rnn.kernel = "fused"
    rnn(torch.randn(4, 2, 3))
    monkeypatch.setattr(recognised, "_taken", None)  # a walk would fail now
    rnn(torch.randn(4, 2, 3))


def test_cells_around_a_cell_for_one_call_cost_no_walk_a_call(monkeypatch):
    rnn, x, resets = RNN("janet", 3, 5, kernel="fused"), torch.randn(4, 2, 3), torch.zeros(4, 2)
    for _ in range(2):
        rnn(x, resets=resets)
        rnn(x, return_states=True)
        rnn(x, resets=resets, return_states=True)
        monkeypatch.setattr(recognised, "_taken", None)  # a walk would fail now


def test_modes_that_a_transform_reads_are_told_apart():
    rnn = RNN("janet", 3, 5, dtype=torch.float64, transforms=[lambda cell: Zoneout(cell, 0.5)])
    cell = rnn.layers[0][0]
    training = fingerprint(cell).digest
    rnn.eval()
    assert fingerprint(cell).digest != training
    compared(rnn, drawn())


def test_names_computed_by_the_step_are_all_read():
    rnn = layer(lambda self, wx, rh, s: Hidden(getattr(self, "al" + "pha") * (wx + rh).tanh()), alpha=0.5)
    x = drawn()
    compared(rnn, x)
    rnn.layers[0][0].alpha = 2.0
    assert compared(rnn, x).abs().max() > 1


def test_a_change_to_a_module_of_a_library_is_seen(monkeypatch):
    rnn = layer(lambda self, wx, rh, s: Hidden(nn.functional.softplus(wx + rh)))
    x = drawn()
    compared(rnn, x)
    monkeypatch.setattr(nn.functional, "softplus", lambda x: x.sin())
    assert compared(rnn, x).min() < 0


def test_who_changes_a_cell_at_every_call_is_told_once():
    rnn = layer(lambda self, wx, rh, s: Hidden((wx + rh).tanh() * self.k), k=0.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for k in range(60):
            rnn.layers[0][0].k = float(k)
            fingerprint(rnn.layers[0][0])
    (only,) = said
    assert re.search(r"traced for 50 values of Own\.k.*a buffer", str(only.message))


# ---- the batch size


@pytest.mark.parametrize(
    "factor",
    [
        lambda u: 1 / u.shape[0],
        lambda u: 1e-3 * len(u),
        lambda u: 1 / u.numel(),
        lambda u: u.size(0) ** 0.5,
        lambda u: 2.0 if u.shape[0] > 3 else 0.5,
        lambda u: u.new_full((u.shape[0], 1), u.shape[0]).log(),
    ],
)
def test_a_step_may_read_the_batch_size(factor):
    rnn = layer(lambda self, wx, rh, s: Hidden((wx + rh).tanh() * factor(wx)))
    for batch in (4, 1, 7, 4):
        compared(rnn, drawn(batch))
    said = rnn.explain(drawn(), lengths=[6, 5, 4, 1]).rows[0].why_not
    assert "reads the batch size, which is another at every step" in said


def test_a_size_that_is_only_handed_on_needs_no_program_of_its_own(monkeypatch):
    rnn = layer(lambda self, wx, rh, s: Hidden((wx + rh).view(len(wx), wx.shape[1]).cos().reshape(wx.size(0), -1)))
    compared(rnn, drawn())
    monkeypatch.setattr(program, "trace", None)  # a trace would fail now
    compared(rnn, drawn(7))


def test_coefficients_that_read_the_shape_of_u_do_not_run_all_at_once():
    class Own(LinearCell):
        gates = 2

        def coefficients(self, u):
            a, b = u.chunk(2, -1)
            return a.sigmoid() / len(u), b

    rnn = RNN(Own, 3, 5, dtype=torch.float64)
    compared(rnn, drawn())
    rnn.kernel = "linear_scan"
    with pytest.raises(RnnZooError, match="not those of each step"):
        rnn(drawn())


# ---- steps that are no functions of their inputs


def counted(self, wx, rh, s):
    self.count += 1
    return Hidden((wx + rh).tanh() / self.count)


def noted(self, wx, rh, s):
    self.last = wx
    return Hidden((wx + rh).tanh())


def listed(self, wx, rh, s):
    self.seen.append(wx)
    return Hidden((wx + rh).tanh() / len(self.seen))


def buffered(self, wx, rh, s):
    self.total = self.total + 1
    return Hidden((wx + rh).tanh() / self.total)


def written(self, wx, rh, s):
    self.total.add_(1)
    return Hidden((wx + rh).tanh() / self.total)


CALLS = 0


def global_count(self, wx, rh, s):
    global CALLS
    CALLS += 1
    return Hidden((wx + rh).tanh() / CALLS)


@pytest.mark.parametrize(
    ("update", "named"),
    [
        (counted, r"the cell \(count\)"),
        (noted, r"the cell \(last\)"),
        (listed, r"Own\.seen"),
        (buffered, r"the cell \(total\)"),
        (written, "writes to its total"),
        (global_count, "CALLS, a global of global_count"),
    ],
)
def test_a_step_that_changes_what_it_reads_is_refused_and_leaves_nothing(update, named):
    class Own(GatedCell):
        gates = 1

        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.count, self.seen = 0, []
            self.register_buffer("total", torch.zeros(()))

    Own.update = update
    rnn = RNN(Own, 3, 5, dtype=torch.float64)
    cell = rnn.layers[0][0]
    for _ in range(2):
        said = rnn.explain(drawn()).rows[0].why_not
        assert re.search(f"its step (changes )?{named}", said), said
    assert (cell.count, cell.seen, float(cell.total), hasattr(cell, "last")) == (0, [], 0.0, False)


def test_a_refusal_holds_for_what_was_asked_and_for_nothing_else():
    x = torch.randn(9, 4, 6)
    rnn = RNN("janet", 6, 7, dilation=2, checkpoint_every=4, kernel="fused")
    rnn(x)[0].sum().backward()
    RNN("janet", 6, 7, dilation=2, kernel="fused")(x)


def test_a_trace_is_the_same_whatever_surrounds_the_call():
    with torch.inference_mode(), torch.autograd.graph.save_on_cpu():
        inside = RNN("ugrnn", 3, 6, kernel="fused")
        inside(torch.randn(4, 2, 3))
    outside = RNN("ugrnn", 3, 6, kernel="fused")
    outside(torch.randn(4, 2, 3))[0].sum().backward()


# ---- on a GPU, here in Triton's interpreter


@pytest.mark.skipif(not available.installed(), reason="triton is not installed")
def test_triton_remembers_cells_by_the_same_fingerprints():
    rnn = layer(lambda self, wx, rh, s: Hidden(self.alpha * (wx + rh).tanh() / wx.shape[0]), {"alpha": 0.1})
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    compared(rnn, x, by="triton")
    type(rnn.layers[0][0]).alpha = 0.5
    compared(rnn, x, by="triton")
    compared(rnn, x[:, :2], by="triton")
    tied, plain = (RNN("lstm", 5, 5, dtype=torch.float64) for _ in range(2))
    tied.layers[0][0].weight_ih = tied.layers[0][0].weight_hh
    for rnn in (tied, plain):
        compared(rnn, torch.randn(2, 3, 5, dtype=torch.float64), by="triton")


# ---- torch.compile


def test_what_was_compiled_says_when_the_cell_has_changed():
    rnn = layer(lambda self, wx, rh, s: Hidden(self.alpha * (wx + rh).tanh()), {"alpha": 0.1})
    rnn.kernel = "fused"
    compiled, x = torch.compile(rnn, backend="aot_eager"), drawn()
    torch.testing.assert_close(compiled(x)[0], rnn(x)[0])
    type(rnn.layers[0][0]).alpha = 0.5
    with pytest.raises(RnnZooError, match=r"has changed since torch\.compile looked at it"):
        compiled(x)
    torch.compiler.reset()
    torch.testing.assert_close(compiled(x)[0], rnn(x)[0])


# ---- other processes

TIED = """
import torch
from rnnzoo import RNN
torch.manual_seed(0)
rnn = RNN("lstm", 6, 6, kernel="fused", dtype=torch.float64)
if {tied}:
    rnn.layers[0][0].weight_ih = rnn.layers[0][0].weight_hh
x = torch.randn(5, 3, 6, dtype=torch.float64)
y = rnn(x)[0]
y.sum().backward()
rnn.kernel = "reference"
torch.testing.assert_close(rnn(x)[0], y)
assert rnn.layers[0][0].weight_hh.grad is not None
"""


def in_a_process(folder, *arguments):
    env = os.environ | {"RNNZOO_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, text=True, capture_output=True, timeout=3000, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_another_process_does_not_take_the_plan_of_a_tied_cell(tmp_path):
    in_a_process(tmp_path, "-c", TIED.format(tied=True))
    in_a_process(tmp_path, "-c", TIED.format(tied=False))


def changed_in_two_processes(folder, count, seeds):
    """Changes to cells, in a new process, and in another that begins with what it has left, in another order."""
    script = str(HERE / "changing_cells.py")
    first, traced = map(int, in_a_process(folder, script, str(count), *map(str, seeds)).split())
    again, less = map(int, in_a_process(folder, script, str(count), *map(str, reversed(seeds))).split())
    assert first == again == count * len(seeds)
    assert less < 0.8 * traced  # the others are of what has no content, and are traced in every process


def test_random_changes_to_a_cell_are_seen_here_and_in_other_processes(tmp_path):
    changed_in_two_processes(tmp_path, 8, [0])


@pytest.mark.slow
def test_five_hundred_random_changes_are_seen_here_and_in_other_processes(tmp_path):
    changed_in_two_processes(tmp_path, 20, [*range(100, 125)])


@pytest.mark.parametrize("change", changing_cells.changes(), ids=lambda f: f.__name__)
def test_every_kind_of_change_is_one_that_shows(change):
    torch.manual_seed(0)
    cell = changing_cells.Changing(3, changing_cells.H).double()
    x, undo = torch.randn(2, 3, dtype=torch.float64), []

    def results():
        y, _ = cell(x, Hidden(torch.linspace(-1, 1, 10, dtype=torch.float64).view(2, 5)))
        gradients = torch.autograd.grad(y.square().sum(), [*cell.parameters()], allow_unused=True)
        return [y, *(g for g in gradients if g is not None)]

    if change.__name__ == "untie":
        cell.second = cell.first
    before = results()
    generator, shows = random.Random(0), False
    try:
        for _ in range(10):  # some draw what is there already
            change(cell, generator.choice, undo)
            after = results()
            shows |= len(before) != len(after) or any(
                a.shape != b.shape or not torch.equal(a, b) for a, b in zip(before, after, strict=True)
            )
    finally:
        for back in reversed(undo):
            back()
    assert shows == (change.__name__ != "nothing_that_matters")


def test_zoo_cells_alike_have_one_fingerprint_and_others_another():
    digests = {name: fingerprint(create(name, 3, 5)).digest for name in ("lstm", "gru", "janet", "rnn", "rnn_relu")}
    assert len(set(digests.values())) == 5
    assert fingerprint(create("janet", 3, 5)).digest == digests["janet"]
    assert fingerprint(create("janet", 3, 5, beta=0.5)).digest != digests["janet"]
    assert fingerprint(create("janet", 3, 6)).digest != digests["janet"]

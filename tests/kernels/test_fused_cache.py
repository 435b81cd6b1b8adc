"""Compiled libraries: in the cache folder, shared by processes, rebuilt when broken; and no compiler at all."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import sys, time, torch
from rnnzoo import RNN
from rnnzoo.kernels.fused import build

calls, run = [], build._run
build._run = lambda command: (calls.append(command), run(command))[1]
rnn = RNN("janet", 3, 5)
x = torch.randn(70, 4, 3)
chosen = rnn.explain(x).chosen
start = time.perf_counter()
rnn(x)[0].sum().backward()
print(chosen, sum("-shared" in c for c in calls), time.perf_counter() - start)
"""


def start(folder, **more):
    env = os.environ | {"RNNZOO_CACHE": str(folder), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        [sys.executable, "-c", RUN], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def answer(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    chosen, compiled, seconds = out.split()
    return chosen, int(compiled), float(seconds), err


def libraries(folder):
    return sorted(f for f in (Path(folder) / "kernels").iterdir() if f.suffix != ".pickle")


def plans(folder):
    return sorted((Path(folder) / "kernels").glob("*.pickle"))


def test_the_second_process_compiles_nothing_and_a_broken_library_is_built_again(tmp_path):
    began = time.perf_counter()
    chosen, compiled, _, _ = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 2)  # the cell's, and the products that all cells share
    assert time.perf_counter() - began < 60
    first = libraries(tmp_path)
    assert [f.suffix for f in first] == [".so", ".so"]
    chosen, compiled, _, _ = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 0)
    content = first[0].read_bytes()
    first[0].write_bytes(content[: len(content) // 2])
    first[1].write_bytes(b"")
    chosen, compiled, _, _ = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 2)
    assert libraries(tmp_path) == first


def test_processes_that_start_at_once_share_a_folder(tmp_path):
    running = [start(tmp_path) for _ in range(2)]
    for process in running:
        assert answer(process)[0] == "fused"
    assert [f.suffix for f in libraries(tmp_path)] == [".so", ".so"]


def test_without_a_compiler_auto_goes_on_and_says_so_once_in_one_line(tmp_path):
    chosen, compiled, _, err = answer(start(tmp_path, PATH=str(tmp_path), CC=""))
    assert (chosen, compiled) == ("reference", 0)
    assert err.count("no C compiler (gcc) is on PATH") == 1


def test_a_compiler_that_fails_is_no_compiler(tmp_path):
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\ncase $1 in --version) echo gcc 99;; *) echo error: no headers >&2; exit 1;; esac\n")
    broken.chmod(0o755)
    chosen, _, _, err = answer(start(tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin", CC=""))
    assert chosen == "reference"
    assert err.count("fails: error: no headers") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path):
    tmp_path.chmod(0o500)
    chosen, compiled, _, err = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 2)
    assert err.count("compiled kernels are not kept for the next run") == 1


def test_a_path_that_is_no_folder_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    chosen, compiled, _, err = answer(start(tmp_path / "file"))
    assert (chosen, compiled) == ("fused", 2)
    assert err.count("compiled kernels are not kept for the next run") == 1


CELL = """
import torch
from limits import limit
from rnnzoo.cells import GatedCell, Hidden

FACTOR = float(__import__("os").environ.get("FACTOR", "1"))


class Mine(GatedCell):
    gates, State = 1, Hidden

    def update(self, wx, rh, s):
        return Hidden(limit(FACTOR * torch.tanh(1 + wx + rh)))
"""
LIMITS = "def limit(x):\n    return x.clamp(max={top})\n"
TRY = """
import sys, torch
from rnnzoo import RNN
from rnnzoo.kernels.fused import program
import mine

traced, trace = [], program.trace
program.trace = lambda *given: (traced.append(1), trace(*given))[1]
torch.manual_seed(0)
rnn = RNN(mine.Mine, 3, 5, dtype=torch.float64)
x = torch.randn(7, 4, 3, dtype=torch.float64) * 3
results = []
for kernel in ("fused", "reference"):
    rnn.kernel = kernel
    y, _ = rnn(x)
    results.append([y, *torch.autograd.grad(y.sum(), rnn.parameters())])
assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(*results))
print(len(traced), "sympy" in sys.modules, float(results[0][0].max()))
"""


@pytest.fixture
def own_cell(tmp_path):
    """A cell in a file of its own, and what runs it in a new process: whether it was traced, and the largest output."""
    (tmp_path / "mine.py").write_text(CELL)
    (tmp_path / "limits.py").write_text(LIMITS.format(top=50.0))

    def run(**more):
        env = os.environ | {"RNNZOO_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"} | more
        done = subprocess.run(
            [sys.executable, "-c", TRY], env=env, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        traces, symbols, largest = done.stdout.split()
        assert traces != "0" or symbols == "False"  # torch's tracing was not even started
        return int(traces), float(largest)

    return tmp_path, run


def test_a_new_process_traces_nothing_that_was_traced_before(own_cell):
    folder, run = own_cell
    assert [run()[0], run()[0]] == [1, 0]
    (plan,) = plans(folder / "cache")
    plan.write_bytes(plan.read_bytes()[:-40])
    assert run()[0] == 1


def test_a_cell_whose_text_or_constants_or_helpers_changed_is_traced_anew(own_cell):
    folder, run = own_cell
    assert run()[0] == 1
    assert run(FACTOR="100") == (1, 50.0)  # read from the environment when the module is imported
    (folder / "limits.py").write_text(LIMITS.format(top=60.0))  # which no number of a first try comes near
    assert run(FACTOR="100") == (1, 60.0)
    (folder / "mine.py").write_text(CELL.replace("torch.tanh", "torch.sin"))
    traces, _ = run()
    assert traces == 1


@pytest.mark.slow
def test_a_plan_that_is_another_cells_is_not_believed(own_cell):
    folder, run = own_cell
    run()
    (first,) = plans(folder / "cache")
    content = first.read_bytes()
    (folder / "mine.py").write_text(CELL.replace("torch.tanh", "torch.sin"))
    run()
    (second,) = set(plans(folder / "cache")) - {first}
    second.write_bytes(content)  # whole, under the new cell's name
    assert run()[0] == 1
    assert run()[0] == 0


def test_where_the_cache_cannot_be_written_a_cell_is_traced_each_time(own_cell):
    _, run = own_cell
    traces, _ = run(RNNZOO_CACHE="/proc/none")
    assert traces == 1

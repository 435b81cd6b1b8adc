"""`rnnzoo bench`: what it times, what it writes, and what it answers to mistakes; no time is asserted."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

from rnnzoo.benchmark.measure import Job, contender_of
from rnnzoo.benchmark.onnx_peer import onnx_session
from rnnzoo.benchmark.peers import PEERS
from rnnzoo.benchmark.rounds import CROWD, Contender, interleaved, spread
from rnnzoo.benchmark.setting import WHAT, Data, Setting
from rnnzoo.cells import GatedCell, Hidden
from rnnzoo.cells.registry import _CELLS, find, list_cells
from rnnzoo.kernels import KERNELS

TINY = ["--sizes", "2,3,4,5", "--rounds", 2, "--threads", 1]
LEAKY = """from rnnzoo.cells import GatedCell, Hidden


class Leaky(GatedCell):
    gates, vectors = 1, ("rate",)

    def update(self, wx, rh, s):
        a = self.rate.sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())
"""


class Broken(GatedCell):
    """Nobody 2026."""

    gates = 1

    def update(self, wx, rh, s):
        return Hidden(wx @ rh)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr("rnnzoo.benchmark.machine.PEAK_SECONDS", 0.0)


@pytest.fixture
def bench(zoo, tmp_path):
    """Gives the command on tiny sizes, and reads what it wrote."""

    def give(*args):
        path = tmp_path / "results.json"
        answer = zoo("bench", *TINY, "--json", path, *args)
        assert answer.status == 0, answer
        return json.loads(path.read_text()), answer.out

    return give


def timed(content):
    return {(row["cell"], row["what"], row["name"]): row for row in content["rows"]}


def test_kernels_and_peers_are_timed_on_the_same_work(bench):
    content, out = bench("--cell", "lstm", "--peers", "torch", "loop", "--what", *WHAT)
    rows = timed(content)
    for what in WHAT:
        names = {name for _, w, name in rows if w == what}
        assert names >= {"torch", "loop", "native", "reference", "auto"}
        assert names <= {"torch", "loop", *KERNELS, "auto", "RNN.step"}
        assert ("RNN.step" in names) == (what == "step")
    for row in content["rows"]:
        assert len(row["samples_ms"]) == 2
        assert 0 < min(row["samples_ms"]) <= row["median_ms"] <= max(row["samples_ms"])
        assert row["spread_ms"] >= 0
        assert row["first_ms"] >= 0
        assert row["gemm_share"] > 0
        assert [row[n] for n in "BTIH"] == [2, 3, 4, 5]
        assert row["against"] == "torch"
        base = rows[row["cell"], row["what"], "torch"]["median_ms"]
        assert row["speedup"] == pytest.approx(base / row["median_ms"])
    assert rows["lstm", "backward", "auto"]["runs"] in KERNELS
    assert {row["kind"] for row in content["rows"]} == {"kernel", "peer"}
    left = {(one["cell"], one["name"]): one["reason"] for one in content["left_out"]}
    assert left["lstm", "linear_scan"] == "lstm is not linear in its state"
    assert "not timed: linear_scan (lstm): lstm is not linear in its state" in out
    assert content["machine"]["processor"]
    assert content["machine"]["threads"] == 1
    assert content["machine"]["gemm_peak_gflops"] > 0


def test_means_are_geometric_and_over_sizes(bench):
    content, out = bench("--sizes", "3,4,5,6", "--cell", "rnn", "--kernels", "reference", "--peers", "torch")
    speedups = [row["speedup"] for row in content["rows"] if row["name"] == "reference"]
    assert len(speedups) == 2
    mean = next(mean for mean in content["geometric_means"] if mean["name"] == "reference")
    assert mean["speedup"] == pytest.approx(math.prod(speedups) ** 0.5)
    assert mean["sizes"] == 2
    assert "as fast as torch, geometric mean of 2 sizes" in out


def test_a_users_own_cell_is_timed_from_the_folder_it_lies_in(bench, tmp_path):
    (tmp_path / "bench_lab").mkdir()
    (tmp_path / "bench_lab" / "cells.py").write_text(LEAKY)
    content, _ = bench("--cell", "bench_lab.cells.Leaky", "--memory", "--kernels", "reference", "--peers")
    (row,) = content["rows"]
    assert (row["cell"], row["name"], row["against"]) == ("bench_lab.cells.Leaky", "reference", "reference")
    assert row["memory_mib"] >= 0  # of a process of its own, which has to find the cell too
    assert not list(tmp_path.glob(".results*"))


@pytest.mark.parametrize(
    "given",
    [
        ["--lengths", "--bidirectional", "--layers=2"],
        ["--precision=float64", "--no-input-grad"],
        ["--precision=bf16", "--what", "forward", "backward", "step"],
    ],
    ids=["lengths", "float64", "bf16"],
)
def test_options_reach_kernels_and_peers(bench, given):
    kernels = ["--kernels", "native", "reference", "auto"]  # nothing that compiles
    content, _ = bench("--cell", "rnn", "--peers", "torch", "loop", *kernels, *given)
    assert {"torch", "native", "auto"} <= {row["name"] for row in content["rows"]}
    assert not [one for one in content["left_out"] if "failed" in one["reason"]]
    left = {one["name"]: one["reason"] for one in content["left_out"]}
    assert left.get("loop") == ("runs in one direction" if "--bidirectional" in given else None)


def test_the_first_call_compiles_anew_in_empty_caches(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "untouched"))
    bench("--cell", "peephole_lstm", "--peers", "--cold")
    assert not (tmp_path / "untouched").exists()


FEW = ("cfc", "gru_d", "lmu", "lstm", "mingru", "phased_lstm", "rnn")  # of every way to run


@pytest.mark.parametrize("cells", [FEW, pytest.param(tuple(list_cells()), marks=pytest.mark.slow)], ids=["few", "all"])
def test_all_cells_are_timed_relative_to_lstm(bench, monkeypatch, cells):
    monkeypatch.setattr("rnnzoo.cli.bench.list_cells", lambda: {name: list_cells()[name] for name in cells})
    content, out = bench("--all")
    timed_cells = [row["cell"] for row in content["rows"]]
    left = {one["cell"] for one in content["left_out"]}
    assert timed_cells[0] == "lstm"
    assert {*timed_cells, *left} == set(cells)
    assert "time of lstm" in out


def test_a_cell_that_fails_does_not_stop_the_others(bench, monkeypatch):
    monkeypatch.setitem(_CELLS, "broken", Broken)
    content, out = bench("--cell", "broken", "rnn", "--kernels", "reference", "--peers", "torch")
    assert {row["cell"] for row in content["rows"]} == {"rnn"}
    assert "not timed: reference (broken): failed: RuntimeError: " in out


def test_a_folder_gets_a_file_named_by_processor_and_day(zoo, tmp_path):
    answer = zoo("bench", *TINY, "--cell", "rnn", "--kernels", "--peers", "torch", "--json", tmp_path)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    assert path.stem.endswith("-" + content["machine"]["when"][:10])
    assert answer.out.endswith(f"results: {path}\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--peers", "torhc"], "unknown peer 'torhc'; did you mean 'torch'? there are: torch, loop, "),
        (["--kernels", "natve"], "unknown kernel 'natve'; did you mean 'native'?"),
        (["--cell", "lsmt"], "unknown cell 'lsmt'; did you mean 'lstm'?"),
        (["--cell", "lstm", "--cell-args", '{"beta": 1}'], "cell 'lstm' has no argument 'beta'"),
        (["--cell", "lstm", "--cell-args", "3"], "--cell-args must be a JSON object"),
        (["--sizes", "1,2,3"], "--sizes takes B,T,I,H, four whole numbers of at least 1"),
        (["--sizes", "1,2,3,0"], "such as 32,128,256,256, not '1,2,3,0'"),
        (["--sizes", "1,2,3,4.5"], "not '1,2,3,4.5'"),
        (["--threads", 0], "--threads must be a whole number of at least 1, not 0"),
        (["--layers", 0], "--layers must be a whole number of at least 1, not 0"),
        (["--rounds", 1], "--rounds must be a whole number of at least 2"),
        (["--what", "sideways"], "'sideways'"),
        (["--what", "step", "--bidirectional"], "--what step needs one direction"),
        (["--device", "abacus"], "--device 'abacus' cannot be used: "),
        (["--against", "haste", "--peers", "torch"], "--against 'haste' is not among what is timed: torch, "),
        (["--all", "--cell", "gru"], "--all times every registered cell, and --cell gru some"),
        (["--all", "--sizes", "1,2,3,4", "5,6,7,8"], "--all takes one of --sizes, not 3"),
        (["--kernels", "--peers"], "--kernels and --peers are both empty"),
        (["--json", "nowhere/results.json"], "there is no folder 'nowhere'"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(zoo, given, said):
    answer = zoo("bench", *TINY, *given)
    assert said in answer.complaint
    assert answer.out == ""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that takes no files, such as /proc")
def test_json_that_cannot_be_written_is_an_error_before_anything_runs(zoo):
    answer = zoo("bench", *TINY, "--json", "/proc/results.json")
    assert "cannot be written" in answer.complaint
    assert answer.out == ""


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((name, cell) for name in ("torch", "loop") for cell in ("lstm", "gru", "rnn", "rnn_relu")),
        *(("naive", cell) for cell in ("peephole_lstm", "mingru")),
    ],
)
def test_a_peer_does_the_work_that_we_do(name, cell):
    setting = Setting(cell, 3, 4, 5, 6, layers=2, precision="float64")
    rnn, x = setting.rnn(), Data(setting).x.detach()
    model = PEERS[name].model(setting, rnn)
    torch.testing.assert_close(model.run(x), rnn(x)[0], rtol=0, atol=1e-12)
    ours, theirs = rnn(x[:1])[1], model.step(x[:1], None)
    top = (ours if isinstance(ours, torch.Tensor) else ours[0])[-1]
    last = theirs[-1] if isinstance(theirs, list) else theirs
    last = last[0] if isinstance(last, tuple) else last
    torch.testing.assert_close(top, last[-1] if last.dim() == 3 else last, rtol=0, atol=1e-12)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))), reason="needs onnx and onnxruntime (rnnzoo[bench])"
)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "rnn_relu"])
def test_onnxruntime_does_the_work_that_we_do(cell):
    from rnnzoo.convert import to_torch

    setting = Setting(cell, 3, 4, 5, 6, layers=2, what="forward")
    rnn, x = setting.rnn(), Data(setting).x
    run, step = onnx_session(to_torch(rnn), threads=1)
    torch.testing.assert_close(run(x), rnn(x)[0].detach(), rtol=1e-4, atol=1e-5)
    wanted = rnn(x[:2])[1]
    got = step(x[1:2], step(x[:1], None))
    fields = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
    for field, a in enumerate(fields):
        ours = torch.cat([torch.from_numpy(s) for s in got[field :: len(fields)]])
        torch.testing.assert_close(ours, a.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("peer", [name for name, peer in PEERS.items() if peer.modules])
def test_a_peer_that_is_not_installed_says_so(peer, monkeypatch):
    monkeypatch.setattr("rnnzoo.benchmark.peers.find_spec", lambda module: None)
    setting = Setting("lstm", 1, 2, 3, 4, what="forward", device=PEERS[peer].devices[0])
    assert PEERS[peer].why_not(setting) == f"needs {PEERS[peer].modules[0]}, which is not installed"


def test_operations_are_two_a_weight_and_row_and_twice_that_backward():
    forward = Setting("lstm", 2, 3, 4, 5, what="forward")
    cells = [forward.rnn()._cells[0][0]]
    W, R, rows = 20 * 4, 20 * 5, Data(forward).rows
    assert rows == 6
    assert forward.flops(cells, rows) == 2 * rows * (W + R)
    assert Setting("lstm", 2, 3, 4, 5).flops(cells, rows) == 6 * rows * (W + R)
    assert Setting("lstm", 2, 3, 4, 5, input_grad=False).flops(cells, rows) == rows * (4 * W + 6 * R)
    assert find("lstm") is type(cells[0])


def test_lengths_lie_from_a_quarter_of_the_steps_to_all_of_them():
    data = Data(Setting("lstm", 50, 40, 2, 3, lengths=True))
    lengths = torch.nn.utils.rnn.pad_packed_sequence(data.x)[1]
    assert 10 <= int(lengths.min()) < int(lengths.max()) == 40
    assert data.rows == int(lengths.sum()) == len(data.x.data)


def test_contenders_take_turns_and_short_calls_are_repeated():
    turns = []

    class Counted(Contender):
        def __init__(self, name, seconds):
            self.name, self.seconds = name, seconds

        def sample(self, number):
            turns.append((self.name, number))
            return self.seconds

    ticks = []
    taken = interleaved([Counted("a", 1e-4), Counted("b", 1.0)], 3, lambda: ticks.append(1))
    assert taken == [[pytest.approx(0.1)] * 3, [1000.0] * 3]
    assert len(ticks) == 5
    assert [{name for name, _ in turns[k : k + 2]} for k in range(0, 10, 2)] == [{"a", "b"}] * 5
    assert {(name, number) for name, number in turns[4:]} == {("a", 20), ("b", 1)}


def test_a_contender_settles_before_its_turn_in_a_crowd_alone():
    done = []

    class Settling(Contender):
        def settle(self):
            done.append("settle")

        def sample(self, number):
            done.append("sample")
            return 1.0

    interleaved([Settling() for _ in range(CROWD)], 1)
    assert set(done) == {"sample"}
    done.clear()
    interleaved([Settling() for _ in range(CROWD + 1)], 1)
    assert done == ["settle", "sample"] * (3 * (CROWD + 1))


def test_the_spread_is_half_the_distance_of_the_quartiles():
    assert spread([1, 2, 3, 4, 5]) == 1
    assert spread([10, 10]) == 0


def test_a_contender_gives_its_reason_where_it_cannot_run():
    with pytest.raises(ValueError, match="runs on cuda, not on cpu"):
        contender_of(Job(Setting("lstm", 1, 2, 3, 4), "haste"))

"""torch.compile and torch.export take every call, or run it beside the graph, and what is exported can be saved."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnzoo import RNN, RnnZooError, from_torch, to_torch
from rnnzoo.cells import HiddenCell
from rnnzoo.kernels.fused import kernel as fused
from rnnzoo.kernels.fused import prepared

NAMES = ["lstm", "gru", "janet", "mingru"]
X = torch.randn(6, 3, 4)


@pytest.fixture(autouse=True)
def _reset():
    torch.compiler.reset()  # every RNN shares its code, so the limit of recompiling would be shared too
    yield
    torch.compiler.reset()


@pytest.fixture
def without_compiler(monkeypatch):
    for module in (prepared, fused):
        monkeypatch.setattr(module, "why_no_compiler", lambda: "no C compiler (gcc) is on PATH")


def compiled(rnn, **options):
    return torch.compile(rnn, backend="aot_eager", **options)


def results(rnn, run, *given, **options):
    """The output, the state and the gradients of a loss."""
    rnn.zero_grad()
    y, last = run(*given, **options)
    data = y.data if isinstance(y, PackedSequence) else y
    states = (last,) if isinstance(last, torch.Tensor) else tuple(last)
    (data.square().sum() + sum(a.sum() for a in states)).backward()
    return [data.detach(), *(a.detach() for a in states), *(p.grad.clone() for p in rnn.parameters())]


def assert_same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_call_of_the_readme_with_gradients(training):
    rnn = RNN("lstm", 10, 20, num_layers=2, batch_first=True, dropout=0.2).train(training)
    x = torch.randn(32, 15, 10)
    y, (h, _) = compiled(rnn)(x)
    assert (y.shape, h.shape) == ((32, 15, 20), (2, 32, 20))
    y.sum().backward()
    assert all(p.grad.any() for p in rnn.parameters())
    if not training:
        torch.testing.assert_close(y, to_torch(rnn)(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("bidirectional", "learns_x"),
    [
        (False, True),
        (True, False),
        pytest.param(False, False, marks=pytest.mark.slow),  # each compiles for seconds
        pytest.param(True, True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("module", [nn.LSTM, nn.GRU, nn.RNN])
def test_without_a_c_compiler_it_trains_too(module, learns_x, bidirectional, without_compiler):
    module = module(4, 5, 2, bidirectional=bidirectional)
    rnn, x = from_torch(module), X.clone().requires_grad_(learns_x)
    got, wanted = results(rnn, compiled(rnn, fullgraph=True), x), results(module, module, x)
    assert_same(got[:2], wanted[:2])
    for k, p in enumerate(module.parameters()):
        torch.testing.assert_close(list(rnn.parameters())[k].grad, p.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_lengths_and_packed_sequences_give_what_they_give_uncompiled(name):
    rnn = RNN(name, 4, 5, 2, bidirectional=True)
    run = compiled(rnn)
    for lengths in ([6, 2, 3], [2, 6, 1], [6, 6, 6], torch.tensor([1, 5, 6])):
        assert_same(results(rnn, run, X, lengths=lengths), results(rnn, rnn, X, lengths=lengths))
    packed = pack_padded_sequence(X, [6, 2, 3], enforce_sorted=False)
    y = run(packed)[0]
    assert isinstance(y, PackedSequence)
    assert pad_packed_sequence(y)[1].tolist() == [6, 2, 3]
    assert_same(results(rnn, run, packed), results(rnn, rnn, packed))


def test_a_model_that_packs_and_pads_compiles_as_it_does_with_nn_gru():
    class Model(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.first, self.layer = nn.Linear(4, 4), layer

        def forward(self, x, lengths):
            y, h = self.layer(pack_padded_sequence(self.first(x).tanh(), lengths, enforce_sorted=False))
            return pad_packed_sequence(y)[0].sin(), h

    module = Model(nn.GRU(4, 5))
    ours = Model(from_torch(module.layer))
    ours.first.load_state_dict(module.first.state_dict())
    lengths = torch.tensor([6, 2, 3])
    for a, b in zip(compiled(ours)(X, lengths), module(X, lengths), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_resets_and_all_states_give_what_they_give_uncompiled(name):
    rnn = RNN(name, 4, 5, 2)
    run, resets = compiled(rnn), torch.rand(6, 3) < 0.3
    assert_same(results(rnn, run, X, resets=resets), results(rnn, rnn, X, resets=resets))
    got, wanted = run(X, return_states=True)[2], rnn(X, return_states=True)[2]
    assert_same([got] if name == "mingru" else got, [wanted] if name == "mingru" else wanted)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_may_be_symbols(name):
    rnn = RNN(name, 4, 5, 2)
    run = compiled(rnn, fullgraph=True, dynamic=True)
    for batch in (3, 7, 2):
        x = torch.randn(6, batch, 4)
        assert_same(results(rnn, run, x), results(rnn, rnn, x))


OPTIONS = {
    "no bias": {"bias": False},
    "residual": {"num_layers": 2, "connect": "residual"},
    "dilation": {"dilation": 2},
    "zoneout": {"transforms": ["Zoneout"]},
    "checkpoint": {"checkpoint_every": 2},
    "float64": {"dtype": torch.float64},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_options_of_the_layer_compile_whole(name, option):
    rnn = RNN(name, 4, 5, **OPTIONS[option]).eval()
    x = X.to(OPTIONS[option].get("dtype", torch.float32))
    assert_same(results(rnn, compiled(rnn, fullgraph=True), x), results(rnn, rnn, x))


def test_pruned_weights_are_pruned_in_a_graph_too():
    rnn = RNN("janet", 4, 5)
    prune.l1_unstructured(rnn.layers[0][0], "weight_hh", amount=0.5)
    assert_same(results(rnn, compiled(rnn), X), results(rnn, rnn, X))


# ---- Export


@pytest.mark.parametrize("name", [*NAMES, "rnn", "s4d", "lru", "minlstm"])
def test_an_exported_rnn_takes_any_batch_and_can_be_saved(name, tmp_path):
    rnn = RNN(name, 4, 5, 2, bidirectional=True).eval()
    program = torch.export.export(rnn, (X,), dynamic_shapes=({1: torch.export.Dim("batch", min=2)},))
    torch.export.save(program, tmp_path / "rnn.pt2")
    run = torch.export.load(tmp_path / "rnn.pt2").module()
    for x in (X, torch.randn(6, 7, 4)):
        (y, last), (y_wanted, last_wanted) = run(x), rnn(x)
        torch.testing.assert_close(y, y_wanted)
        assert_same([last] if torch.is_tensor(last) else last, [last_wanted] if torch.is_tensor(last) else last_wanted)


def test_what_is_saved_loads_where_there_is_no_rnnzoo(tmp_path):
    rnn = RNN("lstm", 4, 5).eval()
    torch.export.save(torch.export.export(rnn, (X,)), tmp_path / "rnn.pt2")
    torch.save((X, *rnn(X)[0:1], *rnn(X)[1]), tmp_path / "wanted.pt")
    code = (
        "import sys, torch\n"
        "sys.modules['rnnzoo'] = None\n"
        "x, *wanted = torch.load('wanted.pt')\n"
        "y, (h, c) = torch.export.load('rnn.pt2').module()(x)\n"
        "for a, b in zip((y, h, c), wanted, strict=True): torch.testing.assert_close(a, b)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_state_that_goes_in_has_a_name_to_be_saved_by(tmp_path):
    rnn = RNN("lstm", 4, 5).eval()
    hx = HiddenCell(torch.randn(1, 3, 5), torch.randn(1, 3, 5))
    torch.export.save(torch.export.export(rnn, (X, hx)), tmp_path / "rnn.pt2")
    y, _ = torch.export.load(tmp_path / "rnn.pt2").module()(X, hx)
    torch.testing.assert_close(y, rnn(X, hx)[0])


def test_lengths_are_refused_in_one_line():
    with pytest.raises(RnnZooError, match=r"torch\.export takes no lengths and no PackedSequence"):
        torch.export.export(RNN("gru", 4, 5), (X,), {"lengths": [6, 2, 3]})


# ---- Other traces


@pytest.mark.parametrize("T", [3, 90], ids=["short", "long"])  # which auto gives to different kernels
@pytest.mark.parametrize("name", NAMES)
def test_traces_of_other_kinds_give_what_the_call_gives(name, T):
    rnn, x = RNN(name, 4, 5, 2), torch.randn(T, 3, 4)
    wanted = rnn(x)[0]
    torch.testing.assert_close(make_fx(lambda x: rnn(x)[0])(x)(x), wanted)
    torch.testing.assert_close(torch.func.functionalize(lambda x: rnn(x)[0])(x), wanted)
    torch.testing.assert_close(torch.jit.trace(rnn, x, check_trace=False)(x)[0], wanted)
    with FakeTensorMode():
        y = RNN(name, 4, 5, 2)(torch.randn(T, 3, 4))[0]
        assert y.shape == wanted.shape
        y.sum().backward()
    y = RNN(name, 4, 5, 2, device="meta")(x.to("meta"))[0]
    assert (y.shape, y.device.type) == (wanted.shape, "meta")

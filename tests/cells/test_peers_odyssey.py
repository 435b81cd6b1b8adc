"""The Odyssey's cells beside other people's: torch, torchrecurrent, keras and onnxruntime."""

import os

import onnx
import onnxruntime
import pytest
import torch
import torchrecurrent
from torch import nn

from rnnzoo import create
from rnnzoo.cells import HiddenCell
from rnnzoo.testing.case import expect, gradients, results
from rnnzoo.testing.case import run as run_cell

T, B, I, H = 6, 4, 3, 5


def random_cell(name, dtype=torch.float64):
    cell = create(name, I, H).to(dtype)
    for p in cell.parameters():
        nn.init.normal_(p, std=0.5)
    return cell


def sequence(dtype=torch.float64):
    """x (T, B, I) and the state to start from."""
    return torch.randn(T, B, I, dtype=dtype), HiddenCell(*torch.randn(2, B, H, dtype=dtype))


def stepped(step, x, s):
    """Outputs and final state of a cell (x, (h, c)) -> (h, c)."""
    hs = []
    for x_t in x.unbind(0):
        s = HiddenCell(*step(x_t, tuple(s)))
        hs.append(s.h)
    return torch.stack(hs), s


def equal_with_gradients(cell, theirs, run, weights, tolerance=1e-12):
    """Ours and `run` of a peer agree in values and in gradients, by x, state and the pairs of `weights`."""
    x, s = sequence()
    leaves = {"x": x.requires_grad_(), "h": s.h.requires_grad_(), "c": s.c.requires_grad_()}
    got, wanted = results(*run_cell(cell, x, s, {})), results(*run(x, s))
    got |= gradients(got, leaves | {name: getattr(cell, name) for name in weights})
    wanted |= gradients(wanted, leaves | {name: getattr(theirs, there) for name, there in weights.items()})
    expect(got, wanted, f"expected {type(cell).__name__} to equal {type(theirs).__name__}", tolerance)


def from_torchrecurrent(name):
    """A cell of torchrecurrent without its second bias."""
    theirs = getattr(torchrecurrent, name)(I, H).double()
    nn.init.zeros_(theirs.bias_hh)
    return theirs


SHARED = {name: name for name in ("weight_ih", "weight_hh", "bias_ih")}


@torch.no_grad()
def copy(cell, theirs, weights):
    for name, there in weights.items():
        getattr(theirs, there).copy_(getattr(cell, name))


def test_peephole_lstm_equals_torchrecurrents():
    cell, theirs = random_cell("peephole_lstm"), from_torchrecurrent("PeepholeLSTMCell")
    copy(cell, theirs, SHARED)
    with torch.no_grad():
        theirs.weight_ph.copy_(torch.cat([cell.p_i, cell.p_f, cell.p_o]))
    equal_with_gradients(cell, theirs, lambda x, s: stepped(theirs, x, s), SHARED)


def test_nfg_without_peepholes_equals_torchrecurrents_original_lstm():
    cell, theirs = random_cell("nfg"), from_torchrecurrent("OriginalLSTMCell")
    with torch.no_grad():
        cell.p_i.zero_()
        cell.p_o.zero_()
    copy(cell, theirs, SHARED)
    equal_with_gradients(cell, theirs, lambda x, s: stepped(theirs, x, s), SHARED)


def test_np_equals_nn_lstm():
    cell, theirs = random_cell("np"), nn.LSTM(I, H, dtype=torch.float64)
    names = {name: f"{name}_l0" for name in SHARED}
    copy(cell, theirs, names)
    nn.init.zeros_(theirs.bias_hh_l0)

    def run(x, s):
        y, (h, c) = theirs(x, (s.h[None], s.c[None]))
        return y, HiddenCell(h[0], c[0])

    equal_with_gradients(cell, theirs, run, names)


def test_np_equals_kerass_lstm():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    cell, (x, s) = random_cell("np"), sequence()
    theirs = keras.layers.LSTM(H, return_sequences=True, return_state=True, dtype="float64")
    theirs.build((B, T, I))
    theirs.set_weights([cell.weight_ih.t().detach(), cell.weight_hh.t().detach(), cell.bias_ih.detach()])
    y, h, c = (torch.as_tensor(a).cpu() for a in theirs(x.transpose(0, 1), initial_state=list(s)))
    expect(
        results(*run_cell(cell, x, s, {})), results(y.transpose(0, 1), HiddenCell(h, c)), "expected np to be keras's"
    )


@pytest.mark.parametrize(
    ("name", "rows", "options"), [("peephole_lstm", "iofg", {}), ("cifg", "io?g", {"input_forget": 1})]
)
def test_peephole_lstm_and_cifg_equal_onnxruntimes_lstm(name, rows, options):
    """In float32, for the runtime's operator knows no float64; with input_forget it does not read the rows of f."""
    cell, (x, s) = random_cell(name, torch.float32), sequence(torch.float32)
    ours = "ifgo" if name == "peephole_lstm" else "igo"

    def blocks(a):
        of = dict(zip(ours, a.detach().chunk(len(ours)), strict=True))
        return torch.cat([of.get(row, torch.full_like(of["i"], 9.0)) for row in rows])

    none = torch.full((H,), 9.0)
    given = {
        "x": x,
        "W": blocks(cell.weight_ih)[None],
        "R": blocks(cell.weight_hh)[None],
        "b": torch.cat([blocks(cell.bias_ih), torch.zeros(4 * H)])[None],
        "h": s.h[None],
        "c": s.c[None],
        "P": torch.cat([getattr(cell, f"p_{row}", none).detach() for row in "iof"])[None],
    }
    outputs = ("y", "h_n", "c_n")
    node = onnx.helper.make_node("LSTM", ["x", "W", "R", "b", "", "h", "c", "P"], outputs, hidden_size=H, **options)
    typed = [
        [onnx.helper.make_tensor_value_info(n, 1, None) for n in outputs],
        [onnx.helper.make_tensor_value_info(n, 1, a.shape) for n, a in given.items()],
    ]
    graph = onnx.helper.make_graph([node], "lstm", typed[1], typed[0])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, h, c = map(torch.from_numpy, session.run(None, {n: a.numpy() for n, a in given.items()}))
    wanted = results(y[:, 0], HiddenCell(h[0], c[0]))
    expect(results(*run_cell(cell, x, s, {})), wanted, f"expected {name} to be onnxruntime's LSTM", 1e-6)

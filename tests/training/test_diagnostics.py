"""What is logged of the inside of recurrent layers: against loops written out by hand, and for every cell."""

import csv
import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from rnnzoo import RNN, RnnZooError, list_cells
from rnnzoo.models.regular import regular
from rnnzoo.training.diagnostics import Diagnostics, gradients_by_lag
from rnnzoo.training.watched import watch

pytestmark = pytest.mark.usefixtures("nothing_compiled")

X = torch.randn(1, 6, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)  # (T, B, I) a batch


class Reader(LightningModule):
    """The sum of squares of an RNN's outputs, of the last step twice."""

    def __init__(self, rnn, **inputs):
        super().__init__()
        self.rnn, self.inputs = rnn, inputs

    def training_step(self, batch, index):
        y, _ = self.rnn(batch, **self.inputs)
        return y.square().sum() + y[-1].square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def logged(module, folder: Path, data=X, **settings):
    logger = CSVLogger(folder, name=None, version="")
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[Diagnostics(**settings)], log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, DataLoader(list(data), batch_size=None))
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def by_hand(cell, x, fields):
    """States, squashed values and output of a loop over torch's own cell."""
    state, states = (torch.zeros(3, 5, dtype=torch.float64, requires_grad=True),) * fields, []
    for x_t in x:
        new = cell(x_t, state if fields == 2 else state[0])
        state = new if fields == 2 else (new,)
        states.append(state)
    return states


@pytest.mark.parametrize(("name", "torchs", "fields"), [("lstm", nn.LSTMCell, "hc"), ("gru", nn.GRUCell, "h")])
def test_lags_and_norms_are_those_of_a_loop_over_torchs_cell(name, torchs, fields, tmp_path):
    rnn = RNN(name, 4, 5, dtype=torch.float64)
    (row,) = logged(Reader(rnn), tmp_path, lags=[1, 4, 6])
    cell = torchs(4, 5, dtype=torch.float64)
    cell.load_state_dict({n: p.detach() for n, p in rnn.layers[0][0].named_parameters()})
    states = by_hand(cell, X[0], len(fields))
    for k, field in enumerate(fields):
        norm = torch.stack([s[k].norm(dim=1) for s in states]).mean()
        assert row[f"state_norm/rnn.layers.0/{field}"] == pytest.approx(float(norm), rel=1e-6)
    last = states[-1][0]
    read = 4 * last.detach()  # the derivative of twice the square
    for lag in (1, 4):
        grads = torch.autograd.grad(last, states[-1 - lag], read, retain_graph=True)
        size = math.sqrt(sum(float(g.norm()) ** 2 for g in grads)) / float(read.norm())
        assert row[f"lag_grad/rnn.layers.0/{lag}"] == pytest.approx(size, rel=1e-6)
    assert "lag_grad/rnn.layers.0/6" not in row  # there are no six steps before the last one
    hs = torch.stack([s[0] for s in states])
    (hs.square().sum() + hs[-1].square().sum()).backward()
    size = math.sqrt(sum(float(p.grad.norm()) ** 2 for p in cell.parameters()))
    assert row["grad_norm/rnn.layers.0"] == pytest.approx(size, rel=1e-6)


def test_saturation_is_the_share_of_gates_near_an_end(tmp_path):
    rnn = RNN("gru", 4, 5, dtype=torch.float64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.mul_(4)  # so that some are saturated and some are not
    (row,) = logged(Reader(rnn), tmp_path)
    cell, h = rnn.layers[0][0], torch.zeros(3, 5, dtype=torch.float64)
    gates, news = [], []
    for x_t in X[0]:
        wx = (x_t @ cell.weight_ih.T + cell.bias_ih).split(5, 1)
        rh = (h @ cell.weight_hh.T + cell.bias_hh).split(5, 1)
        r, z = ((a + b).sigmoid() for a, b in zip(wx[:2], rh[:2], strict=True))
        n = (wx[2] + r * rh[2]).tanh()
        h = (1 - z) * n + z * h
        gates += [r, z]
        news.append(n)
    gates, news = torch.stack(gates), torch.stack(news)
    share = ((gates < 0.05) | (gates > 0.95)).double().mean()
    assert 0 < share < 1
    assert row["saturated/rnn.layers.0/sigmoid"] == pytest.approx(float(share))
    assert row["saturated/rnn.layers.0/tanh"] == pytest.approx(float((news.abs() > 0.95).double().mean()))


@pytest.mark.parametrize("name", list_cells())
def test_every_cell_has_gradients_by_lag_and_norms_of_its_states(name):
    rnn = RNN(name, 6, 8, num_layers=2).eval()
    x = torch.randn(5, 3, 6)
    y, _ = rnn(x, **regular(rnn, x))
    seen = watch(rnn, x, **regular(rnn, x))
    torch.testing.assert_close(seen.arranged.outputs(seen.output), y, atol=1e-4, rtol=1e-4)  # a pass like any other
    lags = {(layer, lag): value for layer, lag, value in gradients_by_lag(seen, [1, 3], torch.ones_like(y))}
    assert set(lags) == {(f"layers.{k}", lag) for k in (0, 1) for lag in (1, 3)}
    assert all(math.isfinite(value) for value in lags.values())
    assert any(value > 0 for value in lags.values())
    for layer in seen.layers:
        assert set(layer.norms()) == set(rnn.layers[0][0].State._fields)
        assert all(float(norm) >= 0 for norm in layer.norms().values())
        assert all(0 <= float(share) <= 1 for share in layer.shares().values())


def test_lags_go_with_the_direction_and_with_lengths():
    rnn = RNN("gru", 4, 5, bidirectional=True, dtype=torch.float64)
    x, grad = X[0], torch.randn(6, 3, 10, dtype=torch.float64)
    found = {(n, lag): v for n, lag, v in gradients_by_lag(watch(rnn, x, lengths=[6, 2, 4]), [1, 2], grad, True)}
    for d, (name, flipped) in enumerate((("layers.0", x), ("layers.0.backward", x.flip(0)))):
        cell = nn.GRUCell(4, 5, dtype=torch.float64)
        cell.load_state_dict({n: p.detach() for n, p in rnn.layers[0][d].named_parameters()})
        states = by_hand(cell, flipped[:, :1].expand(6, 3, 4), 1)  # the longest sequence alone
        read = (grad[-1, 0, :5], grad[0, 0, 5:])[d]
        whole = (grad[-1, 0], grad[0, 0])[d]  # at that step the other direction's half of the output is read too
        for lag in (1, 2):
            (g,) = torch.autograd.grad(states[-1][0][0] @ read, states[-1 - lag][0], retain_graph=True)
            assert found[name, lag] == pytest.approx(float(g[0].norm() / whole.norm()), rel=1e-9)


def test_dropout_and_the_random_numbers_of_a_run_are_left_alone(tmp_path):
    def weights(*callbacks):
        torch.manual_seed(3)
        module = Reader(RNN("gru", 4, 5, 2, dropout=0.5, dtype=torch.float64))
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.1)
        trainer = Trainer(
            accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(module, DataLoader(list(X), batch_size=None))
        assert module.rnn.training
        return [p.detach().clone() for p in module.parameters()]

    pairs = zip(weights(), weights(Diagnostics(every_n_steps=1)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_it_looks_every_so_many_steps_whatever_else_is_logged(tmp_path):
    rows = logged(Reader(RNN("lstm", 4, 5, dtype=torch.float64)), tmp_path, X.expand(5, 6, 3, 4), every_n_steps=2)
    assert [row["step"] for row in rows] == [0, 2, 4]


def test_a_module_without_an_rnn_is_refused(tmp_path):
    module = Reader(None)
    module.weight = nn.Parameter(torch.zeros(1))
    with pytest.raises(RnnZooError, match=r"looks at rnnzoo\.RNN, and Reader has none"):
        logged(module, tmp_path)
    with pytest.raises(RnnZooError, match="every_n_steps must be a whole number of at least 1, not 0"):
        Diagnostics(every_n_steps=0)

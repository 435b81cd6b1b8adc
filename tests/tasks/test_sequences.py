"""The task in Python: its losses and figures, what it predicts without looking, and cells that take more than x."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader

from rnnzoo import RNN, RnnZooError
from rnnzoo.cells import GatedCell, Hidden
from rnnzoo.data import Examples, LongMemoryData, Window
from rnnzoo.models import ForecastModel, SequenceModel, TokenModel, regular
from rnnzoo.tasks import SequenceTask, load_task

NUMBER = {"input_size": 2, "classes": 0, "answers": 1, "constant": 1.0}
CLASSES = {"input_size": 10, "classes": 8, "answers": 10, "constant": 0.0}
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


class Leaking(GatedCell):
    """Nobody 2026: h_t = exp(-dt) h_{t-1} + cos(time) tanh(W x + R h), with a time gap dt and the time beside x."""

    gates, State, inputs = 1, Hidden, ("dt", "time")

    def project(self, x, dt, time):
        return super().project(x), dt, time.cos()

    def step(self, u, s):
        wx, dt, wave = u
        return Hidden((-dt).exp() * s.h + wave * (wx + s.h @ self.weight_hh.t()).tanh())


def task(problem, **options) -> SequenceTask:
    torch.manual_seed(0)
    return SequenceTask(problem, **{"hidden_size": 6, "schedule": "constant", **options}).eval()


def test_answers_are_those_of_the_last_steps():
    model = task(CLASSES)
    x = torch.randn(3, 21, 10)
    y = model(x)
    assert y.shape == (3, 10, 8)
    outputs, _ = model.rnn(x)
    torch.testing.assert_close(y, model.model.head(outputs[:, 11:]))
    assert task(NUMBER)(torch.randn(3, 5, 2)).shape == (3, 1)


def test_the_loss_of_numbers_is_the_squared_error_and_of_classes_the_cross_entropy():
    y, target = torch.randn(3, 1), torch.randn(3, 1)
    expected = sum((a - b) ** 2 for a, b in zip(y[:, 0].tolist(), target[:, 0].tolist(), strict=True)) / 3
    assert task(NUMBER)._loss(y, target).item() == pytest.approx(expected, rel=1e-5)
    logits, classes = torch.randn(2, 10, 8), torch.randint(8, (2, 10))
    nats = 0.0
    for b in range(2):
        for a in range(10):
            row = logits[b, a].tolist()
            nats += math.log(sum(map(math.exp, row))) - row[int(classes[b, a])]
    assert task(CLASSES)._loss(logits, classes).item() == pytest.approx(nats / 20, rel=1e-5)


def test_it_starts_near_the_constant_prediction():
    assert task(NUMBER).model.head.bias.item() == 1
    assert (task(CLASSES).model.head.bias == 0).all()


def test_answers_that_are_not_there_count_for_nothing():
    """In the loss, its gradient, and every figure: -100 for a class, NaN for a number."""
    for problem, missing in ((CLASSES, -100), (NUMBER, math.nan)):
        x = torch.randn(5, 21, problem["input_size"])
        wide = problem["answers"]
        y = torch.randint(8, (5, wide)) if problem["classes"] else torch.randn(5, wide)
        y[0], y[3, :] = missing, missing
        whole, rest = (Examples(x[rows], y[rows], torch.arange(5)[rows]) for rows in ([*range(5)], [1, 2, 4]))
        grads, figures = [], []
        for batches in ([whole], [rest], [Examples(x[[0, 3]], y[[0, 3]], torch.tensor([0, 3])), rest]):
            model = task(problem)
            loss = sum(model._loss(model(b.x), b.y) for b in batches)
            grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
            trainer = Trainer(**QUIET, enable_checkpointing=False)
            figures += trainer.test(model, DataLoader(batches, batch_size=None), verbose=False)
        assert "test_accuracy" in figures[0] or "test_mse" in figures[0]
        for grad, figure in zip(grads[::2], figures[::2], strict=True):
            torch.testing.assert_close(grad, grads[1], rtol=1e-5, atol=1e-7)
            assert figure == pytest.approx(figures[1], rel=1e-5)


def test_some_answers_of_a_sequence_may_be_missing():
    x, y = torch.randn(3, 21, 10), torch.randint(8, (3, 10))
    y[:, ::2] = -100
    model = task(CLASSES)
    log_p = model(x).log_softmax(-1)
    there = [(b, a) for b in range(3) for a in range(1, 10, 2)]
    right = [log_p[b, a].argmax().item() == y[b, a].item() for b, a in there]
    nats = [-log_p[b, a, y[b, a]].item() for b, a in there]
    loader = DataLoader([Examples(x, y, torch.arange(3))], batch_size=None)
    (figures,) = Trainer(**QUIET, enable_checkpointing=False).test(model, loader, verbose=False)
    assert figures["test_accuracy"] == pytest.approx(sum(right) / 15)
    assert figures["test_loss"] == pytest.approx(sum(nats) / 15, rel=1e-5)
    assert figures["test_loss_constant"] == pytest.approx(math.log(8), rel=1e-5)
    log_prob = model.predict_step(Examples(x, y, torch.arange(3)), 0)["log_prob"].view(3, 10)
    assert log_prob[:, ::2].isnan().all()
    assert not log_prob[:, 1::2].isnan().any()


@pytest.mark.parametrize("name", ["adding", "copying", "temporal_order", "digits"])
def test_figures_are_those_computed_by_hand(name):
    length = None if name == "digits" else 25
    data = LongMemoryData(name, length=length, examples=(20, 10, 33), batch_size=8)
    model = task(data.problem)
    (figures,) = Trainer(**QUIET, enable_checkpointing=False).test(model, data, verbose=False)
    batches = list(data.test_dataloader())
    x, target = (torch.cat([batch[k] for batch in batches]) for k in range(2))
    y = model(x)
    if name == "adding":
        squares, around = ((target - prediction).square().mean().item() for prediction in (y, 1.0))
        off = (target - y).abs().mean().item()
        wanted = {"test_mse": squares, "test_mae": off, "test_loss": squares, "test_loss_constant": around}
    else:
        right = y.log_softmax(-1).gather(-1, target[..., None])
        wanted = {
            "test_accuracy": (y.argmax(-1) == target).float().mean().item(),
            "test_macro_f1": f1_score(target.flatten(), y.argmax(-1).flatten(), average="macro", zero_division=0),
            "test_loss": -right.mean().item(),
            "test_loss_constant": math.log(data.problem["classes"]),
        }
    assert figures == pytest.approx(wanted, rel=1e-4)


def test_predictions_name_the_example_and_the_answer():
    batch = Examples(torch.randn(2, 21, 10), torch.randint(8, (2, 10)), torch.tensor([7, 3]))
    columns = task(CLASSES).predict_step(batch, 0)
    assert list(columns) == ["example", "answer", "target", "prediction", "log_prob"]
    assert columns["example"].tolist() == [7] * 10 + [3] * 10
    assert columns["answer"].tolist() == [*range(10)] * 2
    assert columns["target"].tolist() == batch.y.flatten().tolist()
    y = task(CLASSES)(batch.x).log_softmax(-1)
    assert columns["prediction"].tolist() == y.argmax(-1).flatten().tolist()
    torch.testing.assert_close(columns["log_prob"], y.gather(-1, batch.y[..., None]).flatten())

    batch = Examples(torch.randn(2, 5, 2), torch.randn(2, 1), torch.tensor([7, 3]))
    columns = task(NUMBER).predict_step(batch, 0)
    assert list(columns) == ["example", "answer", "target", "prediction"]
    torch.testing.assert_close(columns["prediction"], task(NUMBER)(batch.x)[:, 0])


def test_a_cell_that_takes_more_than_x_gets_regular_steps():
    model = SequenceModel(RNN(Leaking, 2, 6, 2, batch_first=True), 1)
    x = torch.randn(3, 5, 2)
    time = torch.tensor([1.0, 2, 3, 4, 5]).expand(3, 5)[..., None]
    y, _ = model.rnn(x, dt=torch.ones(3, 5, 1), time=time)
    torch.testing.assert_close(model(x), model.head(y[:, -1:]))
    assert regular(RNN("lstm", 2, 6), x) == {}
    time_first = regular(RNN(Leaking, 2, 6), x.transpose(0, 1), before=7)
    assert time_first["time"].tolist() == (time + 7).transpose(0, 1).tolist()


def test_every_model_runs_such_a_cell():
    tokens = torch.randint(5, (3, 4))
    language = TokenModel(RNN(Leaking, 3, 6, batch_first=True), 5)
    logits, last = language(tokens)
    hx = None
    for t in range(4):
        step, hx = language.step(tokens[:, t], hx, before=t)
        torch.testing.assert_close(step, logits[:, t])
    torch.testing.assert_close(hx, last)
    rnn = RNN(Leaking, 1, 6, batch_first=True)
    forecaster = ForecastModel(rnn, horizon=2, season=3, level=2, outputs=1, scale=1.0)
    window = Window(torch.randn(3, 9), torch.full((3, 2), torch.nan), torch.arange(3))
    assert forecaster(window).left.shape == (3, 2, 1)


def test_a_task_can_be_reported_and_tried_out_with_such_a_cell(monkeypatch):
    monkeypatch.setattr("rnnzoo.cells.registry._CELLS", {"leaking": Leaking})
    model = task(NUMBER, cell="leaking")
    model.try_out()
    assert model.report().startswith("leaking, 1 x 6 units")


def test_states_kept_of_some_steps_only_give_the_same_gradients():
    x, y = torch.rand(4, 50, 2), torch.rand(4, 1)
    grads = []
    for every in (None, 7):
        model = task(NUMBER, checkpoint_every=every).train()
        model._loss(model(x), y).backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("problem", [NUMBER, CLASSES])
def test_a_checkpoint_is_read_back_whole(problem, tmp_path):
    model = task(problem, cell="gru", num_layers=2)
    trainer = Trainer(**QUIET, max_steps=1, default_root_dir=tmp_path, limit_val_batches=0)
    name = "copying" if problem is CLASSES else "adding"
    trainer.fit(model, LongMemoryData(name, length=22, examples=(8, 1, 1), batch_size=8))
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    again = load_task(tmp_path / "some.ckpt")
    x = torch.randn(2, 22, problem["input_size"])
    torch.testing.assert_close(again(x), model.eval()(x))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"cell": "lsmt"}, "did you mean 'lstm'"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_settings_that_cannot_be_are_errors(options, says):
    with pytest.raises(RnnZooError, match=says):
        task(NUMBER, **options)


def test_answers_in_bf16_are_near_those_in_float32():
    model, x = task(NUMBER, hidden_size=16), torch.rand(4, 30, 2)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            near = model(x)
    assert near.dtype == torch.float32
    assert (near - exact).abs().max() < 0.05

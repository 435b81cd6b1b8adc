"""NaN and Inf: which batch, layer and step are named, what is saved, and what is trained without them."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch.utils.data import DataLoader

import rnnzoo
from rnnzoo import RnnZooError
from rnnzoo.data import CharTextData
from rnnzoo.tasks import LanguageModel
from rnnzoo.training.bad_numbers import BadNumbers, is_bad

pytestmark = pytest.mark.usefixtures("nothing_compiled")

BAD = 3  # the batch
DATA = torch.randn(8, 4, 5, generator=torch.Generator().manual_seed(1))


def poisoned(at=(BAD,)):
    data = DATA.clone()
    for k in at:
        data[k, 2, 1] = float("nan")
    return data


class Plain(LightningModule):
    """A net with a batch norm, whose statistics a bad batch would spoil too."""

    def __init__(self, decay=0.1):
        super().__init__()
        self.decay = decay
        torch.manual_seed(5)
        self.net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    def loss(self, batch):
        return (self.net(batch) - 1).square().mean()

    def training_step(self, batch, index):
        return self.loss(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, weight_decay=self.decay)


def by_hand(batches, start=None, state=None):
    """The weights after a loop over some batches, written out; and the optimizer."""
    module = Plain()
    optimizer = module.configure_optimizers()
    if start is not None:
        module.load_state_dict(start)
        optimizer.load_state_dict(state)
    for batch in batches:
        optimizer.zero_grad()
        module.loss(batch).backward()
        optimizer.step()
    return module.state_dict(), copy.deepcopy(optimizer.state_dict())


def fit(module, data, callback, folder=None, **settings):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[*settings.pop("callbacks", ()), callback],
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    if isinstance(data, torch.Tensor):
        data = DataLoader(list(data[:, None]), batch_size=None)
    trainer.fit(module, data)
    return trainer


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_stops_before_the_weights_change_and_names_and_saves_the_batch(tmp_path):
    module = Plain()
    message = rf"^step {BAD} \(epoch 1\): the loss of batch {BAD} is nan; saved as "
    with pytest.raises(RnnZooError, match=message) as said:
        fit(module, poisoned(), BadNumbers(), tmp_path)
    assert "\n" not in str(said.value)
    weights = {n: a for n, a in by_hand(DATA[:BAD])[0].items() if "running" not in n and "tracked" not in n}
    assert same(weights, module.state_dict())
    saved = torch.load(tmp_path / "bad_batches" / f"step_{BAD}.pt", weights_only=True)
    torch.testing.assert_close(saved["batch"][0], poisoned()[BAD], equal_nan=True)
    assert (saved["step"], saved["batch_index"], saved["epoch"], saved["rank"]) == (BAD, BAD, 0, 0)
    assert saved["loss"].isnan()


def test_skipped_steps_leave_weights_momentum_and_batch_norm_as_a_run_without_them_has_them(tmp_path):
    module, callback = Plain(), BadNumbers("skip")
    fit(module, poisoned((2, 5)), callback, tmp_path)
    assert same(by_hand([*DATA[:2], *DATA[3:5], *DATA[6:]])[0], module.state_dict())
    assert callback.skipped == 2
    assert {p.name for p in (tmp_path / "bad_batches").iterdir()} == {"step_2.pt", "step_5.pt"}


def test_it_goes_back_to_the_weights_and_the_optimizer_of_the_last_copy(tmp_path):
    module = Plain()
    fit(module, poisoned((5,)), BadNumbers("restore", keep_every=2), tmp_path)
    start, state = by_hand(DATA[:4])  # the copies are of before steps 0, 2 and 4
    assert same(by_hand(DATA[6:], start, state)[0], module.state_dict())


class Spoil(Callback):
    """A weight turns NaN at a step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == BAD:
            with torch.no_grad():
                next(pl_module.parameters())[0, 0] = float("nan")


def test_weights_that_are_not_finite_are_named_and_leaving_out_steps_does_not_go_on_with_them(tmp_path):
    with pytest.raises(RnnZooError, match=r"before this step net\.0\.weight was not finite; .*restore may"):
        fit(Plain(), DATA, BadNumbers("skip"), tmp_path, callbacks=[Spoil()])
    module = Plain()
    fit(module, DATA, BadNumbers("restore", keep_every=1), tmp_path, callbacks=[Spoil()])
    assert all(a.isfinite().all() for a in module.state_dict().values())


def test_it_ends_where_every_step_is_bad(tmp_path):
    with pytest.raises(RnnZooError, match=r"such steps in a row: 3 \(numbers\.limit\)"):
        fit(Plain(), poisoned((2, 3, 4)), BadNumbers("skip", limit=3), tmp_path)


class Root(Plain):
    """Its loss is finite where its gradient is not: the root of 0."""

    def loss(self, batch):
        return super().loss(batch) + (self.net[0].weight * batch.sum()).abs().sum().sqrt()


def test_a_gradient_that_is_not_finite_is_named_by_its_parameters(tmp_path):
    data = DATA.clone()
    data[BAD] = 0
    with pytest.raises(RnnZooError, match=rf"the gradient of net\.0\.weight is not finite for batch {BAD}, whose loss"):
        fit(Root(), data, BadNumbers(), tmp_path)


def test_of_accumulated_batches_the_bad_one_is_named_and_the_step_is_left_out_whole(tmp_path):
    module = Plain(decay=0.0)
    fit(module, poisoned((2,)), BadNumbers("skip"), tmp_path, accumulate_grad_batches=2, max_steps=2)
    saved = torch.load(tmp_path / "bad_batches" / "step_1.pt", weights_only=True)
    assert saved["batch_index"] == 2
    one = Plain(decay=0.0)
    optimizer = one.configure_optimizers()
    for k in (0, 1):
        (one.loss(DATA[k]) / 2).backward()
    optimizer.step()
    assert same(dict(one.named_parameters()), dict(module.named_parameters()))


def test_a_norm_that_overflows_is_no_bad_number():
    p = torch.nn.Parameter(torch.zeros(4))
    p.grad = torch.full((4,), 3e38)
    assert not is_bad(torch.optim.SGD([p], 0.1), [torch.tensor(1.0)])
    p.grad[1] = float("inf")
    assert is_bad(torch.optim.SGD([p], 0.1), [])


class Scaled(Plain):
    """Its gradient is infinite in float16 at the scaler's first scales."""

    def loss(self, batch):
        return (self.net[0](batch) * 5).square().mean()


def test_steps_that_loss_scaling_leaves_out_are_logged_and_end_nothing(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**18)
    logged = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, *_):
            logged.append((float(trainer.callback_metrics["skipped_steps"]), scaler.get_scale()))

    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    fit(Scaled(), DATA, BadNumbers(), tmp_path, plugins=[plugin], callbacks=[Look()])
    assert logged[0] == (1.0, 2.0**17)  # GradScaler halves its scale with each step that it leaves out
    assert all(scale == 2.0**18 / 2**skipped for skipped, scale in logged)
    assert logged[-1][0] < len(logged)
    with pytest.raises(RnnZooError, match=f"the loss of batch {BAD} is nan"):
        fit(Plain(), poisoned(), BadNumbers(), tmp_path, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])


class NaNText(LanguageModel):
    """A language model whose embedding is NaN in one batch."""

    def judge(self, batch, stage):
        self.model.embedding.forward = self._embed(batch)
        try:
            return super().judge(batch, stage)
        finally:
            del self.model.embedding.forward

    def _embed(self, batch):
        plain = type(self.model.embedding).forward.__get__(self.model.embedding)
        bad = int(batch.positions[0]) == 1 + BAD * 16
        return lambda tokens: plain(tokens) + (float("inf") if bad else 0.0)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on a mat and a dog ran far away. " * 60)
    data = CharTextData(str(path), batch_size=4, sequence_length=16)
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_carried_state_does_not_take_the_bad_batch_on(text, tmp_path):
    states = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            states.append(pl_module._carried["train"][0].clone())

    model = NaNText(text.description, hidden_size=8, embedding_size=4)
    fit(model, text, BadNumbers("skip"), tmp_path, callbacks=[Look()], max_steps=6, limit_val_batches=0)
    saved = torch.load(tmp_path / "bad_batches" / f"step_{BAD}.pt", weights_only=True)
    assert torch.equal(states[BAD], states[BAD - 1])  # it is left as it was before
    assert torch.equal(saved["carried"][0]["train"]["h"], states[BAD - 1])
    assert all(state.isfinite().all() for state in states)
    assert saved["layer"] == "model.embedding"
    assert saved["batch"]["positions"].tolist()[0] == 1 + BAD * 16


def test_within_an_rnn_the_layer_and_its_step_are_named(text, tmp_path):
    model = LanguageModel(text.description, cell="gru", hidden_size=8, embedding_size=4, num_layers=2)
    with torch.no_grad():
        model.rnn.layers[1][0].weight_hh[0, 0] = float("inf")  # 0 inf is NaN: the state is 0 before the first step
    with pytest.raises(RnnZooError, match=r"first in the output of model\.rnn\.layers\.1, from its step 0 on; before"):
        fit(model, text, BadNumbers(), tmp_path, limit_val_batches=0)


class Bare(Plain):
    """Without a norm, whose statistics each process would have for itself."""

    def __init__(self):
        super().__init__()
        self.net[1] = torch.nn.Identity()


SCRIPT = """
import os
import sys

import torch

sys.path.insert(0, sys.argv[1])
from test_bad_numbers import Bare, BadNumbers, fit, poisoned

callback, module = BadNumbers("skip"), Bare()
mine = poisoned((3, 6))[int(os.environ.get("LOCAL_RANK", 0))::2]
trainer = fit(module, mine, callback, sys.argv[2], devices=2, strategy="ddp", use_distributed_sampler=False)
result = {"weights": module.state_dict(), "skipped": callback.skipped}
torch.save(result, f"{sys.argv[2]}/rank_{trainer.global_rank}.pt")
"""


def test_two_processes_leave_out_the_same_steps(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    here = str(Path(__file__).parent)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), here, str(tmp_path)],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"rank_{k}.pt", weights_only=True) for k in (0, 1))
    assert one["skipped"] == two["skipped"] == 2
    module = Bare()
    optimizer = module.configure_optimizers()
    for first in (0, 4):  # of the pairs (0, 1), (2, 3), (4, 5), (6, 7) the second and the last have a bad one
        optimizer.zero_grad()
        sum(module.loss(DATA[first + r]) / 2 for r in (0, 1)).backward()
        optimizer.step()
    assert same(one["weights"], two["weights"])
    for name, value in module.state_dict().items():
        torch.testing.assert_close(one["weights"][name], value)
    names = {p.name for p in (tmp_path / "bad_batches").iterdir()}
    assert names == {"step_1.rank_1.pt", "step_3.rank_0.pt"}
    assert "process 1 is nan" in done.stderr
    assert "process 0 is nan" in done.stderr


def test_the_trainer_of_this_package_has_it_and_takes_ours_in_its_place():
    trainer = rnnzoo.trainer(logger=False, enable_checkpointing=False)
    assert [c.on_bad for c in trainer.callbacks if isinstance(c, BadNumbers)] == ["stop"]
    trainer = rnnzoo.trainer(logger=False, enable_checkpointing=False, callbacks=[BadNumbers("skip")])
    assert [c.on_bad for c in trainer.callbacks if isinstance(c, BadNumbers)] == ["skip"]


def test_what_cannot_be_is_said():
    with pytest.raises(RnnZooError, match="on_bad must be stop, skip or restore, not 'go'"):
        BadNumbers("go")
    with pytest.raises(RnnZooError, match="keep_every must be a whole number of at least 1, not 0"):
        BadNumbers(keep_every=0)

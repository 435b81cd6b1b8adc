"""The language model in Python: carried state, the loss, sampling, fine-tuning, checkpoints."""

import math

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from rnnzoo import RNN, RnnZooError
from rnnzoo.cells import GatedCell, Hidden
from rnnzoo.data import CharTextData, StreamBatch
from rnnzoo.tasks import LanguageModel, load_task
from rnnzoo.tasks.generation import sample
from rnnzoo.training import CarriedState
from rnnzoo.transforms import Dilated, VariationalDropout, Zoneout

LETTERS = list("abcdefg\n")
SIZES = {"embedding_size": 5, "hidden_size": 6}


class Own(GatedCell):
    """A user's own, 2026; one row block.

    h_t = tanh(W x + R h)
    """

    gates, State = 1, Hidden

    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh())


def quiet(**options) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"enable_checkpointing": False, **options},
    )


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join("abcdefg\n"[(k * k + k // 7) % 8] for k in range(3000)))
    return CharTextData(str(path), batch_size=4, sequence_length=20)


def model(**options) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(LETTERS, **{**SIZES, "schedule": "constant", **options})


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "peephole_lstm"])
def test_a_stream_read_in_batches_gives_the_logits_of_reading_it_whole(cell):
    lm = model(cell=cell).double().eval()
    stream = torch.randint(len(LETTERS), (3, 23))
    whole, _ = lm(stream)
    carried = CarriedState(lm.rnn)
    for part, expected in zip(stream.split(7, 1), whole.split(7, 1), strict=True):
        logits, carried["test"] = lm(part, carried["test"])
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)


def test_no_gradient_crosses_the_border_of_a_batch():
    lm = model()
    batch = StreamBatch(torch.randint(8, (2, 5)), torch.randint(8, (2, 5)), torch.zeros(2, dtype=torch.long))
    lm.judge(batch, "train")
    assert all(a.grad_fn is None and not a.requires_grad for a in lm._carried["train"])
    assert any(a.abs().sum() > 0 for a in lm._carried["train"])


def test_state_can_be_left_behind_at_each_batch():
    lm = model(carry_state=False)
    batch = StreamBatch(torch.randint(8, (2, 5)), torch.randint(8, (2, 5)), torch.zeros(2, dtype=torch.long))
    first = lm.judge(batch, "train").loss
    again = lm.judge(batch, "train").loss
    assert first == again


def test_a_bidirectional_stack_carries_no_state():
    with pytest.raises(RnnZooError, match="one direction only"):
        CarriedState(RNN("gru", 3, 4, bidirectional=True))


class Watched(LanguageModel):
    """Notes the state that each batch begins with."""

    def _read(self, batch, stage):
        hx = self._carried[stage]
        self.begun.append((stage, int(batch.positions[0]), None if hx is None else hx[0].sum().item()))
        outputs = super()._read(batch, stage)
        self.begun[-1] += (self._carried[stage][0].sum().item(),)
        return outputs


def test_state_is_reset_at_epochs_and_never_leaks_between_training_and_validation(text):
    lm = Watched(text.vocabulary, **SIZES, schedule="constant")
    lm.begun = []
    quiet(max_epochs=2, val_check_interval=10).fit(lm, text)
    previous: dict[str, float] = {}
    resets = {"train": 0, "val": 0}
    for stage, position, begins, ends in lm.begun:
        if position == 1:  # the beginning of the streams
            assert begins is None
            resets[stage] += 1
        else:
            assert begins == previous[stage], "goes on from its own stage, whatever ran between"
        previous[stage] = ends
    assert resets["train"] == 2
    assert resets["val"] == 2 * (len(text.train_dataloader()) // 10)


def test_targets_that_pad_a_stream_count_for_nothing():
    lm = model().eval()
    inputs, targets = torch.randint(8, (2, 6)), torch.randint(8, (2, 6))
    targets[1, 4:] = -100
    batch = StreamBatch(inputs, targets, torch.zeros(2, dtype=torch.long))
    judged = lm.judge(batch, "test")
    mean, count = judged.loss, judged.count
    logits, _ = lm(inputs)
    p = logits.softmax(-1)
    by_hand = [-math.log(p[b, t, targets[b, t]].item()) for b in range(2) for t in range(6) if targets[b, t] >= 0]
    assert count == len(by_hand) == 10
    assert mean.item() == pytest.approx(sum(by_hand) / 10, rel=1e-5)


def test_a_batch_without_any_target_has_no_loss_and_no_nan():
    batch = StreamBatch(torch.zeros(2, 1, dtype=torch.long), torch.full((2, 1), -100), torch.zeros(2))
    judged = model().judge(batch, "train")
    mean, count = judged.loss, judged.count
    assert (mean.item(), count.item()) == (0.0, 0)


def test_bits_per_character_are_those_computed_by_hand_over_the_whole_split(text):
    lm = LanguageModel(text.vocabulary, **SIZES, schedule="constant")
    (figures,) = quiet().test(lm, text, verbose=False)
    lm.eval()
    total, count, hx = 0.0, 0, None
    with torch.no_grad():
        for batch in text.test_dataloader():
            logits, hx = lm(batch.inputs, hx)
            nats = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-100, reduction="sum")
            total, count = total + nats.item(), count + int((batch.targets >= 0).sum())
    assert count == len(text.text("test")) - 1
    assert figures["test_bpc"] == pytest.approx(total / count / math.log(2), rel=1e-5)
    assert figures["test_loss"] == pytest.approx(total / count, rel=1e-5)


def test_it_learns_and_its_checkpoint_loads_by_lightning_and_by_us(text, tmp_path):
    lm = LanguageModel(text.vocabulary, cell=Own, **SIZES, learning_rate=0.02)
    keep = ModelCheckpoint(tmp_path, filename="best", monitor="val_loss")
    trainer = quiet(max_epochs=3, enable_checkpointing=True, callbacks=[keep], default_root_dir=tmp_path)
    trainer.fit(lm, text)
    assert trainer.callback_metrics["val_bpc"] < 2.9  # log2(8) = 3 knows nothing
    content = torch.load(keep.best_model_path, weights_only=True)
    assert content["hyper_parameters"]["cell"] == f"{__name__}.Own"
    for loaded in (LanguageModel.load_from_checkpoint(keep.best_model_path), load_task(keep.best_model_path)):
        for name, tensor in loaded.state_dict().items():
            assert torch.equal(tensor, content["state_dict"][name])


@pytest.mark.parametrize(
    ("schedule", "shape"), [("one_cycle", "up and down"), ("cosine", "down"), ("constant", "flat")]
)
def test_the_learning_rate_follows_its_schedule(text, schedule, shape):
    lm = LanguageModel(text.vocabulary, **SIZES, learning_rate=0.01, schedule=schedule)
    rates: list[float] = []
    lm.on_train_batch_start = lambda *_: rates.append(lm.optimizers().param_groups[0]["lr"])
    quiet(max_epochs=1).fit(lm, text)
    top = rates.index(max(rates))
    if shape == "flat":
        assert set(rates) == {0.01}
    else:
        assert max(rates) <= 0.01 + 1e-9
        assert rates[top:] == sorted(rates[top:], reverse=True)
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[-1] < 1e-4
        assert (top > 0) == (shape == "up and down")


def test_a_schedule_over_a_run_without_an_end_is_an_error(text):
    lm = LanguageModel(text.vocabulary, **SIZES)
    with pytest.raises(RnnZooError, match=r"one_cycle.*max_epochs"):
        quiet(max_epochs=-1).fit(lm, text)


def smallest_set(p: list[float], top_p: float) -> set[int]:
    chosen: set[int] = set()
    for token in sorted(range(len(p)), key=lambda k: -p[k]):
        chosen.add(token)
        if sum(p[k] for k in chosen) >= top_p:
            return chosen
    return chosen


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.62, 0.9, 1.0])
def test_top_p_samples_from_the_smallest_set_that_has_it(top_p):
    torch.manual_seed(3)
    logits = torch.randn(1, 7).double()
    drawn = {int(sample(logits, 1.0, top_p, None)) for _ in range(4000)}
    kept = smallest_set(logits.softmax(-1)[0].tolist(), top_p)
    assert drawn <= kept
    assert len(kept - drawn) == 0


def test_a_low_temperature_takes_the_likeliest_and_a_high_one_takes_any():
    logits = torch.tensor([[0.0, 1.0, 0.5]])
    assert {int(sample(logits, 0.01, 1.0, None)) for _ in range(200)} == {1}
    counts = torch.bincount(torch.cat([sample(logits, 1e4, 1.0, None) for _ in range(3000)]), minlength=3)
    assert counts.min() > 850


def test_a_prompt_is_followed_as_the_whole_text_would_be():
    lm = model(cell="lstm").double().eval()
    text = lm.sample_text("abca", 30, seed=5)
    assert len(text) == 34
    generator = torch.Generator().manual_seed(5)
    for k in range(4, 34):  # every character again, from the logits of the whole text before it
        logits, _ = lm(lm.vocabulary.encode(text[:k])[None])
        assert LETTERS[int(sample(logits[:, -1].float(), 0.7, 0.9, generator))] == text[k]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "abcé"}, "'é' at 3"),
        ({"length": 0}, "length must be at least 1, not 0"),
        ({"temperature": -1.0}, "temperature must be 0, for the likeliest, or more, not -1"),
        ({"temperature": math.inf}, "temperature must be 0, for the likeliest, or more, not inf"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"beam": 0}, "beam must be at least 1, not 0"),
        ({"beam": 2, "top_k": 3}, "top_k=3 has no effect beside beam=2, which takes the likeliest"),
        ({"stop": ["a", ""]}, "stop is an empty string, which every text has; leave it out"),
        ({"seed": 1, "generator": torch.Generator()}, "seed=1 and a generator are both given; give one"),
        ({"prompt": []}, "there is no prompt; give one at least"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], not 0"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\], not 1.5"),
    ],
)
def test_a_wrong_argument_of_generate_is_named(wrong, says):
    given = {"prompt": "abc", "length": 3, **wrong}
    with pytest.raises(RnnZooError, match=says):
        list(model().generate(given.pop("prompt"), given.pop("length"), **given))


def test_fine_tuning_keeps_the_weights_of_known_characters(text, tmp_path):
    old = LanguageModel(text.vocabulary, **SIZES, schedule="constant")
    trainer = quiet(max_epochs=1, limit_train_batches=3)
    trainer.fit(old, text)
    path = tmp_path / "old.ckpt"
    trainer.save_checkpoint(path)
    characters = [*text.vocabulary[2:], "é", text.vocabulary[0]]
    new = LanguageModel(characters, **SIZES, pretrained=str(path))
    assert "pretrained" not in new.hparams
    for row, character in enumerate(characters):
        if character != "é":
            before = text.vocabulary.index(character)
            assert torch.equal(new.model.embedding.weight[row], old.model.embedding.weight[before])
            assert torch.equal(new.model.head.weight[row], old.model.head.weight[before])
    for ours, theirs in zip(new.rnn.parameters(), old.rnn.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(RnnZooError, match="hidden_size is 7 but the checkpoint has 6"):
        LanguageModel(characters, **{**SIZES, "hidden_size": 7}, pretrained=str(path))
    with pytest.raises(RnnZooError, match="shares no character"):
        LanguageModel(["ß", "é"], **SIZES, pretrained=str(path))


def test_after_every_step_of_the_optimizer_a_cell_keeps_its_parameters_in_their_range(text):
    lm = model(cell="indrnn", cell_args={"max_gain": 1.0, "min_gain": 1.0}, learning_rate=0.3)
    u = lm.rnn.layers[0][0].weight_hh
    quiet(max_steps=1).fit(lm, text)
    assert u.abs().max() <= 1
    assert (u < 1).any()  # it moved, and what would have gone beyond stays at the border
    assert (u == 1).any()


def test_what_goes_around_a_cell_and_past_a_layer_is_named_and_kept_in_the_checkpoint(text, tmp_path):
    around = {"Zoneout": {"p": {"c": 0.2}}, "VariationalDropout": {"input_p": 0.1}}
    args = {"transforms": around, "connect": "residual", "dilation": [1, 2]}
    lm = model(num_layers=2, **args, embedding_size=6, learning_rate=1e-2)
    inner = lm.rnn.layers[0][0]
    assert isinstance(inner, VariationalDropout)
    assert isinstance(inner.cell, Zoneout)  # the innermost first
    assert inner.cell.p == {"c": 0.2}
    assert isinstance(lm.rnn.layers[1][0], Dilated)
    assert len(lm.rnn.connections) == 2
    assert lm.report().startswith("lstm, 2 x 6 units")
    quiet(max_steps=3).fit(lm, text)
    trainer = quiet()
    trainer.strategy.connect(lm)
    trainer.save_checkpoint(tmp_path / "around.ckpt")
    again = load_task(str(tmp_path / "around.ckpt"))
    tokens = torch.randint(len(LETTERS), (2, 9))
    assert (again.eval()(tokens)[0] == lm.eval()(tokens)[0]).all()
    assert {name: again.hparams[name] for name in args} == args


def test_rnn_args_of_before_are_the_settings_of_now():
    with pytest.warns(UserWarning, match=r"^rnn_args is an older name: .* --model.connect, --model.dilation$"):
        lm = model(num_layers=2, rnn_args={"connect": "residual", "dilation": 2}, embedding_size=6)
    assert (lm.hparams["connect"], lm.hparams["dilation"]) == ("residual", 2)
    assert "rnn_args" not in lm.hparams


def test_transforms_may_be_a_name_or_several():
    for given in ("Zoneout", ["Zoneout"], {"Zoneout": None}, [{"rnnzoo.transforms.Zoneout": {"p": 0.1}}]):
        assert RNN("gru", 3, 4, transforms=given).layers[0][0].p == {"h": 0.1}
    with pytest.raises(RnnZooError, match=r"transform 'Dilated' needs a value for 'dilation'"):
        RNN("gru", 3, 4, transforms="Dilated")
    with pytest.raises(RnnZooError, match=r"'rnnzoo.RNN' must be a subclass of rnnzoo.transforms.Around, not"):
        RNN("gru", 3, 4, transforms="rnnzoo.RNN")

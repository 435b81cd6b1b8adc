"""The language model over tokens: what it logs, what it needs of its data, checkpoints, and the recipes' settings."""

import math
import random

import pytest
import torch
from lightning.pytorch import Trainer

import rnnzoo
from rnnzoo import Description, RnnZooError
from rnnzoo.data import TokenBatch, TokenTextData
from rnnzoo.tasks import LanguageModel

SIZES = {"embedding_size": 6, "hidden_size": 8, "schedule": "constant"}
WORDS = "the cat sat on a mat and dogs ran far away in heaven above earth".split()  # noqa: SIM905


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
def text_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    draw = random.Random(0)
    path = tmp_path / "some.txt"
    path.write_text("".join(" ".join(draw.choices(WORDS, k=6)) + ",  x.\n" for _ in range(200)))
    return str(path)


def data(text_file, **options) -> TokenTextData:
    return TokenTextData(text_file, **{"batch_size": 4, "sequence_length": 9, **options})


@pytest.mark.parametrize("kind", ["words", "bpe", "characters"])
def test_perplexity_and_bits_per_character_are_those_computed_by_hand_over_the_whole_split(text_file, kind):
    text = data(text_file, tokenizer=kind, vocabulary_size={"words": 12, "bpe": 280, "characters": None}[kind])
    torch.manual_seed(0)
    lm = LanguageModel(text.description, **SIZES)
    (figures,) = quiet().test(lm, text, verbose=False)
    lm.eval()
    (ids,) = text.tokenizer.encode([text.text("test")])
    nats, states = 0.0, {}
    for batch in text.test_dataloader():  # the streams one at a time, token by token
        for b in range(len(batch.inputs)):
            for t in range(batch.inputs.shape[1]):
                if batch.targets[b, t] >= 0:
                    with torch.no_grad():
                        logits, states[b] = lm.model.step(batch.inputs[b, t : t + 1], states.get(b))
                    nats -= float(logits.double().log_softmax(-1)[0, batch.targets[b, t]])
    words = text.text("test").replace("\n", " \n ").replace(",", " ,").replace(".", " .").split(" ")
    known = {*text.tokenizer.vocabulary}
    spelling = 0.0
    if kind == "words":
        letters = len(set(text.text("train")))
        spelled = [word for word in words[1:] if word and word not in known]
        assert spelled
        spelling = sum((len(word) + 1) * math.log(letters + 1) for word in spelled)
    first = len(words[0]) if kind == "words" else len(text.tokenizer.decode(ids[:1]))
    bits = (nats + spelling) / (len(text.text("test")) - first) / math.log(2)
    assert figures["test_perplexity"] == pytest.approx(math.exp(nats / (len(ids) - 1)), rel=1e-4)
    assert figures["test_bpc"] == pytest.approx(bits, rel=1e-4)
    assert figures["test_loss"] == pytest.approx(nats / (len(ids) - 1), rel=1e-4)


def test_a_model_that_knows_nothing_has_about_the_same_bits_by_characters_and_by_bytes(text_file):
    figures = {}
    for kind in ("characters", "bytes"):
        text = data(text_file, tokenizer=kind)
        lm = LanguageModel(text.description, **SIZES)
        torch.nn.init.zeros_(lm.model.head.weight), torch.nn.init.zeros_(lm.model.head.bias)
        (figures[kind],) = quiet().test(lm, text, verbose=False)
        assert figures[kind]["test_perplexity"] == pytest.approx(len(text.tokenizer), rel=1e-4)
        assert figures[kind]["test_bpc"] == pytest.approx(math.log2(len(text.tokenizer)), rel=1e-4)


def test_the_whole_recipe_learns_and_its_checkpoint_alone_writes_and_predicts(text_file, tmp_path):
    text = data(text_file)
    torch.manual_seed(0)
    recipe = {
        **{"tied": True, "weight_drop": 0.2, "locked_dropout": True, "embedding_dropout": 0.1, "dropout": 0.1},
        **{"input_dropout": 0.2, "output_dropout": 0.1, "activation_penalty": 2.0, "temporal_penalty": 1.0},
    }
    lm = LanguageModel(text.description, **recipe, embedding_size=16, hidden_size=[20, 16], num_layers=2,
                       learning_rate=0.02)  # fmt: skip
    trainer = quiet(max_epochs=4)
    trainer.fit(lm, text)
    assert trainer.callback_metrics["val_perplexity"] < 18  # of 21 tokens
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    loaded = rnnzoo.load(path)
    assert loaded.model.head.weight is loaded.model.embedding.weight
    tokens = torch.randint(len(text.tokenizer), (2, 7))
    assert torch.equal(loaded(tokens)[0], lm.eval()(tokens)[0])
    assert loaded.generate("the cat", 12, seed=2) == lm.generate("the cat", 12, seed=2)
    table = loaded.predict(["the cat sat", "a mat  xyz."])
    assert table["token"].tolist() == ["cat", "sat", "mat", "<unk>", "."]
    logits, _ = lm(torch.tensor(text.tokenizer.encode(["the cat sat"])))
    assert table["log_prob"][0] == pytest.approx(
        float(logits[0, 0].log_softmax(-1)[text.tokenizer.encode(["cat"])[0][0]])
    )
    other = data(text_file, checkpoint=str(path))
    assert other.description.vocabulary == text.description.vocabulary
    assert other.description.characters == text.description.characters


def test_the_penalties_are_of_training_alone(text_file):
    text = data(text_file)
    torch.manual_seed(0)
    plain, lm = (
        LanguageModel(text.description, **SIZES),
        LanguageModel(text.description, **SIZES, activation_penalty=3.0),
    )
    lm.load_state_dict(plain.state_dict())
    batch = next(iter(text.train_dataloader()))
    y, last, _ = plain.model.read(batch.inputs)
    assert torch.equal(y, last)
    losses = [one.judge(batch, "train").loss for one in (plain, lm)]
    torch.testing.assert_close(losses[1] - losses[0], 3.0 * (y**2).mean())
    assert plain.judge(batch, "val").loss.isfinite()
    for one in (plain, lm):
        one._carried.reset("val")
    assert torch.equal(plain.eval().judge(batch, "val").loss, lm.eval().judge(batch, "val").loss)


def test_an_adaptive_softmax_trains_and_evaluates_in_the_same_unit(text_file):
    text = data(text_file)
    torch.manual_seed(0)
    lm = LanguageModel(text.description, embedding_size=8, hidden_size=16, adaptive_softmax=[6, 12], learning_rate=0.02)
    trainer = quiet(max_epochs=3)
    trainer.fit(lm, text)
    assert trainer.callback_metrics["val_perplexity"] < 18
    logits, _ = lm(torch.zeros(1, 3, dtype=torch.int64))
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(1, 3))


def test_a_batch_that_counts_for_nothing_has_no_loss_and_no_nan(text_file):
    lm = LanguageModel(data(text_file).description, **SIZES)
    zeros = torch.zeros(2, 3, dtype=torch.int64)
    judged = lm.judge(TokenBatch(zeros, zeros - 100, torch.ones(2), zeros, zeros), "val")
    assert (judged.loss.item(), judged.count.item()) == (0.0, 0)
    assert all(
        torch.as_tensor(value[0] if isinstance(value, tuple) else value).isfinite() for value in judged.means.values()
    )


def test_two_halves_of_a_batch_weigh_as_the_whole(text_file):
    text = data(text_file)
    lm = LanguageModel(text.description, **SIZES, carry_state=False).eval()
    batch = next(iter(text.val_dataloader()))
    figures = []
    for rows in ([slice(0, 4)], [slice(0, 1), slice(1, 4)]):
        for part in rows:
            lm.evaluate(TokenBatch(*(field[part] for field in batch)), "val")
        figures.append({name: float(lm.figures[f"val_{name}"].compute()) for name in ("loss", "bpc", "perplexity")})
        lm.figures.reset()
    assert figures[0] == pytest.approx(figures[1], rel=1e-6)


def test_data_of_another_tokenizer_are_refused(text_file):
    text = data(text_file)
    lm = LanguageModel(text.description, **SIZES)
    other = data(text_file, tokenizer="characters")
    with pytest.raises(
        RnnZooError, match=r"^the data have \d+ tokens, and this model was made for \d+ that are not the"
    ):
        quiet().test(lm, other, verbose=False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"activation_penalty": -1.0}, "activation_penalty must be 0 or more, not -1.0"),
        ({"embedding_dropout": 1.0}, r"embedding_dropout must be in \[0, 1\), not 1.0"),
        ({"tied": True, "adaptive_softmax": [5]}, "exclude each other"),
        ({"adaptive_softmax": [5000]}, "must rise from 1 at least to"),
        ({"bidirectional": True}, "one direction only"),
    ],
)
def test_a_setting_that_is_wrong_is_named(text_file, wrong, says):
    with pytest.raises(RnnZooError, match=says):
        LanguageModel(data(text_file).description, **{**SIZES, **wrong})


def test_a_description_without_the_number_of_characters_charges_what_it_can():
    from rnnzoo.data.tokenizers import train

    tokenizer = train("words", ["a b"])
    lm = LanguageModel(Description(vocabulary=tokenizer.vocabulary, tokenizer=tokenizer.to_json()), **SIZES)
    one = torch.ones(1, 1, dtype=torch.int64)
    judged = lm.judge(TokenBatch(one, one, one[0], 2 * one, 4 * one), "val")
    bits, count = judged.means["bpc"]
    assert count == 2
    assert bits.item() == pytest.approx((judged.loss.item() / math.log(2) + 4) / 2)

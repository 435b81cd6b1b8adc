"""Predictions on texts, arrays and frames: those of the loader's batches, and of nothing but the checkpoint."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer

import rnnzoo
from rnnzoo import Description, RnnZooError
from rnnzoo.data import SeriesData
from rnnzoo.tasks import Forecaster, LanguageModel, SequenceTask

SCALING = {"mean": 0.0, "std": 1.0, "seasonal_error": 0.5}
SERIES = Description(scaling=SCALING, horizon=3, season=4, context=6)


def saved(task, path):
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return rnnzoo.load(path)


def test_a_language_model_says_how_likely_every_character_of_a_text_is(tmp_path):
    model = saved(
        LanguageModel(Description(vocabulary=["a", "b", "c"]), embedding_size=3, hidden_size=4), tmp_path / "c"
    )
    assert not model.training
    rows = model.predict(["abca", "cb"])
    assert rows["text"].tolist() == [0, 0, 0, 1]
    assert rows["position"].tolist() == [1, 2, 3, 1]
    assert rows["token"].tolist() == ["b", "c", "a", "b"]
    for text in ("abca", "cb"):
        logits, state = model(torch.tensor([["abc".index(c) for c in text]]))
        log_prob = logits[0].log_softmax(-1)
        expected = [log_prob[k, "abc".index(c)].item() for k, c in enumerate(text[1:])]
        assert model.predict(text)["log_prob"].tolist() == pytest.approx(expected, rel=1e-5)
        assert logits.shape == (1, len(text), 3)
        assert len(state) == 2  # h and c, to go on from
    with pytest.raises(RnnZooError, match=r"^text 1 has 1 character \('z' at 1\) not in the vocabulary of 3$"):
        model.predict(["ab", "az"])
    with pytest.raises(RnnZooError, match=r"^text 0 must have two characters at least"):
        model.predict("a")


def test_text_comes_whole_or_in_pieces():
    model = LanguageModel(Description(vocabulary=["a", "b", "c"]), embedding_size=3, hidden_size=4)
    model.dropout_stays = torch.nn.Dropout(0.5)
    whole, pieces = (
        make("ab", 20, generator=torch.Generator().manual_seed(3)) for make in (model.generate, model.stream)
    )
    assert isinstance(whole, str)
    assert whole == "".join(pieces)
    assert len(whole) == 20
    assert model.dropout_stays.training


@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series, lambda y: pd.DataFrame({"y": y})])
def test_a_forecaster_goes_on_from_the_end_of_a_series(tmp_path, kind):
    model = saved(Forecaster(SERIES, hidden_size=4, level=2), tmp_path / "f.ckpt")
    y = np.sin(np.arange(50.0)) + 100
    rows = model.predict(kind(y))
    assert list(rows.columns) == ["step", "q0.1", "q0.5", "q0.9"]
    assert rows["step"].tolist() == [1, 2, 3]
    expected = model(torch.from_numpy(y[-10:])[None])[0]  # a context and a season
    torch.testing.assert_close(torch.from_numpy(rows[["q0.1", "q0.5", "q0.9"]].to_numpy()), expected)


def test_a_forecaster_takes_several_series_and_refuses_what_it_cannot_go_on_from():
    model = Forecaster(SERIES, hidden_size=4, level=2)
    y = np.stack([np.sin(np.arange(50.0)), np.cos(np.arange(50.0))])
    both = model.predict(pd.DataFrame({"a": y[0], "b": y[1]}))
    assert both["series"].tolist() == [0, 0, 0, 1, 1, 1]
    one = model.predict(y[1])
    torch.testing.assert_close(*(torch.from_numpy(rows["q0.5"].to_numpy()) for rows in (both[3:], one)))
    for wrong, says in (
        ([1.0] * 4, "a series of 4 values is too short: a forecast needs season=4 and one more"),
        ([1.0] * 9 + [math.nan], "the end of the series has values that are missing or infinite"),
        (["a"] * 9, "a series must be of numbers"),
    ):
        with pytest.raises(RnnZooError, match=says):
            model.predict(wrong)


def test_a_forecast_of_the_data_modules_last_window_is_that_of_the_plain_series(tmp_path):
    y = 10 * np.sin(np.arange(200.0) / 3) + np.arange(200.0) % 7
    pd.DataFrame({"y": y}).to_csv(tmp_path / "y.csv", index=False)
    data = SeriesData(str(tmp_path / "y.csv"), horizon=3, season=4, context=6, predict_split="future")
    model = Forecaster(data.description, hidden_size=4, level=2)
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    (columns,) = trainer.predict(model, data)
    alone = model.predict(y)
    torch.testing.assert_close(torch.from_numpy(alone["q0.5"].to_numpy()), columns["q0.5"])


def test_sequences_of_numbers_get_numbers():
    model = SequenceTask(Description(input_size=2, classes=0), hidden_size=4)
    x = [np.random.default_rng(0).standard_normal((t, 2)) for t in (5, 3)]
    rows = model.predict(x)
    assert list(rows.columns) == ["example", "answer", "prediction"]
    for k in range(2):  # the same alone as beside a longer one
        assert model.predict([x[k]])["prediction"][0] == pytest.approx(rows["prediction"][k], rel=1e-5)
    with pytest.raises(RnnZooError, match=r"^sequence 0 must have the shape \(T, 2\), T at least 1, not \(5, 3\)$"):
        model.predict(np.ones((1, 5, 3)))
    with pytest.raises(RnnZooError, match="there are no sequences"):
        model.predict([])


def test_texts_get_a_label_and_its_probability():
    about = Description(vocabulary=["a", "b"], classes=2, labels=["good", "bad"])
    model = SequenceTask(about, hidden_size=4, bidirectional=True)
    rows = model.predict(["abba", "b"])
    logits = model(torch.tensor([[0, 1, 1, 0]]))[0, 0]
    best = int(logits.argmax())
    assert rows["label"][0] == ["good", "bad"][best]
    assert rows["probability"][0] == pytest.approx(logits.softmax(0)[best].item(), rel=1e-5)
    with pytest.raises(RnnZooError, match=r"^sequence 1 has 'c', which is not among the 2 tokens$"):
        model.predict(["a", "ac"])


def test_every_step_gets_an_answer_up_to_its_sequences_end():
    model = SequenceTask(Description(input_size=1, classes=3, answers=0), hidden_size=4)
    rows = model.predict([np.ones((2, 1)), np.ones((4, 1))])
    assert rows["example"].tolist() == [0, 0, 1, 1, 1, 1]
    assert rows["answer"].tolist() == [0, 1, 0, 1, 2, 3]

"""Texts that are streamed: the batches that are made of rows at once, without keeping any."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from hub_stub import write_repository
from test_text_examples import WORDS, Plain, read

from rnnzoo.data import streaming
from rnnzoo.errors import RnnZooError


@pytest.fixture
def texts():
    random = np.random.default_rng(1)
    return [" ".join(random.choice(WORDS, random.integers(1, 30))) for _ in range(150)]


@pytest.fixture
def folder(texts, tmp_path):
    rows = Dataset.from_dict({"id": list(range(150)), "text": texts, "group": [k // 7 for k in range(150)]})
    write_repository(tmp_path / "data", {"default": {"train": rows, "test": rows.select(range(31))}})
    return str(tmp_path / "data")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(streaming, "_WINDOW", 64)
    monkeypatch.setattr(streaming, "_BUCKET", 2)


def streams(dataset, **settings):
    return Plain(dataset, **{"batch_size": 8, "streaming": True, **settings})


def counted(loader):
    return sorted(tuple(t[:length].tolist()) for b in loader for t, length in zip(b.tokens, b.lengths, strict=True))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_part_has_the_texts_that_it_has_unstreamed(folder, texts, num_workers):
    whole = streams(folder, validation_split="test")
    assert whole.tokenizer.vocabulary == Plain(folder, batch_size=8, validation_split="test").tokenizer.vocabulary
    data = streams(folder, num_workers=num_workers)
    data.setup("fit")
    assert read(data.test_dataloader()) == dict(enumerate(data.tokenizer.encode(texts[:31])))
    both = counted(data.train_dataloader()) + counted(data.val_dataloader())
    assert sorted(both) == sorted(map(tuple, data.tokenizer.encode(texts)))
    assert len(data.val_dataloader()) == len(list(data.val_dataloader())) > 0


def test_batches_hold_texts_of_like_lengths(folder):
    data = streams(folder, validation_split="test")
    padding = [1 - float((b.lengths / b.tokens.shape[1]).mean()) for b in data.train_dataloader()]
    data = streams(folder)
    ordered = [1 - float((b.lengths / b.tokens.shape[1]).mean()) for b in data.test_dataloader()]
    assert np.mean(padding) < 0.8 * np.mean(ordered)


def test_a_crop_is_another_piece_in_every_epoch(folder):
    data = streams(folder, crop=4, validation_split="test")
    loader = data.train_dataloader()
    first = counted(loader)
    assert first == counted(loader)
    assert max(map(len, first)) == 4
    loader.set_epoch(1)
    assert counted(loader) != first
    assert max(b.tokens.shape[1] for b in data.test_dataloader()) > 4


def test_all_rows_are_predicted_in_order(folder, texts):
    data = streams(folder, predict_split="all")
    assert read(data.predict_dataloader()) == dict(enumerate(data.tokenizer.encode(texts + texts[:31])))


def test_groups_stay_together(folder):
    data = streams(folder, group_column="group")
    groups = []
    for part in ("train", "validation"):
        stream = data.streams.part(part)
        groups.append({g for file in range(2) for t, _ in stream.blocks(file) for g in t["group"].to_pylist()})
    assert groups[0].isdisjoint(groups[1])
    assert groups[0] | groups[1] == set(range(22))


def test_the_share_of_texts_that_are_cut_is_that_of_the_first(folder, caplog, capsys):
    data = streams(folder, max_length=10)
    with caplog.at_level("INFO"):
        assert max(map(len, read(data.test_dataloader()).values())) == 10
    said = caplog.text + capsys.readouterr().err
    longer = np.mean([len(tokens) > 10 for tokens in data.tokenizer.encode(data.head("test")["text"])])
    assert f"{longer:.1%} of the first 31 texts of test are cut to max_length=10" in said


class Strict(Plain):
    """Refuses one text."""

    def encode(self, rows, first):
        if any(text == "amiss" for text in rows["text"]):
            raise RnnZooError(f"row {first} is amiss")
        return super().encode(rows, first)


def test_a_row_that_is_amiss_is_named_by_its_number(tmp_path):
    texts = [f"a b {k}" for k in range(40)]
    pd.DataFrame({"text": [*texts, "amiss", *texts]}).to_parquet(tmp_path / "a.parquet")
    data = Strict(str(tmp_path / "a.parquet"), batch_size=8, streaming=True, predict_split="all")
    with pytest.raises(RnnZooError, match=r"^row 40 is amiss$"):
        list(data.predict_dataloader())
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "0.parquet")
    data = Strict(str(tmp_path), batch_size=8, streaming=True, split=(0.9, 0.05, 0.05))
    with pytest.raises(RnnZooError, match=r"^row 40 is amiss, in '.*/a.parquet'$"):
        list(data.train_dataloader())


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"batch_size": 500}, "batch_size=500 is larger than the .* batch_size=1.* would do"),
        ({"baseline": True}, "baseline=true needs all rows at once: leave it out, or streaming=true"),
        ({"train_split": "train[:9]"}, "has no split of that name"),
        ({"text_column": "body"}, "text_column='body' is not among the columns"),
    ],
)
def test_a_setting_that_a_stream_cannot_have_is_one_line(folder, settings, wanted):
    with pytest.raises(RnnZooError, match=wanted) as caught:
        streams(folder, **settings).train_dataloader()
    assert "\n" not in str(caught.value)


def test_all_rows_at_once_are_refused_and_a_budget_of_tokens_has_no_effect(folder):
    data = streams(folder, tokens_per_batch=100)
    with pytest.warns(UserWarning, match="tokens_per_batch=100 has no effect: streaming=true makes"):
        data.setup("fit")
    with pytest.raises(RnnZooError, match=r"^streaming=true: the rows of train are never there at once"):
        data.rows("train")


def test_nothing_is_kept(folder, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = streams(folder, cache_dir=str(tmp_path / "cache"))
        list(data.train_dataloader())
    assert {path.suffix for path in Path(tmp_path / "cache").rglob("*") if path.is_file()} <= {".lock"}


# ---- data sets of Python, and lines of text


def test_a_frame_is_a_data_set(texts):
    data = Plain(pd.DataFrame({"text": texts}), batch_size=8, split=(0.6, 0.2, 0.2))
    assert read(data.test_dataloader()) == dict(enumerate(data.tokenizer.encode(data.rows("test")["text"])))
    with pytest.raises(RnnZooError, match="batch_size=90 would do"):
        Plain(pd.DataFrame({"text": texts}), batch_size=500, split=(0.6, 0.2, 0.2)).train_dataloader()
    with pytest.raises(RnnZooError, match="streaming=true needs a name or a path, but dataset=<DataFrame> is there"):
        streams(pd.DataFrame({"text": texts})).setup()


def test_the_lines_of_a_text_file_are_texts(texts, tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(texts))
    for settings in ({}, {"streaming": True}):
        data = Plain(str(tmp_path / "a.txt"), batch_size=8, predict_split="all", **settings)
        assert read(data.predict_dataloader()) == dict(enumerate(data.tokenizer.encode(texts)))


def test_what_is_tokenized_of_a_csv_file_is_kept_by_content(texts, tmp_path):
    counts = []
    for content in (texts, texts, texts[::-1]):
        pd.DataFrame({"text": content}).to_csv(tmp_path / "a.csv", index=False)
        data = Plain(str(tmp_path / "a.csv"), batch_size=8, cache_dir=str(tmp_path / "cache"))
        read(data.train_dataloader())
        counts.append(data.encoded_rows)
    assert counts == [120, 0, 120]

import warnings
from typing import Any, NamedTuple

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from rnnzoo.data.ragged import Ragged
from rnnzoo.data.text_columns import is_text, pick_column
from rnnzoo.data.text_examples import TextExamples
from rnnzoo.data.tokenizers import train
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError

WORDS = [
    "in",
    "the",
    "beginning",
    "God",
    "created",
    "heaven",
    "and",
    "earth",
    "without",
    "form",
    "void",
    "darkness",
    "upon",
    "face",
    "deep",
]


class Batch(NamedTuple):
    tokens: torch.Tensor
    lengths: torch.Tensor
    number: torch.Tensor

    def unanswered(self) -> "Batch":
        return self


class Plain(TextExamples):
    """The texts of a column, and nothing else."""

    def __init__(self, dataset: str, *, text_column: str | None = None, **settings: Any) -> None:
        super().__init__(dataset, **settings)
        self.text_column, self.encoded_rows = text_column, 0

    def columns(self, rows, required):
        return {"text": pick_column(rows, self.text_column, "text_column", is_text, ("text", "sentence"), "text")}

    def texts(self, rows):
        return rows["text"]

    def encode(self, rows, first):
        self.encoded_rows += len(rows["text"])
        return {"tokens": self.tokenizer.encode(rows["text"])}

    def collate(self, columns, number):
        tokens = columns["tokens"]
        return Batch(tokens.padded(), torch.from_numpy(tokens.lengths), torch.from_numpy(number))


@pytest.fixture
def texts():
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(1, 30))) for _ in range(230)]


@pytest.fixture
def parquet(texts, tmp_path):
    pd.DataFrame({"id": range(len(texts)), "text": texts, "group": [k // 7 for k in range(len(texts))]}).to_parquet(
        tmp_path / "texts.parquet"
    )
    return str(tmp_path / "texts.parquet")


def read(loader):
    rows = {}
    for batch in loader:
        for tokens, length, number in zip(*batch, strict=True):
            assert int(number) not in rows
            assert not tokens[length:].any()
            rows[int(number)] = tokens[:length].tolist()
    return rows


def test_every_part_has_its_rows_once_and_each_is_what_the_tokenizer_makes_of_it(parquet, texts, tmp_path):
    data = Plain(parquet, batch_size=8, cache_dir=str(tmp_path / "cache"))
    data.setup("fit")
    seen = []
    for part, loader in (
        ("train", data.train_dataloader()),
        ("validation", data.val_dataloader()),
        ("test", data.test_dataloader()),
    ):
        own = data.rows(part)["text"]
        assert read(loader) == dict(enumerate(data.tokenizer.encode(own)))
        seen += own
    assert sorted(seen) == sorted(texts)
    assert [len(data.rows(part)) for part in ("train", "validation", "test")] == [184, 23, 23]
    assert data.description.vocabulary == data.tokenizer.vocabulary


def test_what_is_tokenized_is_kept_by_content_and_read_again(parquet, tmp_path):
    options = {"batch_size": 8, "cache_dir": str(tmp_path / "cache")}
    first, second, other = Plain(parquet, **options), Plain(parquet, **options), Plain(parquet, max_length=3, **options)
    loaders = [read(data.train_dataloader()) for data in (first, second, other)]
    assert loaders[0] == loaders[1]
    assert (first.encoded_rows, second.encoded_rows, other.encoded_rows) == (184, 0, 184)
    assert loaders[2] == {number: tokens[:3] for number, tokens in loaders[0].items()}
    frame = pd.read_parquet(parquet)
    frame["text"] = [text.upper() for text in frame["text"]]
    frame.to_parquet(parquet)
    assert Plain(parquet, **options).tokenizer.vocabulary != first.tokenizer.vocabulary


def test_a_crop_is_another_piece_in_every_epoch_of_training_alone(parquet, tmp_path):
    data = Plain(parquet, batch_size=8, crop=4, cache_dir=str(tmp_path / "cache"))
    whole = dict(enumerate(data.tokenizer.encode(data.rows("train")["text"])))
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.batch_sampler.set_epoch(epoch)
        epochs.append(read(loader))
    for number, tokens in whole.items():
        for crops in epochs:
            piece = crops[number]
            assert len(piece) == min(4, len(tokens))
            assert any(tokens[k : k + 4] == piece for k in range(len(tokens)))
    assert epochs[0] != epochs[1]
    begins = [epochs[0][n] == t[:4] for n, t in whole.items() if len(t) > 12]
    assert 0 < sum(begins) < len(begins) / 2
    assert max(map(len, read(data.val_dataloader()).values())) > 4


def test_groups_stay_together(parquet, tmp_path):
    data = Plain(parquet, batch_size=8, group_column="group", cache_dir=str(tmp_path / "cache"))
    groups = [set(data.rows(part)["group"]) for part in ("train", "validation", "test")]
    assert all(groups[a].isdisjoint(groups[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_all_rows_come_in_the_order_of_the_data_and_columns_beside_them(parquet, texts, tmp_path):
    data = Plain(parquet, batch_size=8, predict_split="all", cache_dir=str(tmp_path / "cache"))
    data.setup("predict")
    assert read(data.predict_dataloader()) == dict(enumerate(data.tokenizer.encode(texts)))
    assert data.own_columns(["id"], [5, 2]) == {"id": [5, 2]}
    with pytest.raises(RnnZooError, match="has 'idd', which the data have not; did you mean 'id'"):
        data.own_columns(["idd"], [])


def test_the_share_of_texts_that_are_cut_is_said(parquet, tmp_path, caplog, capsys):
    data = Plain(parquet, batch_size=8, max_length=10, cache_dir=str(tmp_path / "cache"))
    with caplog.at_level("INFO"):
        read(data.val_dataloader())
    longer = np.mean([len(tokens) > 10 for tokens in data.tokenizer.encode(data.rows("validation")["text"])])
    assert f"{longer:.1%} of the texts of validation are cut to max_length=10" in caplog.text + capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(parquet, tmp_path, workers):
    data = Plain(parquet, batch_size=8, tokens_per_batch=64, num_workers=workers, cache_dir=str(tmp_path / "cache"))
    loaded = [(batch.number.tolist(), batch.tokens.tolist()) for batch in data.train_dataloader()]
    alone = Plain(parquet, batch_size=8, tokens_per_batch=64, cache_dir=str(tmp_path / "cache"))
    assert loaded == [(batch.number.tolist(), batch.tokens.tolist()) for batch in alone.train_dataloader()]


@pytest.mark.parametrize(
    ("columns", "given", "wanted"),
    [
        ({"a": ["x"], "b": ["y"]}, None, "text_column must be given: a, b all hold text"),
        ({"a": [1]}, None, "no column holds text, for text_column: there are 'a' of int64"),
        ({"a": [1]}, "a", "text_column='a' must hold text, but its type is int64"),
        ({"abc": ["x"]}, "abd", "text_column='abd' is not among the columns; did you mean 'abc'"),
    ],
)
def test_a_column_that_is_not_clear_is_one_line(columns, given, wanted):
    with pytest.raises(RnnZooError, match=wanted):
        pick_column(datasets.Dataset.from_dict(columns), given, "text_column", is_text, ("text",), "text")


def test_a_column_is_found_by_its_usual_name_or_as_the_only_one():
    for columns in ({"text": ["x"], "other": ["y"]}, {"anything": ["x"], "number": [1]}):
        rows = datasets.Dataset.from_dict(columns)
        assert pick_column(rows, None, "text_column", is_text, ("text",), "text") == next(iter(columns))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"crop": 0}, "crop=0 must be at least 1"),
        ({"predict_split": "tset"}, "predict_split='tset' must be"),
        ({"batch_size": 500}, "batch_size=184 would do"),
        ({"train_split": "train[:0]"}, "no rows"),
        ({"tokenizer": "wrods"}, "did you mean 'words'"),
    ],
)
def test_a_wrong_setting_is_one_line(parquet, settings, wanted, tmp_path):
    with pytest.raises(RnnZooError, match=wanted) as caught:
        Plain(parquet, cache_dir=str(tmp_path / "cache"), **settings).train_dataloader()
    assert "\n" not in str(caught.value)


def test_lists_of_different_lengths_are_padded_and_cut():
    ragged = Ragged(np.arange(10, 16), np.array([0, 3, 3, 6]))
    assert ragged.padded(-1).tolist() == [[10, 11, 12], [-1, -1, -1], [13, 14, 15]]
    assert ragged.cut(np.array([1, 0, 0]), 2).padded().tolist() == [[11, 12], [0, 0], [13, 14]]


def test_a_tokenizer_beside_that_of_a_checkpoint_has_no_effect_and_is_named(parquet, tmp_path):
    words = train("words", ["in the beginning"])
    about = Description(vocabulary=words.vocabulary, tokenizer=words.to_json())
    path = tmp_path / "model.ckpt"
    torch.save(
        {"rnnzoo": {"task": "a.Task"}, "state_dict": {}, "hyper_parameters": {"description": about.to_json()}}, path
    )
    data = Plain(parquet, tokenizer="bpe", min_count=2, pretrained=str(path))
    with pytest.warns(UserWarning, match=r"tokenizer='bpe', min_count=2 has no effect: pretrained=.* has a tokenizer"):
        assert data.tokenizer.vocabulary == words.vocabulary
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Plain(parquet, pretrained=str(path)).tokenizer.vocabulary == words.vocabulary

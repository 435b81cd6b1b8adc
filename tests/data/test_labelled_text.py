"""Texts with labels of every kind: which columns are meant, which classes there are, what is wrong with which row."""

import math
import sys

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

from rnnzoo import RnnZooError
from rnnzoo.data import LabelledTextData, TokenTextData
from rnnzoo.tasks import TextClassifier

COUNT = 20
TEXTS = [f"text number {k}" for k in range(COUNT)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))


def saved(tmp_path, columns, features=None, name="saved"):
    rows = Dataset.from_dict(columns, features=features)
    rows.save_to_disk(str(tmp_path / name))
    return str(tmp_path / name)


def made(tmp_path, labels, feature=None, **settings):
    features = None if feature is None else Features({"text": Value("string"), "label": feature})
    dataset = saved(tmp_path, {"text": TEXTS, "label": labels}, features)
    return LabelledTextData(dataset, batch_size=4, split=(0.6, 0.2, 0.2), **settings)


def by_row(data, part):
    """The labels of the batches of a part, by the text they belong to."""
    texts, found = data.rows(part)["text"], {}
    for batch in data.loader(part, training=False):
        for number, label in zip(batch.number.tolist(), batch.labels, strict=True):
            found[texts[number]] = label.tolist()
    return found


@pytest.mark.parametrize(
    ("values", "feature", "names"),
    [
        (["b", "a"], None, ["a", "b"]),
        (["no", "Yes"], Value("large_string"), ["Yes", "no"]),
        ([10, 7], None, ["7", "10"]),
        ([-1, 4], None, ["-1", "4"]),
        ([True, False], None, ["False", "True"]),
        ([2.0, 1.0], None, ["1", "2"]),
        ([2, 0], ClassLabel(names=["low", "middle", "high"]), ["low", "high"]),
    ],
)
def test_labels_of_every_kind_are_ids_from_0_on_and_names_in_the_description(tmp_path, values, feature, names):
    labels = [values[k % 2] for k in range(COUNT)]
    data = made(tmp_path, labels, feature)
    assert data.description.labels == names
    assert data.description.classes == 2
    said = dict(zip(TEXTS, labels, strict=True))
    first = {"low": 0, "high": 2}
    for part in ("train", "validation", "test"):
        found = by_row(data, part)
        assert len(found) == len(data.rows(part))
        for text, k in found.items():
            value = first.get(names[k], names[k])
            assert str(value) == str(int(said[text]) if isinstance(said[text], float) else said[text])


def test_several_labels_a_row_are_of_0_and_1(tmp_path):
    labels = [[["a", "c"], ["b"], [], ["c", "b", "a"]][k % 4] for k in range(COUNT)]
    data = made(tmp_path, labels)
    assert data.description.labels == ["a", "b", "c"]
    assert data.description.several_labels
    wanted = dict(zip(TEXTS, labels, strict=True))
    for part in ("train", "test"):
        for text, row in by_row(data, part).items():
            assert row == [float(name in wanted[text]) for name in "abc"]
    (batch, *_) = data.train_dataloader()
    assert batch.labels.dtype == torch.float32
    assert batch.unanswered().labels.isnan().all()


def test_several_names_of_classes_a_row(tmp_path):
    labels = [[[0, 2], [2]][k % 2] for k in range(COUNT)]
    data = made(tmp_path, labels, Sequence(ClassLabel(names=["x", "y", "z"])))
    assert data.description.labels == ["x", "z"]
    found = by_row(data, "test")
    assert all(row == ([1, 1] if int(text.split()[-1]) % 2 == 0 else [0, 1]) for text, row in found.items())


def test_counts_are_those_of_the_training_part(tmp_path):
    labels = [["a", "b", "b"][k % 3] for k in range(COUNT)]
    data = made(tmp_path, labels)
    train = data.rows("train")["label"]
    assert data.description.label_counts == [train.count("a"), train.count("b")]


def test_batches_are_the_tokens_of_the_texts(tmp_path):
    data = made(tmp_path, [k % 2 for k in range(COUNT)], max_length=3)
    (batch, *_) = data.test_dataloader()
    texts = data.rows("test")["text"]
    for row, number in enumerate(batch.number.tolist()):
        ids = data.tokenizer.encode([texts[number]])[0]
        assert batch.tokens[row, : batch.lengths[row]].tolist() == ids[:3]
    assert data.description.max_length == 3


@pytest.mark.parametrize(
    ("columns", "given", "chosen"),
    [
        (("text", "label"), {}, ("text", "label")),
        (("label", "text"), {}, ("text", "label")),
        (("sentiment", "review"), {}, ("review", "sentiment")),
        (("id", "words", "said"), {"text_column": "words", "label_column": "said"}, ("words", "said")),
        (("kind", "prose"), {"label_column": "kind"}, ("prose", "kind")),
        (("text", "kind"), {}, ("text", "kind")),
        (("label", "text", "title"), {}, ("text", "label")),
        (("category", "label"), {"text_column": "label", "label_column": "category"}, ("label", "category")),
    ],
)
def test_columns_are_found_in_any_order(tmp_path, columns, given, chosen):
    content = {name: [f"{name} {k % 3}" for k in range(COUNT)] for name in columns}
    data = LabelledTextData(saved(tmp_path, content), batch_size=4, **given)
    text, label = chosen
    assert data.columns(data.rows("train"), required=True) == {"text": text, "label": label}
    assert data.description.labels == [f"{label} {k}" for k in range(3)]


def test_a_csv_file_is_read_as_a_saved_data_set_is(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("stars,review\n" + "".join(f'{k % 2 + 4},"good, {k}"\n' for k in range(COUNT)))
    data = LabelledTextData(str(path), label_column="stars", batch_size=4)
    assert data.description.labels == ["4", "5"]
    assert data.columns(data.rows("train"), required=True)["text"] == "review"


@pytest.mark.parametrize(
    ("content", "given", "says"),
    [
        ({"text": TEXTS, "label": ["a"] * COUNT}, {}, "needs two classes or more, but the only one is 'a'"),
        (
            {"text": TEXTS, "label": ["a", "b"] * 9 + ["a", None]},
            {},
            r"row 19 \(the first is row 0\) has no label",
        ),
        ({"text": TEXTS, "label": [0, 1] * 9 + [0, math.nan]}, {}, r"row 19 \(the first is row 0\) has no label"),
        ({"text": TEXTS, "label": [0, 1] * 9 + [0, 1.5]}, {}, r"row 19 .* has the label 1.5: .*names or whole numbers"),
        ({"text": [*TEXTS[:-1], " \n"], "label": [0, 1] * 10}, {}, r"row 19 \(the first is row 0\) has an empty text"),
        ({"text": [*TEXTS[:-1], None], "label": [0, 1] * 10}, {}, r"row 19 \(the first is row 0\) has no text"),
        ({"text": [*range(COUNT)], "label": ["a", "b"] * 10}, {"text_column": "text"}, "must hold text, but .* int64"),
        (
            {"text": [*range(COUNT)], "label": ["a", "b"] * 10},
            {},
            "no column holds text, for text_column: there are 'text' of int64; 'label' is set aside for labels$",
        ),
        ({"label": ["a", "b"] * 10}, {}, "there are no others; 'label' is set aside for labels$"),
        ({"text": TEXTS}, {}, "no column holds labels: the columns are text"),
        ({"text": TEXTS, "x": TEXTS, "y": TEXTS}, {}, "label_column must be given: x, y may all be labels"),
        (
            {"text": TEXTS, "label": TEXTS},
            {"label_column": "lable"},
            r"'lable' is not among the columns; did you mean 'label'\?",
        ),
        ({"text": TEXTS, "label": [{"a": 1}] * COUNT}, {"label_column": "label"}, "must hold labels, but its type is"),
        ({"text": TEXTS, "label": [["a", "b"], ["a", None]] * 10}, {}, r"has a label that is missing, in \['a', None"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_row(tmp_path, content, given, says):
    data = LabelledTextData(saved(tmp_path, content), batch_size=4, **given)
    with pytest.raises(RnnZooError, match=says) as caught:
        data.setup("fit")
    assert "\n" not in str(caught.value)


def test_a_label_that_was_not_seen_in_training_is_known_before_training(tmp_path):
    rows = {
        part: Dataset.from_dict({"text": TEXTS[:8], "label": ["a", "b"] * 3 + last})
        for part, last in {"train": ["a", "b"], "validation": ["a", "a"], "test": ["a", "zebra"]}.items()
    }
    DatasetDict(rows).save_to_disk(str(tmp_path / "three"))
    data = LabelledTextData(str(tmp_path / "three"), batch_size=4)
    with pytest.raises(RnnZooError, match=r"row 7 of test .* has the label 'zebra', which is not among the 2 of tr"):
        data.setup("fit")


@pytest.mark.parametrize("how", ["no column", "-1"])
def test_labels_in_training_alone_are_enough_to_predict_and_too_few_to_evaluate(tmp_path, how):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    rows = {
        part: Dataset.from_dict({"text": TEXTS[:8], "label": [0, 1] * 4}, features=features)
        for part in ("train", "validation")
    }
    without = {"text": TEXTS[:8]} | ({} if how == "no column" else {"label": [-1] * 8})
    rows["test"] = Dataset.from_dict(without, features=None if how == "no column" else features)
    DatasetDict(rows).save_to_disk(str(tmp_path / "three"))
    says = "the test part has no labels" if how == "no column" else r"row 0 of test \(.*\) has no label"
    with pytest.raises(RnnZooError, match=says):
        LabelledTextData(str(tmp_path / "three"), batch_size=4).setup("fit")
    data = LabelledTextData(str(tmp_path / "three"), batch_size=4)
    data.setup("predict")
    (batch, *_) = data.predict_dataloader()
    assert (batch.labels == -100).all()


@pytest.mark.parametrize("several", [False, True])
def test_streamed_rows_have_the_labels_of_the_same_rows(tmp_path, several):
    path = tmp_path / "rows.parquet"
    labels = [[["a"], ["b"], ["a", "b"]][k % 3] if several else "ab"[k % 2] for k in range(300)]
    texts = [f"text number {k}" for k in range(300)]
    Dataset.from_dict({"text": texts, "label": labels}).to_parquet(str(path))
    data = LabelledTextData(str(path), batch_size=4, streaming=True)
    data.setup("fit")
    assert data.description.labels == ["a", "b"]
    ids = {text: k for k, text in enumerate(data.tokenizer.vocabulary)}
    seen = 0
    for batch in data.train_dataloader():
        for tokens, label in zip(batch.tokens, batch.labels, strict=True):
            (k,) = [k for k in range(300) if ids.get(str(k)) == tokens[2]]
            assert label.tolist() == ([float(name in labels[k]) for name in "ab"] if several else "ab".index(labels[k]))
            seen += 1
    assert 200 < seen < 280
    Dataset.from_dict({"text": texts, "label": [*labels[:-30], *[None] * 30]}).to_parquet(str(path))
    with pytest.raises(RnnZooError, match="has no label"):
        LabelledTextData(str(path), batch_size=4, streaming=True, split=(0.98, 0.01, 0.01)).setup("fit")


def test_what_is_kept_of_a_prediction_is_no_evaluation(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    labels = [0, 1] * (COUNT // 2)
    dataset = saved(tmp_path, {"text": TEXTS, "label": labels}, features)
    without = saved(tmp_path, {"text": TEXTS, "label": [-1] * COUNT}, features, "without")
    names = LabelledTextData(dataset, batch_size=4).description
    for stage in ("predict", "test"):
        data = LabelledTextData(without, batch_size=4)
        data._tokenizer = LabelledTextData(dataset, batch_size=4).tokenizer
        data.recall(names)
        data._description = names
        data.setup(stage)
        if stage == "predict":
            assert (next(iter(data.predict_dataloader())).labels == -100).all()
            continue
        with pytest.raises(RnnZooError, match="has no label"):
            data.test_dataloader()


def test_verses_are_split_by_chapter():
    data = LabelledTextData("verses")
    chapters = {part: set(data.rows(part)["chapter"]) for part in ("train", "validation", "test")}
    assert not chapters["train"] & chapters["test"]
    assert not chapters["train"] & chapters["validation"]
    assert sum(map(len, chapters.values())) == 1189


def test_a_language_model_of_the_same_split_reads_the_training_texts_alone():
    """With the same fractions and seed, so that a classifier may start from it."""
    for name, labelled in (("kjv", "verses"), ("news", "news")):
        texts, data = TokenTextData(name, split=(0.8, 0.1, 0.1), split_seed=0), LabelledTextData(labelled)
        for part in ("train", "validation", "test"):
            assert texts.rows(part)["text"] == data.rows(part)["text"]


def test_few_labels_are_drawn_from_the_training_part_by_a_seed_of_their_own(tmp_path):
    labels = [k % 2 for k in range(COUNT)]
    whole = made(tmp_path, labels)
    drawn = [
        made(tmp_path, labels, training_examples=5, training_seed=seed).rows("train")["text"] for seed in (0, 0, 1)
    ]
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) | set(drawn[2]) <= set(whole.rows("train")["text"])
    few = made(tmp_path, labels, training_examples=5)
    for part in ("test", "validation"):
        assert few.rows(part)["text"] == whole.rows(part)["text"]
    assert len(few.encoded("train")) == 5
    assert [TEXTS[few.source_row("train", k)[1]] for k in range(5)] == few.rows("train")["text"][:]
    with pytest.raises(RnnZooError, match="training_examples=13 is more than the 12 rows of training"):
        made(tmp_path, labels, training_examples=13).rows("train")


def test_a_linear_model_on_counts_of_words_stands_beside(tmp_path):
    """By hand: logistic regression by gradient descent on scikit-learn's objective, from TF-IDF by its definition."""
    draw = np.random.default_rng(0)
    words = [f"w{k}" for k in range(12)]
    labels = draw.integers(0, 3, 90)
    texts = [" ".join(draw.choice(words[2 * k : 2 * k + 8], 3)) for k in labels]
    data = LabelledTextData(saved(tmp_path, {"text": texts, "label": labels.tolist()}), batch_size=4)
    figures = data.baselines()
    train, test = data.rows("train"), data.rows("test")

    def counts(rows):
        return np.array([[text.split().count(word) for word in words] for text in rows["text"]], float)

    x = counts(train)
    weights = np.log((1 + len(x)) / (1 + (x > 0).sum(0))) + 1
    x, z = (c * weights / np.linalg.norm(c * weights, axis=1, keepdims=True) for c in (x, counts(test)))
    w = torch.zeros(3, 12, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        logits = torch.from_numpy(x) @ w.T + b
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(train["label"]), reduction="sum")
        loss = loss + w.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    said = (torch.from_numpy(z) @ w.T + b).argmax(1)
    accuracy = (said == torch.tensor(test["label"])).double().mean().item()
    assert figures["TF-IDF with logistic regression: accuracy"] == pytest.approx(accuracy)
    assert 1 / 3 < accuracy < 1
    assert [*figures] == [
        f"{tuned}TF-IDF with logistic regression: {figure}"
        for tuned in ("", "tuned ")
        for figure in ("accuracy", "macro F1")
    ]


def test_the_linear_model_of_several_labels(tmp_path):
    labels = [[["cat"], ["dog"], ["cat", "dog"], []][k % 4] for k in range(80)]
    texts = [" ".join([*names, "and", "so", "on"]) for names in labels]
    data = LabelledTextData(saved(tmp_path, {"text": texts, "label": labels}), batch_size=4)
    figures = data.baselines()
    assert figures["TF-IDF with logistic regression: subset accuracy"] == 1
    assert figures["TF-IDF with logistic regression: micro F1"] == 1


def test_without_scikit_learn_it_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    data = made(tmp_path, [k % 2 for k in range(COUNT)], baseline=True)
    for call in (data.baselines, lambda: data.setup("fit")):
        with pytest.raises(RnnZooError, match=r"data.baseline needs scikit-learn: pip install 'rnnzoo\[text\]'"):
            call()


def test_an_id_is_no_label_of_a_part_without_labels(tmp_path):
    columns = {"text": TEXTS, "id": list(range(COUNT))}
    train = Dataset.from_dict({**columns, "stars": [k % 3 for k in range(COUNT)]})
    DatasetDict({"train": train, "test": Dataset.from_dict(columns)}).save_to_disk(str(tmp_path / "parts"))
    data = LabelledTextData(str(tmp_path / "parts"), label_column="stars", batch_size=4)
    with pytest.raises(RnnZooError, match="the test part has no labels"):
        data.test_dataloader()
    found = Dataset.from_dict({"text": TEXTS, "stars": [k % 3 for k in range(COUNT)]})
    DatasetDict({"train": found, "test": Dataset.from_dict(columns)}).save_to_disk(str(tmp_path / "found"))
    data = LabelledTextData(str(tmp_path / "found"), batch_size=4)
    assert data.description.labels == ["0", "1", "2"]
    with pytest.raises(RnnZooError, match="the test part has no labels: 'stars' is not among the columns text, id"):
        data.test_dataloader()
    data = LabelledTextData(str(tmp_path / "found"), batch_size=4)
    data.setup("predict")
    assert {int(label) for batch in data.predict_dataloader() for label in batch.labels} == {-100}


def test_a_class_that_a_draw_misses_is_a_class(tmp_path):
    labels = ["a", "b"] * 9 + ["c"] * 2  # of which a draw of six, a third, misses one
    every = {f"{part}_split": "train" for part in ("train", "validation", "test")}
    few = made(tmp_path, labels, training_examples=6, **every)
    about = few.description
    assert about.labels == ["a", "b", "c"]
    assert sum(about.more["label_counts"]) == 6
    assert 0 in about.more["label_counts"]
    assert TextClassifier(about, class_weights="balanced").class_weights.isfinite().all()
    assert sum(len(batch.lengths) for batch in few.test_dataloader()) == COUNT

"""The classifier in Python: what padding and neighbours have no effect on, its losses and figures, and plain texts."""

import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import accuracy_score, f1_score
from torch.utils.data import DataLoader

from rnnzoo import Description, RnnZooError
from rnnzoo.data import LabelledTexts
from rnnzoo.data.tokenizers import train as train_tokenizer
from rnnzoo.models.pooling import POOLINGS
from rnnzoo.tasks import LanguageModel, TextClassifier, load_task
from rnnzoo.training.confusion import ConfusionCounts, draw_confusion

pytestmark = pytest.mark.usefixtures("nothing_compiled")

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
TEXTS = ["a b c d e f g a b", "g f e", "c", "a a a a a b b b b c", "d e f g a"]
TOKENIZER = train_tokenizer("words", TEXTS)
LABELS = ["one", "two", "three"]
ONE = Description(
    vocabulary=TOKENIZER.vocabulary,
    tokenizer=TOKENIZER.to_json(),
    classes=3,
    labels=LABELS,
    more={"label_counts": [4, 2, 1]},
)
SEVERAL = Description(
    vocabulary=TOKENIZER.vocabulary,
    tokenizer=TOKENIZER.to_json(),
    classes=3,
    labels=LABELS,
    more={"label_counts": [4, 2, 1], "several_labels": True},
)


def task(about=ONE, **settings) -> TextClassifier:
    torch.manual_seed(0)
    given = {"embedding_size": 5, "hidden_size": 6, "schedule": "constant", "kernel": "reference", **settings}
    return TextClassifier(about, **given).double().eval()


def batch_of(rows: list[list[int]], labels, width: int | None = None, fill: int = 0) -> LabelledTexts:
    tokens = torch.full((len(rows), width or max(map(len, rows))), fill)
    for k, row in enumerate(rows):
        tokens[k, : len(row)] = torch.tensor(row)
    return LabelledTexts(tokens, torch.tensor([*map(len, rows)]), torch.as_tensor(labels), torch.arange(len(rows)))


def rows_of(*lengths: int) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [draw.integers(3, len(TOKENIZER), length).tolist() for length in lengths]


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "janet", "ltc", "phased_lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_neighbours_change_neither_answers_nor_gradients(cell, bidirectional, pooling):
    model = task(cell=cell, bidirectional=bidirectional, pooling=pooling)
    rows, labels = rows_of(7, 1, 4), [0, 2, 1]
    found = []
    for batches in (
        [batch_of([row], [label]) for row, label in zip(rows, labels, strict=True)],  # each alone
        [batch_of(rows, labels)],
        [batch_of(rows, labels, width=11, fill=5)],  # what stands behind the end is no token of theirs
        [batch_of(rows[::-1], labels[::-1], width=9, fill=3)],
    ):
        model.zero_grad()
        logits = torch.cat([model.model(b.tokens, b.lengths) for b in batches])
        if batches[0].tokens.shape[1] == 9:
            logits = logits.flip(0)
        torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="sum").backward()
        found.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    # the same shapes: to the last bit
    wide = [model.model(b.tokens, b.lengths) for b in (batch_of(rows, labels, 11, 5), batch_of(rows, labels, 11, 8))]
    assert torch.equal(*wide)


def test_a_text_is_embedded_read_pooled_and_judged_by_a_linear_head():
    model = task(bidirectional=True, pooling="max")
    (row,) = rows_of(6)
    with torch.no_grad():
        y, _ = model.rnn(model.model.embedding.weight[torch.tensor(row)][None])
    best = [max(float(y[0, t, h]) for t in range(6)) for h in range(12)]
    weight, bias = model.model.head[-1].weight, model.model.head[-1].bias
    expected = [sum(w * b for w, b in zip(weight[c].tolist(), best, strict=True)) + float(bias[c]) for c in range(3)]
    logits = model(torch.tensor([row]), torch.tensor([6]))
    np.testing.assert_allclose(logits[0].tolist(), expected, rtol=1e-5)
    assert logits.dtype == torch.float32


def test_a_hidden_layer_in_the_head():
    model = task(head_size=4, pooling="concat")
    assert [tuple(p.shape) for p in model.model.head.parameters()] == [(4, 18), (4,), (3, 4), (3,)]
    pooled = torch.randn(2, 18, dtype=torch.float64)
    first, second = (model.model.head[k] for k in (1, 4))
    hidden = (pooled @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(model.model.head(pooled), hidden @ second.weight.T + second.bias)


def test_words_are_dropped_everywhere_and_units_at_all_steps():
    model = task(embedding_dropout=0.5, dropout=0.5, locked_dropout=True).train()
    tokens = torch.tensor([[3, 4, 5, 3, 4, 5, 6, 7]]).expand(4, -1)
    x = model.model.dropout(model.model.embedding(tokens))
    assert torch.equal(x[:, 0] == 0, x[:, 3] == 0)  # the same word
    units = (x != 0).any(1)  # of a text
    for t in range(8):
        assert not x[:, t].any() or torch.equal(x[:, t] != 0, units)
    assert not units.all()
    evaluated = task(embedding_dropout=0.5, dropout=0.5, locked_dropout=True)
    assert torch.equal(evaluated(tokens), task()(tokens))


def softmax(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


@pytest.mark.parametrize(
    ("settings", "weights", "smoothing"),
    [
        ({}, [1, 1, 1], 0.0),
        ({"label_smoothing": 0.3}, [1, 1, 1], 0.3),
        ({"class_weights": [2.0, 0.0, 0.5]}, [2, 0, 0.5], 0.0),
        ({"class_weights": "balanced", "label_smoothing": 0.2}, [7 / 12, 7 / 6, 7 / 3], 0.2),
    ],
)
def test_the_loss_is_that_of_scalars_and_evaluation_is_without_smoothing_and_weights(settings, weights, smoothing):
    model = task(**settings)
    rows, labels = rows_of(5, 3, 2, 4), [0, 2, -100, 1]
    batch = batch_of(rows, labels)
    p = [softmax(row) for row in model(batch.tokens, batch.lengths).tolist()]
    smooth, plain = 0.0, 0.0
    for row, label in zip(p, labels, strict=True):
        if label == -100:
            continue
        target = [(1 - smoothing) * (c == label) + smoothing / 3 for c in range(3)]
        smooth += weights[label] * -sum(t * math.log(q) for t, q in zip(target, row, strict=True)) / 3
        plain += -math.log(row[label]) / 3
    judged = model.judge(batch, "train")
    assert judged.loss.item() == pytest.approx(smooth, rel=1e-5)
    assert judged.count == 3
    assert model.judge(batch, "val").loss.item() == pytest.approx(plain, rel=1e-5)


def test_the_loss_of_several_labels_is_that_of_each_by_itself():
    model = task(SEVERAL, label_smoothing=0.2, class_weights=[1.0, 2.0, 3.0])
    labels = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [math.nan] * 3]
    batch = batch_of(rows_of(5, 3, 2), labels)
    logits = model(batch.tokens, batch.lengths).tolist()
    smooth, plain = 0.0, 0.0
    for row, target in zip(logits[:2], labels[:2], strict=True):
        for c in range(3):
            q = 1 / (1 + math.exp(-row[c]))
            t = 0.8 * target[c] + 0.1
            smooth += (c + 1) * -(t * math.log(q) + (1 - t) * math.log(1 - q)) / 6
            plain += -(target[c] * math.log(q) + (1 - target[c]) * math.log(1 - q)) / 6
    assert model.judge(batch, "train").loss.item() == pytest.approx(smooth, rel=1e-5)
    assert model.judge(batch, "val").loss.item() == pytest.approx(plain, rel=1e-5)


def figures_of(model, batches):
    (figures,) = Trainer(**QUIET, enable_checkpointing=False).test(
        model, DataLoader(batches, batch_size=None), verbose=False
    )
    return figures


def test_figures_are_those_of_scikit_learn():
    draw = np.random.default_rng(1)
    rows, labels = rows_of(*draw.integers(1, 9, 40)), draw.integers(0, 3, 40)
    model = task()
    with torch.no_grad():
        everything = batch_of(rows, labels)
        model.model.head[-1].bias -= model(everything.tokens, everything.lengths).mean(0)  # all classes are said
    batches = [batch_of(rows[k : k + 16], labels[k : k + 16]) for k in (0, 16, 32)]
    said = torch.cat([model(b.tokens, b.lengths).argmax(-1) for b in batches]).numpy()
    figures = figures_of(model, batches)
    assert set(said.tolist()) == {0, 1, 2}
    assert figures["test_accuracy"] == pytest.approx(accuracy_score(labels, said))
    assert figures["test_macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    counts = np.zeros((3, 3), int)
    for i, j in zip(labels, said, strict=True):
        counts[i, j] += 1
    np.testing.assert_array_equal(model.confusion.compute().numpy(), counts)


def test_figures_of_several_labels_are_those_of_scikit_learn():
    draw = np.random.default_rng(2)
    rows, labels = rows_of(*draw.integers(1, 9, 30)), draw.integers(0, 2, (30, 3))
    model = task(SEVERAL)
    with torch.no_grad():
        everything = batch_of(rows, labels)
        model.model.head[-1].bias -= model(everything.tokens, everything.lengths).mean(0)
    batches = [batch_of(rows[k : k + 16], labels[k : k + 16].astype(np.float32)) for k in (0, 16)]
    said = torch.cat([(model(b.tokens, b.lengths) > 0).long() for b in batches]).numpy()
    figures = figures_of(model, batches)
    assert figures["test_subset_accuracy"] == pytest.approx(accuracy_score(labels, said))
    for average in ("micro", "macro"):
        assert figures[f"test_{average}_f1"] == pytest.approx(f1_score(labels, said, average=average))
    pairs = sum(np.outer(true, guess) for true, guess in zip(labels, said, strict=True))
    np.testing.assert_array_equal(model.confusion.compute().numpy(), pairs)


def test_predictions_are_the_likeliest_label_and_its_probability_in_any_order_of_the_batch():
    model = task()
    batch = batch_of(rows_of(5, 3), [-100, -100])._replace(number=torch.tensor([7, 2]))
    p = [softmax(row) for row in model(batch.tokens, batch.lengths).tolist()]
    columns = model.describe_predictions({k: v.tolist() for k, v in model.predict_step(batch, 0).items()})
    assert columns["example"] == [7, 2]
    assert columns["label"] == [LABELS[row.index(max(row))] for row in p]
    assert columns["probability"] == pytest.approx([max(row) for row in p])


def test_plain_texts_are_answered_one_by_one_whatever_their_number():
    model = task()
    table = model.predict(TEXTS * 30)
    assert [*table] == ["example", "label", "probability"]
    assert table["example"].tolist() == [*range(150)]
    for k, text in enumerate(TEXTS):
        (ids,) = TOKENIZER.encode([text])
        p = softmax(model(torch.tensor([ids])).tolist()[0])
        assert (table["label"][k::5] == LABELS[p.index(max(p))]).all()
        np.testing.assert_allclose(table["probability"][k::5], max(p), rtol=1e-5)
    assert len(model.predict(TEXTS[0])) == 1


def test_several_labels_of_plain_texts_have_a_column_each():
    model = task(SEVERAL)
    table = model.predict(TEXTS)
    assert [*table] == ["example", "label", *(f"probability of {name}" for name in LABELS)]
    for row in table.itertuples(index=False):
        assert row[1] == ", ".join(name for name, p in zip(LABELS, row[2:], strict=True) if p >= 0.5)


def test_plain_texts_are_cut_as_those_of_the_training():
    more = {**ONE.more, "max_length": 2}
    about = Description(vocabulary=TOKENIZER.vocabulary, tokenizer=TOKENIZER.to_json(), classes=3, more=more)
    model = task(about)
    assert model.predict(["a b"])["probability"][0] == model.predict(["a b c d"])["probability"][0]
    assert model.predict(["a b"])["label"][0] in ("0", "1", "2")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "there are no texts"),
        (["a", ""], "text 1 is empty"),
        (["a", " \n"], "text 1 is empty"),
        ([3], "text 0 must be a text, not a int"),
    ],
)
def test_texts_that_cannot_be_answered_are_one_line(texts, says):
    with pytest.raises(RnnZooError, match=says):
        task().predict(texts)


@pytest.mark.parametrize(
    ("about", "settings", "says"),
    [
        (ONE, {"pooling": "maxx"}, r"pooling 'maxx' is unknown; did you mean 'max'\?"),
        (ONE, {"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), not 1.0"),
        (ONE, {"class_weights": [1.0]}, "class_weights must be 3 numbers, one for each class"),
        (ONE, {"class_weights": [1.0, -1.0, 1.0]}, "none below 0"),
        (ONE, {"class_weights": "equal"}, "must be 'balanced' or a list of numbers, not 'equal'"),
        (ONE, {"head_size": -1}, "head_size must be 0"),
        (Description(vocabulary=["a"], classes=1), {}, "needs two classes or more, not 1"),
        (Description(vocabulary=["a"]), {}, "TextClassifier needs the classes of its data"),
    ],
)
def test_settings_that_cannot_be_are_one_line(about, settings, says):
    with pytest.raises(RnnZooError, match=says):
        task(about, **settings)


def test_a_label_that_the_head_has_no_place_for_is_one_line():
    with pytest.raises(RnnZooError, match="the batch has the label 3, but the head has 3 classes, one a text"):
        task().judge(batch_of(rows_of(2), [3]), "train")
    with pytest.raises(RnnZooError, match="labels of 4 classes, several a text, but the head has 3 classes, several"):
        task(SEVERAL).judge(batch_of(rows_of(2), [[1.0, 0, 0, 0]]), "train")


def test_a_batch_that_counts_for_nothing_has_no_gradient():
    for about, labels in ((ONE, [0, 1]), (SEVERAL, [[0.0, 1, 1], [1.0, 0, 0]])):
        model = task(about)
        judged = model.judge(batch_of(rows_of(4, 2), labels).unanswered(), "train")
        judged.loss.backward()
        assert judged.loss == 0
        assert judged.count == 0
        assert not any(p.grad.any() for p in model.parameters())


def test_a_checkpoint_alone_answers_texts(tmp_path):
    model = task(cell="gru")
    trainer = Trainer(**QUIET, max_steps=1, default_root_dir=tmp_path)
    trainer.fit(model, DataLoader([batch_of(rows_of(4, 2), [0, 1])], batch_size=None))
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    again = load_task(tmp_path / "some.ckpt")
    assert again.labels == LABELS
    expected = model.float().predict(TEXTS)
    table = again.predict(TEXTS)
    assert table["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(table["probability"], expected["probability"], rtol=1e-5)


def test_counts_add_up_over_batches_and_the_picture_has_them(tmp_path):
    counts = ConfusionCounts(3)
    eye = torch.eye(3)
    counts.update(eye[[0, 1, 1]], eye[[0, 1, 2]])
    counts.update(eye[[1]], eye[[2]])
    assert counts.compute().tolist() == [[1, 0, 0], [0, 1, 0], [0, 2, 0]]
    draw_confusion(counts.compute().numpy(), ["a", "b", "a label of a length that no picture has"], tmp_path / "c.png")
    from PIL import Image

    with Image.open(tmp_path / "c.png") as picture:
        assert min(picture.size) > 400


def written(model, path) -> str:
    trainer = Trainer(**QUIET, max_steps=0, enable_checkpointing=False)
    trainer.fit(model, DataLoader([batch_of(rows_of(4, 2), [0, 1])], batch_size=None))
    trainer.save_checkpoint(path)
    return str(path)


@pytest.mark.parametrize("dropped", [(0.5, 0.0), (0.0, 0.5)])
def test_layers_come_from_a_language_model_whether_it_or_this_drops_weights(tmp_path, dropped, capsys):
    characters = Description(vocabulary=["x", *TOKENIZER.vocabulary[3:]])
    other = LanguageModel(characters, embedding_size=5, hidden_size=6, weight_drop=dropped[0], schedule="constant")
    path = written(other, tmp_path / "language.ckpt")
    model = task(weight_drop=dropped[1], pretrained=path)
    capsys.readouterr()
    for k, token in enumerate(TOKENIZER.vocabulary):
        row = other.model.embedding.weight[characters.vocabulary.index(token)] if k > 2 else None
        if row is not None:
            torch.testing.assert_close(model.model.embedding.weight[k].float(), row)
    for mine, theirs in zip(model.rnn._cells[0], other.rnn._cells[0], strict=True):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            torch.testing.assert_close(getattr(mine, name).float(), getattr(theirs.eval(), name))


def test_a_classifier_of_other_labels_gives_all_but_the_rows_of_its_labels(tmp_path, capsys):
    other = task(head_size=4)
    path = written(other.float(), tmp_path / "other.ckpt")
    for labels, same in ((["x", "y", "z"], False), (LABELS, True)):
        about = Description(vocabulary=TOKENIZER.vocabulary, classes=3, labels=labels)
        torch.manual_seed(1)
        model = TextClassifier(about, embedding_size=5, hidden_size=6, head_size=4, pretrained=path)
        assert torch.equal(model.model.head[1].weight, other.model.head[1].weight)
        assert torch.equal(model.model.head[-1].weight, other.model.head[-1].weight) == same
        assert ("model.head.4" in capsys.readouterr().out) != same

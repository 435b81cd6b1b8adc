"""The tagger: its losses and figures beside loops, what padding and neighbours change (nothing), its predictions."""

from itertools import pairwise, product

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

import rnnzoo
from rnnzoo import RnnZooError
from rnnzoo.data.tokenizers import UNKNOWN
from rnnzoo.data.words import TaggedBatch, whole_words
from rnnzoo.description import Description
from rnnzoo.tasks import Tagger

pytestmark = pytest.mark.usefixtures("nothing_compiled")

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
SENTENCES = [["Ben", "geldim"], ["Onlar", "eve", "geldiler", "mi", "?"], ["evde"], ["mi", "mi", "Ben"]]
LABELS = ["O", "B-A", "I-A"]


def description(labels=LABELS, scheme="BIO") -> Description:
    words = {"Ben": 3, "geldim": 2, "eve": 5, "mi": 4, "?": 1}
    tokenizer = whole_words(words, None, 2, False)
    return Description(
        vocabulary=tokenizer.vocabulary,
        tokenizer=tokenizer.to_json(),
        labels=labels,
        more={"characters": [UNKNOWN, *"Bengldimrv"], "scheme": scheme},
    )


def task(crf=True, about=None, **settings) -> Tagger:
    torch.manual_seed(0)
    given = {"hidden_size": 6, "embedding_size": 5, "character_size": 4, "character_hidden_size": 3, "crf": crf}
    given |= {"bidirectional": True, "schedule": "constant", **settings}
    model = Tagger(about or description(), **given).double().eval()
    if model.crf is not None and "pretrained" not in settings:
        for parameter in model.crf.parameters():
            torch.nn.init.normal_(parameter)
    return model


def tagged(model: Tagger, sentences=SENTENCES, seed=1) -> TaggedBatch:
    """Those sentences with tags that are drawn."""
    batch, draw = model.batch_of(sentences), torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(model.labels), batch.tags.shape, generator=draw)
    inside = torch.arange(batch.tags.shape[1]) < batch.lengths[:, None]
    return batch._replace(tags=drawn.where(inside, -100))


def part(batch: TaggedBatch, b: int) -> TaggedBatch:
    """One sentence of a batch, by itself and without padding."""
    n, at = int(batch.lengths[b]), slice(b, b + 1)
    different, which = batch.which[at, :n].unique(return_inverse=True)
    spelt = batch.spelt[different]
    return TaggedBatch(
        words=batch.words[at, :n],
        characters=batch.characters[different, : int(spelt.max())],
        spelt=spelt,
        which=which,
        tags=batch.tags[at, :n],
        lengths=batch.lengths[at],
        number=batch.number[at],
    )


@pytest.mark.parametrize("crf", [False, True])
def test_the_loss_is_the_log_probability_of_the_tags_by_the_word(crf):
    model = task(crf)
    batch = tagged(model)
    scores, nats = model(batch), []
    for b, n in enumerate(batch.lengths.tolist()):
        right = tuple(batch.tags[b, :n].tolist())
        if crf:
            paths = list(product(range(3), repeat=n))
            totals = torch.stack([score_of(model.crf, scores[b], path) for path in paths])
            nats.append(-totals.log_softmax(0)[paths.index(right)])
        else:
            nats += [-scores[b, t].log_softmax(-1)[k] for t, k in enumerate(right)]
    judged, expected = model.judge(batch, "train"), torch.stack(nats).sum() / 11
    torch.testing.assert_close(judged.loss, expected)
    assert judged.count == 11
    parameters = list(model.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(judged.loss, parameters, retain_graph=True), torch.autograd.grad(expected, parameters),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def score_of(crf, scores, path):
    border = crf.start[path[0]] + crf.end[path[-1]] + sum(scores[t, k] for t, k in enumerate(path))
    return border + sum((crf.transitions[i, j] for i, j in pairwise(path)), torch.tensor(0.0))


@pytest.mark.parametrize("cell", ["lstm", "mingru", "janet", "ltc"])
@pytest.mark.parametrize("crf", [False, True])
def test_padding_and_neighbours_change_nothing(cell, crf):
    model = task(crf, cell=cell)
    batch = tagged(model)
    alone = [part(batch, b) for b in range(len(SENTENCES))]
    whole, each = model.judge(batch, "val"), [model.judge(one, "val") for one in alone]
    scores = model(batch)
    for b, one in enumerate(alone):
        n = int(one.lengths[0])
        torch.testing.assert_close(scores[b, :n], model(one)[0], rtol=1e-12, atol=1e-13)
        assert whole.answers[0][b, :n].tolist() == each[b].answers[0][0].tolist()
    total = sum(one.loss * one.count for one in each)
    torch.testing.assert_close(whole.loss * whole.count, total, rtol=1e-12, atol=1e-13)
    grads = [torch.autograd.grad(value, list(model.parameters())) for value in (whole.loss * whole.count, total)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("crf", [False, True])
def test_what_lies_in_the_padding_has_no_effect(crf):
    model = task(crf)
    batch = tagged(model)
    behind = torch.arange(batch.words.shape[1]) >= batch.lengths[:, None]
    other = batch._replace(
        words=batch.words.masked_fill(behind, 4),
        which=batch.which.masked_fill(behind, 2),
        characters=batch.characters.masked_fill(torch.arange(batch.characters.shape[1]) >= batch.spelt[:, None], 7),
    )
    losses = [model.judge(one, "train").loss for one in (batch, other)]
    assert losses[0] == losses[1]
    grads = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0)


@pytest.mark.parametrize("crf", [False, True])
def test_sentences_without_tags_count_for_nothing(crf):
    model = task(crf)
    batch = tagged(model)
    mixed = batch._replace(tags=batch.tags.clone())
    mixed.tags[[0, 3]] = -100
    expected = [model.judge(part(batch, b), "train") for b in (1, 2)]
    judged = model.judge(mixed, "train")
    assert judged.count == 6
    torch.testing.assert_close(judged.loss * 6, sum(one.loss * one.count for one in expected))
    nothing = model.judge(batch.unanswered(), "train")
    assert (nothing.loss, nothing.count) == (0, 0)
    assert all((g == 0).all() for g in torch.autograd.grad(nothing.loss, list(model.parameters())))


def test_the_tags_of_a_crf_are_the_best_sequence_that_the_scheme_has():
    model = task()
    batch = tagged(model)
    scores, tags = model(batch), model.judge(batch, "val").answers[0]
    for b, n in enumerate(batch.lengths.tolist()):
        may = [p for p in product(range(3), repeat=n) if not any(j == 2 and i == 0 for i, j in pairwise((0, *p)))]
        best = max(may, key=lambda path: score_of(model.crf, scores[b], path).item())
        assert tuple(tags[b, :n].tolist()) == best


@pytest.mark.parametrize("crf", [False, True])
def test_figures_are_those_counted_by_hand(crf):
    model = task(crf)
    batches = [tagged(model, SENTENCES[:3], 2), tagged(model, SENTENCES[3:], 3)]
    right = spans = 0
    for batch in batches:
        tags = model.tags(model(batch), batch.lengths)
        right += int((tags == batch.tags).sum())
        spans += sum("B-A" in [LABELS[k] for k in row.tolist() if k >= 0] for row in batch.tags)
    assert spans  # or the figures below would be of nothing
    (figures,) = Trainer(**QUIET, enable_checkpointing=False, precision="64-true").test(
        model, DataLoader(batches, batch_size=None), verbose=False
    )
    assert figures["test_accuracy"] == pytest.approx(right / 11)
    precision, recall = figures["test_span_precision"], figures["test_span_recall"]
    both = 2 * precision * recall / (precision + recall) if precision else 0
    assert figures["test_span_f1"] == pytest.approx(both)
    lines = model.reached(figures)
    assert [line.split(":")[0] for line in lines] == [
        "held-out accuracy", "held-out span F1", "held-out span precision", "held-out span recall",
    ]  # fmt: skip


def test_tags_that_mark_no_spans_have_an_accuracy_alone():
    model = task(about=description(["X", "Y"], None))
    assert list(model.metrics()) == ["accuracy"]
    assert not model.crf.forbidden.any()
    assert model.reached({"test_accuracy": 0.25, "test_loss": 1.0}) == ["held-out accuracy: 0.2500"]


@pytest.mark.parametrize("crf", [False, True])
def test_predictions_have_a_row_a_word(crf):
    model = task(crf)
    frame = model.predict(SENTENCES)
    assert list(frame) == ["sentence", "token", "tag"]
    assert frame.token.tolist() == [word for sentence in SENTENCES for word in sentence]
    assert frame.sentence.tolist() == [0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 3]
    assert set(frame.tag) <= set(LABELS)
    for k, sentence in enumerate(SENTENCES):
        assert model.predict([sentence]).tag.tolist() == frame.tag[frame.sentence == k].tolist()
    texts = model.predict([" Ben  geldim", "Onlar eve geldiler mi ?"])
    assert texts.tag.tolist() == frame.tag[:7].tolist()
    assert model.predict("Ben geldim").tag.tolist() == frame.tag[:2].tolist()


@pytest.mark.parametrize("inputs", [[], [[]], ["  "], [["a", 3]], [None]])
def test_what_has_no_words_is_one_line(inputs):
    with pytest.raises(RnnZooError, match=r"no sentences to predict for|must be a list of words, or a text"):
        task().predict(inputs)


@pytest.mark.parametrize("crf", [False, True])
def test_a_checkpoint_alone_predicts(crf, tmp_path):
    model = task(crf, cell="gru", character_cell="mingru", num_layers=2).float()
    trainer = Trainer(**QUIET, max_steps=1, default_root_dir=tmp_path)
    batch = tagged(model)
    trainer.fit(model, DataLoader([batch], batch_size=None))
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    again = rnnzoo.load(tmp_path / "some.ckpt")
    assert again.predict(SENTENCES).equals(model.predict(SENTENCES))
    torch.testing.assert_close(again(batch), model.eval()(batch))
    assert again.labels == LABELS


def test_with_other_tags_the_layers_of_another_tagger_are_kept_and_its_head_is_not(tmp_path):
    model = task().float()
    trainer = Trainer(**QUIET, max_steps=1, default_root_dir=tmp_path)
    trainer.fit(model, DataLoader([tagged(model)], batch_size=None))
    trainer.save_checkpoint(path := tmp_path / "some.ckpt")
    old = model.state_dict()
    for labels in (LABELS, ["O", "B-B", "I-B"]):  # as many
        new = task(about=description(labels), pretrained=str(path), learning_rate=0.1).state_dict()
        for name, weight in old.items():
            same = torch.equal(new[name].float(), weight)
            assert same == (labels == LABELS or name not in Tagger.by_label), name


def test_unknown_words_are_read_through_their_characters():
    for size, equal in ((4, False), (0, True)):
        model = task(character_size=size)
        a, b = (model(model.batch_of([[word, "mi"]])) for word in ("geldiler", "Onlar"))
        assert torch.equal(a, b) == equal


def test_a_word_that_is_too_long_keeps_its_beginning_and_its_end():
    model = task()
    long = "geldim" * 30
    batch = model.batch_of([[long]])
    assert batch.spelt.tolist() == [64]
    characters = [model.description.characters[k] for k in batch.characters[0].tolist()]
    assert "".join(characters) == long[:32] + long[-32:]


@pytest.mark.parametrize("cell", ["slstm", "gru_d", "s5", "rhn", "phased_lstm"])
def test_any_cell_reads_words_and_characters(cell):
    model = task(cell=cell)
    loss = model.judge(tagged(model), "train").loss
    loss.backward()
    assert loss.isfinite()
    assert model.model.words.character_embedding.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"embedding_size": 0}, "embedding_size"),
        ({"character_size": -1}, "character_size"),
        ({"character_hidden_size": 0}, "character_hidden_size"),
        ({"word_dropout": 1.0}, "word_dropout must be a probability"),
        ({"character_cell": "lsmt"}, "did you mean 'lstm'"),
    ],
)
def test_settings_that_cannot_be_are_errors(settings, says):
    with pytest.raises(RnnZooError, match=says):
        task(**settings)


def test_data_without_tags_are_refused_by_what_they_lack():
    with pytest.raises(RnnZooError, match="Tagger needs the labels and the characters of its data"):
        Tagger(Description(vocabulary=["a"], source="CharTextData"))

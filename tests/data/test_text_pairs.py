"""Pairs of texts of any data set: columns, tokenizers, what is copied, and what is wrong with a row."""

import json

import pytest
import torch
from datasets import Dataset

from rnnzoo import RnnZooError
from rnnzoo.data import TextPairData
from rnnzoo.data.pairs import PairTokenizer
from rnnzoo.data.tokenizers import train
from rnnzoo.models.copying import log_probabilities
from rnnzoo.models.encoder_decoder import Decoded

ROWS = [(f"the dog number {k} ran to Zor{k}", f"der hund nummer {k} lief nach Zor{k}") for k in range(40)]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))

    def write(name="pairs.tsv", rows=ROWS, header=("en", "de")):
        path = tmp_path / name
        if name.endswith(".jsonl"):
            lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
        else:
            between = "\t" if name.endswith(".tsv") else ","
            lines = [between.join(map(str, row)) for row in (header, *rows)]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def all_pairs(data, part="train"):
    data.setup("fit")
    found = {}
    for batch in data.loader(part, training=False):
        for k, number in enumerate(batch.number.tolist()):
            found[number] = (batch.texts[k], batch.references[k][0])
    return [found[k] for k in sorted(found)]


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.csv", "pairs.jsonl"])
def test_files_of_all_kinds_give_the_pairs_of_their_rows(table, name):
    data = TextPairData(table(name), split=(0.5, 0.25, 0.25), batch_size=7)
    parts = [all_pairs(data, part) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [20, 10, 10]
    assert sorted(pair for part in parts for pair in part) == sorted(ROWS)


def test_columns_are_found_by_their_names_or_as_the_only_two(table):
    for header, given in (
        (("en", "de"), {}),
        (("target", "source"), {}),
        (("a", "b"), {"source_column": "b"}),
        (("a", "b"), {"target_column": "a"}),
        (("a", "b"), {"source_column": "b", "target_column": "a"}),
    ):
        data = TextPairData(table(header=header), **given)
        turned = given or header[0] == "target"
        expected = ROWS[0] if not turned else ROWS[0][::-1]
        found = data._source_and_target(data.rows("all"), required=True)
        row = data.rows("all")[0]
        assert (row[found["source"]], row[found["target"]]) == expected


def test_three_columns_of_text_must_be_named(table):
    path = table(rows=[(*row, "x") for row in ROWS], header=("en", "de", "note"))
    with pytest.raises(RnnZooError, match="source_column must be given: en, de, note all hold text"):
        _ = TextPairData(path).description
    with pytest.raises(RnnZooError, match="target_column must be given: de, note all hold text"):
        _ = TextPairData(path, source_column="en").description
    with pytest.raises(RnnZooError, match=r"source_column='fr' is not among the columns"):
        _ = TextPairData(path, source_column="fr", target_column="de").description
    with pytest.raises(RnnZooError, match="source_column and target_column are both 'en'"):
        _ = TextPairData(path, source_column="en", target_column="en").description


def test_one_tokenizer_for_both_sides_or_one_for_each(table):
    shared = TextPairData(table()).description
    assert shared.tokenizer == shared.target_tokenizer
    assert {"dog", "hund"} <= set(shared.vocabulary)
    own = TextPairData(table(), target_tokenizer="characters", target_vocabulary_size=12).description
    assert "dog" in own.vocabulary
    assert "hund" not in own.vocabulary
    assert len(own.target_vocabulary) == 12


def test_a_tokenizer_of_the_target_may_be_a_saved_one(table, tmp_path):
    saved = train("words", ["lief nach hund der nummer"])
    path = tmp_path / "tokenizer.json"
    path.write_text(saved.backend.to_str())
    data = TextPairData(table(), target_tokenizer=str(path))
    assert data.description.target_vocabulary == saved.vocabulary


def test_batches_end_every_text_and_pad_by_lengths_alone(table):
    data = TextPairData(table(rows=[("a b c d", "x"), ("a", "y z"), *ROWS]), split=(0.6, 0.2, 0.2), batch_size=4)
    data.setup("fit")
    end = data.pair.end
    for batch in data.loader("train", training=False):
        for k, length in enumerate(batch.lengths.tolist()):
            assert batch.source[k, length - 1] == end
            assert (batch.source[k, length:] == 0).all()
            targets = batch.targets[k][batch.targets[k] >= 0]
            assert targets[-1] == end
            assert (batch.targets[k, len(targets) :] == -100).all()
        assert (batch.unanswered().targets == -100).all()
        assert torch.equal(batch.unanswered().source, batch.source)


def test_what_the_target_lacks_is_copied_by_ids_of_its_own():
    """ "Zor7" is known to neither side, "dog" to the source alone, "ran" to both."""
    pair = PairTokenizer(train("words", ["dog ran far"]), train("words", ["hund ran weit"]))
    V = len(pair.target)
    (source,) = pair.sources(["dog Zor7 ran Zor7 dog Zor8"])
    assert source.words == ["dog", "Zor7", "Zor8"]
    place = pair.target.vocabulary.index("ran")
    assert source.copies == [V, V + 1, place, V + 1, V, V + 2]
    (target,) = pair.targets(["weit Zor8 dog Zor9 ran"], [source])
    known = pair.target.vocabulary.index
    assert target == [known("weit"), V + 2, V, pair.target.unknown, known("ran")]
    assert pair.text(target[:3], source.words) == "weit Zor8 dog"
    assert pair.text([V], source.words) == "dog"


def test_copied_words_are_lower_case_where_all_text_is():
    made = train("words", ["dog ran"], lowercase=True)
    pair = PairTokenizer(made, made)
    (source,) = pair.sources(["DOG Zor"])
    assert source.words == ["zor"]
    assert pair.targets(["ZOR dog"], [source]) == [[len(made), made.vocabulary.index("dog")]]


def test_ids_of_copies_are_what_the_gate_adds_up(table):
    """Of a batch, a model that only copies from the third source token gives that token all of the probability."""
    data = TextPairData(table(), target_tokenizer="words", target_vocabulary_size=8, batch_size=8)
    data.setup("fit")
    batch = next(iter(data.loader("train", training=False)))
    V, (B, S) = len(data.pair.target), batch.source.shape
    weights = torch.zeros(B, S)
    weights[:, 2] = 1
    extra = int(batch.copies.max()) + 1 - V
    assert extra > 0
    log_p = log_probabilities(Decoded(torch.randn(B, V), weights, torch.full((B,), -100.0)), batch.copies, extra)
    assert log_p.argmax(-1).tolist() == batch.copies[:, 2].tolist()


def test_rows_of_one_source_are_one_example_with_several_right_answers(table):
    rows = [(f"w{k % 12}", f"t{k}") for k in range(36)]
    path = table(rows=rows)
    data = TextPairData(path, several_targets=True, split=(0.5, 0.25, 0.25), batch_size=2)
    data.setup("fit")
    known = {word: {t for w, t in rows if w == word} for word, _ in rows}
    seen: set[str] = set()
    for part, words in (("validation", 3), ("test", 3)):
        answers = {
            text: set(references)
            for batch in data.loader(part, training=False)
            for text, references in zip(batch.texts, batch.references, strict=True)
        }
        assert len(answers) == words
        assert answers == {word: known[word] for word in answers}
        assert not seen & set(answers)
        seen |= set(answers)
    assert len(all_pairs(data)) == 18
    assert not seen & {source for source, _ in all_pairs(data)}


def test_what_is_predicted_needs_no_target(table, tmp_path):
    data = TextPairData(
        table(rows=[(row[0],) for row in ROWS], header=("en",)), predict_split="all", source_column="en"
    )
    trained = TextPairData(table("train.tsv"))
    data._tokenizer, data._description = trained.tokenizer, trained.description
    data.setup("predict")
    assert sum(len(batch.texts) for batch in data.predict_dataloader()) == len(ROWS)


@pytest.mark.parametrize("target", ["shared", "characters"])
def test_streamed_pairs_are_those_of_the_file(table, target):
    path = table("pairs.jsonl")
    data = TextPairData(path, streaming=True, target_tokenizer=target, split=(0.6, 0.2, 0.2), batch_size=4)
    found = [pair for part in ("train", "validation", "test") for pair in all_pairs(data, part)]
    assert sorted(found) == sorted(ROWS)
    whole = TextPairData(
        path, target_tokenizer=target, train_split="train", validation_split="train", test_split="train"
    )
    batch = next(iter(data.loader("train", training=False)))
    for k, text in enumerate(batch.texts):
        (source,) = data.pair.sources([text])
        assert batch.source[k, : batch.lengths[k] - 1].tolist() == source.tokens
    assert set(data.description.target_vocabulary) <= set(whole.description.target_vocabulary)


def test_translations_are_split_by_chapter():
    data = TextPairData("translation", split=(0.8, 0.1, 0.1))
    chapters = [set(data.rows(part)["chapter"]) for part in ("train", "validation", "test")]
    assert not chapters[0] & chapters[1]
    assert not chapters[0] & chapters[2]
    assert sum(map(len, chapters)) == 1189


def test_copying_the_source_is_scored_as_sacrebleu_does(table):
    import sacrebleu

    rows = [("the lord said to them all", "the lord said to him"), ("a b c d e f", "a b c d e g")] * 20
    data = TextPairData(table(rows=rows), split=(0.5, 0.25, 0.25))
    test = data.rows("test")
    expected = sacrebleu.corpus_bleu(test["en"], [test["de"]]).score
    assert data.baselines()["BLEU of copying the source"] == pytest.approx(expected)


def test_what_has_no_effect_is_said_and_what_cannot_go_together_is_refused(table):
    data = TextPairData(table(), several_targets=True)
    with pytest.warns(UserWarning, match="baseline=true has no effect with several_targets=true"):
        assert data.baselines() == {}
    with pytest.raises(RnnZooError, match="several_targets=true puts rows together"):
        TextPairData(table(), several_targets=True, streaming=True)


def test_a_row_without_a_text_is_one_line_with_its_number():
    for bad, what in ((None, "nothing"), ("", "an empty text"), ("  ", "an empty text")):
        for role in ("source", "target"):
            columns = {"source": ["a b"] * 9, "target": ["c d"] * 9}
            columns[role][4] = bad
            data = TextPairData("given")
            data._splits = {name: Dataset.from_dict(columns) for name in ("train", "validation", "test")}
            data.setup("fit")
            says = rf"dataset='given': row 4 of train \(the first is row 0\) has {what} as its {role}"
            with pytest.raises(RnnZooError, match=says):
                data.encoded("train")


@pytest.mark.parametrize("several", [True, False])
def test_the_number_of_a_row_is_that_of_the_data_set_where_parts_are_drawn_and_rows_put_together(several):
    sources = [f"word {k // 2}" for k in range(60)]
    rows = Dataset.from_dict({"source": sources, "target": [f"t {k}" for k in range(60)]})
    data = TextPairData("given", several_targets=several)
    data._splits = {"train": rows}
    data.setup("fit")
    for part in ("validation", "test"):
        for k, source in enumerate(data.rows(part)["source"]):
            split, row = data.source_row(part, k)
            assert (split, sources[row]) == ("train", source)
            assert not several or row % 2 == 0


def test_columns_of_numbers_are_one_line(table):
    path = table(rows=[(k, f"t{k}") for k in range(20)])
    with pytest.raises(RnnZooError, match=r"source_column='en' must hold text, but its type is int64"):
        _ = TextPairData(path, source_column="en", target_column="de").description
    with pytest.raises(RnnZooError, match="crop=5 would cut a source apart from its target"):
        TextPairData(path, crop=5)

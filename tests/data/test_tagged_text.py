"""Sentences with tags: any layout in, numbers out, and one line for what is wrong with a row."""

from itertools import chain

import datasets
import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.data import TaggedTextData

SENTENCES = [
    ["the", "cat", "sat"],
    ["the", "dog", "ran", "far", "away"],
    ["a", "cat"],
    ["dogs", "sat", "on", "the", "mat"],
    ["cats", "ran"],
    ["the", "mat", "sat", "on", "a", "dog"],
]
WHICH = {"the": "DET", "a": "DET", "on": "ADP", "sat": "VERB", "ran": "VERB", "far": "ADV", "away": "ADV"}
TAGS = [[WHICH.get(word, "NOUN") for word in sentence] for sentence in SENTENCES]
NAMES = ["VERB", "NOUN", "DET", "ADV", "ADP"]
SPLIT = {"split": (0.5, 0.25, 0.25), "batch_size": 2}


def saved(tmp_path, folder="saved", features=None, splits=None, **columns) -> str:
    """A folder as save_to_disk writes it, with the same rows in every split."""
    kinds = None if features is None else datasets.Features(features)
    rows = datasets.Dataset.from_dict(columns, features=kinds)
    made = rows if splits is None else datasets.DatasetDict(dict.fromkeys(splits, rows))
    made.save_to_disk(str(tmp_path / folder))
    return str(tmp_path / folder)


def complete(tmp_path, **settings) -> TaggedTextData:
    path = saved(tmp_path, splits=("train", "validation", "test"), tokens=SENTENCES, tags=TAGS)
    return TaggedTextData(path, **{"batch_size": 2, **settings})


def complaint(data: TaggedTextData, stage: str = "fit") -> str:
    with pytest.raises(RnnZooError) as error:
        data.setup(stage)
    assert "\n" not in str(error.value)
    return str(error.value)


def read_back(data: TaggedTextData, batch) -> list[tuple[list[str], list[str], list[str]]]:
    """Of each sentence of a batch: the words, how they are spelt, and the tags, as far as these are known."""
    vocabulary, found = data.description.vocabulary, []
    for b, length in enumerate(batch.lengths.tolist()):
        words = [vocabulary[k] for k in batch.words[b, :length].tolist()]
        places = batch.which[b, :length].tolist()
        spelt = ["".join(data.characters[k] for k in batch.characters[u, : batch.spelt[u]].tolist()) for u in places]
        tags = [data.labels[k] if k >= 0 else "" for k in batch.tags[b, :length].tolist()]
        assert (batch.tags[b, length:] == -100).all()
        found.append((words, spelt, tags))
    return found


def test_every_sentence_comes_with_its_words_their_characters_and_its_tags(tmp_path):
    data = complete(tmp_path, min_count=1)
    data.setup("fit")
    batches = list(data.test_dataloader())
    numbers = torch.cat([batch.number for batch in batches]).tolist()
    assert sorted(numbers) == list(range(len(SENTENCES)))
    whole = chain.from_iterable(read_back(data, batch) for batch in batches)
    for number, (words, spelt, tags) in zip(numbers, whole, strict=True):
        assert words == SENTENCES[number]
        assert tags == TAGS[number]
        known = ["".join(c if c in data.characters else "<unk>" for c in word) for word in SENTENCES[number]]
        assert spelt == known
    assert "w" not in data.characters  # occurs once


def test_a_word_of_a_batch_is_spelt_once_however_often_it_occurs(tmp_path):
    data = complete(tmp_path, batch_size=6)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert len(batch.characters) == len({word for sentence in SENTENCES for word in sentence})
    same = {
        int(batch.which[b, t]) for b in range(6) for t in range(6) if "the" in SENTENCES[batch.number[b]][t : t + 1]
    }
    assert len(same) == 1


def test_words_that_are_rare_in_training_are_unknown_and_a_lower_case_vocabulary_keeps_the_spelling(tmp_path):
    path = saved(tmp_path, tokens=[["The", "the", "Cat"]] * 4, tags=[["X", "X", "Y"]] * 4)
    data = TaggedTextData(path, lowercase=True, min_count=3, **SPLIT)
    assert data.description.vocabulary == ["<unk>", "<s>", "</s>", "the"]
    data.setup("test")
    ((words, spelt, _),) = read_back(data, next(iter(data.test_dataloader())))
    assert words == ["the", "the", "<unk>"]
    assert spelt == ["The", "the", "Cat"]


def test_the_description_says_what_a_tagger_needs(tmp_path):
    about = complete(tmp_path).description
    assert about.labels == sorted(NAMES)
    assert about.classes == 5
    assert about.characters[0] == "<unk>"
    assert "scheme" not in about.known
    spans = saved(tmp_path, "spans", tokens=SENTENCES, tags=[["B-A"] + ["O"] * (len(s) - 1) for s in SENTENCES])
    assert TaggedTextData(spans, **SPLIT).description.scheme == "BIO"


def layouts(tmp_path):
    ids = [[NAMES.index(tag) for tag in tags] for tags in TAGS]
    ones = datasets.Sequence(datasets.ClassLabel(names=NAMES))
    words = datasets.Sequence(datasets.Value("string"))
    text = [" ".join(sentence) for sentence in SENTENCES]
    numbers = list(map(str, range(6)))
    features = {"id": datasets.Value("string"), "tokens": words, "pos_tags": ones, "ner_tags": ones}
    conll_2003 = saved(tmp_path, "conll2003", features, id=numbers, tokens=SENTENCES, pos_tags=ids, ner_tags=ids[::-1])
    return [
        (conll_2003, {"tag_column": "pos_tags"}, NAMES),
        (saved(tmp_path, "strings", name=text, b=TAGS, a=SENTENCES), {"text_column": "a"}, sorted(NAMES)),
        (saved(tmp_path, "text", text=text, tags=[" ".join(t) for t in TAGS]), {}, sorted(NAMES)),
        (saved(tmp_path, "w", w=SENTENCES, t=ids), {}, ["0", "1", "2", "3", "4"]),
    ]


@pytest.mark.parametrize("k", range(4))
def test_any_layout_of_words_and_tags_is_read(tmp_path, k):
    path, given, names = layouts(tmp_path)[k]
    data = TaggedTextData(path, **given, **SPLIT, min_count=1)
    data.setup("fit")
    assert data.labels == names
    found = [one for batch in data.train_dataloader() for one in read_back(data, batch)]
    assert len(found) == 3
    for words, _, tags in found:
        wanted = TAGS[SENTENCES.index(words)]
        assert tags == ([str(NAMES.index(tag)) for tag in wanted] if names[0] == "0" else wanted)


def test_a_layout_of_a_hub_with_files_of_parquet_is_read(tmp_path):
    ones = datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER", "I-PER"]))
    kinds = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": ones})
    folder = tmp_path / "hub"
    for split in ("train", "validation", "test"):
        rows = {"tokens": [["Ada", "Lovelace", "came"], ["He", "ran"]] * 3, "ner_tags": [[1, 2, 0], [0, 0]] * 3}
        part = datasets.Dataset.from_dict(rows, features=kinds)
        (folder / "data").mkdir(parents=True, exist_ok=True)
        part.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    names = "".join(f"            '{k}': {name}\n" for k, name in enumerate(("O", "B-PER", "I-PER")))
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: tokens\n    sequence: string\n  - name: ner_tags\n"
        f"    sequence:\n      class_label:\n        names:\n{names}---\n"
    )
    data = TaggedTextData(str(folder), batch_size=2)
    data.setup("fit")
    assert data.labels == ["O", "B-PER", "I-PER"]
    assert data.scheme == "BIO"
    assert len(data.encoded("test")) == 6


def conllu(sentences, tags) -> str:
    lines = []
    for words, own in zip(sentences, tags, strict=True):
        lines += [
            "\t".join([str(k), word, "_", tag, *"______"])
            for k, (word, tag) in enumerate(zip(words, own, strict=True), 1)
        ]
        lines.append("")
    return "\n".join([*lines, ""])


def test_a_folder_of_treebank_files_has_its_own_splits(write, tmp_path):
    for split, rows in (("train", slice(0, 4)), ("dev", slice(4, 5)), ("test", slice(5, 6))):
        write(f"bank/en_x-ud-{split}.conllu", conllu(SENTENCES[rows], TAGS[rows]))
    write("bank/README.md", "A treebank.\n")
    data = TaggedTextData(str(tmp_path / "bank"), batch_size=2, tag_column="upos")
    data.setup("fit")
    assert data.rows("validation")["tokens"][:] == SENTENCES[4:5]
    assert data.rows("test")["upos"][:] == TAGS[5:]


def test_a_file_of_conll_u_is_split_and_needs_no_names_of_columns(write):
    data = TaggedTextData(write("some.conllu", conllu(SENTENCES, TAGS)), **SPLIT)
    data.setup("fit")
    assert sorted(data.rows("all")["tokens"][:]) == sorted(SENTENCES)
    assert len(data.encoded("train")) == 3


def test_a_broken_line_of_a_file_is_one_line_with_its_number(write):
    broken = conllu(SENTENCES, TAGS).replace("4\ton\t", "4 on\t")
    assert "line 26 has 9 fields" in complaint(TaggedTextData(write("some.conllu", broken), **SPLIT))


def test_the_treebank_of_the_package_has_all_its_tokens():
    pytest.importorskip("turkish_treebanks")
    data = TaggedTextData()
    rows = data.rows("all")
    assert len(rows) == 4851
    assert sum(map(len, rows["tokens"])) == 81_370
    assert rows[0]["tokens"] == ["Burda", "da", "öylemi", "yoksa", "kiloyla", "mı", "?"]
    assert {tag for tags in rows["upos"] for tag in tags} == {
        tag for tags in data.rows("train")["upos"] for tag in tags
    }


def test_to_predict_no_tags_are_needed_and_the_words_come_with_the_batch(tmp_path):
    trained, data = complete(tmp_path), TaggedTextData(saved(tmp_path, "bare", tokens=SENTENCES), predict_split="all")
    data._tokenizer, data._description, data._stage = trained.tokenizer, trained.description, "predict"
    data.recall(trained.description)
    batch = next(iter(data.predict_dataloader()))
    assert batch.forms == [SENTENCES[k] for k in batch.number.tolist()]
    assert (batch.tags == -100).all()


def test_longer_sentences_are_cut_with_their_characters(tmp_path):
    data = complete(tmp_path, max_length=2, min_count=1)
    data.setup("test")
    for batch in data.test_dataloader():
        for number, (words, spelt, tags) in zip(batch.number.tolist(), read_back(data, batch), strict=True):
            assert words == SENTENCES[number][:2]
            assert tags == TAGS[number][:2]
            assert len(spelt) == 2


def test_a_random_piece_of_a_sentence_keeps_its_tags_and_characters(tmp_path):
    data = complete(tmp_path, crop=2, min_count=1)
    data.setup("fit")
    starts = set()
    for batch in chain.from_iterable(data.train_dataloader() for _ in range(3)):
        for number, (words, spelt, tags) in zip(batch.number.tolist(), read_back(data, batch), strict=True):
            whole = SENTENCES[number]
            start = next(k for k in range(len(whole)) if whole[k : k + 2] == words)
            assert tags == TAGS[number][start : start + 2]
            assert [len(one) for one in words] == [len(one.replace("<unk>", "?")) for one in spelt]
            starts.add(start)
    assert len(starts) > 1


def with_row(k, column, value):
    rows = {"tokens": [list(s) for s in SENTENCES], "tags": [list(t) for t in TAGS]}
    rows[column][k] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (with_row(3, "tags", ["NOUN", "VERB"]), "row 3 of train (the first is row 0) has 2 tags for 5 words"),
        (with_row(2, "tags", None), "row 2 of train (the first is row 0) has no tags"),
        (with_row(2, "tags", ["DET", None]), "row 2 of train (the first is row 0) has no tag for word 1, 'cat'"),
        (with_row(4, "tokens", []), "row 4 of train (the first is row 0) has an empty sentence"),
        (with_row(4, "tokens", None), "row 4 of train (the first is row 0) has no words"),
        (
            with_row(4, "tokens", ["cats", None]),
            "row 4 of train (the first is row 0) has nothing in the place of word 1",
        ),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path, rows, says):
    path = saved(tmp_path, splits=("train", "validation", "test"), **rows)
    assert says in complaint(TaggedTextData(path, batch_size=2))


def test_the_row_is_that_of_the_data_set_where_parts_are_drawn(tmp_path):
    path = saved(tmp_path, **with_row(3, "tags", ["NOUN"]))
    assert "row 3 (the first is row 0) has 1 tags for 5 words" in complaint(TaggedTextData(path, **SPLIT))


@pytest.mark.parametrize("wrong", ["DTE", ""])
def test_a_tag_that_training_has_not_is_named_with_the_row(tmp_path, wrong):
    rows = datasets.Dataset.from_dict({"tokens": SENTENCES, "tags": TAGS})
    other = datasets.Dataset.from_dict(with_row(2, "tags", [wrong, "NOUN"]))
    datasets.DatasetDict(train=rows, validation=rows, test=other).save_to_disk(str(tmp_path / "set"))
    says = complaint(TaggedTextData(str(tmp_path / "set"), batch_size=2))
    assert f"row 2 of test (the first is row 0) has the tag {wrong!r}, which is not among the 5 of training" in says
    assert ("did you mean 'DET'?" in says) == (wrong != "")


@pytest.mark.parametrize(
    ("columns", "given", "says"),
    [
        (
            {"tokens": SENTENCES, "score": [1.5] * 6},
            {},
            "no column holds tags, for tag_column: there are 'score' of float64",
        ),
        ({"tokens": SENTENCES, "score": [1.5] * 6}, {"tag_column": "score"}, "tag_column='score' must hold tags"),
        ({"tokens": [1] * 6, "tags": TAGS}, {"text_column": "tokens"}, "text_column='tokens' must hold lists of words"),
        ({"tokens": SENTENCES, "tags": TAGS}, {"tag_column": "tag"}, "did you mean 'tags'?"),
        ({"t": SENTENCES, "n": [[1] * 2 for s in SENTENCES], "m": [[2] for s in SENTENCES]}, {}, "n, m all hold tags"),
        ({"tokens": [["a"]] * 6, "tags": [[k - 100] for k in range(6)]}, {}, "has no tag for word 0, 'a'"),
        ({"tokens": SENTENCES}, {}, "no column holds tags, for tag_column: tokens is the only one"),
        ({"x": [1] * 6, "y": [2.0] * 6}, {}, "no column holds lists of words, or text"),
        ({"tokens": SENTENCES, "tags": [["X"] * len(s) for s in SENTENCES]}, {}, "but the only one is 'X'"),
        ({"tokens": SENTENCES, "a": TAGS, "b": TAGS}, {}, "tag_column must be given: a, b all hold tags"),
    ],
)
def test_columns_that_cannot_be_meant_are_one_line(tmp_path, columns, given, says):
    assert says in complaint(TaggedTextData(saved(tmp_path, **columns), **given, **SPLIT))


def test_labels_of_training_alone_are_enough_to_predict_and_not_to_test(tmp_path):
    train = datasets.Dataset.from_dict({"tokens": SENTENCES, "tags": TAGS})
    bare = datasets.Dataset.from_dict({"tokens": SENTENCES})
    datasets.DatasetDict(train=train, validation=bare, test=bare).save_to_disk(str(tmp_path / "set"))
    assert "no column holds tags" in complaint(TaggedTextData(str(tmp_path / "set"), batch_size=2))


def parquet(tmp_path, **columns) -> str:
    """A folder with the same rows in a file of Parquet for every split."""
    rows = datasets.Dataset.from_dict(columns)
    for split in ("train", "validation", "test"):
        rows.to_parquet(str(tmp_path / "files" / f"{split}-00000-of-00001.parquet"))
    return str(tmp_path / "files")


def test_streamed_sentences_are_those_that_are_read_at_once(tmp_path):
    path = parquet(tmp_path, tokens=SENTENCES, tags=TAGS)
    found = []
    for streaming in (False, True):
        data = TaggedTextData(path, streaming=streaming, batch_size=2, min_count=1)
        data.setup("fit")
        for loader in (data.train_dataloader(), data.test_dataloader()):
            batches = list(loader)
            found.append(sorted(chain.from_iterable(read_back(data, batch) for batch in batches)))
        assert data.description.labels == sorted(NAMES)
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert len(found[1]) == 6


def test_a_row_of_a_stream_that_is_wrong_is_named(tmp_path):
    data = TaggedTextData(parquet(tmp_path, **with_row(3, "tags", ["NOUN"])), streaming=True, batch_size=2)
    data.setup("fit")
    with pytest.raises(RnnZooError, match=r"row 3 of test \(the first is row 0\) has 1 tags for 5 words"):
        list(data.test_dataloader())

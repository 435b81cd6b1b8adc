import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rnnzoo.data.tokenizers import KINDS, from_json, of_characters, read_tokenizer, tokenizer_of, train
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError

TEXTS = ["In the beginning God created the heaven\nand the earth.", "and the evening and the morning: don't, won’t"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_tokenizer_is_the_same_behind_its_json(kind):
    made = train(kind, TEXTS, 300 if kind in ("bpe", "bytes") else 60 if kind == "unigram" else None)
    again = from_json(made.to_json())
    assert again.vocabulary == made.vocabulary
    assert made.vocabulary[:3] == ["<unk>", "<s>", "</s>"]
    assert (made.unknown, made.begin, made.end) == (again.unknown, again.begin, again.end) == (0, 1, 2)
    assert again.encode(TEXTS) == made.encode(TEXTS)
    assert again.kind == kind


@pytest.mark.parametrize("kind", ["characters", "bytes", "bpe"])
def test_characters_and_bytes_give_back_the_text_exactly(kind):
    made = train(kind, TEXTS)
    for text in TEXTS:
        assert made.decode(made.encode([text])[0]) == text
    if kind != "characters":
        assert made.decode(made.encode(["ж日\x00"])[0]) == "ж日\x00"


def test_words_are_runs_of_letters_single_marks_and_line_ends_by_falling_frequency():
    made = train("words", TEXTS)
    assert [made.vocabulary[k] for k in made.encode([TEXTS[1] + "\n"])[0]] == [
        *(["and", "the", "evening", "and", "the", "morning", ":", "don't", ",", "won’t"]),
        "\n",
    ]
    assert made.vocabulary[3] == "the"
    assert made.encode(["the zebra"]) == [[3, made.unknown]]
    assert "In" not in train("words", TEXTS, lowercase=True).vocabulary
    assert train("words", TEXTS, 5).vocabulary[3:] == ["the", "and"]
    assert set(train("words", TEXTS, min_count=2).vocabulary[3:]) == {"the", "and"}


def test_a_saved_tokenizer_of_others_is_read_from_a_file_and_from_a_folder(tmp_path):
    other = Tokenizer(models.WordLevel({"[UNK]": 0, "b": 2, "a": 1}, unk_token="[UNK]"))
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    other.enable_padding(length=9)
    other.enable_truncation(max_length=1)
    other.save(str(tmp_path / "tokenizer.json"))
    for name in (tmp_path, tmp_path / "tokenizer.json"):
        read = read_tokenizer(str(name))
        assert read.encode(["b a c"]) == [[2, 1, 0]]  # neither padded nor cut
        assert (read.kind, read.unknown, read.begin) == ("saved", 0, None)


def test_a_vocabulary_of_characters_has_one_more_for_what_is_unknown():
    known = of_characters(["b", "a", "\n"])
    assert known.encode(["ab\nc"]) == [[1, 0, 2, 3]]
    assert tokenizer_of(Description(vocabulary=["b", "a", "\n"])).encode(["ab\nc"]) == [[1, 0, 2, 3]]
    assert tokenizer_of(Description(tokenizer=train("words", TEXTS).to_json())).kind == "words"
    with pytest.raises(RnnZooError, match="there is no tokenizer"):
        tokenizer_of(Description(classes=3))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("word", "did you mean 'words'"),
        ("./nowhere", "no such tokenizer"),
        ("nowhere/tokenizer.json", "no such tokenizer"),
    ],
)
def test_a_tokenizer_that_is_not_there_is_one_line(name, wanted):
    with pytest.raises(RnnZooError, match=wanted) as caught:
        read_tokenizer(name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_tokenizer_is_one_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(RnnZooError, match="cannot be read"):
        read_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "texts", "size", "wanted"),
    [
        ("wrds", TEXTS, None, "tokenizer 'wrds' is unknown; did you mean 'words'"),
        ("words", ["", " "], None, "no token"),
        ("bpe", TEXTS, 2, "vocabulary_size=2 must be above 3"),
    ],
)
def test_what_cannot_be_trained_is_an_error(kind, texts, size, wanted):
    with pytest.raises(RnnZooError, match=wanted):
        train(kind, texts, size)

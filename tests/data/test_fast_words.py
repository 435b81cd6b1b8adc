"""Words by Python's regular expressions are those of `tokenizers`."""

import random
import re
import sys

import pytest
from tokenizers import Regex, pre_tokenizers

from rnnzoo.data.fast_words import ALIKE, WORD, FastWords
from rnnzoo.data.tokenizers import from_json, of_characters, train

WORDS = ["don't", "it's", "'tis", "rock’n’roll", "Été", "ÉTÉ", "мир", "ẞ", "x_1", "3.14", "–", "€5", "a", "<", "unk"]


def mixed(count, seed=0):
    draw = random.Random(seed)
    return "".join(draw.choice(WORDS) + draw.choice([" ", "  ", "\n", "\t", "", "'"]) for _ in range(count))


@pytest.fixture(params=[True, False], ids=["lowercase", "as it is"])
def tokenizer(request):
    return train("words", [mixed(400)], lowercase=request.param)


def by_backend(tokenizer, text):
    return tokenizer.backend.encode(text, add_special_tokens=False).ids


def test_every_character_that_is_said_to_be_taken_alike_is():
    split = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    alike, word, of_ascii = re.compile(f"[{ALIKE}]"), re.compile(WORD), re.compile(WORD, re.ASCII)
    assert all(alike.match(letter) for letter in map(chr, range(32, 127)))
    for a in filter(alike.match, map(chr, range(sys.maxunicode + 1))):
        text = f"x{a}y {a} {a}{a}'z '{a} {a}'"
        for given in (text, text.replace("'", "’")):
            pieces = [piece for piece, _ in split.pre_tokenize_str(given)]
            assert pieces == (of_ascii if given.isascii() else word).findall(given), hex(ord(a))


def test_the_ids_are_those_of_tokenizers(tokenizer):
    fast = FastWords(tokenizer.backend)
    for seed in range(40):
        text = mixed(30, seed)
        assert fast.encode(text)[3:9] == by_backend(tokenizer, text)[3:9]
        assert fast.encode(text)[:] == by_backend(tokenizer, text)
        assert tokenizer.encode([text, "", text[:5]]) == [by_backend(tokenizer, t) for t in (text, "", text[:5])]


def test_the_first_ids_are_those_of_the_whole_text_wherever_it_is_cut(tokenizer):
    fast = FastWords(tokenizer.backend)
    for seed in range(10):
        text = mixed(60, seed)
        whole = by_backend(tokenizer, text)
        for most in range(1, len(whole) + 2):
            found = fast.encode(text, most)[:]
            assert found == whole[: len(found)]
            assert len(found) >= min(most, len(whole))
    long = "word" * 500 + " and more"  # whose beginning has no whole word
    assert fast.encode(long, 3)[:] == by_backend(tokenizer, long)


@pytest.mark.parametrize(
    "text",
    ["a <unk> b", "a </s>", "e\u0301te\u0301", "ΟΔΟΣ", "İ", "中文", "a\x1cb", "a<s>b", "क्षत्रिय"],
)
def test_a_text_that_may_be_taken_otherwise_is_left_to_tokenizers(tokenizer, text):
    if text != "İ":  # which is taken alike where it stays as it is
        assert FastWords(tokenizer.backend).encode(text) is None
    assert tokenizer.encode([text, "it's"]) == [by_backend(tokenizer, t) for t in (text, "it's")]
    longer = f"{text} {'a ' * 40}"
    assert tokenizer.encode([longer], most=2)[0][:2] == by_backend(tokenizer, longer)[:2]


def test_a_mark_behind_the_beginning_that_is_looked_at_is_seen(tokenizer):
    for spaces in range(20):
        text = f"a b{' ' * spaces}</s>{' c' * 30}"
        found = tokenizer.encode([text], most=3)[0]
        assert found == by_backend(tokenizer, text)[: len(found)]
        assert len(found) >= 3


def test_other_kinds_are_left_to_tokenizers():
    for other in (train("characters", ["abc"]), train("bpe", ["abc abc"], 300), of_characters("abc")):
        with pytest.raises(ValueError, match="no tokenizer of words"):
            FastWords(other.backend)
    backward = from_json(train("words", ["a b c"]).to_json().replace('"kind"', '"backward": true, "kind"'))
    assert backward.encode(["a b c"], most=1) == [by_backend(backward, "a b c")[::-1]]

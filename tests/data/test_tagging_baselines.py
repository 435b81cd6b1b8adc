"""What taggers are compared with, beside counts by hand."""

import pytest

from rnnzoo.data.baselines.tagging import crf_suite, features, most_frequent, tagging_baselines

TRAIN = (
    [["a", "run"], ["the", "run"], ["they", "run", "a", "run"], ["a", "hat"]],
    [["DET", "NOUN"], ["DET", "NOUN"], ["PRON", "VERB", "DET", "VERB"], ["DET", "NOUN"]],
)


def test_the_most_frequent_tag_is_that_of_the_word_and_of_all_for_an_unknown_word():
    assert most_frequent(TRAIN, [["they", "run", "hat"], ["cat", "a"]]) == [["PRON", "NOUN", "NOUN"], ["DET", "DET"]]


def test_a_crf_reads_endings_and_neighbours():
    pytest.importorskip("sklearn_crfsuite")
    stems = ["wal", "tal", "jum", "loo", "coo", "bar"]
    train = (
        [["we", f"{s}ked"] for s in stems] + [["a", f"{s}ker"] for s in stems],
        [["P", "V"]] * 6 + [["D", "N"]] * 6,
    )
    assert crf_suite(train, [["we", "hiked"], ["a", "hiker"]]) == [["P", "V"], ["D", "N"]]


def test_features_of_a_word_say_how_it_ends_and_what_stands_beside_it():
    first, second = features(["Evde", "2"])
    assert (first["word"], first["ending 2"], first["beginning 3"], first["title"]) == ("evde", "de", "evd", True)
    assert (first["1:word"], first["1:digit"], first["-1:none"], first["2:none"]) == ("2", True, True, True)
    assert (second["-1:word"], second["-1:ending"], second["digit"]) == ("evde", "vde", True)


def test_figures_are_accuracies_and_for_spans_their_f1():
    pytest.importorskip("sklearn_crfsuite")
    train = ([["Ada", "met", "Bob", "Lee"]] * 5, [["B-P", "O", "B-P", "I-P"]] * 5)
    test = ([["Ada", "met", "Cem", "Lee"]], [["B-P", "O", "B-P", "I-P"]])
    figures = tagging_baselines(train, test, ["B-P", "I-P", "O"], "BIO")
    frequent = "most frequent tag of each word"
    assert figures[f"{frequent}: accuracy"] == 1.0  # of what is unknown B-P is the most frequent
    assert figures[f"{frequent}: span F1"] == 1.0
    other = ([["Ada", "met", "met", "Lee"]], test[1])
    figures = tagging_baselines(train, other, ["B-P", "I-P", "O"], "BIO")
    assert figures[f"{frequent}: accuracy"] == 0.75
    assert figures[f"{frequent}: span F1"] == pytest.approx(2 * 1 / (2 + 2))  # Ada is right, Lee alone is not met Lee
    assert set(figures) == {
        f"{whose}: {what}"
        for what in ("accuracy", "span F1")
        for whose in ("most frequent tag of each word", "CRF with hand-made features (sklearn-crfsuite)")
    }

"""How a language model writes: greedily, at random, by beams; to a stop; from several prompts; and the text of it."""

import itertools
import math

import pytest
import torch

from rnnzoo import Description, RnnZooError
from rnnzoo.data.tokenizers import train
from rnnzoo.tasks import LanguageModel
from rnnzoo.tasks.generation import sample
from rnnzoo.tasks.written import Tokens, Written

pytestmark = pytest.mark.usefixtures("nothing_compiled")

LETTERS = list("abcd")
TEXT = ["In the beginning God created the heaven (and the earth).\n", "And God said, Let there be light: naïve 日本.\n"]


def model(letters=LETTERS, **options) -> LanguageModel:
    torch.manual_seed(4)
    lm = LanguageModel(letters, **{"embedding_size": 5, "hidden_size": 6, **options}).double().eval()
    with torch.no_grad():
        for p in lm.parameters():
            p.normal_()  # surer of itself than a new one
        lm.model.head.bias.zero_()  # and not of the same whatever it read
    return lm


def word_model(kind="words", size=None, **options) -> LanguageModel:
    tokenizer = train(kind, TEXT * 3, size)
    about = Description(vocabulary=tokenizer.vocabulary, tokenizer=tokenizer.to_json(), more={"characters": 30})
    return model(about, **options)


def log_p(lm, prompt: list[int], made: list[int]) -> float:
    """Of what goes on from a prompt, by reading it whole; tokens that are never written are left out."""
    with torch.no_grad():
        logits, _ = lm(torch.tensor([prompt + made])[:, :-1])
    total = 0.0
    for t, token in enumerate(made, len(prompt) - 1):
        row = {k: float(v) for k, v in enumerate(logits[0, t]) if k not in lm.text.unwritten}
        total += row[token] - math.log(sum(math.exp(v) for v in row.values()))
    return total


# ---- choosing


def test_a_temperature_of_zero_takes_the_likeliest_of_each_row():
    logits = torch.tensor([[0.0, 1.0, 0.5], [3.0, 1.0, 0.5]])
    assert sample(logits, 0, 1.0, None).tolist() == [1, 0]


def test_top_k_draws_each_of_the_k_likeliest_and_no_other_even_of_equals():
    logits = torch.tensor([[0.2, 1.0, 0.3, 1.0, -0.5]])
    drawn = {int(sample(logits, 1.0, 1.0, None, 3)) for _ in range(300)}
    assert drawn == {1, 2, 3}
    equal = {int(sample(torch.zeros(1, 6), 1.0, 1.0, None, 2)) for _ in range(300)}
    assert len(equal) == 2


def test_top_p_counts_among_what_top_k_left():
    logits = torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log()  # of the two likeliest the first has 0.625
    assert {int(sample(logits, 1.0, 0.6, None, 2)) for _ in range(200)} == {0}
    assert {int(sample(logits, 1.0, 0.6, None)) for _ in range(200)} == {0, 1}


def test_each_row_may_have_random_numbers_of_its_own():
    logits = torch.randn(1, 50).repeat(3, 1)
    generators = [torch.Generator().manual_seed(s) for s in (5, 6, 5)]
    drawn = [sample(logits, 1.0, 1.0, generators).tolist() for _ in range(10)]
    assert all(a == c for a, _, c in drawn)
    assert any(a != b for a, b, _ in drawn)


# ---- beams


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru"])
@pytest.mark.parametrize("hidden_size", [6, [6, 5]], ids=["alike", "layers that differ"])
def test_a_beam_that_drops_nothing_finds_the_likeliest_of_all_continuations(cell, hidden_size):
    lm, length = model(cell=cell, hidden_size=hidden_size, num_layers=1 if hidden_size == 6 else 2), 4
    prompt = [0, 2, 1]
    best = max(itertools.product(range(4), repeat=length), key=lambda made: log_p(lm, prompt, list(made)))
    found = lm.generate("acb", length, beam=4**length)
    assert found == "".join(LETTERS[k] for k in best)
    assert lm.generate("acb", length, beam=1) == lm.generate("acb", length, temperature=0)


def test_a_wider_beam_finds_nothing_less_likely_than_the_greedy_text():
    better = 0
    for seed in range(6):
        torch.manual_seed(seed)
        lm = model()
        with torch.no_grad():
            for p in lm.parameters():
                p.normal_()
            lm.model.head.bias.zero_()
        scores = [
            log_p(lm, [0], lm.text.encode(lm.generate("a", 6, beam=beam), "text").tolist()) for beam in (1, 4, 4**6)
        ]
        assert scores[2] >= max(scores[:2]) - 1e-9
        better += scores[2] > scores[0] + 1e-6
    assert better


def test_beams_of_words_never_write_what_stands_for_no_text_and_count_without_it():
    lm = word_model()
    words = [k for k in range(len(lm.text.names)) if k not in lm.text.unwritten]
    (prompt,) = lm.text.tokenizer.encode(["In the"])
    best = max(itertools.product(words, repeat=2), key=lambda made: log_p(lm, prompt, list(made)))
    made = Written(lm.text, prompt)
    assert lm.generate("In the", 2, beam=1000) == "".join([*map(made.push, best), made.close()])


def test_a_beam_that_meets_a_stop_is_put_aside_and_judged_by_its_mean():
    lm, length = model(), 3
    prompt = [0]

    def texts():
        for made in itertools.product(range(4), repeat=length):
            stop = next((k for k, token in enumerate(made) if LETTERS[token] == "c"), None)
            yield made if stop is None else made[: stop + 1]

    best = max(set(texts()), key=lambda made: log_p(lm, prompt, list(made)) / len(made))
    expected = "".join(LETTERS[k] for k in best).removesuffix("c")
    assert lm.generate("a", length, beam=200, stop="c") == expected


# ---- texts


@pytest.mark.parametrize("cell", ["lstm", "gru", "phased_lstm"])
def test_prompts_of_different_lengths_are_each_gone_on_with_as_if_alone(cell):
    lm = model(cell=cell)
    prompts = ["a", "bcadb", "ddc", "a"]
    for settings in ({"temperature": 0}, {"seed": 3}, {"seed": 3, "top_k": 2}, {"beam": 3}):
        texts = lm.generate(prompts, 12, **settings)
        assert texts == [lm.generate(prompt, 12, **settings) for prompt in prompts]
        assert texts[0] == texts[3]
        assert len({*texts}) > 1


def test_a_seed_gives_the_same_text_and_the_pieces_of_a_stream_are_that_text():
    lm = word_model()
    texts = {seed: lm.generate("And God", 15, seed=seed) for seed in (1, 2, 3)}
    assert len({*texts.values()}) == 3
    for seed, text in texts.items():
        pieces = list(lm.stream("And God", 15, seed=seed))
        assert "".join(pieces) == text == lm.generate("And God", 15, seed=seed)
        assert len(pieces) == 15


@pytest.mark.parametrize("kind", ["words", "bpe", "unigram", "characters", "bytes"])
def test_what_is_written_is_the_text_of_its_tokens(kind):
    text = Tokens(train(kind, TEXT * 3, {"bpe": 280, "unigram": 60}.get(kind)))
    (ids,) = text.tokenizer.encode(["".join(TEXT)])
    for begin in (1, 4, len(ids) - 1):
        written = Written(text, ids[:begin])
        pieces = [written.push(k) for k in ids[begin:]]
        assert text.decode(ids[:begin]) + "".join(pieces) + written.close() == "".join(TEXT)
        assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces)


@pytest.mark.parametrize("stop", [("God created",), ("tion", "en (a"), (").\nAnd",), ("d created", "God created")])
@pytest.mark.parametrize("kind", ["words", "bpe", "characters", "bytes"])
def test_a_stop_that_lies_across_tokens_is_found_and_nothing_of_it_is_written(kind, stop):
    text = Tokens(train(kind, TEXT * 3, {"bpe": 280}.get(kind)))
    (ids,) = text.tokenizer.encode(["".join(TEXT)])
    written, out = Written(text, ids[:2], stop), ""
    whole = "".join(TEXT)[len(text.decode(ids[:2])) :]
    ends = min(whole.index(one) for one in stop if one in whole)
    for token in ids[2:]:
        if not written.ended:
            out += written.push(token)
            assert whole[:ends].startswith(out)
    assert written.ended
    assert out + written.close() == whole[:ends]


def test_a_beginning_of_a_stop_that_does_not_come_is_written_in_the_end():
    lm = model()
    text = lm.generate("a", 9, temperature=0)
    assert lm.generate("a", 9, temperature=0, stop=text[-2:] + "abcd") == text


def test_a_prompt_without_a_token_is_named():
    with pytest.raises(RnnZooError, match=r"^prompt ' ' has no token of this model's, words$"):
        word_model().generate(" ", 3)


def test_a_word_that_is_not_known_is_read_and_never_written():
    lm = word_model()
    assert 0 in lm.text.encode("xyzzy", "prompt").tolist()
    for seed in range(20):
        tokens = lm.text.encode(lm.generate("And xyzzy", 8, seed=seed), "text").tolist()
        assert not set(tokens) & {*lm.text.unwritten}

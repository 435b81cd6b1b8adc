"""Beam search against all targets that there are, and against taking the most likely token."""

import itertools
import math

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.models.beam_search import beam_search, rows_of
from rnnzoo.models.copying import log_probabilities
from rnnzoo.models.decoding import decode
from rnnzoo.models.encoder_decoder import EncoderDecoder

BEGIN, END, V, LIMIT = 1, 2, 4, 4


def table(B, seed=0):
    """A model by a table: log-probabilities by (source, what came before), of all histories."""
    torch.manual_seed(seed)
    known: dict[tuple[int, ...], torch.Tensor] = {}

    def log_p(source, history):
        key = (source, *history)
        if key not in known:
            known[key] = (2 * torch.randn(V, dtype=torch.float64)).log_softmax(-1)
        return known[key]

    def step(tokens, state):
        source, history = state
        history = torch.cat([history, tokens[:, None]], 1)
        rows = [log_p(int(s), tuple(h[1:].tolist())) for s, h in zip(source, history, strict=True)]
        return torch.stack(rows), (source, history), None

    return log_p, step


def start(B, beam):
    rows = B * beam
    return torch.arange(B).repeat_interleave(beam), torch.zeros(rows, 0, dtype=torch.int64)


def brute_force(log_p, source, limit, alpha):
    """The best of all targets that end within the limit, by score."""
    found = []
    for length in range(limit):
        for words in itertools.product([w for w in range(V) if w != END], repeat=length):
            total = sum(float(log_p(source, words[:t])[word]) for t, word in enumerate((*words, END)))
            found.append((total / ((5 + length + 1) / 6) ** alpha, total, list(words)))
    return max(found)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.5])
def test_a_wide_beam_finds_the_best_of_all_targets_for_several_sources_at_once(alpha):
    for seed in range(6):
        B, beam = 3, V**LIMIT
        log_p, step = table(B, seed)
        limits = torch.tensor([LIMIT, LIMIT - 1, LIMIT])
        found = beam_search(
            step,
            start(B, beam),
            torch.full((B,), BEGIN),
            end=END,
            limits=limits,
            select=rows_of,
            beam=beam,
            alpha=alpha,
        )
        for b in range(B):
            score, total, words = brute_force(log_p, b, int(limits[b]), alpha)
            assert found[b].tokens == words
            assert found[b].score == pytest.approx(score)
            assert found[b].log_probability == pytest.approx(total)


def test_a_beam_of_one_takes_the_most_likely_token_at_every_step():
    B = 5
    log_p, step = table(B, 3)
    found = beam_search(
        step,
        start(B, 1),
        torch.full((B,), BEGIN),
        end=END,
        limits=torch.full((B,), 9),
        select=rows_of,
        beam=1,
        alpha=3.0,
    )
    for b in range(B):
        words: list[int] = []
        while len(words) < 9:
            word = int(log_p(b, words).argmax())
            if word == END:
                break
            words.append(word)
        assert found[b].tokens == words
    assert len({tuple(one.tokens) for one in found}) > 2


def test_sources_do_not_disturb_each_other():
    _, step = table(4, 8)
    options = {"end": END, "select": rows_of, "beam": 2, "alpha": 0.7}
    together = beam_search(step, start(4, 2), torch.full((4,), BEGIN), limits=torch.full((4,), 6), **options)
    for b in range(4):
        state = (torch.full((2,), b), torch.zeros(2, 0, dtype=torch.int64))
        (alone,) = beam_search(step, state, torch.tensor([BEGIN]), limits=torch.tensor([6]), **options)
        assert alone == together[b]


def test_a_longer_target_wins_by_the_length_penalty():
    chain = {(): [0.0, 0.0, 0.52, 0.48], (3,): [0.0, 0.0, 0.01, 0.99], (3, 3): [0.0, 0.0, 1.0, 0.0]}

    def step(tokens, history):
        history = torch.cat([history, tokens[:, None]], 1)
        rows = [chain.get(tuple(h[1:].tolist()), [0.25] * 4) for h in history]
        return torch.tensor(rows).log(), history, None

    def best(alpha):
        state = torch.zeros(2, 0, dtype=torch.int64)
        options = {"end": END, "limits": torch.tensor([5]), "select": rows_of, "beam": 2}
        return beam_search(step, state, torch.tensor([BEGIN]), alpha=alpha, **options)[0]

    assert best(0.0).tokens == []
    assert best(0.0).log_probability == pytest.approx(math.log(0.52))
    assert best(2.0).tokens == [3, 3]
    assert best(2.0).score == pytest.approx(math.log(0.48 * 0.99) / (8 / 6) ** 2, rel=1e-5)


def test_the_coverage_penalty_prefers_what_has_seen_all_of_the_source():
    """Two targets as likely, of which one looks at one place twice; the padded place counts for neither."""

    def step(tokens, state):
        (seen,) = state
        first = seen == 0
        p = torch.where(first[:, None], torch.tensor([0.5, 0.0, 0.0, 0.5]), torch.tensor([0.0, 0.0, 1.0, 0.0]))
        narrow, other = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
        weights = torch.where((first | (tokens == 0))[:, None], narrow, other)
        return p.log(), (seen + 1,), weights

    def best(beta):
        mask = torch.tensor([[True, True, False]])
        options = {"end": END, "limits": torch.tensor([4]), "select": rows_of, "beam": 2, "mask": mask}
        return beam_search(step, (torch.zeros(2),), torch.tensor([BEGIN]), beta=beta, **options)[0]

    assert best(0.0).score == pytest.approx(math.log(0.5))
    assert best(0.1).tokens == [3]
    assert best(0.1).score == pytest.approx(math.log(0.5))


def test_where_nothing_ends_within_the_limit_the_best_so_far_is_the_answer():
    def step(tokens, state):
        return torch.tensor([[0.7, 0.0, 0.0, 0.3]]).log().expand(len(tokens), 4), state, None

    (found,) = beam_search(
        step, (torch.zeros(2),), torch.tensor([BEGIN]), end=END, limits=torch.tensor([3]), select=rows_of, beam=2
    )
    assert found.tokens == [0, 0, 0]
    assert found.log_probability == pytest.approx(3 * math.log(0.7), rel=1e-5)


def model(**options):
    torch.manual_seed(0)
    made = EncoderDecoder(
        RNN("gru", 3, 4, batch_first=True, bidirectional=True),
        lambda n: RNN("lstm", n, 6, 2, batch_first=True),
        7,
        5,
        embedding_size=3,
        **options,
    ).double()
    for p in made.parameters():
        p.data.mul_(3)
    return made.eval()


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "general", "copying": True},
        {"attention": "bahdanau"},
        {"attention": "concat", "input_feeding": True},
    ],
    ids=str,
)
def test_an_encoder_decoder_writes_the_best_of_all_its_targets(options):
    made = model(**options)
    source, lengths = torch.randint(7, (3, 4)), torch.tensor([4, 1, 3])
    copies = torch.tensor([[0, 5, 3, 6], [4, 0, 0, 0], [5, 5, 1, 0]])
    limit = 3
    with torch.no_grad():
        arguments = {"begin": 1, "end": 2, "limits": torch.full((3,), limit)}
        found = decode(made, source, lengths, copies, beam=60, alpha=0.8, **arguments)
        for b in range(3):
            ids = copies[b : b + 1] if "copying" in options else None
            size = 7 if ids is not None else 5
            scores = {}
            for length in range(limit):
                for words in itertools.product([w for w in range(size) if w != 2], repeat=length):
                    begun = torch.tensor([[1, *words]])
                    said = made(source[b : b + 1, : lengths[b]], begun)
                    ids_here = None if ids is None else ids[:, : lengths[b]]
                    log_p = log_probabilities(said, ids_here, size - 5)[0]
                    total = sum(float(log_p[t, w]) for t, w in enumerate((*words, 2)))
                    scores[words] = total / ((6 + length) / 6) ** 0.8
            best = max(scores, key=lambda words: scores[words])
            assert found[b].tokens == list(best)
            assert found[b].score == pytest.approx(scores[best], rel=1e-6)


def test_tokens_that_are_never_written_are_not():
    made = model(attention="general")
    source = torch.randint(7, (6, 4))
    with torch.no_grad():
        options = {"begin": 1, "end": 2, "limits": torch.full((6,), 8), "beam": 2}
        free, without = (decode(made, source, None, None, never=never, **options) for never in ([], [4, 2]))
    assert {token for one in free for token in one.tokens} >= {4}
    assert {len(one.tokens) for one in without} == {8}  # none may end
    assert 4 not in {token for one in without for token in one.tokens}


def test_a_beam_of_zero_is_one_line():
    with pytest.raises(RnnZooError, match="beam must be a whole number of at least 1, not 0"):
        beam_search(
            lambda tokens, state: None, None, torch.tensor([1]), end=2, limits=torch.tensor([3]), select=rows_of, beam=0
        )

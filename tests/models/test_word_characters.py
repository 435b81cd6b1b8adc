"""Words beside their characters: every word read alone gives the same vector."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.models import TaggingModel, WordCharacters

CELLS = ("lstm", "gru", "mingru", "janet", "ltc")


def model(cell="gru", both=True, **settings) -> WordCharacters:
    rnn = RNN(cell, 4, 5, batch_first=True, bidirectional=both, kernel="reference")
    return WordCharacters(7, 3, rnn, 11, **settings).double()


SPELLINGS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [2, 2]]


def spelt():
    lengths = torch.tensor([len(one) for one in SPELLINGS])
    characters = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in SPELLINGS], batch_first=True)
    return characters, lengths


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both", [True, False])
def test_a_word_is_its_embedding_beside_what_its_characters_alone_say(cell, both):
    made = model(cell, both)
    assert made.output_size == 3 + 5 * (1 + both)
    words, which = torch.tensor([[6, 1, 0], [2, 6, 6]]), torch.tensor([[0, 1, 2], [3, 0, 2]])
    x = made(words, *spelt(), which)
    assert x.shape == (2, 3, made.output_size)
    for b in range(2):
        for t in range(3):
            letters = made.character_embedding(torch.tensor([SPELLINGS[which[b, t]]]))
            beside = {name: torch.ones(*letters.shape[:2], 1).double() for name in made.characters._cells[0][0].inputs}
            y, _ = made.characters(letters, **beside)
            ends = [y[0, -1, :5], y[0, 0, 5:]] if both else [y[0, -1]]
            torch.testing.assert_close(x[b, t], torch.cat([made.embedding.weight[words[b, t]], *ends]))


def test_what_lies_behind_the_end_of_a_word_has_no_effect():
    made, words = model(), torch.tensor([[1, 2, 3, 4]])
    characters, lengths = spelt()
    far = torch.nn.functional.pad(characters, (0, 3)).masked_fill(torch.arange(9) >= lengths[:, None], 8)
    grads = []
    for given in (characters, far):
        x = made(words, given, lengths, torch.arange(4)[None])
        grads.append((x, *torch.autograd.grad(x.square().sum(), list(made.parameters()))))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-13, atol=1e-13)


def test_in_training_some_words_are_taken_for_unknown_and_their_characters_are_not():
    made = model(word_dropout=0.4, unknown=6).train()
    words = torch.full((50, 40), 2)
    x = made(words, *spelt(), torch.ones_like(words))
    unknown = (x[..., :3] == made.embedding.weight[6]).all(-1)
    assert (x[..., :3][~unknown] == made.embedding.weight[2]).all()
    assert 0.36 < unknown.double().mean() < 0.44
    assert (x[..., 3:] == x[0, 0, 3:]).all()
    assert (made.eval()(words, *spelt(), torch.ones_like(words))[..., :3] == made.embedding.weight[2]).all()


def test_without_characters_it_is_the_embedding():
    made, words = WordCharacters(7, 3), torch.tensor([[1, 2]])
    assert made.output_size == 3
    assert (made(words, *spelt(), torch.zeros_like(words)) == made.embedding(words)).all()


def test_a_word_dropout_out_of_range_is_an_error():
    with pytest.raises(RnnZooError, match="word_dropout must be a probability"):
        WordCharacters(7, 3, word_dropout=1.0)


def test_scores_of_a_sentence_are_those_of_the_rnn_over_its_words():
    words = model()
    rnn = RNN("ltc", words.output_size, 6, batch_first=True, bidirectional=True, kernel="reference")
    tagging = TaggingModel(rnn, words, 4).double().eval()
    ids, which = torch.tensor([[1, 2, 3]]), torch.tensor([[3, 0, 1]])
    y, _ = rnn(words(ids, *spelt(), which), dt=torch.ones(1, 3, 1).double())
    torch.testing.assert_close(
        tagging(ids, *spelt(), which, torch.tensor([3])), y @ tagging.head.weight.T + tagging.head.bias
    )

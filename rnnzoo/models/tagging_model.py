"""Sentences in, the score of each tag for each word out."""

from torch import Tensor, nn

from rnnzoo.models.regular import regular
from rnnzoo.models.word_characters import WordCharacters
from rnnzoo.rnn import RNN


class TaggingModel(nn.Module):
    """An RNN over the vectors of words, and a linear head. What a cell takes besides x is `regular`.

    Args:
        rnn: batch_first, over vectors of `words`.
        words: how words become vectors.
        tags: K.
        dropout: on the vectors and before the head; in [0, 1).
    """

    def __init__(self, rnn: RNN, words: WordCharacters, tags: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn, self.words = rnn, words  # in this order: the task's layers are the first RNN
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(rnn.output_size, tags)

    def forward(self, words: Tensor, characters: Tensor, spelt: Tensor, which: Tensor, lengths: Tensor) -> Tensor:
        """The scores (B, T, K); those behind the end of a sentence mean nothing.

        Args:
            words, characters, which: as those of `WordCharacters`, and `spelt` its lengths.
            lengths: (B,) int64: of each sentence, in words.
        """
        x = self.dropout(self.words(words, characters, spelt, which))
        y, _ = self.rnn(x, lengths=lengths, **regular(self.rnn, x))
        return self.head(self.dropout(y))

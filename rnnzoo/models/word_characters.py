"""Words as vectors: what is known of each, beside what its characters say."""

import torch
from torch import Tensor, nn

from rnnzoo.models.pooling import Pooling
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN, check_dropout


class WordCharacters(nn.Module):
    """An embedding of the word beside the last outputs of an RNN over its characters (Lample et al. 2016).

    A word that the vocabulary lacks is read through its characters. So that this is learned, training takes words for
    unknown at random. What the cell takes besides x is `regular`.

    Args:
        vocabulary_size: of words.
        embedding_size: E, features of a word's embedding.
        characters: batch_first, over the embedding of a character, in any number of directions; None for words alone.
        alphabet_size: of characters.
        word_dropout: probability that a word is taken for unknown, in training; in [0, 1).
        unknown: the id of unknown words.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        characters: RNN | None = None,
        alphabet_size: int = 0,
        *,
        word_dropout: float = 0.0,
        unknown: int = 0,
    ) -> None:
        super().__init__()
        check_dropout(word_dropout, "word_dropout")
        self.word_dropout, self.unknown = word_dropout, unknown
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.characters = characters
        self.output_size = embedding_size
        if characters is not None:
            self.character_embedding = nn.Embedding(alphabet_size, characters.input_size)
            self.pooling = Pooling("last", characters.output_size, characters.bidirectional)
            self.output_size += self.pooling.output_size

    def forward(self, words: Tensor, characters: Tensor, lengths: Tensor, which: Tensor) -> Tensor:
        """The vectors of words, (B, T, output_size).

        Args:
            words: (B, T) int64.
            characters: (U, C) int64: of U words, each once however often it occurs.
            lengths: (U,) int64, 1 to C: of these, in characters.
            which: (B, T) int64: the place of each word among the U.
        """
        if self.training and self.word_dropout:
            words = words.masked_fill(torch.rand(words.shape, device=words.device) < self.word_dropout, self.unknown)
        x = self.embedding(words)
        if self.characters is None:
            return x
        spelt = self.character_embedding(characters)
        y, _ = self.characters(spelt, lengths=lengths, **regular(self.characters, spelt))
        return torch.cat([x, self.pooling(y, lengths)[which]], -1)

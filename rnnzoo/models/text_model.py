"""Texts in, logits of their classes out."""

from torch import Tensor, nn

from rnnzoo import transforms
from rnnzoo.models.dropouts import LockedDropout, WordDropout, check_probability
from rnnzoo.models.pooling import Pooling
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN

_SPREAD = 0.1  # of embeddings at the start: 1, torch's, drowns what a word that occurs a few times has learned


class TextModel(nn.Module):
    """An embedding, an RNN, a pooling over the steps and a head. What a cell takes besides x is `regular`.

    The embedding and the RNN are called as those of a language model, `TokenModel`, so that they load from one; the
    head is not.

    Args:
        rnn: batch_first; its input_size is the size of the embeddings.
        vocabulary_size: V, the number of tokens.
        classes: C, logits of a text.
        pooling: of what the RNN says at each step: "last", "mean", "max", "concat" or "attention".
        head_size: units of a hidden layer in the head; 0 for none.
        dropout: on the embeddings, and before each layer of the head; in [0, 1).
        embedding_dropout: of whole words, at all their places (Gal & Ghahramani 2016); in [0, 1).
        locked_dropout: whether dropout on the embeddings zeroes the same units at all steps of a text.
        weight_drop: on the recurrent weights; in [0, 1).

    Raises:
        RnnZooError: a pooling that there is not, or a probability out of range.
    """

    def __init__(
        self,
        rnn: RNN,
        vocabulary_size: int,
        classes: int,
        *,
        pooling: str = "max",
        head_size: int = 0,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        locked_dropout: bool = False,
        weight_drop: float = 0.0,
    ):
        super().__init__()
        if weight_drop:
            transforms.weight_drop(rnn, weight_drop)
        self.rnn = rnn
        p = check_probability("embedding_dropout", embedding_dropout)
        self.embedding: nn.Embedding = (
            WordDropout(vocabulary_size, rnn.input_size, p=p) if p else nn.Embedding(vocabulary_size, rnn.input_size)
        )
        nn.init.normal_(self.embedding.weight, std=_SPREAD)
        self.dropout = (LockedDropout if locked_dropout else nn.Dropout)(dropout)
        halves = sum(cell.output_size for cell in rnn._cells[-1]) == rnn.output_size  # not behind connect="dense"
        self.pooling = Pooling(pooling, rnn.output_size, rnn.bidirectional and halves)
        size = self.pooling.output_size
        hidden = [nn.Dropout(dropout), nn.Linear(size, head_size), nn.ReLU()] if head_size else []
        self.head = nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(head_size or size, classes))

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, C) of the texts `tokens` (B, T), of `lengths` (B,) int64 tokens each; what lies behind is unread.

        Without `lengths` all have T.
        """
        x = self.dropout(self.embedding(tokens))
        y, _ = self.rnn(x, lengths=lengths, **regular(self.rnn, x))
        return self.head(self.pooling(y, lengths))

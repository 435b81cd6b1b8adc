"""Text as tokens for language models: any data set's, by any tokenizer, in contiguous streams."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.baselines.kneser_ney import KneserNey
from rnnzoo.data.encoded_tokens import encode_pieces, encode_tokens, record
from rnnzoo.data.stream_loader import stream_loader
from rnnzoo.data.streamed_tokens import TokenLoader, streamed_tokens
from rnnzoo.data.streams import TokenStreams
from rnnzoo.data.text_columns import is_text, pick_column
from rnnzoo.data.text_examples import TextExamples
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_BLOCKS = 100  # of rows of a stream, some thousand each, in which its characters are looked for
_WORTH_KEEPING = 1 << 20  # characters; fewer are encoded in a second or two


class TokenTextData(TextExamples):
    """The text of a data set as tokens, in contiguous streams: batch k + 1 goes on where batch k ended, in every row.

    The text of a part is its rows, each with a line end behind it; the rows of a text file are its lines. Each part is
    cut into `batch_size` pieces of equal length, and a batch holds `sequence_length` tokens of each. Each token but a
    part's first is a target exactly once.

    Parts are the data set's own splits, or those that are named. One that is missing is the end of the one before it;
    with `split_seed`, rows drawn from it; and by groups, whole groups that are drawn. "kjv", the verses of the King
    James Bible without their numbers, is split by chapter.

    Each token knows the characters that it stands for, so that bits per character can be compared among tokenizers.

    With `streaming` rows are read and tokenized as they are needed, and dealt to the streams in blocks, see
    `rnnzoo.data.streamed_tokens`; an epoch is then about as long as its rows are.

    Args:
        dataset: "kjv", or "news", articles of the BBC, of rnnzoo[text]; or as of `rnnzoo.data.TextExamples`, or a text
            file.
        text_column: the column with the text; it need not be named where one alone holds text. A null is an
            empty text.
        sequence_length: tokens of each stream in a batch.
        batch_size: streams in all, over all processes.
        tokenizer: "words", "bpe", "unigram", "characters" or "bytes", which is trained on the training part; or a saved
            one: a tokenizer.json, a folder with one, a checkpoint, or a name on the hub.
        split: fractions of the rows for training, validation and test, in this order.
        split_seed: of the choice of rows or groups; None takes rows in their order, and groups by seed 0.
        baseline: whether to score a modified Kneser-Ney trigram (Chen & Goodman 1999) of the same tokens beside it.
        settings: those that all data of texts share, `rnnzoo.data.TextExamples`.

    Raises:
        RnnZooError: for whatever is wrong with a setting or the text, where it is first used.
    """

    bundled: ClassVar[dict[str, str]] = {"kjv": "rnnzoo.data.verses:verses", "news": "rnnzoo.data.news:news"}
    named: ClassVar[str] = "tokens"

    def __init__(
        self,
        dataset: str = "kjv",
        *,
        text_column: str | None = None,
        sequence_length: int = 64,
        batch_size: int = 32,
        tokenizer: str = "words",
        split: tuple[float, float, float] = (0.9, 0.05, 0.05),
        split_seed: int | None = None,
        group_column: str | None = None,
        baseline: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(
            dataset,
            batch_size=batch_size,
            tokenizer=tokenizer,
            split=split,
            split_seed=split_seed,
            group_column="chapter" if dataset == "kjv" and group_column is None else group_column,
            baseline=baseline,
            max_length=None,
            crop=None,
            tokens_per_batch=None,
            **settings,
        )
        self.text_column, self.sequence_length = text_column, sequence_length
        self.check_at_least(sequence_length=1)
        self._tokens: dict[str, np.ndarray] = {}
        self._characters: int | None = None

    # ---- the text

    def columns(self, rows: "Dataset", required: bool) -> dict[str, str]:
        column = pick_column(rows, self.text_column, "text_column", is_text, ("text",), "text")
        return {"text": column}

    def texts(self, rows: Mapping[str, list[Any]]) -> Iterable[str]:
        return [f"{text or ''}\n" for text in rows["text"]]

    def pieces(self, part: str) -> Iterator[str]:
        """The text of a part, a row at a time, each with its line end."""
        for rows in self._by_role(self.rows(part), required=False):
            yield from self.texts(rows)

    def text(self, part: str = "all") -> str:
        """The text of a part."""
        return "".join(self.pieces(part))

    # ---- what is known of it

    def learn(self, rows: Iterator[Mapping[str, list[Any]]]) -> None:
        seen: set[str] = set()
        for batch in rows if not self.streaming else islice(rows, _BLOCKS):
            for text in self.texts(batch):
                seen.update(text)
        self._characters = len(seen)

    def recall(self, description: Any) -> None:
        self._characters = description.more.get("characters")

    def describe_more(self) -> dict[str, Any]:
        return {"more": {"characters": self._characters}}

    # ---- as tokens

    def tokens(self, part: str) -> np.ndarray:
        """The tokens of a part, (N,) records with "id", "characters" and "spelled": `rnnzoo.data.encoded_tokens`."""
        if part not in self._tokens:
            digest, size = hashlib.sha256(self.tokenizer.to_json().encode()), 0
            for piece in self.pieces(part):
                digest.update(piece.encode("utf-8", "surrogatepass"))
                size += len(piece)
            path = self._cache / f"tokens-{digest.hexdigest()[:24]}.bin" if size >= _WORTH_KEEPING else None
            made = encode_tokens(self.tokenizer, partial(self.pieces, part), path, rank_zero_warn)
            # a model that reads texts from their end reads this one from its own
            self._tokens[part] = np.ascontiguousarray(made[::-1]) if self.tokenizer.backward else made
        return self._tokens[part]

    def loader(self, part: str, training: bool) -> Any:
        if self.streaming:
            return self._streamed(part, training)
        tokens = self.tokens(part)

        def make(rows: range) -> TokenStreams:
            return TokenStreams(tokens, self.batch_size, self.sequence_length, rows)

        return stream_loader(self, part, len(tokens), "tokens", make)

    def _streamed(self, part: str, training: bool) -> TokenLoader:
        if self.predicts:
            raise RnnZooError("streaming=true has no places in the text, which predict says: leave it out")
        if self.tokenizer.backward:
            raise RnnZooError("streaming=true has no end of the text, from which this model reads it: leave it out")
        _ = self.description  # what has been learned
        stream = self.streams.part(part)
        (column,) = self.columns(stream.head, required=False).values()
        options = (self.batch_size, self.sequence_length, self.trainer, self.num_workers)
        return streamed_tokens(stream, [column], partial(self._records, column), *options, training=training)

    def _records(self, column: str, table: Any) -> np.ndarray:
        texts = self.texts({"text": table[column].to_pylist()})
        return np.concatenate([np.empty(0, record(len(self.tokenizer))), *encode_pieces(self.tokenizer, texts)])

    def baselines(self) -> dict[str, float]:
        """The perplexity and the bits per character of a modified Kneser-Ney trigram on the test part."""
        train, test = self.tokens("train"), self.tokens("test")
        log_prob = KneserNey(train["id"], len(self.tokenizer)).log_prob(test["id"])
        spelling = test["spelled"][1:].sum(dtype=np.int64) * math.log(self.description.characters + 1)
        nats, characters = spelling - log_prob.sum(), test["characters"][1:].sum(dtype=np.int64)
        return {
            "modified Kneser-Ney trigram: perplexity": math.exp(-log_prob.mean()),
            "modified Kneser-Ney trigram: bits per character": nats / characters / math.log(2),
        }

"""Text as tokens for language models: any data set's, by any tokenizer, in contiguous streams."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader

from rnnzoo.data.baselines.kneser_ney import KneserNey
from rnnzoo.data.encoded_tokens import encode_tokens
from rnnzoo.data.sources import load_splits
from rnnzoo.data.stream_loader import stream_loader
from rnnzoo.data.streams import TokenBatch, TokenStreams
from rnnzoo.data.text_examples import TextExamples, is_text, pick_column
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_WORTH_KEEPING = 1 << 20  # characters; fewer are encoded in a second or two


class TokenTextData(TextExamples):
    """The text of a data set as tokens, in contiguous streams: batch k + 1 goes on where batch k ended, in every row.

    The text of a part is its rows, each with a line end behind it; a text file is taken as it is, and its rows are its
    lines. Each part is cut into `batch_size` pieces of equal length, and a batch holds `sequence_length` tokens of
    each. Each token but a part's first is a target exactly once.

    Parts are the data set's own splits, or those that are named. One that is missing is the end of the one before it;
    with `split_seed`, rows drawn from it; and by groups, whole groups that are drawn. "kjv", the verses of the King
    James Bible without their numbers, is split by chapter.

    Each token knows the characters that it stands for, so that bits per character can be compared among tokenizers.

    Args:
        dataset: "kjv", of rnnzoo[text]; or as of `rnnzoo.data.TextExamples`, or a text file.
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

    bundled: ClassVar[dict[str, str]] = {"kjv": "rnnzoo.data.verses:verses"}
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

    def _load(self) -> dict[str, "Dataset"]:
        if self._splits is None and self.dataset not in self.bundled:
            splits, whole = load_splits(
                self.dataset,
                self.subset,
                bundled="kjv",
                text_files=True,
                columns=(self.text_column,),
                cache_dir=self.cache_dir,
            )
            self._splits = {name: _lines(rows) for name, rows in splits.items()} if whole else splits
            self._whole = whole
        return super()._load()

    def columns(self, rows: "Dataset", required: bool) -> dict[str, str]:
        column = pick_column(rows, self.text_column, "text_column", is_text, ("text",), "text")
        return {"text": column}

    def texts(self, rows: Mapping[str, list[Any]]) -> Iterable[str]:
        end = "" if getattr(self, "_whole", False) else "\n"
        return [(text or "") + end for text in rows["text"]]

    def pieces(self, part: str) -> Iterator[str]:
        """The text of a part, a row at a time, each with its line end."""
        for rows in self._by_role(self.rows(part), required=False):
            yield from self.texts(rows)

    def text(self, part: str = "all") -> str:
        """The text of a part."""
        return "".join(self.pieces(part))

    # ---- what is known of it

    def learn(self, rows: Iterator[dict[str, list[Any]]]) -> None:
        seen: set[str] = set()
        for batch in rows:
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
            self._tokens[part] = encode_tokens(self.tokenizer, partial(self.pieces, part), path, rank_zero_warn)
        return self._tokens[part]

    def loader(self, part: str, training: bool) -> DataLoader[TokenBatch]:
        tokens = self.tokens(part)

        def make(rows: range) -> TokenStreams:
            return TokenStreams(tokens, self.batch_size, self.sequence_length, rows)

        return stream_loader(self, part, len(tokens), "tokens", make)

    def baselines(self) -> dict[str, float]:
        """The perplexity and the bits per character of a modified Kneser-Ney trigram on the test part."""
        train, test = self.tokens("train"), self.tokens("test")
        log_prob = KneserNey(train["id"], len(self.tokenizer)).log_prob(test["id"])
        spelling = test["spelled"][1:].sum(dtype=np.int64) * math.log(self.description.characters + 1)
        nats, characters = spelling - log_prob.sum(), test["characters"][1:].sum(dtype=np.int64)
        return {
            "a Kneser-Ney trigram's perplexity": math.exp(-log_prob.mean()),
            "its bits per character": nats / characters / math.log(2),
        }


def _lines(pieces: "Dataset") -> "Dataset":
    """A text file, whose rows are cut anywhere, with a row for each line, its end included."""
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    made, rest = [], ""
    for row in pieces.iter(1):
        *lines, rest = (rest + row["text"][0]).split("\n")
        made.append(pa.array([f"{line}\n" for line in lines], pa.string()))
    made.append(pa.array([rest] if rest else [], pa.string()))
    table = pa.table({"text": pa.chunked_array(made, pa.string())})
    if not len(table):
        raise RnnZooError("the text file has no line")
    return Dataset(InMemoryTable(table), fingerprint=pieces._fingerprint)

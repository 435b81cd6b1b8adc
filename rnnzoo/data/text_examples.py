"""Texts as examples: any data set's rows, split, tokenized once, and put into batches of like lengths."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from filelock import FileLock
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from rnnzoo.cache import cache_folder, cannot_write
from rnnzoo.data.buckets import bucketed, by_length
from rnnzoo.data.effects import warn_without_effect
from rnnzoo.data.encoded_texts import EncodedExamples, as_table, lengths_of
from rnnzoo.data.handed import shown as shown_dataset
from rnnzoo.data.row_data import RowData
from rnnzoo.data.row_streams import hashed
from rnnzoo.data.sources import load_splits
from rnnzoo.data.splits import check_fractions
from rnnzoo.data.text_streams import TextStreams
from rnnzoo.data.tokenizers import KINDS, TextTokenizer, from_json, read_tokenizer, tokenizer_of, train
from rnnzoo.description import Description, of_hyper_parameters
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_LAYOUT = 1  # of what is kept in the cache; another one is another key
_ROWS = 1000  # that are encoded at a time


class TextExamples(RowData):
    """The base of the data modules whose examples are rows of a data set with text in them.

    The data set's own splits train, validation and test are used as they are, or those that are named; one that is
    missing is made of the one before it, by rows or by groups, from `split_seed`. A tokenizer is trained on the
    training part, unless a saved one is given. All rows are tokenized once and kept by content, so that they are read
    from the disk, not from memory. Training batches hold texts of like lengths, `Bucketed`; evaluation sees each once.

    One of one's own defines `columns`, `texts`, `encode` and `collate`, and where there is more to know than a
    vocabulary `learn`, `recall` and `describe_more`.

    Args:
        dataset: a file (CSV, TSV, Parquet, JSON, JSON lines, Arrow, lines of text; compressed too), a folder of such
            files or one that `save_to_disk` wrote, a name on the HuggingFace hub, or the name of data that come with a
            package. In Python also a Dataset or DatasetDict, or a frame of pandas or polars.
        subset: the configuration, for a data set on the hub that has several; "NAME:CONFIGURATION" is short for it.
        split: fractions of the rows for training, validation and test.
        split_seed: of the random choice of rows for each; None takes them in their order.
        group_column: a column whose equal values stay together in one part.
        train_split: a split of the data set by its name, or a slice of one, "train[:10%]"; by default "train".
        validation_split: likewise.
        test_split: likewise.
        predict_split: what `predict` reads.
        held_out: whether nothing was trained on these data: a data set in one piece is then validation and test part,
            whole. `rnnzoo test` and `rnnzoo validate` say so of data that the checkpoint was not trained on.
        tokenizer: "characters", "bytes", "words", "bpe" or "unigram", which is trained; or a saved one: a
            tokenizer.json, a folder with one, a checkpoint, or a name on the hub.
        vocabulary_size: tokens that a trained tokenizer has at most.
        min_count: how often a word or character is in the training part at least, else it is unknown.
        lowercase: whether text is made lower case.
        max_length: tokens of a text at most; what is longer is cut, and its share said. None for all.
        crop: tokens of a text that a training batch has at most, from a random place on. None for all.
        batch_size: texts of a batch at most, over all processes.
        tokens_per_batch: tokens of a batch at most, over all processes, with padding. None for no such limit.
        streaming: whether rows are read as they are needed, and tokenized then, in an order that depends on the seed
            and the epoch alone: nothing is kept, and training begins at once. For Parquet, JSON and text, on the hub
            too; a part that is missing is drawn by a hash of each row's place, or of its group.
        baseline: whether to score a simple method on the same split beside it.
        pretrained: a checkpoint whose tokenizer is taken.
        checkpoint: a checkpoint whose tokenizer and names of labels are taken; given by the command line.
        num_workers: processes that load data, for each loader.
        cache_dir: folder for what is tokenized, by default $RNNZOO_CACHE, $XDG_CACHE_HOME/rnnzoo or ~/.cache/rnnzoo,
            and for what `datasets` prepares, by default its own.

    Raises:
        RnnZooError: for whatever is wrong with a setting or the data, where it is first used.
    """

    provides: ClassVar[tuple[str, ...]] = ("vocabulary", "tokenizer")
    bundled: ClassVar[dict[str, str]] = {}  # by name, the import path of a function that gives its splits
    sequences: ClassVar[tuple[str, ...]] = ("tokens",)  # encoded columns with an entry for each token
    named: ClassVar[str] = "texts"

    def __init__(
        self,
        dataset: str,
        *,
        subset: str | None = None,
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        split_seed: int | None = 0,
        group_column: str | None = None,
        train_split: str | None = None,
        validation_split: str | None = None,
        test_split: str | None = None,
        predict_split: Literal["train", "validation", "test", "all"] = "test",
        held_out: bool = False,
        tokenizer: str = "words",
        vocabulary_size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        max_length: int | None = None,
        crop: int | None = None,
        batch_size: int = 32,
        tokens_per_batch: int | None = None,
        streaming: bool = False,
        baseline: bool = False,
        pretrained: str | None = None,
        checkpoint: str | None = None,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.dataset, self.subset, self.split, self.split_seed = dataset, subset, check_fractions(split), split_seed
        self.group_column, self.predict_split, self.held_out = group_column, predict_split, held_out
        self.train_split, self.validation_split, self.test_split = train_split, validation_split, test_split
        self.tokenizer_name, self.vocabulary_size, self.min_count = tokenizer, vocabulary_size, min_count
        self.lowercase, self.max_length, self.crop = lowercase, max_length, crop
        self.batch_size, self.tokens_per_batch, self.baseline = batch_size, tokens_per_batch, baseline
        self.streaming, self.pretrained, self.checkpoint = streaming, pretrained, checkpoint
        self.num_workers, self.cache_dir = num_workers, cache_dir
        self.check_at_least(batch_size=1, num_workers=0, min_count=1)
        self.check_at_least(
            **{
                name: 1
                for name in ("vocabulary_size", "max_length", "crop", "tokens_per_batch")
                if getattr(self, name) is not None
            }
        )
        self.check_predict_split("all")
        self._stage: str | None = None
        self._splits: dict[str, Dataset] | None = None
        self._streams: TextStreams | None = None
        self._encoded: dict[str, Dataset] = {}
        self._tokenizer: TextTokenizer | None = None
        self._description: Description | None = None

    # ---- what a data module defines

    def columns(self, rows: "Dataset", required: bool) -> dict[str, str]:
        """The names of the columns that are read, by role; those of answers only where there are, or if `required`."""
        raise RnnZooError(f"{type(self).__name__} must define columns(rows, required)")

    def texts(self, rows: Mapping[str, list[Any]]) -> Iterable[str]:
        """The texts of some rows, given by role, that a tokenizer is trained on."""
        raise RnnZooError(f"{type(self).__name__} must define texts(rows)")

    def learn(self, rows: Iterator[Mapping[str, list[Any]]]) -> None:
        """Takes from the training part, some rows at a time, what has to be known beside the tokenizer."""

    def recall(self, description: Description) -> None:
        """Takes the same from the description of a checkpoint."""

    def describe_more(self) -> dict[str, Any]:
        """The same, for the description."""
        return {}

    def encode(self, rows: dict[str, list[Any]], first: int) -> dict[str, list[Any]]:
        """Rows by role as columns of numbers and of lists of numbers, among them `sequences`, to be sliced.

        Args:
            rows: some of the rows.
            first: the number of the first of them in its part, for messages.
        """
        raise RnnZooError(f"{type(self).__name__} must define encode(rows, first)")

    def collate(self, columns: dict[str, Any], number: np.ndarray) -> Any:
        """A batch of encoded rows, which has ``lengths`` and ``unanswered()``.

        Args:
            columns: lists as `Ragged`, numbers as arrays; by the names that `encode` gave them, and "length".
            number: (B,) of the rows in their part.
        """
        raise RnnZooError(f"{type(self).__name__} must define collate(columns, number)")

    # ---- what is known of the data

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer; reads the data where it is to be trained."""
        if self._tokenizer is None:
            self._tokenizer = self._find_tokenizer()
        return self._tokenizer

    @property
    def description(self) -> Description:
        """The vocabulary, the tokenizer and what `describe_more` says; reads the data."""
        if self._description is None:
            tokenizer = self.tokenizer
            if self.checkpoint is None:
                self.learn(self._training_rows(required=True))
            else:
                self.recall(description_of(self.checkpoint, "checkpoint"))
            self._description = Description(
                source=type(self).__name__,
                vocabulary=tokenizer.vocabulary,
                tokenizer=tokenizer.to_json(),
                **self.describe_more(),
            )
        return self._description

    def _find_tokenizer(self) -> TextTokenizer:
        for setting in ("checkpoint", "pretrained"):
            if (path := getattr(self, setting)) is not None:
                idle = ("tokenizer", "vocabulary_size", "min_count", "lowercase")
                self._warn_idle(idle if setting == "pretrained" else (), f"{setting}={path!r} has a tokenizer")
                return tokenizer_of(description_of(path, setting))
        if self.tokenizer_name not in KINDS:
            self._warn_idle(("vocabulary_size", "min_count", "lowercase"), "a saved tokenizer is taken as it is")
            return read_tokenizer(self.tokenizer_name)
        if self.streaming:
            return self._train(self.streams.texts())
        rows = self.rows("train")
        own = [self.tokenizer_name, self.vocabulary_size, self.min_count, self.lowercase]
        key = self._key(rows, [*own, self.columns(rows, required=False), self.settings_of_encoding()])
        path = self._cache / f"tokenizer-{key}.json"
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):  # one process of a machine trains it, the others wait
                if path.is_file():
                    return from_json(path.read_text(encoding="utf-8"))
                made = self._train(self._texts(rows))
                aside = path.with_suffix(".tmp")
                aside.write_text(made.to_json(), encoding="utf-8")
                aside.replace(path)
                return made
        except OSError as error:
            if not cannot_write(error):
                raise
            return self._train(self._texts(rows))

    def _texts(self, rows: "Dataset") -> Iterator[str]:
        return (text for batch in self._by_role(rows, required=False) for text in self.texts(batch))

    def _train(self, texts: Iterator[str]) -> TextTokenizer:
        return train(
            self.tokenizer_name, texts, self.vocabulary_size, min_count=self.min_count, lowercase=self.lowercase
        )

    def _warn_idle(self, names: tuple[str, ...], because: str) -> None:
        warn_without_effect(self, names, because, tokenizer=self.tokenizer_name)

    # ---- rows

    def rows(self, part: str = "all") -> "Dataset":
        if self.streaming:
            raise RnnZooError(f"streaming=true: the rows of {part} are never there at once, as is asked for here")
        return super().rows(part)

    @property
    def streams(self) -> TextStreams:
        """The parts where they are streamed."""
        if self._streams is None:
            self._streams = TextStreams(self, self._named_splits)
        return self._streams

    def head(self, part: str) -> "Dataset":
        """Rows of a part to know its columns and their types by: all of them, or the first of a stream."""
        return self.streams.head(part) if self.streaming else self.rows(part)

    def _training_rows(self, required: bool) -> Iterator[Mapping[str, list[Any]]]:
        if self.streaming:
            return self.streams.by_role("train", required)
        return self._by_role(self.rows("train"), required)

    @contextmanager
    def naming_row(self, part: str, k: int) -> Iterator[None]:
        """Says in front of an error, that "has" something, which row it is: row k of `part`, as the data set counts."""
        try:
            yield
        except RnnZooError as error:
            split, row = (part, k) if self.streaming else self.source_row(part, k)
            of = f" of {split}" if split and (self.streaming or len(self._load()) > 1) else ""
            raise RnnZooError(
                f"dataset={shown_dataset(self.dataset)}: row {row:,}{of} (the first is row 0) {error}"
            ) from error

    def _load(self) -> dict[str, "Dataset"]:
        if self._splits is None:
            if isinstance(self.dataset, str) and self.dataset in self.bundled:
                module, _, function = self.bundled[self.dataset].partition(":")
                self._splits = getattr(import_module(module), function)()
            else:
                names = {f for f in vars(self) if f.endswith("_column")}
                self._splits, _ = load_splits(
                    self.dataset,
                    self.subset,
                    bundled=next(iter(self.bundled), "kjv"),
                    text_lines=True,
                    columns=[getattr(self, name) for name in sorted(names)],
                    cache_dir=self.cache_dir,
                )
        return self._splits

    def _by_role(self, rows: "Dataset", required: bool) -> Iterator[dict[str, list[Any]]]:
        """The columns that are read, by role, some rows at a time."""
        chosen = self.columns(rows, required)
        for batch in rows.select_columns(sorted({*chosen.values()})).iter(_ROWS):
            yield {role: batch[column] for role, column in chosen.items()}

    # ---- encoded

    @property
    def _cache(self) -> Path:
        return cache_folder(self.cache_dir)

    def _key(self, rows: "Dataset", settings: Any) -> str:
        """What all of a result depends on, as a hash."""
        own = [_LAYOUT, type(self).__name__, rows._fingerprint, rows.column_names, settings]
        return hashlib.sha256(json.dumps(own, default=str).encode()).hexdigest()[:24]

    def encoded(self, part: str) -> "Dataset":
        """The rows of a part as `encode` gives them, with their "length" in tokens; on the disk where the rows are.

        Raises:
            RnnZooError: a row that cannot be encoded.
        """
        if part not in self._encoded:
            self._encoded[part] = made = self._encode(part, self.rows(part))
            if self.max_length is not None and len(made):
                cut = np.asarray(made.with_format("numpy")["cut"]).mean()
                if cut:
                    rank_zero_info(f"{cut:.1%} of the {self.named} of {part} are cut to max_length={self.max_length}")
        return self._encoded[part]

    def _encode(self, part: str, rows: "Dataset") -> "Dataset":
        about = self.description  # what has been learned
        required = not self.predicts and part != "all"
        chosen = self.columns(rows, required)
        rows = rows.select_columns(sorted({*chosen.values()}))
        function = partial(self._encode_rows, chosen=chosen)
        options: dict[str, Any] = {"batched": True, "batch_size": _ROWS, "with_indices": True}
        options |= {"remove_columns": rows.column_names, "desc": f"Tokenizing {self.named} of {part}"}
        key = self._key(rows, [about.to_json(), self.max_length, chosen, self.settings_of_encoding()])
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            path = self._cache / f"examples-{key}.arrow"
            with FileLock(f"{path}.lock"):  # one process of a machine encodes them, the others wait
                return rows.map(function, **options, cache_file_name=str(path), new_fingerprint=key)
        except OSError as error:
            if not cannot_write(error):
                raise
            rank_zero_warn(f"tokenized texts are not kept for the next run: {self._cache} cannot be written ({error})")
            return rows.map(function, **options, keep_in_memory=True, new_fingerprint=key)

    @property
    def predicts(self) -> bool:
        """Whether it is for predictions, which need no answers."""
        return self._stage == "predict"

    def settings_of_encoding(self) -> Any:
        """What `texts` and `encode` depend on beside the data and the description, in plain values."""
        return None

    def _encode_rows(self, batch: dict[str, list[Any]], indices: list[int], chosen: dict[str, str]) -> Any:
        return self.encode_rows({role: batch[column] for role, column in chosen.items()}, indices)

    def encode_rows(
        self, rows: dict[str, list[Any]], numbers: Sequence[int], epoch: int = 0, crop: int | None = None
    ) -> Any:
        """Rows by role as an Arrow table of what `encode` gives, cut to `max_length`; "cut" says which were longer.

        Of each `crop` tokens from a random place on are taken, if it is given.
        """
        columns = self.encode(rows, numbers[0])
        tokens = np.array([len(one) for one in columns[self.sequences[0]]], dtype=np.int64)
        length = tokens if self.max_length is None else np.minimum(tokens, self.max_length)
        columns["cut"] = (tokens > length).tolist()
        first = np.zeros_like(length)
        if crop is not None:
            first, length = self._crop(length, np.asarray(numbers), epoch, crop)
        columns["length"] = length.tolist()
        places = [slice(k, k + count) for k, count in zip(first.tolist(), columns["length"], strict=True)]
        columns |= {name: [one[at] for one, at in zip(columns[name], places, strict=True)] for name in self.sequences}
        return as_table(columns)

    def _crop(self, length: np.ndarray, number: np.ndarray, epoch: int, crop: int) -> tuple[np.ndarray, np.ndarray]:
        """Where in each row its piece begins, and the tokens of the piece: by the row, the epoch and the seed alone."""
        spare = np.maximum(length.astype(np.int64) - crop, 0)
        first = hashed(number, (epoch + 1) * 0x9E3779B1 + (self.split_seed or 0)) % (spare + 1).astype(np.uint64)
        return first.astype(np.int64), np.minimum(length, crop)

    # ---- batches

    def setup(self, stage: str | None = None) -> None:
        self._stage = stage
        _ = self.description

    def loader(self, part: str, training: bool) -> Any:
        if self.streaming:
            return self.streams.loader(part, training)
        encoded = self.encoded(part)
        if not len(encoded):
            raise RnnZooError(f"dataset={shown_dataset(self.dataset)} has no {self.named} for {part}")
        lengths = lengths_of(encoded)
        examples = EncodedExamples(self, encoded, self.crop if training else None)
        options = (self.batch_size, self.tokens_per_batch, self.trainer, self.num_workers)
        if not training:
            return by_length(examples, lengths, *options, f"{self.named} of {part}")
        if len(lengths) < self.batch_size:
            raise RnnZooError(
                f"batch_size={self.batch_size} is larger than the {len(lengths)} training {self.named} of"
                f" {shown_dataset(self.dataset)}: batch_size={len(lengths)} would do"
            )
        return bucketed(examples, lengths if self.crop is None else np.minimum(lengths, self.crop), *options)

    def make_batch(self, columns: dict[str, Any], number: np.ndarray, epoch: int = 0, crop: int | None = None) -> Any:
        """A batch of encoded rows, of which `crop` tokens from a random place on are taken, if it is given."""
        columns.pop("cut")
        if crop is not None:
            first, columns["length"] = self._crop(columns["length"], number, epoch, crop)
            columns |= {name: columns[name].cut(first, crop) for name in self.sequences}
        return self.collate(columns, number)


def description_of(path: str, setting: str) -> Description:
    """The description of a checkpoint that a setting names."""
    from rnnzoo.tasks.checkpoints import contents_of, read_checkpoint

    saved = read_checkpoint(path, setting)["hyper_parameters"]
    with contents_of(f"{setting} {path!r}"):
        return of_hyper_parameters(saved)

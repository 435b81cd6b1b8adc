"""Texts with a label or several each, for classification."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnzoo.data.handed import shown as shown_dataset
from rnnzoo.data.labels import LabelColumn, Labels, in_order_of_names
from rnnzoo.data.streams import IGNORED
from rnnzoo.data.text_columns import is_text, pick_column, shown
from rnnzoo.data.text_examples import TextExamples
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

TEXTS = ("text", "sentence", "content", "document", "article", "review", "body", "comment", "message")
LABELS = ("label", "labels", "class", "category", "categories", "target", "sentiment", "topic", "tags")


class LabelledTexts(NamedTuple):
    """B texts of T tokens at most, of C classes.

    `tokens`, (B, T) int64, 0 behind the end of a text, and `lengths`, (B,) int64, of each.
    `labels`: (B,) int64, -100 where there is none; or, of several labels a text, (B, C) float32 of 0 and 1, NaN where
    nothing is known.
    `number`, (B,) int64: of each text in its part of the data.
    """

    tokens: Tensor
    lengths: Tensor
    labels: Tensor
    number: Tensor

    def unanswered(self) -> "LabelledTexts":
        """The same texts without their labels."""
        several = self.labels.is_floating_point()
        return self._replace(labels=torch.full_like(self.labels, torch.nan if several else IGNORED))


class LabelledTextData(TextExamples):
    """Texts to classify: any data set with a column of text and one of labels.

    Labels are names of classes (a ClassLabel of `datasets`), whole numbers from any number on, texts, truth values, or
    lists of these: then a text has any number of labels, also none. The classes are those of the training part.

    Args:
        dataset: "news", articles of the BBC by section, or "verses", those of the King James text by the part of the
            Bible, split by chapter; or any that `TextExamples` reads.
        text_column: with the text; by default what is called so, or the only column of text.
        label_column: with the label or a list of labels; by default what is called so, or the only other column that
            can be meant. To predict none is needed.
        training_examples: rows of the training part that are drawn and trained on, to see what few labels are worth;
            None for all.
        training_seed: of that draw.
        settings: those of `TextExamples`.

    Raises:
        RnnZooError: as `TextExamples`; a row without a text or a label, a label that was not seen in training, fewer
            than two classes, with the number of the row.
    """

    provides: ClassVar[tuple[str, ...]] = (*TextExamples.provides, "classes", "labels")
    bundled: ClassVar[dict[str, str]] = {"news": "rnnzoo.data.news:news", "verses": "rnnzoo.data.verses:verses"}

    def __init__(
        self,
        dataset: str = "news",
        *,
        text_column: str | None = None,
        label_column: str | None = None,
        training_examples: int | None = None,
        training_seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(dataset, **settings)
        self.text_column, self.label_column = text_column, label_column
        self.training_examples, self.training_seed = training_examples, training_seed
        if training_examples is not None:
            self.check_at_least(training_examples=2)
            if self.streaming:
                raise RnnZooError("training_examples are drawn from all rows: leave it out, or streaming=true")
        if isinstance(dataset, str) and dataset == "verses" and self.group_column is None:
            self.group_column = "chapter"
        self.labels = Labels([])
        self._whole: Dataset | None = None  # all rows of training, where only some are drawn
        self._learned_from: str | None = None  # the column of the labels that are known
        self._counts: list[int] = []
        self._part, self._required, self._column = "", True, LabelColumn(None)
        self._looked_at: tuple[str, bool] | None = None
        self._drawn: np.ndarray | None = None  # rows of the whole training part

    # ---- columns

    def columns(self, rows: "Dataset", required: bool) -> dict[str, str]:
        answers = {*LABELS, self.label_column} if self.text_column is None else set()
        aside = [name for name in rows.column_names if name in answers]
        left, uses = rows.remove_columns(aside), dict.fromkeys(aside, "labels")
        text = pick_column(left, self.text_column, "text_column", is_text, TEXTS, "text", aside=uses)
        label = self._label_column(rows, text, required)
        return {"text": text} if label is None else {"text": text, "label": label}

    def _label_column(self, rows: "Dataset", text: str, required: bool) -> str | None:
        left = [name for name in rows.column_names if name not in (text, self.group_column)]
        found = [name for name in left if LabelColumn(rows.features[name]).fits]
        if self.label_column is not None:
            if self.label_column in found:
                return self.label_column
            if self.label_column in left and required:
                kind = shown(rows.features[self.label_column])
                raise RnnZooError(f"label_column={self.label_column!r} must hold labels, but its type is {kind}")
            missing = f"label_column={self.label_column!r} is not among the columns"
            missing += f"{did_you_mean(self.label_column, left)} {', '.join(rows.column_names)}"
        else:
            named = [name for name in (self._learned_from, *LABELS) if name in found]
            if named or (len(found) == 1 and self._learned_from is None):
                return (named or found)[0]
            missing = f"no column holds labels: the columns are {', '.join(rows.column_names)}"
            if self._learned_from is not None:  # any other may be anything, an id for example
                missing = f"{self._learned_from!r} is not among the columns {', '.join(rows.column_names)}"
            elif found:
                missing = f"label_column must be given: {', '.join(found)} may all be labels"
        if not required:
            return None
        raise RnnZooError(missing if self._part in ("", "train") else f"the {self._part} part has no labels: {missing}")

    # ---- labels

    def texts(self, rows: Mapping[str, list[Any]]) -> Iterable[str]:
        return (text for text in rows["text"] if text)

    def learn(self, rows: Iterator[Mapping[str, list[Any]]]) -> None:
        self._look_at("train", required=True)
        self._learned_from = self.columns(self.head("train"), required=True)["label"]
        counts: Counter[str] = Counter()
        several, first = self._column.several, 0
        for batch in rows:
            for k, value in enumerate(batch["label"], first):
                counts.update(self._label(value, k) or [])
            first += len(batch["label"])
        if len(counts) < 2:
            there = f"the only one is {next(iter(counts))!r}" if counts else "there is none"
            raise RnnZooError(f"dataset={shown_dataset(self.dataset)}: training needs two classes or more, but {there}")
        there_are = {*counts, *self._not_drawn()}
        names = [name for name in self._column.names or in_order_of_names(there_are) if name in there_are]
        self.labels, self._counts = Labels(names, several), [counts[name] for name in names]

    def _not_drawn(self) -> set[str]:
        """The labels of the training rows that were not drawn, which are classes too."""
        if self._whole is None:
            return set()
        column = self.columns(self._whole, required=True)["label"]
        values = (value for batch in self._whole.select_columns(column).iter(1000) for value in batch[column])
        return {name for value in values for name in self._column.read(value) or ()}

    def recall(self, description: Description) -> None:
        if description.labels is None:
            raise RnnZooError(f"checkpoint={self.checkpoint!r} knows no labels: it is of no classifier")
        self.labels = Labels(description.labels, bool(description.more.get("several_labels")))
        self._counts = list(description.more.get("label_counts", ()))
        self._learned_from = description.more.get("label_column", "label")

    def describe_more(self) -> dict[str, Any]:
        more = {"label_counts": self._counts, "label_column": self._learned_from, "max_length": self.max_length}
        if self.labels.several:
            more["several_labels"] = True
        return {"classes": len(self.labels), "labels": self.labels.names, "more": more}

    def _label(self, value: Any, k: int) -> list[str] | None:
        """The labels of row k of the part that is looked at; None where it may be without."""
        with self._row(k):
            row = self._column.read(value)
            if row is None and self._required:
                raise RnnZooError("has no label")
        return row

    def _ids(self, value: Any, k: int) -> list[int] | None:
        row = self._label(value, k)
        with self._row(k):
            return None if row is None else self.labels.encode(row)

    # ---- rows

    def rows(self, part: str = "all") -> "Dataset":
        rows = super().rows(part)
        if self.training_examples is not None and self._drawn is None and "train" in self._parts:
            self._whole = whole = self._parts["train"]
            count = self.training_examples
            if count > len(whole):
                raise RnnZooError(f"training_examples={count:,} is more than the {len(whole):,} rows of training")
            self._drawn = np.sort(np.random.default_rng(self.training_seed).choice(len(whole), count, replace=False))
            self._parts["train"] = whole.select(self._drawn)
        return self._parts.get(part, rows)

    def setup(self, stage: str | None = None) -> None:
        if stage == "fit" and self.baseline:
            from rnnzoo.data.baselines.tfidf import check_installed

            check_installed()
        super().setup(stage)
        for part in ("train", "validation", "test") if stage == "fit" and not self.streaming else ():
            self.encoded(part)  # what is wrong with the last row of the test part is known before hours of training

    def _encode(self, part: str, rows: "Dataset") -> "Dataset":
        _ = self.description  # reads the training part
        self._look_at(part, required=not self.predicts and part != "all")
        return super()._encode(part, rows)

    def _look_at(self, part: str, required: bool) -> None:
        if self._looked_at == (part, required):
            return
        self._looked_at, self._part, self._required = None, part, required
        rows = self.head(part)
        label = self.columns(rows, required).get("label")
        self._column = LabelColumn(None if label is None else rows.features[label])
        self._looked_at = part, required

    def source_row(self, part: str, k: int) -> tuple[str, int]:
        return super().source_row(part, k if part != "train" or self._drawn is None else int(self._drawn[k]))

    def _row(self, k: int) -> AbstractContextManager[None]:
        # a stream is encoded without a word about its part
        return self.naming_row("" if self.streaming else self._part, k)

    def encode(self, rows: dict[str, list[Any]], first: int) -> dict[str, list[Any]]:
        if self.streaming:
            self._look_at("test" if self.held_out else "train", required=not self.predicts)
        for k, text in enumerate(rows["text"], first):
            if text is None or not text.strip():
                with self._row(k):
                    raise RnnZooError("has no text" if text is None else "has an empty text")
        most = None if self.max_length is None else self.max_length + 1  # which says that it is cut
        columns: dict[str, list[Any]] = {"tokens": self.tokenizer.encode_for_slices(rows["text"], most)}
        for k, tokens in enumerate(columns["tokens"]):
            if not tokens:
                with self._row(first + k):
                    raise RnnZooError(f"has a text without a token: {rows['text'][k]!r}")
        given = rows.get("label", [None] * len(rows["text"]))
        labels = [self._ids(value, k) for k, value in enumerate(given, first)]
        if self.labels.several:
            return {**columns, "labels": [ids or [] for ids in labels], "known": [ids is not None for ids in labels]}
        return {**columns, "label": [IGNORED if ids is None else ids[0] for ids in labels]}

    def settings_of_encoding(self) -> Any:
        return self._required  # what is kept of a prediction may lack labels

    def collate(self, columns: dict[str, Any], number: np.ndarray) -> LabelledTexts:
        lengths = torch.from_numpy(columns["length"].astype(np.int64))
        if self.labels.several:
            ids = columns["labels"]
            labels = torch.zeros(len(number), len(self.labels))
            rows = np.repeat(np.arange(len(ids)), ids.lengths)
            inside = ids.padded(-1)
            labels[torch.from_numpy(rows), inside[inside >= 0]] = 1.0
            labels[torch.from_numpy(~columns["known"].astype(bool))] = torch.nan
        else:
            labels = torch.from_numpy(columns["label"].astype(np.int64))
        return LabelledTexts(columns["tokens"].padded(), lengths, labels, torch.from_numpy(number))

    # ---- beside it

    def baselines(self) -> dict[str, float]:
        """What TF-IDF with logistic regression reaches on the same split, by the name of the figure."""
        from rnnzoo.data.baselines.tfidf import Texts, tfidf

        _ = self.description  # the labels
        made = {}
        for part in ("train", "validation", "test"):
            self._look_at(part, required=True)
            texts: list[str] = []
            labels: list[list[int]] = []
            for batch in self._by_role(self.rows(part), required=True):
                labels += [self._ids(value, k) or [] for k, value in enumerate(batch["label"], len(texts))]
                texts += batch["text"]
            made[part] = Texts(texts, labels)
        return tfidf(made["train"], made["validation"], made["test"], len(self.labels), self.labels.several)

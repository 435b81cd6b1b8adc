"""Sentences with a tag for each of their words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rnnzoo.data.handed import shown as shown_dataset
from rnnzoo.data.splits import PARTS
from rnnzoo.data.streams import IGNORED
from rnnzoo.data.tag_columns import TagColumn, is_words, takes_words, words_of
from rnnzoo.data.tag_schemes import scheme_of
from rnnzoo.data.text_columns import is_text, pick_column
from rnnzoo.data.text_examples import TextExamples
from rnnzoo.data.tokenizers import TextTokenizer
from rnnzoo.data.words import UNKNOWN_CHARACTER, TaggedBatch, Words, collate_words, whole_words
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

WORDS = ("tokens", "words", "text", "sentence")
TAGS = ("upos", "ner_tags", "pos_tags", "tags", "labels", "chunk_tags", "xpos", "tag", "label")


class TaggedTextData(TextExamples):
    """Sentences to tag: any data set with a list of words, or text that blanks part into words, and a list of tags.

    Tags are names (a ClassLabel of `datasets`, or text), or whole numbers. They are those of the training part, or all
    that a ClassLabel has. The vocabulary has the words of the training part, and its characters, but for those that
    occur once, which stand for the ones that are unknown.

    Args:
        dataset: "turkish", the Turkish Web Treebank; a CoNLL-U or CoNLL file (.conllu, .conll), a folder with such
            files whose names say train, dev and test; or any data set that `TextExamples` reads.
        text_column: with the words; by default what is called so, or the only column that can be meant.
        tag_column: with the tags; likewise. To predict none is needed.
        min_count: how often a word is in the training part at least, else it is unknown.
        settings: those of `TextExamples`.

    Raises:
        RnnZooError: as `TextExamples`; a sentence without words, with fewer or more tags than words, without a tag for
            a word, or with one that was not seen in training, with the number of the row; only one tag in all.
    """

    provides: ClassVar[tuple[str, ...]] = (*TextExamples.provides, "classes", "labels", "characters")
    bundled: ClassVar[dict[str, str]] = {"turkish": "rnnzoo.data.turkish:turkish"}
    sequences: ClassVar[tuple[str, ...]] = ("tokens", "tags", "begins", "sizes")
    named = "sentences"

    def __init__(
        self,
        dataset: str = "turkish",
        *,
        text_column: str | None = None,
        tag_column: str | None = None,
        min_count: int = 2,
        **settings: Any,
    ) -> None:
        super().__init__(dataset, tokenizer="words", min_count=min_count, **settings)
        self.text_column, self.tag_column = text_column, tag_column
        self.labels: list[str] = []
        self.characters: list[str] = []
        self.scheme: str | None = None
        self._part, self._tags = "train", TagColumn(None)

    # ---- columns

    def columns(self, rows: "Dataset", required: bool) -> dict[str, str]:
        lists = any(is_words(feature) for feature in rows.features.values())
        fits = is_words if lists and self.text_column is None else takes_words
        aside = [name for name in (self.tag_column,) if name in rows.column_names and name != self.text_column]
        words = pick_column(
            rows.remove_columns(aside), self.text_column, "text_column", fits, WORDS, "lists of words, or text"
        )
        if not required:
            return {"words": words}
        left = rows.remove_columns([words])
        if not left.column_names:
            raise RnnZooError(f"no column holds tags, for tag_column: {words} is the only one")
        texts = is_text(rows.features[words]) or self.tag_column is not None  # beside lists a text is no list of tags
        fits = TagColumn.fits if texts else TagColumn.are_lists
        return {"words": words, "tags": pick_column(left, self.tag_column, "tag_column", fits, TAGS, "tags")}

    # ---- words and tags

    def texts(self, rows: Mapping[str, list[Any]]) -> Iterable[str]:
        return (word for sentence in rows["words"] for word in words_of(sentence) or () if word)

    def _train(self, texts: Iterator[str]) -> TextTokenizer:
        counts = Counter(texts)
        if not counts:
            raise RnnZooError(f"dataset={shown_dataset(self.dataset)} has no words to train on")
        return whole_words(counts, self.vocabulary_size, self.min_count, self.lowercase)

    def learn(self, rows: Iterator[Mapping[str, list[Any]]]) -> None:
        self._look_at("train", required=True)
        characters: Counter[str] = Counter()
        names: set[str] = set()
        steps: set[tuple[str | None, str | None]] = set()
        for batch in rows:
            characters.update(character for word in self.texts(batch) for character in word)
            for tags in map(self._tags.read, batch["tags"]):
                known = [tag for tag in tags or () if tag is not None]
                names.update(known)
                steps.update(pairwise([None, *known, None]))
        common = [UNKNOWN_CHARACTER, *(c for c, count in characters.most_common() if count > 1)]
        self.characters = self._pretrained_characters() or common
        self.labels = self._tags.names or sorted(names, key=self._tags.order)
        if len(names) < 2:
            there = f"the only one is {next(iter(names))!r}" if names else "there is none"
            raise RnnZooError(
                f"dataset={shown_dataset(self.dataset)}: training needs two different tags or more, but {there}"
            )
        self.scheme = scheme_of(self.labels, steps)

    def _pretrained_characters(self) -> list[str]:
        if self.pretrained is None:
            return []
        from rnnzoo.tasks.checkpoints import read_checkpoint

        saved = read_checkpoint(self.pretrained, "pretrained")["hyper_parameters"].get("description") or {}
        return list(saved.get("characters") or ())

    def recall(self, description: Description) -> None:
        about = description.more
        if description.labels is None or "characters" not in about:
            raise RnnZooError(f"checkpoint={self.checkpoint!r} knows no tags: it is of no tagger")
        self.labels, self.characters = list(description.labels), list(about["characters"])
        self.scheme = about.get("scheme")

    def describe_more(self) -> dict[str, Any]:
        more = {"characters": self.characters, "scheme": self.scheme}
        return {"classes": len(self.labels), "labels": self.labels, "more": more}

    # ---- rows

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        for part in PARTS if stage == "fit" and not self.streaming else ():
            self.encoded(part)  # what is wrong with the last row of the test part is known before hours of training

    def settings_of_encoding(self) -> Any:
        return self.predicts  # which needs the words themselves

    def _encode(self, part: str, rows: "Dataset") -> "Dataset":
        _ = self.description  # reads the training part
        self._look_at(part, required=not self.predicts and part != "all")
        return super()._encode(part, rows)

    def loader(self, part: str, training: bool) -> Any:
        if self.streaming:
            _ = self.description
            self._look_at(part, required=not self.predicts)
        return super().loader(part, training)

    def _look_at(self, part: str, required: bool) -> None:
        rows, self._part = self.head(part), part
        tags = self.columns(rows, required).get("tags")
        self._tags = TagColumn(None if tags is None else rows.features[tags])

    def encode(self, rows: dict[str, list[Any]], first: int) -> dict[str, list[Any]]:
        sentences = [self._sentence(sentence, k) for k, sentence in enumerate(rows["words"], first)]
        if (given := rows.get("tags")) is None:
            tags = [[IGNORED] * len(sentence) for sentence in sentences]
        else:
            place = {label: k for k, label in enumerate(self.labels)}
            pairs = enumerate(zip(sentences, given, strict=True), first)
            tags = [self._ids(sentence, value, place, k) for k, (sentence, value) in pairs]
        columns = {**Words(self.tokenizer, self.characters).encode(sentences), "tags": tags}
        return {**columns, "forms": sentences} if self.predicts else columns

    def _sentence(self, value: Any, k: int) -> list[str]:
        words = words_of(value)
        with self.naming_row(self._part, k):
            if not words:
                raise RnnZooError("has no words" if words is None else "has an empty sentence")
            if None in words:
                raise RnnZooError(f"has nothing in the place of word {words.index(None)} (the first is word 0)")
        return words

    def _ids(self, words: Sequence[str], value: Any, place: Mapping[str, int], k: int) -> list[int]:
        tags = self._tags.read(value)
        with self.naming_row(self._part, k):
            if tags is None:
                raise RnnZooError("has no tags")
            if len(tags) != len(words):
                raise RnnZooError(f"has {len(tags)} tags for {len(words)} words")
            if None in tags:
                raise RnnZooError(f"has no tag for word {tags.index(None)}, {words[tags.index(None)]!r}")
            if unseen := [tag for tag in tags if tag not in place]:
                raise RnnZooError(
                    f"has the tag {unseen[0]!r}, which is not among the {len(place)} of training"
                    f"{did_you_mean(str(unseen[0]), place)} they are {', '.join(self.labels)}"
                )
        return [place[str(tag)] for tag in tags]

    def collate(self, columns: dict[str, Any], number: np.ndarray) -> TaggedBatch:
        return collate_words(columns, number)

    def tagged(self, part: str) -> tuple[list[list[str]], list[list[str]]]:
        """The sentences of a part and their tags, as the data set has them."""
        self._look_at(part, required=True)
        sentences, tags = [], []
        for batch in self._by_role(self.rows(part), required=True):
            sentences += [words_of(sentence) or [] for sentence in batch["words"]]
            tags += [[tag or "" for tag in self._tags.read(value) or ()] for value in batch["tags"]]
        return sentences, tags

    def baselines(self) -> dict[str, float]:
        """Figures of simple methods on the same test part, by name."""
        from rnnzoo.data.baselines.tagging import tagging_baselines

        return tagging_baselines(self.tagged("train"), self.tagged("test"), self.labels, self.scheme)

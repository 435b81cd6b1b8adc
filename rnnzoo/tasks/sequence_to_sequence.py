"""Sequence to sequence: a text in, another one out, by an encoder and a decoder that looks at what it made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from rnnzoo.cells.contract import at_least_one, between
from rnnzoo.data.pairs import PairBatch, PairTokenizer, collated, ragged
from rnnzoo.data.tokenizers import from_json, tokenizer_of
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.copying import log_probabilities, token_losses
from rnnzoo.models.decoding import decode
from rnnzoo.models.encoder_decoder import EncoderDecoder
from rnnzoo.tasks.base import Judged, Task, evaluating
from rnnzoo.tasks.text_figures import FIGURES, check_figures
from rnnzoo.training.progress import digits

_SAMPLES = 4  # that are printed at the end


class SequenceToSequence(Task):
    """Writes a target text for a source text, token by token; trained by the cross-entropy in nats a token.

    Logs ``val_loss``, without label smoothing, and ``val_accuracy``, of tokens after the right ones before them. For
    what is held out, targets are written by beam search and compared with what is right: ``test_BLEU`` and
    ``test_chrF``, or ``test_token_error_rate``, ``test_sequence_error_rate`` and ``test_exact_match`` against the
    nearest right answer.

    The settings of the layers are the encoder's, and the decoder's where it has none of its own.

    Args:
        description: of the data: the tokenizers of both sides.
        embedding_size: features of a token's embedding, on both sides.
        attention: how the decoder looks at the source: "dot", "general" or "concat", after its layers (Luong et al.
            2015), "bahdanau", within each step (Bahdanau et al. 2015), or none.
        input_feeding: whether what a step has seen is an input of the next; with attention after the layers. Steps then
            run one by one.
        copying: whether tokens of the source may be copied (See et al. 2017).
        coverage: the weight of looking at the same place again in the loss (See et al. 2017 take 1), which makes
            "bahdanau" read where it has looked; 0 for neither.
        decoder_cell: of the decoder; by default the encoder's.
        decoder_size: units of the decoder; by default as the encoder's hidden_size.
        decoder_layers: of the decoder; by default as many as the encoder has.
        tied: whether the target's embedding is the matrix of the output too; and the source's, with one tokenizer.
        label_smoothing: share of the probability that the loss gives to all tokens alike; in [0, 1).
        beam: targets that are kept while one is written; 1 always takes the most likely token.
        length_penalty: exponent of the length by which log-probabilities are divided (Wu et al. 2016); 0 for none.
        coverage_penalty: weight of leaving parts of the source unseen (Wu et al. 2016); 0 for none.
        max_output_length: tokens of a target at most, with its end; by default twice the source's and ten.
        figures: what is compared: "errors" of tokens and of whole texts, or "translation"; by default the data's own.
        settings: those that all tasks share. Dropout acts on the embeddings and before the output too.

    Raises:
        RnnZooError: an argument out of range, parts that do not go together, or a cell that cannot be had.
    """

    needs = ("tokenizer", "target_tokenizer")
    means = ("accuracy",)
    by_token = ("model.source_embedding.weight",)
    example_config = "configs/translation.yaml"
    prediction_order: ClassVar = ("example",)
    may_change = Task.may_change | {
        *("label_smoothing", "beam", "length_penalty", "coverage_penalty", "max_output_length", "figures"),
    }

    def __init__(
        self,
        description: Description | None = None,
        *,
        embedding_size: int = 64,
        attention: str | None = "general",
        input_feeding: bool = False,
        copying: bool = False,
        coverage: float = 0.0,
        decoder_cell: str | None = None,
        decoder_size: int | None = None,
        decoder_layers: int | None = None,
        tied: bool = False,
        label_smoothing: float = 0.0,
        beam: int = 4,
        length_penalty: float = 0.0,
        coverage_penalty: float = 0.0,
        max_output_length: int | None = None,
        figures: str | None = None,
        **settings: Any,
    ):
        super().__init__(description, **settings)
        if self.settings.block is not None:
            raise RnnZooError(
                f"{type(self).__name__} takes no block={self.settings.block!r}: its decoder starts from the states of"
                " its encoder's cells"
            )
        if not 0 <= label_smoothing < 1:
            raise RnnZooError(f"label_smoothing must be in [0, 1), not {label_smoothing}")
        self.label_smoothing, self.coverage = label_smoothing, between("coverage", coverage, 0)
        self.beam, self.max_output_length = at_least_one("beam", beam), max_output_length
        if max_output_length is not None:
            at_least_one("max_output_length", max_output_length)
        self.length_penalty = between("length_penalty", length_penalty, 0)
        self.coverage_penalty = between("coverage_penalty", coverage_penalty, 0)
        about = self.description
        self.pair = PairTokenizer(tokenizer_of(about), from_json(about.target_tokenizer or ""))
        shared = tied and about.tokenizer == about.target_tokenizer
        own = self.settings
        decoder = replace(
            own,
            cell=own.cell if decoder_cell is None else decoder_cell,
            cell_args=own.cell_args if decoder_cell in (None, own.cell) else None,
            hidden_size=own.hidden_size if decoder_size is None else at_least_one("decoder_size", decoder_size),
            num_layers=own.num_layers if decoder_layers is None else at_least_one("decoder_layers", decoder_layers),
            bidirectional=False,
        )
        self.model = EncoderDecoder(
            own.rnn(at_least_one("embedding_size", embedding_size)),
            decoder.rnn,
            len(self.pair.source),
            len(self.pair.target),
            embedding_size=embedding_size,
            attention=attention,
            input_feeding=input_feeding,
            coverage=self.coverage > 0,
            copying=copying,
            shared=shared,
            tied=tied,
            unknown=self.pair.target.unknown or 0,
            dropout=own.dropout,
        )
        kind = figures or about.more.get("figures", "translation")
        self.written = MetricCollection(dict(FIGURES[check_figures(kind)]()), compute_groups=False)
        self._samples: list[tuple[int, str, str, str]] = []
        self.start_from_pretrained()

    def forward(self, source: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `target` (B, T), for sources (B, S) of `lengths` (B,)."""
        return self.model(source, target, lengths).logits

    def try_out(self) -> None:
        super().try_out()
        with torch.no_grad():
            tokens = torch.zeros(2, 2, dtype=torch.int64, device=self.device)
            self.model(tokens, tokens)

    # ---- training and evaluation

    def judge(self, batch: PairBatch, stage: str) -> Judged:
        copies = None if self.model.gate is None else batch.copies
        targets = batch.targets
        if copies is None:  # what could only be copied is unknown
            targets = torch.where(targets < self.pair.size, targets, self.model.unknown)
        there = targets >= 0
        count, targets = there.sum(), targets[there]
        if copies is not None:
            copies = copies[there.nonzero()[:, 0]]
        decoded = self.model(batch.source, batch.begun, batch.lengths, there)
        nats, smooth = token_losses(decoded, targets, copies, self.label_smoothing)
        n = count.clamp(min=1)
        if stage == "train":
            loss = smooth if decoded.repeated is None else smooth + self.coverage * decoded.repeated
            return Judged(loss.sum() / n, count)
        extra = 0 if copies is None or not count else max(0, int(copies.max()) + 1 - self.pair.size)
        right = log_probabilities(decoded, copies, extra).argmax(-1) == targets
        return Judged(nats.sum() / n, count, {"accuracy": right.sum() / n})

    def evaluate(self, batch: PairBatch, stage: str) -> None:
        super().evaluate(batch, stage)
        if stage != "test":
            return
        written = self.write(batch)
        references = batch.references or [[""]] * len(written)
        for name, metric in self.written.items():
            metric.update(written, references)
            self.log(f"test_{name}", metric, on_epoch=True)
        rows = zip(batch.number.tolist(), batch.texts, written, references, strict=True)
        # of all parts of the data set, which may be sorted, and the same whatever the batches
        here = [(n * 0x9E3779B1 % (1 << 32), s, w, r[0]) for n, s, w, r in rows]
        self._samples = sorted([*self._samples, *here])[:_SAMPLES]

    def on_test_epoch_start(self) -> None:
        self._samples = []

    # ---- writing

    def write(self, batch: PairBatch) -> list[str]:
        """The target of each source of a batch, by beam search."""
        return [self.pair.text(tokens, words) for tokens, words in self._tokens(batch)]

    def _tokens(self, batch: PairBatch) -> list[tuple[list[int], list[str]]]:
        """The tokens of each target, and the words of its source that those from V on stand for."""
        most = self.max_output_length
        limits = 2 * batch.lengths + 10 if most is None else torch.full_like(batch.lengths, most)
        target = self.pair.target
        found = decode(
            self.model,
            batch.source,
            batch.lengths,
            batch.copies,
            begin=self.pair.begin,
            end=self.pair.end,
            limits=limits,
            never=[k for k in {target.unknown, target.begin} - {self.pair.end} if k is not None],
            beam=self.beam,
            alpha=self.length_penalty,
            beta=self.coverage_penalty,
        )
        words = [one.words for one in self.pair.sources(batch.texts)] if self.model.gate is not None else []
        return [(one.tokens, words[k] if words else []) for k, one in enumerate(found)]

    def predict_step(self, batch: PairBatch, index: int) -> dict[str, Any]:
        """Of every source: its number, its text, and the target that is written for it."""
        return {"example": batch.number, "source": list(batch.texts), "prediction": self.write(batch)}

    def batch_of(self, inputs: str | Sequence[str]) -> PairBatch:
        """Texts, none of them empty, as a batch without targets.

        Raises:
            RnnZooError: no text, or an empty one.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if not texts:
            raise RnnZooError("there are no texts to write targets for")
        for k, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise RnnZooError(f"text {k} must be text, not {'empty' if isinstance(text, str) else repr(text)}")
        sources = self.pair.sources(texts)
        columns = {"source": ragged([s.tokens for s in sources]), "copies": ragged([s.copies for s in sources])}
        return collated(self.pair, columns, np.arange(len(texts)), texts, None)

    def attention_of(self, text: str) -> tuple[Tensor, list[str], list[str]] | None:
        """Where the decoder looks while it writes the target of `text`: weights (T, S), and the tokens of both.

        None for a model without attention.
        """
        if self.model.attention is None:
            return None
        with evaluating(self):
            batch = self.transfer_batch_to_device(self.batch_of(text), self.device, 0)
            ((tokens, words),) = self._tokens(batch)
            begun = torch.tensor([[self.pair.begin, *tokens]], device=self.device)
            weights = self.model(batch.source, begun, batch.lengths).weights[0]
        (source,) = self.pair.sources([text])
        read = [self.pair.source.vocabulary[k] for k in batch.source[0].tolist()]
        for k, copy in enumerate(source.copies):
            if copy >= self.pair.size:
                read[k] = source.words[copy - self.pair.size]
        return weights, read, self.pair.names([*tokens, self.pair.end], words)

    # ---- what it says of itself

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        names = self.description.more.get("names", {})
        lines = [
            f"held-out {names.get(name, name.replace('_', ' '))}: {digits(metrics[f'test_{name}'])}"
            for name in map(str, self.written)
            if f"test_{name}" in metrics
        ]
        return [*lines, f"held-out token accuracy: {digits(metrics['test_accuracy'])}"]

    def closing_lines(self, metrics: Mapping[str, float], data: Any, checkpoint: str) -> list[str]:
        lines = []
        for _, source, written, right in self._samples:
            lines += [f"  {source}", f"  -> {written}", f"     ({right})" if written != right else "     (right)", ""]
        if lines:
            lines = ["Of what was held out, what is written for it, and what is right:", "", *lines]
        return [*lines, *self._drawn(checkpoint), *super().closing_lines(metrics, data, checkpoint)]

    def _drawn(self, checkpoint: str) -> list[str]:
        """Draws the attention of the first sample into the run's folder."""
        from rnnzoo.training.attention_picture import draw_attention

        folder = Path(checkpoint).parent.parent
        if not self._samples or not Path(checkpoint).is_file() or not self.trainer.is_global_zero:
            return []
        found = self.attention_of(self._samples[0][1])
        if found is None:
            return []
        path = folder / "attention.png"
        draw_attention(*found, path)
        return [f"attention: {path}"]

"""Language models over characters: trained on streams with carried state, fine-tuned, sampled from."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.streams import IGNORED, StreamBatch
from rnnzoo.data.vocabulary import Vocabulary
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.token_model import TokenModel
from rnnzoo.tasks.base import Judged, Task, evaluating
from rnnzoo.training.carried_state import CarriedState
from rnnzoo.training.predictions import table_columns
from rnnzoo.training.progress import digits

LN2 = math.log(2)


class LanguageModel(Task):
    """Predicts each character from those before it; logs bits per character (``val_bpc``, ``test_bpc``).

    Args:
        description: of the data: its vocabulary.
        embedding_size: features of a character's embedding.
        weight_drop: on the recurrent weights, the same for a whole sequence (Merity et al. 2018); in [0, 1).
        carry_state: whether a batch goes on from the state in which the last one ended (truncated backpropagation
            through time), rather than from the initial state.
        settings: those that all tasks share. Dropout acts on the embeddings too.

    Raises:
        RnnZooError: an argument out of range, a cell that cannot be had, or a `pretrained` made with other settings.
    """

    needs = ("vocabulary",)
    means = ("bpc",)
    by_token = ("model.embedding.weight", "model.head.weight", "model.head.bias")
    may_change = Task.may_change | {"carry_state"}
    older_description, example_config = "vocabulary", "configs/char_lm.yaml"
    prediction_order: ClassVar = ("position",)

    def __init__(
        self,
        description: Description | None = None,
        *,
        embedding_size: int = 64,
        weight_drop: float = 0.0,
        carry_state: bool = True,
        **settings: Any,
    ):
        super().__init__(description, **settings)
        self.vocabulary = Vocabulary(self.description.vocabulary or ())
        rnn = self.settings.rnn(at_least_one("embedding_size", embedding_size))
        self.model = TokenModel(rnn, len(self.vocabulary), dropout=self.settings.dropout, weight_drop=weight_drop)
        self.carry_state = carry_state
        self._carried = CarriedState(self.rnn)
        self._begins: str | None = None
        self.start_from_pretrained()

    def forward(self, tokens: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, T, V) of the character after each of `tokens` (B, T), and the state to go on from."""
        return self.model(tokens, hx)

    # ---- training and evaluation

    def on_train_epoch_start(self) -> None:
        self._carried.reset("train")

    def on_validation_epoch_start(self) -> None:
        self._carried.reset("val")

    def on_test_epoch_start(self) -> None:
        self._carried.reset("test")

    def on_predict_epoch_start(self) -> None:
        self._carried.reset("predict")

    def predict_step(self, batch: StreamBatch, index: int) -> dict[str, Tensor]:
        """Of every character predicted: its position in the text, its number, its log-probability in nats."""
        log_prob = -self._nats(batch, "predict").view_as(batch.targets)
        there = batch.targets != IGNORED
        position = batch.positions[:, None] + torch.arange(batch.targets.shape[1], device=self.device)
        return {"position": position[there], "token": batch.targets[there], "log_prob": log_prob[there]}

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns of a table of predictions, with characters where numbers were."""
        characters = self.vocabulary.characters
        return {**columns, "token": [characters[i] for i in columns["token"]]}

    def batch_of(self, inputs: str | Sequence[str]) -> list[StreamBatch]:
        """Each text, of two characters at least, as a batch of its own.

        Raises:
            RnnZooError: no text, a shorter one, or characters that the model does not know.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        batches = []
        for k, text in enumerate(texts):
            if not isinstance(text, str) or len(text) < 2:
                raise RnnZooError(f"text {k} must have two characters at least: all but the first are predicted")
            ids = self.vocabulary.encode(text, f"text {k}")[None]
            batches.append(StreamBatch(ids[:, :-1], ids[:, 1:], torch.ones(1, dtype=torch.int64)))
        return batches

    def predict(self, inputs: str | Sequence[str]) -> pd.DataFrame:
        """Of every character of a text but the first: its log-probability in nats after those before it.

        Args:
            inputs: a text, or a list of them, each read from the initial state.

        Returns:
            Columns "text" (its number), "position", "token" and "log_prob".

        Raises:
            RnnZooError: as `batch_of`.
        """
        frames = []
        for k, batch in enumerate(self.batch_of(inputs)):
            self._carried.reset("predict")
            with evaluating(self):
                columns = self.predict_step(StreamBatch(*(part.to(self.device) for part in batch)), 0)
            table = self.describe_predictions(table_columns(columns, type(self).__name__))
            frames.append(pd.DataFrame({"text": k, **table}))
        self._carried.reset("predict")
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def _nats(self, batch: StreamBatch, stage: str, reduction: str = "none") -> Tensor:
        """-ln p of each target, (B * T,), 0 where a stream has ended, or their sum; float32 whatever the precision."""
        hx = self._carried[stage] if self.carry_state else None
        logits, self._carried[stage] = self.model(batch.inputs, hx)
        return F.cross_entropy(logits.flatten(0, 1).float(), batch.targets.flatten(), reduction=reduction)

    def judge(self, batch: StreamBatch, stage: str) -> Judged:
        count = (batch.targets != IGNORED).sum()  # 0, at the end of a process's streams
        mean = self._nats(batch, stage, "sum") / count.clamp(min=1)
        return Judged(mean, count, {} if stage == "train" else {"bpc": mean / LN2})

    # ---- sampling

    def generate(self, prompt: str, length: int, **sampling: Any) -> str:
        """Text that goes on from `prompt`, all at once; arguments and errors as `stream`."""
        return "".join(self.stream(prompt, length, **sampling))

    def stream(
        self,
        prompt: str,
        length: int,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[str]:
        """Characters that go on from `prompt`, each as it is made: one step of the RNN with carried state.

        Args:
            prompt: at least one character, all of them known.
            length: how many characters to make.
            temperature: below 1 sharpens the distribution, above 1 flattens it.
            top_p: sample from the fewest characters that together have this probability (Holtzman et al. 2020).
            generator: of the random numbers, on the model's device.

        Raises:
            RnnZooError: an argument out of range, or a character that the model does not know.
        """
        check_sampling(prompt, length, temperature, top_p)
        tokens = self.vocabulary.encode(prompt, "prompt").to(self.device)
        return self._continue(tokens, length, temperature, top_p, generator)

    def _continue(
        self, tokens: Tensor, length: int, temperature: float, top_p: float, generator: torch.Generator | None
    ) -> Iterator[str]:
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                logits, hx = self.model(tokens[None])
                token = sample(logits[:, -1].float(), temperature, top_p, generator)
            yield self.vocabulary.characters[int(token)]
            for before in range(len(tokens), len(tokens) + length - 1):
                with torch.inference_mode():
                    logits, hx = self.model.step(token, hx, before)
                    token = sample(logits.float(), temperature, top_p, generator)
                yield self.vocabulary.characters[int(token)]
        finally:
            self.train(training)

    def sample_text(self, prompt: str, length: int, seed: int = 0) -> str:
        """`prompt` and `length` characters that go on from it, at temperature 0.7 and top-p 0.9."""
        generator = torch.Generator(self.device).manual_seed(seed)
        return prompt + self.generate(prompt, length, temperature=0.7, top_p=0.9, generator=generator)

    def opening(self, inputs: Tensor) -> str:
        """Whole words that a text of `inputs` (B, T) begins with, for a prompt."""
        line = self.vocabulary.decode(inputs[0, :24]).strip().split("\n")[0]
        return line.rpartition(" ")[0] or line or self.vocabulary.characters[0]

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        return [f"held-out bits per character: {digits(metrics['test_bpc'])}"]

    def _prompt(self, data: Any) -> str:
        """Whole words that the training text begins with; the loader, which may start processes, is asked once."""
        if self._begins is None:
            self._begins = self.opening(next(iter(data.train_dataloader())).inputs)
        return self._begins

    def suggest(self, data: Any, checkpoint: str) -> list[str]:
        options = [f"--prompt={shlex.quote(self._prompt(data))}", "--length 400 --temperature 0.7"]
        return [" ".join(["rnnzoo generate", shlex.quote(checkpoint), *options])]

    def closing_lines(self, metrics: Mapping[str, float], data: Any, checkpoint: str) -> list[str]:
        text = self.sample_text(self._prompt(data), 400)
        sample = ["A sample, at temperature 0.7 and top-p 0.9:", "", text, ""]
        return [*sample, *super().closing_lines(metrics, data, checkpoint)]


def check_sampling(prompt: str, length: int, temperature: float, top_p: float) -> None:
    """Raises RnnZooError for a setting of `generate` that is out of range."""
    if not prompt:
        raise RnnZooError("prompt is empty; give at least one character to go on from")
    if length < 1:
        raise RnnZooError(f"length must be at least 1, not {length}")
    if not 0 < temperature < math.inf:
        raise RnnZooError(f"temperature must be above 0, not {temperature}")
    if not 0 < top_p <= 1:
        raise RnnZooError(f"top_p must be in (0, 1], not {top_p}")


def sample(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
    """One token (B,) from logits (B, V)."""
    p = (logits / temperature).softmax(-1)
    if top_p < 1:
        sorted_p, order = p.sort(-1, descending=True)
        behind = sorted_p.cumsum(-1) - sorted_p >= top_p  # what lies before has enough already
        p = p.masked_fill(behind.gather(-1, order.argsort(-1)), 0)
    return torch.multinomial(p, 1, generator=generator)[:, 0]

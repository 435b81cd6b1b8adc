"""Language models over characters or tokens: trained on streams with carried state, fine-tuned, written with."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.streams import IGNORED, StreamBatch, TokenBatch
from rnnzoo.data.tokenizers import tokenizer_of
from rnnzoo.data.vocabulary import Vocabulary
from rnnzoo.description import Description, describe
from rnnzoo.errors import RnnZooError
from rnnzoo.models.dropouts import activation_penalty
from rnnzoo.models.token_model import TokenModel
from rnnzoo.tasks.base import Judged, Task, evaluating
from rnnzoo.tasks.generation import Sampling, beam_search, continuations
from rnnzoo.tasks.means import ExactMean, ExpOfMean
from rnnzoo.tasks.written import Characters, Tokens, Written
from rnnzoo.training.carried_state import CarriedState
from rnnzoo.training.predictions import table_columns
from rnnzoo.training.progress import digits

LN2 = math.log(2)
Batch = StreamBatch | TokenBatch


class LanguageModel(Task):
    """Predicts each token from those before it; logs bits per character (``val_bpc``, ``test_bpc``).

    Where the data have a tokenizer, the perplexity too (``val_perplexity``): e to the mean nats of a token, which
    depends on what the tokens are. Bits per character do not: they are the nats of all tokens over the characters of
    the text. There, an unknown word is charged its spelling besides, log2(C + 1) bits for each of its characters and
    one for its end, C being the number of different characters of the training text. So they stay the length of a code
    from which the text could be read again, but for the spaces between words.

    Args:
        description: of the data: its vocabulary, and its tokenizer where tokens are no characters.
        embedding_size: features of a token's embedding.
        weight_drop: on the recurrent weights, the same for a whole sequence (Merity et al. 2018); in [0, 1).
        carry_state: whether a batch goes on from the state in which the last one ended (truncated backpropagation
            through time), rather than from the initial state.
        tied: whether the head's weights are the embedding's (Press & Wolf 2017); where their sizes differ, a matrix
            before the head takes the one to the other.
        adaptive_softmax: where the clusters of an adaptive softmax end (Grave et al. 2017), as [2000, 10000]; for a
            vocabulary by falling frequency, as trained tokenizers have it. None for a linear head.
        logit_cap: c, of soft-capped logits, c tanh(logits / c) (Gemma Team 2024). None leaves them as they are.
        embedding_dropout: of whole words, at all their places; in [0, 1).
        input_dropout: on the embeddings; `dropout` where None.
        output_dropout: before the head; `dropout` where None.
        activation_penalty: α of AR: adds to the loss of training α times the mean square of the last layer's outputs
            after dropout (Merity, McCann & Socher 2017).
        temporal_penalty: β of TAR, likewise: of their change from step to step, before dropout.
        settings: those that all tasks share. Dropout acts on the embeddings and before the head too.

    Raises:
        RnnZooError: an argument out of range, a cell that cannot be had, or a `pretrained` made with other settings.
    """

    needs = ("vocabulary",)
    by_token = ("model.embedding.weight", "model.head.weight", "model.head.bias")
    may_change = Task.may_change | {
        *("carry_state", "embedding_dropout", "input_dropout", "output_dropout", "locked_dropout"),
        *("activation_penalty", "temporal_penalty"),
    }
    may_differ = frozenset({"weight_drop"})
    older_description, example_config = "vocabulary", "configs/char_lm.yaml"
    prediction_order: ClassVar = ("position",)

    def __init__(
        self,
        description: Description | None = None,
        *,
        embedding_size: int = 64,
        weight_drop: float = 0.0,
        carry_state: bool = True,
        tied: bool = False,
        adaptive_softmax: list[int] | None = None,
        logit_cap: float | None = None,
        embedding_dropout: float = 0.0,
        input_dropout: float | None = None,
        output_dropout: float | None = None,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
        **settings: Any,
    ):
        super().__init__(description, **settings)
        about = self.description
        if about.tokenizer is None:
            self.vocabulary = Vocabulary(about.vocabulary or ())
            self.text: Characters | Tokens = Characters(self.vocabulary)
        else:
            self.text = Tokens(tokenizer_of(about))
        for name, value in {"activation_penalty": activation_penalty, "temporal_penalty": temporal_penalty}.items():
            if not value >= 0:
                raise RnnZooError(f"{name} must be 0 or more, not {value}")
        rnn = self.settings.rnn(at_least_one("embedding_size", embedding_size))
        self.model = TokenModel(
            rnn,
            len(self.text.names),
            dropout=self.settings.dropout,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
            embedding_dropout=embedding_dropout,
            locked_dropout=self.settings.locked_dropout,
            weight_drop=weight_drop,
            tied=tied,
            adaptive_softmax=adaptive_softmax,
            logit_cap=logit_cap,
        )
        self.penalties = activation_penalty, temporal_penalty
        self.carry_state = carry_state
        self._carried = CarriedState(self.rnn)
        self._begins: str | None = None
        self.start_from_pretrained()

    @property
    def means(self) -> tuple[str, ...]:  # type: ignore[override]  # of the class, where it does not depend on the data
        return ("bpc",) if self.description.tokenizer is None else ("perplexity", "bpc")

    def mean(self, name: str) -> Metric:
        return ExpOfMean() if name == "perplexity" else ExactMean()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        about = Description() if data is None else describe(data)
        theirs, tokens = about.vocabulary, about.tokenizer is not None or self.description.tokenizer is not None
        if tokens and theirs is not None and list(theirs) != list(self.text.names):
            raise RnnZooError(
                f"the data have {len(theirs):,} tokens, and this model was made for {len(self.text.names):,} that are"
                " not the same: give the data the model's tokenizer, checkpoint=CHECKPOINT"
            )

    def forward(self, tokens: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, T, V) of the token after each of `tokens` (B, T), and the state to go on from."""
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

    def predict_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Of every token predicted: its position in the text, its number, its log-probability in nats."""
        log_prob = -self.model.nats(self._read(batch, "predict")[1], batch.targets).view_as(batch.targets)
        there = batch.targets != IGNORED
        position = batch.positions[:, None] + torch.arange(batch.targets.shape[1], device=self.device)
        return {"position": position[there], "token": batch.targets[there], "log_prob": log_prob[there]}

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns of a table of predictions, with tokens where numbers were."""
        return {**columns, "token": [self.text.names[i] for i in columns["token"]]}

    def batch_of(self, inputs: str | Sequence[str]) -> list[StreamBatch]:
        """Each text, of two tokens at least, as a batch of its own.

        Raises:
            RnnZooError: no text, a shorter one, or characters that the model does not know.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        batches = []
        for k, text in enumerate(texts):
            ids = self.text.encode(text, f"text {k}")[None] if isinstance(text, str) and text else None
            if ids is None or ids.shape[1] < 2:
                raise RnnZooError(f"text {k} must have two {self.text.unit}s at least: all but the first are predicted")
            batches.append(StreamBatch(ids[:, :-1], ids[:, 1:], torch.ones(1, dtype=torch.int64)))
        return batches

    def predict(self, inputs: str | Sequence[str]) -> pd.DataFrame:
        """Of every token of a text but the first: its log-probability in nats after those before it.

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

    def _read(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        """What the last layer says at each step, and what the head reads of it; carries the state on."""
        hx = self._carried[stage] if self.carry_state else None
        y, last, self._carried[stage] = self.model.read(batch.inputs, hx)
        return y, last

    def judge(self, batch: Batch, stage: str) -> Judged:
        count = (batch.targets != IGNORED).sum()  # 0, at the end of a process's streams
        y, last = self._read(batch, stage)
        mean = self.model.nats(last, batch.targets, "sum") / count.clamp(min=1)
        if stage == "train":
            return Judged(mean + activation_penalty(y, last, *self.penalties) if any(self.penalties) else mean, count)
        if not isinstance(batch, TokenBatch):
            return Judged(mean, count, {"bpc": mean / LN2})
        characters = batch.characters.sum()
        spelling = batch.spelled.sum() * math.log((self.description.more.get("characters") or 1) + 1)
        bits = (mean * count + spelling) / characters.clamp(min=1) / LN2
        return Judged(mean, count, {"perplexity": mean, "bpc": (bits, characters)})

    # ---- writing

    def generate(
        self,
        prompt: str | Sequence[str],
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        beam: int | None = None,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> str | list[str]:
        """Text that goes on from `prompt`, all at once, or from each of several.

        Of a model that reads texts from their end it is what stands before the prompt.

        Args:
            prompt: one, or a list of them, which are gone on with side by side.
            length: tokens to make, at most.
            beam: go on with so many texts at a time, and give the likeliest; beside it temperature, top_k and top_p
                have no effect, and are errors.
            temperature, top_k, top_p, stop, seed, generator: as of `stream`.

        Raises:
            RnnZooError: an argument out of range, or a character that the model does not know.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, beam=beam, stop=_several(stop))
        check_request(prompts, length)
        if beam is not None:
            made = [self._search(one, length, sampling) for one in self._encoded(prompts)]
        else:
            made = ["" for _ in prompts]
            drawn = self._generators(len(prompts), seed, generator)
            for pieces in self._pieces(self._encoded(prompts), length, sampling, drawn):
                made = [a + b for a, b in zip(made, pieces, strict=True)]
        if self.text.backward:
            made = [text[::-1] for text in made]
        return made[0] if isinstance(prompt, str) else made

    def stream(
        self,
        prompt: str,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[str]:
        """Text that goes on from `prompt`, each piece as it is made: one step of the RNN with carried state.

        Args:
            prompt: at least one token; of a model of characters, all of them known.
            length: how many tokens to make, at most.
            temperature: below 1 sharpens the distribution, above 1 flattens it, 0 takes the likeliest.
            top_k: choose among so many of the likeliest.
            top_p: then among the fewest that together have this probability (Holtzman et al. 2020).
            stop: a string, or several, before the first of which the text ends.
            seed: of the random numbers; the same gives the same text, whatever prompts stand beside it.
            generator: of the random numbers, on the model's device, in place of a seed.

        Raises:
            RnnZooError: an argument out of range, a character that the model does not know, or a model that reads
                texts from their end.
        """
        if self.text.backward:
            raise RnnZooError(
                "this model reads texts from their end, and writes what stands before a prompt: generate gives it whole"
            )
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, stop=_several(stop))
        check_request([prompt], length)
        tokens, drawn = self._encoded([prompt]), self._generators(1, seed, generator)
        return (piece for (piece,) in self._pieces(tokens, length, sampling, drawn) if piece)

    def _generators(self, count: int, seed: int | None, generator: torch.Generator | None) -> Any:
        if seed is None:
            return generator
        if generator is not None:
            raise RnnZooError(f"seed={seed} and a generator are both given; give one")
        return [torch.Generator(self.device).manual_seed(seed) for _ in range(count)]

    def _encoded(self, prompts: Sequence[str]) -> list[Tensor]:
        called = ["prompt"] if len(prompts) == 1 else [f"prompt {k}" for k in range(len(prompts))]
        return [self.text.encode(p, name).to(self.device) for p, name in zip(prompts, called, strict=True)]

    def _pieces(self, tokens: list[Tensor], length: int, sampling: Sampling, generator: Any) -> Iterator[list[str]]:
        training = self.training
        self.eval()
        texts = [Written(self.text, prompt.tolist(), sampling.stop) for prompt in tokens]
        try:
            for made in continuations(self.model, tokens, length, sampling, generator, self.text.unwritten):
                yield ["" if text.ended else text.push(k) for text, k in zip(texts, made.tolist(), strict=True)]
                if all(text.ended for text in texts):
                    return
            yield [text.close() for text in texts]
        finally:
            self.train(training)

    def _search(self, prompt: Tensor, length: int, sampling: Sampling) -> str:
        def read(made: list[int]) -> tuple[str, bool]:
            text, pieces = Written(self.text, prompt.tolist(), sampling.stop), []
            for token in made:
                pieces.append(text.push(token))
                if text.ended:
                    break
            return "".join(pieces) + text.close(), text.ended

        def ends(made: list[int]) -> bool:
            return bool(sampling.stop) and read(made)[1]

        with evaluating(self):
            made = beam_search(self.model, prompt, length, sampling.beam or 1, self.text.unwritten, ends)
        return read(made)[0]

    def sample_text(self, prompt: str, length: int, seed: int = 0) -> str:
        """`prompt` and about `length` characters that go on from it, at temperature 0.7 and top-p 0.9."""
        generator = torch.Generator(self.device).manual_seed(seed)
        tokens = length if self.description.tokenizer is None else max(length // 4, 1)  # a word and its space are five
        text = str(self.generate(prompt, tokens, temperature=0.7, top_p=0.9, generator=generator))
        return text + prompt if self.text.backward else prompt + text

    def opening(self, inputs: Tensor) -> str:
        """Whole words that a text of `inputs` (B, T) begins with, for a prompt."""
        line = self.text.decode(inputs[0, :24].tolist()).strip().split("\n")[0]
        if self.description.tokenizer is not None:
            return line if line.strip() else self.text.begins_with(line)
        return line.rpartition(" ")[0] or line or self.text.names[0]

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        named = {"test_perplexity": "perplexity", "test_bpc": "bits per character"}
        return [f"held-out {said}: {digits(metrics[name])}" for name, said in named.items() if name in metrics]

    def _prompt(self, data: Any) -> str:
        """Whole words that the training text begins with; the loader, which may start processes, is asked once."""
        if self._begins is None:
            self._begins = self.opening(next(iter(data.train_dataloader())).inputs)
        return self._begins

    def suggest(self, data: Any, checkpoint: str) -> list[str]:
        length = 400 if self.description.tokenizer is None else 100
        options = [f"--prompt={shlex.quote(self._prompt(data))}", f"--length {length} --temperature 0.7"]
        return [" ".join(["rnnzoo generate", shlex.quote(checkpoint), *options])]

    def closing_lines(self, metrics: Mapping[str, float], data: Any, checkpoint: str) -> list[str]:
        text = self.sample_text(self._prompt(data), 400)
        sample = ["A sample, at temperature 0.7 and top-p 0.9:", "", text, ""]
        return [*sample, *super().closing_lines(metrics, data, checkpoint)]


def check_request(prompts: Sequence[str], length: int) -> None:
    """Raises RnnZooError where there is no prompt, an empty one, or nothing to make."""
    if not prompts:
        raise RnnZooError("there is no prompt; give one at least")
    if not all(prompts):
        raise RnnZooError("prompt is empty; give at least one character to go on from")
    if length < 1:
        raise RnnZooError(f"length must be at least 1, not {length}")


def _several(stop: str | Sequence[str]) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop)

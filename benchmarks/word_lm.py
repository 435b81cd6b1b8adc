"""An epoch of `rnnzoo fit` on words, against a bare loop as PyTorch's word language model example has it, by turns.

    python benchmarks/word_lm.py                              # one layer of 256, the King James text
    python benchmarks/word_lm.py --units 650 --layers 2 --tied
    python benchmarks/word_lm.py --file my.txt --steps 100    # a part of an epoch

The loop: nn.Embedding, nn.LSTM, a full softmax, state carried and cut off from the graph, gradients clipped to 0.25,
SGD by hand at a rate of 20, which it divides by four where validation is no better than before. Its tokens, their
order and batches are those of ours. Ours: the same sizes, once with a full softmax and SGD, once as word_lm.yaml
has it, with an adaptive softmax and AdamW. Times are of training alone, medians over the epochs; perplexities are of
validation after the last.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn

import rnnzoo
from rnnzoo.benchmark.machine import describe
from rnnzoo.data import TokenTextData
from rnnzoo.tasks import LanguageModel


class Peer(nn.Module):
    """What the example trains: an encoder, nn.LSTM and a decoder, with dropout around them."""

    def __init__(self, tokens: int, given: argparse.Namespace) -> None:
        super().__init__()
        self.drop = nn.Dropout(given.dropout)
        self.encoder = nn.Embedding(tokens, given.units)
        between = given.dropout if given.layers > 1 else 0.0
        self.rnn = nn.LSTM(given.units, given.units, given.layers, dropout=between)
        self.decoder = nn.Linear(given.units, tokens)
        if given.tied:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, hx: Any) -> tuple[Tensor, Any]:
        y, hx = self.rnn(self.drop(self.encoder(tokens)), hx)
        logits = self.decoder(self.drop(y)).view(-1, self.decoder.out_features)
        return torch.log_softmax(logits, dim=1), hx


class PeerRun:
    """A run of the example's loop, an epoch at a time."""

    def __init__(self, data: TokenTextData, given: argparse.Namespace) -> None:
        torch.manual_seed(1)
        self.model, self.loss, self.rate, self.best = Peer(len(data.tokenizer), given), nn.NLLLoss(), 20.0, math.inf
        self.batches = {part: _columns(data, part, given) for part in ("train", "validation")}

    def epoch(self) -> float:
        """Trains for an epoch; returns the seconds."""
        self.model.train()
        start, hx = time.perf_counter(), None
        for inputs, targets in self.batches["train"]:
            self.model.zero_grad()
            hx = None if hx is None else tuple(part.detach() for part in hx)
            log_p, hx = self.model(inputs, hx)
            self.loss(log_p, targets).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.25)
            for p in self.model.parameters():
                p.data.add_(p.grad, alpha=-self.rate)
        return time.perf_counter() - start

    def perplexity(self) -> float:
        """Of validation; lowers the rate where it is no better than before."""
        self.model.eval()
        total, count, hx = 0.0, 0, None
        with torch.no_grad():
            for inputs, targets in self.batches["validation"]:
                log_p, hx = self.model(inputs, hx)
                total += float(self.loss(log_p, targets)) * len(targets)
                count += len(targets)
        mean = total / count
        self.rate, self.best = (self.rate if mean < self.best else self.rate / 4), min(self.best, mean)
        return math.exp(mean)


def _columns(data: TokenTextData, part: str, given: argparse.Namespace) -> list[tuple[Tensor, Tensor]]:
    """All batches, (T, B) and (T * B,), ready before the clock starts; the last, shorter one is left out."""
    ids = torch.from_numpy(data.tokens(part)["id"].astype("int64"))
    steps = len(ids) // given.batch
    columns = ids[: steps * given.batch].view(given.batch, -1).t().contiguous()
    made = [
        (columns[k : k + given.length], columns[k + 1 : k + 1 + given.length].reshape(-1))
        for k in range(0, len(columns) - 1 - given.length, given.length)
    ]
    return made[: given.steps] if given.steps else made


class ByTurns(Callback):
    """After each epoch of ours, one of the peer; seconds of training alone, and perplexities of validation."""

    def __init__(self, peer: PeerRun) -> None:
        self.peer, self._since, self._last = peer, 0.0, 0.0
        self.seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        self.perplexities: dict[str, list[float]] = {"ours": [], "peer": []}

    def on_train_epoch_start(self, *_: Any) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seconds["ours"].append(self._last - self._since)
        self.perplexities["ours"].append(float(trainer.callback_metrics["val_perplexity"]))
        self.seconds["peer"].append(self.peer.epoch())
        self.perplexities["peer"].append(self.peer.perplexity())


def measure(data: TokenTextData, given: argparse.Namespace, settings: dict[str, Any]) -> ByTurns:
    """Trains ours with these settings, and the peer by turns with it."""
    turns = ByTurns(PeerRun(data, given))
    seed_everything(1, verbose=False)
    sizes = {"embedding_size": given.units, "hidden_size": given.units, "num_layers": given.layers}
    model = LanguageModel(data.description, **sizes, dropout=given.dropout, **settings)
    clip = 0.25 if settings["optimizer"] == "SGD" else 1.0
    options: dict[str, Any] = {"accelerator": "cpu", "max_epochs": given.epochs, "gradient_clip_val": clip}
    if given.steps:
        options |= {"limit_train_batches": given.steps, "limit_val_batches": given.steps}
    rnnzoo.trainer("word_lm", callbacks=[turns], enable_progress_bar=False, **options).fit(model, data)
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="kjv")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tied", action="store_true", help="the weights of the embedding and of a full softmax")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=35)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="of an epoch and of validation; 0 for all")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dataset = given.file if given.file == "kjv" else str(Path(given.file).absolute())
    sizes = {"batch_size": given.batch, "sequence_length": given.length, "vocabulary_size": 10_000}
    data = TokenTextData(dataset, **sizes)
    print(f"{describe('cpu')['processor']}, {given.threads} threads, torch {torch.__version__}; {given}")
    sgd = {"optimizer": "SGD", "learning_rate": 20.0, "schedule": "ReduceLROnPlateau",
           "schedule_args": {"factor": 0.25, "patience": 0, "interval": "epoch"}}  # fmt: skip
    config = {"optimizer": "AdamW", "learning_rate": 4e-3, "optimizer_args": {"fused": True}}
    runs = {
        "full softmax, SGD": {**sgd, "tied": given.tied},
        "configs/word_lm.yaml": {**config, "adaptive_softmax": [1000, 4000]},
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, settings in runs.items():
            turns = measure(data, given, settings)
            ratios = [a / b for a, b in zip(turns.seconds["ours"], turns.seconds["peer"], strict=True)]
            print(
                f"{name}: {statistics.median(ratios):.2f}x the example's time ({min(ratios):.2f} to {max(ratios):.2f})"
            )
            for who in ("ours", "peer"):
                last = turns.perplexities[who][-1]
                print(f"  {who}: {statistics.median(turns.seconds[who]):.1f} s an epoch, perplexity {last:.2f}")


if __name__ == "__main__":
    main()

"""What a training step costs through the LightningModule, against the same step in a bare PyTorch loop.

    python benchmarks/lightning_step.py

An embedding, an LSTM by kernel `native` and a linear head; AdamW, gradients clipped at 1; data in memory. The step
of rnnzoo is ``training_step``, backward, clipping and the optimizer; the peer is nn.Embedding, nn.LSTM and nn.Linear
in the loop that a user would write. Interleaved in blocks of 20 steps, medians of the blocks' ratios, with spread.
`Trainer` is the same step run by Lightning's Trainer, whose own cost it shows.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import nn

from rnnzoo.data.streams import StreamBatch
from rnnzoo.tasks import LanguageModel

SIZES = [(64, 128, 256), (16, 32, 64)]  # B, T, H
V, E, BLOCK, ROUNDS = 78, 64, 20, 9


class Bare(nn.Module):
    """What a user writes without us."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(V, E), nn.LSTM(E, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, V)

    def forward(self, tokens, hx):
        y, hx = self.rnn(self.embedding(tokens), hx)
        return self.head(y), hx


def bare_block(model: Bare, batches: list[StreamBatch]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    carried = None

    def run() -> None:
        nonlocal carried
        for batch in batches:
            logits, carried = model(batch.inputs, carried)
            carried = tuple(a.detach() for a in carried)
            loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return run


def module_block(model: LanguageModel, batches: list[StreamBatch]) -> Callable[[], None]:
    model.log = lambda *a, **k: None  # the Trainer's, measured apart
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run() -> None:
        for k, batch in enumerate(batches):
            loss = model.training_step(batch, k)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return run


class Rounds:
    """Batches for the Trainer, which yields to the peers between blocks and times its own."""

    def __init__(self, batches: list[StreamBatch], between: Callable[[float], None]):
        self.batches, self.between = batches, between

    def __len__(self) -> int:
        return ROUNDS * len(self.batches)

    def __iter__(self):
        for _ in range(ROUNDS):
            start = time.perf_counter()
            yield from self.batches
            self.between(time.perf_counter() - start)


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(B: int, T: int, H: int) -> None:
    vocabulary = [chr(33 + k) for k in range(V)]

    def tokens() -> torch.Tensor:
        return torch.randint(V, (B, T))

    batches = [StreamBatch(tokens(), tokens(), torch.zeros(B, dtype=torch.long)) for _ in range(BLOCK)]

    def model() -> LanguageModel:
        return LanguageModel(vocabulary, hidden_size=H, embedding_size=E, schedule="constant")

    bare, module = bare_block(Bare(H), batches), module_block(model(), batches)
    bare()
    module()
    ratios: dict[str, list[float]] = {"LightningModule": [], "Trainer": []}
    milliseconds = []

    def between(trainer_seconds: float) -> None:
        peer = seconds(bare)
        milliseconds.append(peer / BLOCK * 1e3)
        ratios["LightningModule"].append(seconds(module) / peer)
        ratios["Trainer"].append(trainer_seconds / peer)

    trainer = Trainer(
        accelerator="cpu", max_epochs=1, gradient_clip_val=1.0, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model(), Rounds(batches, between))
    print(f"(B, T, H) = ({B}, {T}, {H}); bare loop {statistics.median(milliseconds):.2f} ms a step")
    for name, values in ratios.items():
        values = values[1:]  # the first round warms up
        print(f"  {name:16} {statistics.median(values):.2f}x  ({min(values):.2f} to {max(values):.2f})")


def processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    torch.set_num_threads(2)
    isa = torch.backends.cpu.get_cpu_capability()
    print(f"{processor()}, {isa}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for size in SIZES:
        measure(*size)

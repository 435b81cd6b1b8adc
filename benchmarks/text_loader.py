"""How many tokens a second the loaders of texts deliver alone, beside those that training takes.

    python benchmarks/text_loader.py [TASK ...]     # by default all: text_classification, word_lm, and both streamed

Each is the task's config with its data of a package, after they are tokenized once (or streamed from Parquet files, and
tokenized as they come), in one process without workers. The loader is read for some seconds, training goes on for some
more; what a batch has of padding counts for neither.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from lightning.pytorch import Callback, Trainer

from rnnzoo.data import LabelledTextData, TokenTextData
from rnnzoo.tasks import LanguageModel, TextClassifier

SECONDS, STEPS = 5.0, (5, 40)
NEWS: dict[str, Any] = {"lowercase": True, "min_count": 2, "crop": 100, "max_length": 400, "batch_size": 32}
WORDS: dict[str, Any] = {"tokenizer": "words", "vocabulary_size": 10_000, "batch_size": 32, "sequence_length": 35}


def count(batch: Any) -> int:
    return int((batch.targets >= 0).sum() if hasattr(batch, "targets") else batch.lengths.sum())


class Pace(Callback):
    """The tokens of some steps of training, and how long they took."""

    def __init__(self) -> None:
        self.tokens, self.begun, self.ended = 0, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == STEPS[0]:
            self.begun, self.tokens = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.tokens, self.ended = self.tokens + count(batch), time.perf_counter()


def delivered(data: Any) -> float:
    """Tokens a second of the loader alone."""
    tokens, epoch, begun = 0, 0, 0.0
    while True:
        loader = data.train_dataloader()
        for batch in loader:
            if not begun:
                begun = time.perf_counter()  # behind the first one, which opens files
            else:
                tokens += count(batch)
            if tokens and time.perf_counter() - begun > SECONDS:
                return tokens / (time.perf_counter() - begun)
        epoch += 1


def taken(data: Any, model: Any) -> float:
    """Tokens a second that training takes."""
    pace = Pace()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "limit_val_batches": 0}
    trainer = Trainer(max_steps=STEPS[1], accelerator="cpu", enable_model_summary=False, callbacks=[pace], **quiet)
    trainer.fit(model, data)
    return pace.tokens / (pace.ended - pace.begun)


def streamed(data: Any, folder: Path) -> str:
    """The rows of a data module as Parquet files."""
    folder.mkdir()
    for part in ("train", "test"):
        rows = data.rows(part)
        Dataset.from_dict({name: rows[name][:] for name in rows.column_names}).to_parquet(
            str(folder / f"{part}.parquet")
        )
    return str(folder)


def classifier(data: Any) -> Any:
    options = {"embedding_size": 128, "hidden_size": 128, "bidirectional": True, "pooling": "max", "dropout": 0.5}
    return TextClassifier(data.description, cell="lstm", **options)


def language_model(data: Any) -> Any:
    options = {"embedding_size": 256, "hidden_size": 256, "dropout": 0.2, "adaptive_softmax": [2000]}
    return LanguageModel(data.description, cell="lstm", **options)


def main() -> None:
    torch.set_num_threads(1)
    tasks = {
        "text_classification": (LabelledTextData, "news", NEWS, classifier),
        "word_lm": (TokenTextData, "kjv", WORDS, language_model),
    }
    print(f"{'task':>30} {'loader':>12} {'training':>12} {'times':>7}   tokens a second", flush=True)
    for name, (make, dataset, settings, model) in tasks.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        data = make(dataset, **settings)
        with tempfile.TemporaryDirectory() as made:
            folder = streamed(data, Path(made) / "data")
            stream = make(folder, **settings, streaming=True, validation_split="test")
            training = taken(data, model(data))
            for what, loader in ((name, data), (f"{name}, streamed", stream)):
                alone = delivered(loader)
                print(f"{what:>30} {alone:>12,.0f} {training:>12,.0f} {alone / training:>7.1f}", flush=True)


if __name__ == "__main__":
    main()

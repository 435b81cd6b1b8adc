"""What a run shows of itself: a bar on a terminal, a line an epoch anywhere else, and a sample of text an epoch."""

import math
import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from torch import Tensor


def digits(value: float) -> str:
    """A number with four true digits: 2.995, 0.9491, 12.35, 123457."""
    if not math.isfinite(value):
        return str(value)
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3e}"
    size = abs(float(f"{value:.4g}"))  # as rounded: 0.99999 is 1.000
    places = 3 - math.floor(math.log10(size)) if size else 3
    return f"{value:.{max(places, 0)}f}"


def shown(trainer: Trainer, metrics: dict[str, Any]) -> dict[str, str]:
    """The metrics of a bar or a line as text, and the learning rate."""
    rates = {"lr": trainer.optimizers[0].param_groups[0]["lr"]} if trainer.training and trainer.optimizers else {}
    named = {name: value for name, value in {**metrics, **rates}.items() if isinstance(value, int | float | Tensor)}
    return {name: digits(float(value)) for name, value in named.items()}


def which_epoch(trainer: Trainer) -> str:
    """As ``epoch 2/4``."""
    of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{of}"


class TrainingBar(TQDMProgressBar):
    """Lightning's bar, with four true digits and the learning rate; an epoch's stays when the next one begins."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(which_epoch(trainer))

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return {**items, **shown(trainer, items)}


class EpochLines(ProgressBar):
    """A line an epoch, for a file or a pipe, where a bar would be a line a step."""

    def __init__(self) -> None:
        super().__init__()
        self._on, self._since = True, 0.0

    def disable(self) -> None:
        self._on = False

    def enable(self) -> None:
        self._on = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._on:
            named = [f"{name} {value}" for name, value in shown(trainer, self.get_metrics(trainer, pl_module)).items()]
            seconds = time.perf_counter() - self._since
            self.print(f"{which_epoch(trainer)}: {', '.join(named)} ({seconds:.1f} s)")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items

    def print(self, *args: Any, **kwargs: Any) -> None:
        print(*args, flush=True, **kwargs)


def progress_bar() -> ProgressBar:
    """What shows the progress of a run where its output goes."""
    return TrainingBar() if sys.stdout.isatty() else EpochLines()


class SampleText(Callback):
    """Prints what a language model writes after each epoch, from the text's own beginning.

    Args:
        length: characters.
    """

    def __init__(self, length: int = 100):
        self.length = length
        self._prompt = ""

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self._prompt and hasattr(pl_module, "opening"):
            self._prompt = pl_module.opening(batch.inputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not (self._prompt and trainer.is_global_zero and hasattr(pl_module, "sample_text")):
            return
        modes = {module: module.training for module in pl_module.modules()}  # a part of it may be frozen
        with torch.no_grad():
            text = pl_module.sample_text(self._prompt, self.length)
        for module, mode in modes.items():
            module.training = mode
        line = f"  sample: {' '.join(text.split())}"
        bar = trainer.progress_bar_callback
        if bar is None or isinstance(bar, TrainingBar):  # whose epoch's bar is closed, and prints nothing any more
            print(line, flush=True)
        else:
            bar.print(line)

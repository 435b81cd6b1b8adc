"""Memory that does not suffice: which batch it was, and which settings take less."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

_SAID = re.compile(r"DefaultCPUAllocator|can't allocate memory|out of memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)
_SIZES = ("batch_size", "tokens_per_batch", "sequence_length", "context", "max_length", "length")  # of data modules
_BYTES = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMG]iB)", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, on a CPU or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_SAID.search(str(error)))


class ExplainMemory(Callback):
    """Remembers the batch at hand, so that an error of memory can say how large it was: as a note of the error in
    Python, and in one line by the command line, see `explained`."""

    def __init__(self) -> None:
        self.batch: Any = None
        self.doing = ""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        self.batch, self.doing = batch, "training"

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        self.batch, self.doing = batch, "validation"

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        self.batch, self.doing = batch, "test"

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        self.batch, self.doing = batch, "prediction"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.interrupted:
            self.batch, self.doing = None, ""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if is_out_of_memory(exception):
            exception.add_note(explained(exception, trainer, pl_module))


def explained(error: BaseException, trainer: Trainer | None, module: LightningModule | None) -> str:
    """One line for an error of memory: what was done, on a batch of which shape, and what takes less."""
    callbacks: list[Callback] = [] if trainer is None else trainer.callbacks  # type: ignore[attr-defined]
    seen = next((c for c in callbacks if isinstance(c, ExplainMemory)), ExplainMemory())
    wanted = _BYTES.search(str(error))
    size = "" if wanted is None else f", where {_readable(*wanted.groups())} more were asked for"
    if seen.batch is None or trainer is None:
        return f"out of memory before the first batch{size}: a smaller --model.hidden_size or --data.dataset takes less"
    shapes = ", ".join(_shapes(seen.batch))
    step = f"{seen.doing} step {trainer.global_step}" if seen.doing == "training" else seen.doing
    return (
        f"out of memory in {step}, on a batch of {shapes or type(seen.batch).__name__}{size};"
        f" less is taken with {_or(list(_remedies(trainer, module, seen.doing)))}"
    )


def _remedies(trainer: Trainer, module: LightningModule | None, doing: str) -> Iterator[str]:
    """Settings that take less memory, with their values, as they are typed."""
    data = getattr(trainer, "datamodule", None)
    takes = inspect.signature(type(data)).parameters if data is not None else {}
    for name in _SIZES:
        value = getattr(data, name, None)
        if name in takes and isinstance(value, int):
            yield f"a --data.{name} below {value}"
    if data is None or not any(name in takes for name in _SIZES):
        yield "smaller batches"
    settings = getattr(module, "settings", None)
    if doing == "training" and getattr(settings, "checkpoint_every", 0) is None:
        yield "--model.checkpoint_every 20"
    if trainer.precision in ("32-true", "64-true"):
        yield "--trainer.precision bf16-mixed"


def _shapes(value: Any, name: str = "") -> Iterator[str]:
    """The shapes of a batch's tensors, with the names that it has for them."""
    if isinstance(value, Tensor):
        yield f"{name} {tuple(value.shape)}".strip()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for field, part in zip(value._fields, value, strict=True):
            yield from _shapes(part, field)
    elif isinstance(value, dict):
        for field, part in value.items():
            yield from _shapes(part, str(field))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _shapes(part, name)


def _readable(number: str, unit: str) -> str:
    """A size as ``1.5 GiB``."""
    if unit.lower() != "bytes":
        return f"{number} {unit}"
    size, names = float(number), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(names) > 1:
        size /= 1024
        names.pop(0)
    return f"{size:.4g} {names[0]}"


def _or(parts: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))

"""How long the steps of a training take, with ours and with peers that are built on Lightning too."""

import json
import time
from pathlib import Path
from typing import Any

try:
    from lightning.pytorch import Callback
except ImportError:  # an environment of peers has Lightning by its older name
    from pytorch_lightning import Callback  # type: ignore[import-not-found,no-redef]


class Pace(Callback):
    """Writes, when training ends, how many steps and seconds it took, and how many of these were for validation.

    Args:
        path: of the JSON file. A file, not an attribute: neuralforecast copies its callbacks.
    """

    def __init__(self, path: str) -> None:
        self.path, self.windows = Path(path), 0
        self.begun = self.paused = self.validation = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.begun = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.windows += len(batch.past) if hasattr(batch, "past") else 0

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.paused = time.perf_counter()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.validation += time.perf_counter() - self.paused

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        seconds = time.perf_counter() - self.begun
        made = {"steps": trainer.global_step, "windows": self.windows, "seconds": seconds}
        self.path.write_text(json.dumps({**made, "validation_seconds": self.validation}))

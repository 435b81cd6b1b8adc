"""The `config.yaml` of a run."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from rnnzoo.cache import written_aside


class SaveRunConfig(SaveConfigCallback):
    """Writes a run's config into the run's own folder; Lightning's would write it over a user's where there is none.

    Args:
        args, kwargs: Lightning's.
        given: of a run that goes on its settings, in YAML, without what its checkpoint brings along.
    """

    def __init__(self, *args: Any, given: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given = given

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.loggers or not isinstance(trainer.loggers[0], CSVLogger | TensorBoardLogger):
            return
        if self.given is None:
            super().setup(trainer, pl_module, stage)
            return
        folder = trainer.log_dir  # the processes tell it each other: each of them must ask
        if trainer.is_global_zero and folder:
            with written_aside(Path(folder) / self.config_filename) as made:
                made.write_text(self.given, encoding="utf-8")

"""TensorBoard, Weights & Biases and MLflow by one word each, beside the run's own metrics.csv."""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from rnnzoo.errors import RnnZooError, did_you_mean

HELP = "tensorboard, wandb, mlflow, or several of them as [tensorboard,wandb]: log there too, beside metrics.csv"


def _tensorboard(run: Path, root: Path, name: str) -> Logger:
    """Events in the run's folder: `tensorboard --logdir runs` shows the runs by their folders."""
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(str(run), name="", version="", default_hp_metric=False)


def _wandb(run: Path, root: Path, name: str) -> Logger:
    """A run without an account, in the run's folder; WANDB_MODE=online sends it while it is made."""
    from lightning.pytorch.loggers import WandbLogger

    offline = os.environ.get("WANDB_MODE", "offline") != "online"
    os.environ.setdefault("WANDB_SILENT", "true")  # a dozen lines that say how to send it
    return WandbLogger(name=f"{name}/{run.name}", project=name, save_dir=str(run), offline=offline)


def _mlflow(run: Path, root: Path, name: str) -> Logger:
    """One store for all runs, mlflow.db in their folder; MLFLOW_TRACKING_URI names another.

    MLflow refuses to write its older store, of plain files.
    """
    from lightning.pytorch.loggers import MLFlowLogger

    store = os.environ.get("MLFLOW_TRACKING_URI")
    place = None if store else (root / "mlruns").absolute().as_uri()
    return MLFlowLogger(
        experiment_name=name,
        run_name=f"{name}/{run.name}",
        tracking_uri=store or f"sqlite:///{(root / 'mlflow.db').absolute()}",
        artifact_location=place,
    )


_MAKERS: dict[str, Callable[[Path, Path, str], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def chosen(given: str | Sequence[str] | None) -> list[str]:
    """The loggers that ``--logger`` names beside csv, which is always there.

    Raises:
        RnnZooError: a name that there is not, or a package that is not installed.
    """
    names = given.split(",") if isinstance(given, str) else list(given or [])
    names = list(dict.fromkeys(name.strip() for name in names))
    for name in names:
        if name not in (*_MAKERS, "csv"):
            near = did_you_mean(name, [*_MAKERS, "csv"])
            raise RnnZooError(
                f"--logger {name!r} is not known{near} there are csv, {', '.join(_MAKERS)};"
                " --trainer.logger takes any class of Lightning's"
            )
        if name != "csv" and find_spec(name) is None:
            raise RnnZooError(f"--logger {name} needs the package {name!r}, which is not installed: pip install {name}")
    return [name for name in names if name != "csv"]


class LogBeside(Callback):
    """Adds loggers to a run that has a metrics.csv, in its folder and by its name, once that folder is known.

    Args:
        names: of `chosen`.
    """

    def __init__(self, names: Sequence[str]):
        self.names = names

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Adds them, on the process that writes.

        Raises:
            RnnZooError: the run has no metrics.csv to log beside.
        """
        if stage != "fit" or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]  # set by a connector
            return
        own = next((logger for logger in trainer.loggers if isinstance(logger, CSVLogger)), None)
        if own is None:
            raise RnnZooError(
                f"--logger {','.join(self.names)} logs beside a run's metrics.csv, which --trainer.logger has taken"
                " away; give one of both"
            )
        run, root, name = Path(own.log_dir), Path(own.save_dir), own.name or "rnnzoo"
        trainer.loggers = [*trainer.loggers, *(_MAKERS[name_](run, root, name) for name_ in self.names)]

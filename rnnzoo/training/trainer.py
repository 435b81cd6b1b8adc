"""A Lightning Trainer with the defaults of the command line, in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar

from rnnzoo.errors import RnnZooError
from rnnzoo.training.bad_numbers import BadNumbers
from rnnzoo.training.checkpoint_files import WholeFiles
from rnnzoo.training.checkpoints import BestCheckpoint, LastCheckpoint
from rnnzoo.training.exact_resume import ExactResume
from rnnzoo.training.finders import TakeFindings
from rnnzoo.training.gradients import WarnOfDeadParameters
from rnnzoo.training.out_of_memory import ExplainMemory
from rnnzoo.training.progress import SampleText, progress_bar
from rnnzoo.training.run_folder import RunLogger
from rnnzoo.training.run_record import RunCurve, RunRecord
from rnnzoo.training.throughput import Throughput

DEFAULTS = Path(__file__).parent.parent / "defaults.yaml"


def trainer(name: str = "rnnzoo", *, callbacks: Sequence[Callback] = (), **settings: Any) -> Trainer:
    """A Trainer that writes its run to ``runs/NAME/version_N``, as ``rnnzoo fit`` does, and keeps `best` and `last`.

    A plain ``lightning.Trainer`` trains every task too; this one has gradients clipped, a bar with the learning rate or
    a line an epoch, a sample of a language model's text, a word on parameters that nothing learns, and an end where
    a loss or a gradient is not finite (`BadNumbers`).

    Args:
        name: of the run.
        callbacks: further ones.
        settings: of ``lightning.Trainer``; they win over the defaults, which are those of ``rnnzoo/defaults.yaml``.

    Raises:
        RnnZooError: a precision that the processor does not have.
    """
    defaults = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["trainer"]
    folder = defaults.pop("logger")["init_args"]["save_dir"]
    given = {**defaults, "logger": RunLogger(save_dir=folder, name=name), **settings}
    check_precision(given.get("precision"), given.get("accelerator"))
    own = fitting_callbacks(
        callbacks,
        shows=given.get("enable_progress_bar") is not False,
        keeps=given.get("enable_checkpointing") is not False,
    )
    made = Trainer(callbacks=[*callbacks, *own], **given)
    write_whole_files(made)
    return made


def check_precision(precision: Any, accelerator: Any) -> None:
    """Raises RnnZooError for float16 by autocast where a CPU runs it; Lightning would take bfloat16 in its place."""
    on_cpu = accelerator == "cpu" or (accelerator in ("auto", None) and not torch.accelerator.is_available())
    if on_cpu and str(precision) in ("16", "16-mixed"):
        raise RnnZooError(
            f"trainer.precision {str(precision)!r} needs a GPU, and this runs on a CPU: 'bf16-mixed' has half precision"
            " there, '32-true' the whole"
        )


def fitting_callbacks(
    given: Sequence[Callback], *, shows: bool, keeps: bool, last: LastCheckpoint | None = None
) -> list[Callback]:
    """What a run of training has beside the callbacks that are `given`.

    Args:
        given: those of the user; a progress bar among them is the only one.
        shows: whether progress is shown.
        keeps: whether checkpoints are kept.
        last: how often `last.ckpt` is written.
    """
    bar = [] if any(isinstance(callback, ProgressBar) for callback in given) else [progress_bar()]
    showing = [*bar, SampleText()] if shows else []
    keeping = [ExactResume(), BestCheckpoint(), last or LastCheckpoint()] if keeps else []
    watching = [] if any(isinstance(callback, BadNumbers) for callback in given) else [BadNumbers()]
    return [
        *showing,
        *watching,
        TakeFindings(),
        ExplainMemory(),
        Throughput(),
        WarnOfDeadParameters(),
        RunRecord(),
        RunCurve(),
        *keeping,
    ]


def write_whole_files(made: Trainer) -> None:
    """Has a trainer write its checkpoints aside and rename them, unless the user or the strategy writes its own way."""
    if type(made.strategy.checkpoint_io) is TorchCheckpointIO:
        made.strategy.checkpoint_io = WholeFiles()

"""The commands that a run suggests at its end: of its own folder, data and settings, to be run as they are printed."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from rnnzoo.training.progress import digits


def of_data(data: Any) -> list[str]:
    """The data of a run as options: what a next run would change first."""
    options = []
    columns = sorted(name for name in vars(data) if name.endswith("_column"))
    for name in ("task",) if hasattr(data, "task") else ("dataset", "subset", "column", *columns):
        value = getattr(data, name, None)  # most tasks of a long memory make their own data
        if isinstance(value, str) and not (name == "column" and value == "text"):
            options += [f"--data.{name}", shlex.quote(value)]
    return options


def another_cell(task: Any, checkpoint: str, data: Any) -> str:
    """The same run with another cell, by the run's own config where it has one, or by an example of the package.

    Args:
        task: of the run.
        checkpoint: of the run.
        data: of the run.
    """
    own = Path(checkpoint).parent.parent / "config.yaml"
    config = str(own) if own.is_file() else task.example_config
    kind, settings = type(task), task.hparams
    source = f"{type(data).__module__}.{type(data).__qualname__}"
    start = ["--config", shlex.quote(config)] if config else ["--model", f"{kind.__module__}.{kind.__qualname__}"]
    options = [*start, *([] if config else ["--data", source]), *of_data(data)]
    options += ["--model.cell", "gru" if settings.get("cell") != "gru" else "lstm"]
    if settings.get("cell_args"):  # which another cell does not have
        options += ["--model.cell_args", "null"]
    return " ".join(["rnnzoo fit", *options])


def more(trainer: Trainer, checkpoint: str) -> str:
    """The same run for twice as long."""
    last = Path(checkpoint).with_name("last.ckpt")
    path = shlex.quote(str(last) if last.is_file() else checkpoint)
    limits = {"max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps}
    longer = [f"--trainer.{name} {2 * limit}" for name, limit in limits.items() if limit is not None and limit > 0]
    return " ".join(["rnnzoo fit --ckpt_path", path, *longer])


def predict(checkpoint: str, *options: str) -> str:
    """The predictions of a run, into its folder."""
    path = Path(checkpoint)
    file = path.parent.parent / "predictions.parquet"
    return " ".join(
        ["rnnzoo predict --ckpt_path", shlex.quote(checkpoint), *options, "--predictions.path", shlex.quote(str(file))]
    )


def of_any(metrics: Mapping[str, float], checkpoint: str, module: LightningModule) -> list[str]:
    """What to print after the run of a LightningModule that is no Task."""
    figures = [
        f"held-out {name.removeprefix('test_')}: {digits(v)}" for name, v in metrics.items() if name[:4] == "test"
    ]
    next_ones = [f"rnnzoo test --ckpt_path {shlex.quote(checkpoint)}", more(module.trainer, checkpoint)]
    return [*figures, f"checkpoint: {checkpoint}", "", "Try next:", *(f"  {line}" for line in next_ones)]

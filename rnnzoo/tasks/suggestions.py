"""The commands that a run suggests at its end: of its own folder, data and settings, to be run as they are printed."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer


def of_data(data: Any) -> list[str]:
    """The data of a run as options: what a next run would change first."""
    options = []
    for name in ("task",) if hasattr(data, "task") else ("dataset", "column"):  # most tasks make their own data
        value = getattr(data, name, None)
        if isinstance(value, str) and not (name == "column" and value == "text"):
            options += [f"--data.{name}", shlex.quote(value)]
    return options


def another_cell(config: str, checkpoint: str, data: Any, settings: Mapping[str, Any]) -> str:
    """The same run with another cell, by the run's own config where it has one, or by `config`.

    Args:
        config: the package's, for a run without a folder.
        checkpoint: of the run.
        data: of the run.
        settings: of the task: its cell and the cell's own arguments.
    """
    own = Path(checkpoint).parent.parent / "config.yaml"
    cell = "gru" if settings.get("cell") != "gru" else "lstm"
    options = ["--config", shlex.quote(str(own if own.is_file() else config)), *of_data(data), "--model.cell", cell]
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

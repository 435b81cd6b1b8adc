"""The command line of ``rnnzoo fit`` that all trials share: what it comes to, and whether the search fits it."""

import contextlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rnnzoo.cli.main import explain
from rnnzoo.errors import RnnZooError
from rnnzoo.training.run_files import flat
from rnnzoo.tuning.search_space import SearchSpace, arguments

LOGGER = "rnnzoo.training.run_folder.RunLogger"
_OF_A_MACHINE = ("accelerator", "devices", "num_nodes", "strategy")  # which may differ from worker to worker
_OF_A_TRIAL = ("logger", "default_root_dir", "enable_progress_bar", "limit_test_batches")


def resolve(given: Sequence[str]) -> dict[str, Any]:
    """Every setting that ``rnnzoo fit`` takes from these arguments and from their configs.

    Raises:
        RnnZooError: an argument is wrong.
    """
    from rnnzoo.cli.lightning import run_lightning  # Lightning takes seconds to load

    out, argv = io.StringIO(), sys.argv
    sys.argv = ["rnnzoo", "fit", *given]
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            run_lightning("fit", [*given, "--print_config"])
    finally:
        sys.argv = argv
    config: dict[str, Any] = yaml.safe_load(out.getvalue())
    if config.get("ckpt_path"):
        raise RnnZooError(
            f"ckpt_path={config['ckpt_path']!r} goes on with a run, but each trial starts one: --model.pretrained takes"
            " the weights of a checkpoint"
        )
    return config


def run_root(config: Mapping[str, Any], given: Sequence[str]) -> Path:
    """The folder that holds the runs of a config: runs/NAME."""
    trainer = config["trainer"]
    logger = trainer.get("logger")
    settings = (logger.get("init_args") if isinstance(logger, dict) else None) or {}
    root, folder = trainer.get("default_root_dir"), Path(settings.get("save_dir") or "runs")
    if root and not any("save_dir" in argument for argument in given) and not folder.is_relative_to(root):
        folder = Path(root) / folder
    return folder / (settings.get("name") or "rnnzoo")


def trial_arguments(given: Sequence[str], values: Mapping[str, Any], folder: Path) -> list[str]:
    """The arguments of a trial: those of all, its own settings, and the folder of its run."""
    where = {"save_dir": str(folder.parent), "name": None, "version": folder.name}
    return [
        *given,
        *arguments(values),
        f"--trainer.logger={LOGGER}",
        *arguments({f"trainer.logger.init_args.{name}": value for name, value in where.items()}),
        "--trainer.enable_progress_bar=false",
    ]


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all trials of a study have to share, by their names."""
    kept = {name: value for name, value in config.items() if name not in ("tune", "compare", "logger", "ckpt_path")}
    kept["trainer"] = {k: v for k, v in config["trainer"].items() if k not in (*_OF_A_MACHINE, *_OF_A_TRIAL)}
    return flat(kept)


def as_config(trained: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The config of a trial as one that starts a run of its own.

    Args:
        trained: the config that the trial wrote.
        config: that of all trials, whose logger and whose test it gets back.
    """
    made = {name: value for name, value in trained.items() if name not in ("tune", "compare")}
    made["trainer"] = {**trained["trainer"], **{name: config["trainer"].get(name) for name in _OF_A_TRIAL}}
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True)


def without_typed(given: Sequence[str], space: SearchSpace) -> SearchSpace:
    """A search space without the settings that stand on the command line, which wins."""
    typed = {argument.partition("=")[0].replace(".init_args.", ".") for argument in given}
    return SearchSpace({name: d for name, d in space.distributions.items() if f"--{name}" not in typed})


def check_space(given: Sequence[str], space: SearchSpace) -> None:
    """Tries out the ends and the choices of a search space, each alone.

    Raises:
        RnnZooError: a setting is unknown, or cannot take a value.
    """
    from rnnzoo.cells.registry import find

    for name, values in space.extremes().items():
        for value in values:
            if name == "model.cell" and isinstance(value, str) and not value.startswith("["):
                _check(name, partial(find, value))
            _check(name, partial(resolve, [*given, *arguments({name: value})]))


def _check(name: str, attempt: Callable[[], Any]) -> None:
    try:
        attempt()
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        raise RnnZooError(f"tune.space.{name}: {message}") from error

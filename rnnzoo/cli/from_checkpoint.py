"""The settings of a run's model and data, which its checkpoints bring along."""

import inspect
import os
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer

from rnnzoo import __version__
from rnnzoo.cli.arguments import typed_settings
from rnnzoo.cli.classes import import_class, parameters_of
from rnnzoo.data.splits import PARTS
from rnnzoo.description import describe
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.checkpoints import task_name
from rnnzoo.training.checkpoints import BestCheckpoint

_NOT_SAID = ("vocabulary", "pretrained", "checkpoint", "predict_split", "held_out")  # given by the command line itself


class RunSettings(Callback):
    """Puts the settings of the model and of the data into each checkpoint.

    Args:
        model: "class_path" and "init_args".
        settings: of the data, likewise.
    """

    def __init__(self, model: dict[str, Any], settings: dict[str, Any]) -> None:
        self.model, self.settings = model, settings
        self._description: dict[str, Any] | None = None
        defaults = default_settings(import_class(settings["class_path"]))
        self.files = [
            name
            for name, value in (settings.get("init_args") or {}).items()
            if isinstance(value, str) and value != defaults.get(name) and _is_file(name, value)
        ]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own = next((c.dirpath for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)), None)
        # from where the paths among them count, and how to get there from the checkpoint, should all have been moved
        folder = {"folder": os.getcwd(), "up": os.path.relpath(os.getcwd(), own or os.getcwd())}
        about = checkpoint.setdefault("rnnzoo", {})
        about["data"] = {**self.settings, "files": self.files, **folder}
        about["model"] = self.model
        about.setdefault("task", task_name(pl_module))  # a task says so itself, any other LightningModule does not
        about.setdefault("version", __version__)
        if "description" not in checkpoint.get("hyper_parameters", {}):
            if self._description is None:
                self._description = describe(trainer.datamodule).to_json()  # type: ignore[attr-defined]  # set by a connector
            about["description"] = self._description


def _is_file(name: str, value: str) -> bool:
    """Whether a setting names a file or folder of this machine; "kw" may be a column though a folder is called so."""
    path = Path(value).expanduser()
    return (name in ("dataset", "cache_dir") or len(path.parts) > 1 or bool(path.suffix)) and path.exists()


def default_settings(cls: type) -> dict[str, Any]:
    """The defaults of a class's arguments."""
    return {name: p.default for name, p in parameters_of(cls).items() if p.default is not inspect.Parameter.empty}


def bring_data(
    config: Namespace, content: dict[str, Any], path: str, given: list[str], own: bool, command: str
) -> str | None:
    """Puts the data of a checkpoint in the place of a config's; what stands on the command line wins.

    Args:
        config: of the command, with "data".
        content: of the checkpoint.
        path: of the checkpoint.
        given: the command line.
        own: whether the config is that of the checkpoint's run.
        command: "predict" reads all rows of other data, "test" and "validate" hold all of them out.

    Returns:
        One line that names which settings of the config give way, or None.
    """
    saved, data = content["rnnzoo"].get("data"), config.get("data")
    if saved is None or data is None:  # of an earlier version
        return None
    here = {**(saved.get("init_args") or {}), **{name: _find(saved, name, path) for name in saved["files"]}}
    typed, trained_on = typed_settings(given, "data"), here.get("dataset")
    before = data.get("init_args") or Namespace()
    if data.class_path != saved["class_path"]:
        if any(argument == "--data" or argument.startswith("--data=") for argument in given):
            return None
        for name in typed:
            if name not in here:
                raise RnnZooError(f"--data.{name}: {saved['class_path']}, the data of {path!r}, has no such setting")
            here[name] = before[name]
        here |= _of_other_data(saved["class_path"], here, typed, trained_on, command)
        config["data"] = Namespace(class_path=saved["class_path"], init_args=Namespace(here))
        return f"the data are those of {path}, by {saved['class_path']}, not by {data.class_path}"
    here |= {name: before[name] for name in typed & set(here)}
    here |= _of_other_data(saved["class_path"], here, typed, trained_on, command)
    changed = []
    for name, value in here.items():
        if name not in before or name in typed:
            continue
        if name not in _NOT_SAID and _plain(before[name]) != _plain(value):
            changed.append(f"{name} {value!r} (the config has {_plain(before[name])!r})")
        before[name] = value
    return None if own or not changed else f"the data are those of {path}: {', '.join(changed)}"


def data_of(content: dict[str, Any], path: str, **settings: Any) -> Any:
    """The data module of a checkpoint.

    Args:
        content: of the checkpoint.
        path: of the checkpoint.
        settings: that go before those of the training.

    Raises:
        RnnZooError: the checkpoint does not say.
    """
    saved = content["rnnzoo"].get("data")
    if saved is None:
        raise RnnZooError(f"checkpoint {path!r} does not say what data it was trained on: `rnnzoo fit` writes that")
    files = {name: _find(saved, name, path) for name in saved["files"]}
    kind = import_class(saved["class_path"])
    takes = default_settings(kind)
    own = {**(saved.get("init_args") or {}), **files, **settings}
    if "checkpoint" in takes:
        own["checkpoint"] = path
    return kind(**{name: value for name, value in own.items() if name in takes})


def _of_other_data(
    class_path: str, here: dict[str, Any], typed: set[str], trained_on: Any, command: str
) -> dict[str, Any]:
    """What becomes of settings that are about the data set of the training, where another one is typed."""
    if "dataset" not in typed or "dataset" not in here:
        return {}
    takes = default_settings(import_class(class_path))
    about: dict[str, Any] = {"subset": None, **{f"{part}_split": None for part in PARTS}}
    same = _is_same_dataset(here["dataset"], trained_on)
    of_others = getattr(import_class(class_path), "predict_split_of_others", "all")
    # all rows that are named are to be predicted; the future is asked of other series, not of those of the training
    if command == "predict" and "checkpoint" in takes and not (same and of_others == "future"):
        about["predict_split"] = of_others
    if command in ("test", "validate") and not same:
        about["held_out"] = True
    return {name: value for name, value in about.items() if name in takes and name not in typed}


def _find(saved: dict[str, Any], name: str, checkpoint: str) -> str:
    """Where a file of the data lies, seen from here."""
    value: str = saved["init_args"][name]
    if os.getcwd() == saved["folder"] or Path(value).expanduser().is_absolute():
        return value
    there = [
        Path(saved["folder"], value),
        Path(os.path.normpath(Path(checkpoint).absolute().parent / saved["up"])) / value,
    ]
    return str(next((path for path in there if path.exists()), there[0]))


def _is_same_dataset(one: Any, other: Any) -> bool:
    """Whether two settings name the same data set."""
    if one == other:
        return True
    paths = [Path(value).expanduser() for value in (one, other) if isinstance(value, str)]
    return len(paths) == 2 and all(path.exists() for path in paths) and paths[0].samefile(paths[1])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

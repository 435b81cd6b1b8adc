"""Whether a model, its data, the trainer and its callbacks fit together, asked before anything is made or written."""

import inspect
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torchmetrics import MetricCollection

from rnnzoo.cli.classes import import_class, parameters_of, subclasses
from rnnzoo.cli.complaints import no_such_metric, plain_types
from rnnzoo.data.tokenizers import KINDS, from_json, read_tokenizer
from rnnzoo.description import of_hyper_parameters
from rnnzoo.errors import RnnZooError

SAME = ("horizon", "season")
_AT_LEAST_ONE = ("accumulate_grad_batches", "val_check_interval", "check_val_every_n_epoch")


def check_pair(model: Any, data: Any) -> None:
    """Raises RnnZooError for data that a model cannot use; each is given as `class_path` and `init_args`.

    What a data module does not say of itself before it reads its data is checked when it has.
    """
    kind, source = import_class(model.class_path), import_class(data.class_path)
    settings, others = model.get("init_args") or {}, data.get("init_args") or {}
    provides = getattr(source, "provides", None)
    missing = [name for name in getattr(kind, "needs", ()) if provides is not None and name not in provides]
    if missing:
        fit = [cls.__name__ for cls in subclasses(LightningDataModule) if {*missing} <= {*getattr(cls, "provides", ())}]
        raise RnnZooError(
            f"{kind.__name__} needs the {' and the '.join(missing)} of its data, which {source.__name__} has not; data"
            f" that have it: {', '.join(fit)}"
        )
    for name in SAME:
        mine, its = settings.get(name), others.get(name)
        if mine is not None and its is not None and mine != its:
            raise RnnZooError(
                f"model.{name} is {mine} but data.{name} is {its}: they must be the same; give --data.{name} alone"
                f" where a config has ${{data.init_args.{name}}} for the model's"
            )


def check_nulls(config: Any) -> None:
    """Raises RnnZooError for a setting that is null and may not be: jsonargparse takes null for every one."""
    _check_nulls("trainer", Trainer, config.get("trainer") or Namespace())
    for name, value in vars(config).items():
        _check_classes(name, value)


def _check_classes(key: str, value: Any) -> None:
    """Goes through a setting, and checks the arguments of each class that it names."""
    if isinstance(value, list):
        for item in value:
            _check_classes(key, item)
    if not isinstance(value, Namespace):
        return
    path, given = value.get("class_path"), value.get("init_args")
    if isinstance(path, str) and isinstance(given, Namespace):
        kind = import_class(path)
        if isinstance(kind, type):
            _check_nulls(key, kind, given)
        value = given
    for name, inner in vars(value).items():
        _check_classes(f"{key}.{name}", inner)


def _check_nulls(key: str, kind: type, given: Any) -> None:
    takes = parameters_of(kind)
    for name, value in vars(given).items():
        if value is None and name in takes and not _may_be_null(takes[name]):
            raise RnnZooError(f"{key}.{name} is null; it takes {_shown(takes[name].annotation)}")


def _may_be_null(parameter: Any) -> bool:
    """Whether an argument's type has None in it; one of which the type is not known counts as if it had."""
    kind = parameter.annotation
    if parameter.default is None or isinstance(kind, str):
        return True
    parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    known = all(isinstance(part, type) or get_origin(part) is not None for part in parts)
    return not known or kind is inspect.Parameter.empty or bool({object, type(None)} & {*parts})


def _shown(kind: Any) -> str:
    """A type as a user reads it."""
    return plain_types(kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind))


def check_tokenizer(name: str, content: dict[str, Any], path: str) -> None:
    """Raises RnnZooError for a tokenizer that is not that of the checkpoint at `path`, whose `content` is given."""
    held = of_hyper_parameters(content["hyper_parameters"]).tokenizer
    if held is None:
        return
    own = from_json(held)
    same = name == own.kind if name in KINDS else read_tokenizer(name).vocabulary == own.vocabulary
    if not same:
        raise RnnZooError(
            f"data.tokenizer {name!r} does not fit the checkpoint {path!r}, whose tokens are others"
            f" ({own.kind}, {len(own):,}): leave it out"
        )


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Raises RnnZooError for a number that Lightning would divide by."""
    for name in _AT_LEAST_ONE:
        if trainer.get(name) == 0:
            raise RnnZooError(f"trainer.{name} is 0; it must be above 0")


def check_monitors(callbacks: list[Callback], model: LightningModule) -> None:
    """Raises RnnZooError for a callback that watches a metric which the model does not log.

    Only a task of this package says what it logs before it does; of another one Lightning finds out after an epoch.
    """
    if not type(model).__module__.startswith("rnnzoo."):
        return
    names = metric_names(model)
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        ours = type(callback).__module__.startswith(("lightning.", "rnnzoo."))
        if ours and isinstance(monitor, str) and monitor not in names and getattr(callback, "strict", True):
            raise RnnZooError(no_such_metric(type(callback).__name__, monitor, names))


def metric_names(model: LightningModule) -> list[str]:
    """What a task logs in training and validation."""
    collections = [module for module in model.modules() if isinstance(module, MetricCollection)]
    names = [str(name) for collection in collections for name in collection.keys()]  # noqa: SIM118  # no mapping
    return ["train_loss", *(name for name in names if name.startswith("val_"))]

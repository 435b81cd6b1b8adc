"""The settings of a config, of a checkpoint, or of classes, by group, with their meanings and the values they have."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml
from jsonargparse import ArgumentError, Namespace
from jsonargparse._common import parser_context
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from rnnzoo.cli.classes import NOT_TO_SET, import_class, parameters_of, required
from rnnzoo.cli.help import overview, plain, row
from rnnzoo.cli.lightning import DEFAULTS, ZooCLI
from rnnzoo.models.layers import Layers
from rnnzoo.training.optimizers import Optimization

TRAINER = {
    "max_epochs": "passes over the training data; -1 for no limit",
    "max_steps": "optimizer steps; -1 for no limit",
    "max_time": "ends training after DD:HH:MM:SS",
    "accelerator": "cpu, gpu, mps, or auto for the best that is here",
    "devices": "how many of them, or a list of their numbers",
    "strategy": "how several devices share the work: ddp, fsdp, or auto",
    "precision": "32-true, bf16-mixed, 16-mixed or 64-true; 32-true where nothing is given",
    "gradient_clip_val": "the norm that the gradient is scaled down to where it is longer",
    "accumulate_grad_batches": "batches whose gradients are added up before a step",
    "val_check_interval": "batches between validations, or as 0.5 the part of an epoch; else an epoch",
    "limit_train_batches": "train on so many batches an epoch, or as 0.1 on this part of them",
    "callbacks": "callbacks of Lightning's or your own; --trainer.callbacks+=EarlyStopping adds one",
}
EVALUATION = ("accelerator", "devices", "precision")
RUN = {
    "seed_everything": "the seed of all random numbers",
    "trainer.default_root_dir": "the folder that runs/ is put under; the working folder where nothing is given",
    "trainer.logger.save_dir": "the folder of all runs",
    "trainer.logger.name": "the folder of this config's runs in it",
}
_MISSING = inspect.Parameter.empty


@dataclass
class Setting:
    """A line of the help.

    Args:
        option: as it is typed.
        meaning: from the docstring of its class.
        default: of its class; `inspect.Parameter.empty` where there is none.
        value: that would hold now.
    """

    option: str
    meaning: str
    default: Any
    value: Any

    def lines(self) -> list[str]:
        """The option, the value that it has now, and its meaning; the default where that is another."""
        if self.value is _MISSING:
            return row(f"{self.option} VALUE", self.meaning, "(must be given)")
        differs = self.default is not _MISSING and plain(self.default) != plain(self.value)
        return row(f"{self.option} {plain(self.value)}", self.meaning, f"(default: {plain(self.default)})" * differs)


class HelpCLI(ZooCLI):
    """Reads a command line as `ZooCLI` does, and prints the settings that it makes instead of running it."""

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(Trainer, "trainer")
        for name, kind in (("model", LightningModule), ("data", LightningDataModule)):  # help is there for one alone
            parser.add_lightning_class_args(kind, name, subclass_mode=True, required=False)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            if "following arguments are required" not in str(error):
                raise
            with parser_context(lenient_check=True):  # what must be given is part of the help
                super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        config = self.config[self.command]
        if config.get("model") and (config.get("ckpt_path") or self.command == "fit"):
            super()._parse_ckpt_path()
        print(overview(self.command))
        for title, settings in groups(self.command, config):
            print("\n".join(["", f"{title}:", *(line for setting in settings for line in setting.lines())]))
        raise SystemExit(0)  # as argparse does


def groups(command: str, config: Namespace) -> Iterator[tuple[str, list[Setting]]]:
    """Titles and settings, as far as the config has classes for them."""
    if config.get("model"):
        yield from _model_groups(command, config.model)
    if config.get("data"):
        kind = import_class(config.data.class_path)
        yield f"Data, {_path(kind)}", list(_settings("data", kind, config.data.get("init_args")))
    names = TRAINER if command == "fit" else EVALUATION
    theirs, ours = parameters_of(Trainer), yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["trainer"]
    defaults = {name: ours.get(name, theirs[name].default) for name in names}
    yield (
        "Trainer",
        [Setting(f"--trainer.{n}", TRAINER[n], defaults[n], _plain(config.trainer.get(n))) for n in names],
    )
    if command == "fit":
        yield "Run", list(_run(config))
    if command == "predict":
        yield "Predictions", [Setting("--predictions.path", "the file to write", _MISSING, config.predictions.path)]


def _path(kind: type) -> str:
    """The shortest name that a config may use for a class."""
    return kind.__name__ if kind.__module__.startswith("rnnzoo.") else f"{kind.__module__}.{kind.__qualname__}"


def _model_groups(command: str, model: Namespace) -> Iterator[tuple[str, list[Setting]]]:
    """The task's own settings, those of its layers, and those of training it."""
    kind = import_class(model.class_path)
    own = {s.option.rpartition(".")[2]: s for s in _settings("model", kind, model.get("init_args"))}
    shared = {title: [own.pop(f.name) for f in fields(of) if f.name in own] for title, of in _SHARED.items()}
    if own:
        yield f"Task, {_path(kind)}", list(own.values())
    for title, settings in shared.items():
        if settings and not (command != "fit" and _SHARED[title] is Optimization):
            yield title, settings


_SHARED = {"Recurrent layers": Layers, "Optimizer and schedule": Optimization}


def _settings(group: str, kind: type, values: Any) -> Iterator[Setting]:
    """What a class takes, with the values of `values` where it has them."""
    values = values or {}
    unset = [name for name in required(kind) if values.get(name) is None]
    for name, parameter in parameters_of(kind).items():
        if name in NOT_TO_SET:
            continue
        default = parameter.default
        value = values[name] if name in values and name not in unset else default
        yield Setting(f"--{group}.{name}", parameter.doc or "", default, _plain(value))


def _plain(value: Any) -> Any:
    """Lists and dictionaries in the place of the parser's own kinds."""
    if isinstance(value, Namespace):
        return value.as_dict()
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _run(config: Namespace) -> Iterator[Setting]:
    """The seed, and where a run goes."""
    for option, meaning in RUN.items():
        if not option.startswith("trainer.logger"):
            yield Setting(f"--{option}", meaning, _MISSING, config.get(option))
            continue
        logger = config.trainer.logger
        settings: Mapping[str, Any] | None = logger.get("init_args") if isinstance(logger, Namespace) else None
        name = option.rpartition(".")[2]
        if settings is not None and name in settings:
            yield Setting(f"--{option}", meaning, _MISSING, settings[name])

"""``rnnzoo fit | validate | test | predict``: a thin LightningCLI.

Configs are OmegaConf's, interpolated once every file and the command line are merged; the defaults of the package
lie under all of them. A checkpoint's settings win over a config's, and the command line's over both where they may
change.
"""

import errno
import importlib
import inspect
import logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import jsonargparse
from jsonargparse import ArgumentError
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf.errors import OmegaConfBaseException

from rnnzoo.cli.arguments import PACKAGE, configs_first, shipped, typed_settings, with_own_config
from rnnzoo.cli.from_checkpoint import DataSettings, bring_data, default_settings
from rnnzoo.cli.trainer_settings import (
    check_run_folder,
    leave_earlier_defaults,
    leave_no_run,
    leave_whole_lines,
    missing_devices,
    strip,
    use_devices_here,
    without_effect,
    write_under_root,
)
from rnnzoo.data import CharTextData, LongMemoryData, SeriesData
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.tasks import Forecaster, LanguageModel, SequenceTask
from rnnzoo.tasks.base import Task, contradictions
from rnnzoo.tasks.checkpoints import read_checkpoint
from rnnzoo.training.checkpoints import BestCheckpoint, LastCheckpoint, WholeFiles
from rnnzoo.training.predictions import PredictionsFile

# imported: known by short names
__all__ = ["CharTextData", "Forecaster", "LanguageModel", "LongMemoryData", "SequenceTask", "SeriesData", "ZooCLI"]

_GROUPS = ("model", "data", "trainer", "optimizer", "lr_scheduler", "seed_everything", "ckpt_path")
DEFAULTS = PACKAGE / "defaults.yaml"


class ZooCLI(LightningCLI):
    """LightningCLI for the tasks and data modules of rnnzoo, and for a user's own."""

    def __init__(self, command: str, given: list[str]):
        self.command, self.given = command, given
        args = with_own_config(given)
        self.own_config = args is not given
        each: dict[str, Any] = {"exit_on_error": False, "default_config_files": [str(DEFAULTS)]}
        super().__init__(
            model_class=Task,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "parser_mode": "omegaconf+",
                "exit_on_error": False,
                **{name: dict(each) for name in self.subcommands()},
            },
            args=[command, *args],
            load_from_checkpoint_support=False,  # a task stores its own settings, the same way without this command
        )

    # ---- parsing

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        self._preparing = subcommand
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # they go to a file
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.vocabulary", "model.init_args.vocabulary", apply_on="instantiate")
        parser.link_arguments("data.scaling", "model.init_args.scaling", apply_on="instantiate")
        parser.link_arguments("data.problem", "model.init_args.problem", apply_on="instantiate")
        if self._preparing == "predict":
            parser.add_lightning_class_args(PredictionsFile, "predictions")
            parser.set_defaults({"predictions.path": "predictions.parquet"})

    def _parse_ckpt_path(self) -> None:
        """Takes from a checkpoint what belongs to its weights; Lightning's own lets it override the command line."""
        config = self.config[self.config.subcommand]
        model = config.get("model")
        settings = model.get("init_args", {}) if model else {}
        resumed, pretrained = config.get("ckpt_path"), settings.get("pretrained")
        if resumed in ("best", "last", "hpc"):
            raise RnnZooError(f"ckpt_path must be a file here, not {resumed!r}: nothing has been trained yet")
        typed = typed_settings(self.given, "model")
        if resumed and pretrained and "pretrained" in typed:
            raise RnnZooError(
                f"ckpt_path {str(resumed)!r} and model.pretrained {pretrained!r} are both given:"
                " one goes on with a run, the other starts one; give one"
            )
        path, argument = (resumed, "ckpt_path") if resumed else (pretrained, "model.pretrained")
        if not path:
            if self.command != "fit":
                raise RnnZooError(f"{self.command} needs a checkpoint: --ckpt_path <run>/checkpoints/best.ckpt")
            return
        content = read_checkpoint(path, argument)
        if model.class_path.rpartition(".")[2] != content["rnnzoo"]["task"].rpartition(".")[2]:
            raise RnnZooError(
                f"{argument} {path!r} holds a {content['rnnzoo']['task']}, but the model is {model.class_path}"
            )
        saved = content["hyper_parameters"]
        may_change: frozenset[str] = getattr(_import_class(model.class_path), "may_change", frozenset())
        given = {key: settings[key] for key in typed if key in settings}
        given = {k: v.as_dict() if isinstance(v, jsonargparse.Namespace) else v for k, v in given.items()}
        wrong = contradictions(saved, given, may_change)
        if wrong:
            raise RnnZooError(f"the command line contradicts {argument} {path!r}: {'; '.join(wrong)}")
        fresh = may_change if argument == "model.pretrained" else frozenset()
        for key, value in saved.items():
            if key in settings and key not in typed and key not in fresh:
                settings[key] = value
        if resumed and (line := bring_data(config, content, path, self.given, self.own_config)):
            say(line)
        data = config.get("data")
        init = data.get("init_args", {}) if data else {}
        if resumed:  # a run that was fine-tuned: what it took from elsewhere is in its own checkpoint
            for part in (settings, init):
                if part.get("pretrained"):
                    part["pretrained"] = None
        target = "vocabulary" if resumed else "pretrained"
        fixed = "vocabulary" in typed_settings(self.given, "data") if resumed else init.get("vocabulary")
        if target in init and not fixed:
            init[target] = str(path)

    # ---- running

    def before_instantiate_classes(self) -> None:
        config = self.config[self.command]
        trainer = config.trainer
        for line in without_effect(self.command, config, self.given):
            warn(line)
        if self.command != "fit":
            use_devices_here(trainer, self.given, self.own_config, warn)
        if absent := missing_devices(trainer):
            raise RnnZooError(f"{absent}; --trainer.accelerator auto --trainer.devices auto takes what is here")
        shares_out = getattr(_import_class(config.data.class_path), "shares_out", False)
        if shares_out and "use_distributed_sampler" not in typed_settings(self.given, "trainer"):
            trainer.use_distributed_sampler = False  # Lightning's would shuffle streams and repeat windows
        if self.command != "fit":
            if not any(argument.startswith("--trainer.logger") for argument in self.given):
                leave_no_run(trainer)
                self.save_config_callback = None
            return
        if trainer.get("barebones"):
            strip(trainer, self.given)
            self.save_config_callback = None
        leave_earlier_defaults(trainer)
        write_under_root(trainer, self.given)
        check_run_folder(trainer)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        bare = config.get("barebones")
        own = [*callbacks, *(config.get("callbacks") or [])]
        has_bar = any(isinstance(c, ProgressBar) for c in own)
        if not (bare or has_bar or config.get("enable_progress_bar") is False):
            callbacks = [*callbacks, TQDMProgressBar()]  # Lightning takes another, which files do not show, beside rich
        if self.command == "fit" and config.get("enable_checkpointing") is not False and not bare:
            self._dump_config()
            data = self.config_dump["data"]
            settings = DataSettings(data, default_settings(_import_class(data["class_path"])))
            callbacks = [*callbacks, settings, BestCheckpoint(), LastCheckpoint()]
        try:
            trainer = super()._instantiate_trainer(config, callbacks)
        except (TypeError, ValueError, RuntimeError) as error:  # Lightning's, for one setting or another
            raise RnnZooError(f"trainer: {' '.join(str(error).split())}") from error
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # none of the user's or of the strategy's own
            trainer.strategy.checkpoint_io = WholeFiles()
        return trainer

    def fit(self, **arguments: Any) -> None:
        """Trains; a disk that fills meanwhile is named."""
        try:
            self.trainer.fit(**arguments)
        except OSError as error:
            if error.filename or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            folder = getattr(self.trainer.logger, "log_dir", None) or self.trainer.default_root_dir
            leave_whole_lines(Path(folder))
            raise RnnZooError(f"the run {folder!r} cannot be written: {error.strerror}") from error

    def before_fit(self) -> None:
        # what a run cannot do is known before it leaves anything on the disk
        self.model.check_data(self.datamodule)
        with self.trainer.precision_plugin.forward_context():  # which kernel can run, and is taken, may rest on it
            self.model.try_out()
            report = self.model.report()
        if isinstance(self.datamodule, CharTextData | SeriesData | LongMemoryData):
            self.datamodule.train_dataloader()
            self.datamodule.val_dataloader()
        say(report)

    def after_fit(self) -> None:
        """What the best checkpoint reaches on held-out data, what it can do, and what to try next."""
        trainer = self.trainer
        if trainer.interrupted:
            return
        for name in ("barebones", "fast_dev_run"):
            if getattr(trainer, name):
                say(f"nothing was written: trainer.{name} is set")
                return
        ours = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint | LastCheckpoint))
        best = next(filter(None, (c.best_model_path for c in ours)), None)  # the last one, where nothing was validated
        if best is not None:  # not by the trainer: a callback that averages weights would put back what it averaged
            self.model.load_state_dict(read_checkpoint(best)["state_dict"], strict=self.model.strict_loading)
        trainer.test(self.model, self.datamodule, verbose=False)
        say("")
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        where = relative(best) if best is not None else "none: trainer.enable_checkpointing is false"
        if not any(name.startswith("test") for name in metrics):  # limit_test_batches=0
            say(f"checkpoint: {where}")
            return
        for line in self.model.closing_lines(metrics, self.datamodule, where):
            say(line)
            if best is None and line.startswith("checkpoint: "):
                break


@rank_zero_only
def say(line: str) -> None:
    """Prints, on one process only."""
    print(line, flush=True)


@rank_zero_only
def warn(line: str) -> None:
    """Says what a user may have meant otherwise, on one process only."""
    print(f"rnnzoo: warning: {line}", file=sys.stderr, flush=True)


def relative(path: str) -> str:
    """A path as a user would type it."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside


def run_lightning(command: str, args: list[str]) -> int:
    """Runs one of Lightning's commands."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "litlogger" not in r.getMessage())
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    if command != "fit":
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")  # evaluation writes none
    warnings.filterwarnings("ignore", ".*infer the batch indices.*")  # our data modules' rows say where they belong
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own use of torch
    jsonargparse.set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    warnings.filterwarnings("ignore", ".*LightningCLI's args parameter.*")  # sys.argv is for the other processes
    args = configs_first([shipped(a, before) for before, a in zip(["", *args], args, strict=False)])
    sys.argv[1:] = [command, *args]  # Lightning starts the other processes of a run by this line
    ZooCLI(command, args)
    return 0


def explain_parsing(error: BaseException) -> str | None:
    """One line for what Lightning, jsonargparse or OmegaConf say of a user's settings; None for anything else."""
    text = " ".join(str(error).split())
    if isinstance(error, ArgumentError):
        return _explain_setting(text)
    if isinstance(error, OmegaConfBaseException):
        return f"config: {text}"
    if isinstance(error, UnicodeDecodeError):  # data and cells have messages of their own
        return f"config: not UTF-8 text ({text})"
    if isinstance(error, MisconfigurationException) or (isinstance(error, ValueError) and _raised_by_lightning(error)):
        return text
    return None


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether the error is Lightning's own word on a setting, rather than of what it calls."""
    where = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return where[-1].startswith("lightning.")


def _explain_setting(text: str) -> str:
    """What jsonargparse says of a setting, without its account of every type that the setting could have had."""
    if found := re.search(r"given class_path '([\w.]+)': (?:Key|Option) '([\w.]+)' is not accepted", text):
        takes = list(inspect.signature(_import_class(found[1])).parameters)
        return f"{found[1]} has no setting {found[2]!r}{did_you_mean(found[2], takes)} it has: {', '.join(takes)}"
    if found := re.search(r"does not accept option '([\w.]+)'", text):
        key = found[1].partition(".")[0]
        return f"config key {found[1]!r} is unknown{did_you_mean(key, _GROUPS)} there are: {', '.join(_GROUPS)}"
    union = r"does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors.*?Given value: (.*?)( -|$)"
    if found := re.search(r'Parser key "(\w+)":.*?given class_path .*?Parser key "([\w.]+)": (.*)', text):
        if several := re.match(union, found[3], re.IGNORECASE):
            return f"{found[1]}.{found[2]} is {several[2]!r}; it takes {_plain_types(several[1])}"
        return f"{found[1]}.{found[2]}: {_plain_types(found[3].partition(' - Expected')[0])}"
    if found := re.search(r"unrecognized arguments: --(\w+)\.(\w+)", text):
        has = list(inspect.signature(Trainer).parameters) if found[1] == "trainer" else list(_GROUPS)
        near = did_you_mean(found[2] if found[1] == "trainer" else found[1], has)
        return f"unknown setting --{found[1]}.{found[2]}{near} `rnnzoo fit --help` lists them"
    if found := re.search(rf'Parser key "([\w.]+)":.*?{union}', text, re.IGNORECASE):
        return f"{found[1]} is {found[3]!r}; it takes {_plain_types(found[2])}"
    if found := re.search(r"Unexpected config: ?(.*)", text):
        holds = repr(found[1][:60]) if found[1] else "nothing"
        return f"--config must be a file of settings, as configs/char_lm.yaml is, but it holds {holds}"
    if found := re.search(r'Parser key "config": File does not exist: (.*)', text):
        return f"--config {found[1]} does not exist"
    if found := re.search(r"arguments are required: (.*)", text):
        return f"{found[1]} missing: give a config, such as --config configs/char_lm.yaml"
    return _plain_types(text)


def _plain_types(text: str) -> str:
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text)
    return re.sub(r"typing\.Literal(\[.*?\])", r"one of \1", text).replace("NoneType", "null")


def _import_class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)

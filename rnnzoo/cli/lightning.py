"""``rnnzoo fit | validate | test | predict``: a thin LightningCLI.

Configs are OmegaConf's, interpolated once every file and the command line are merged; the defaults of the package
lie under all of them. A checkpoint's settings win over a config's, and the command line's over both where they may
change.
"""

import logging
import os
import re
import shlex
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from rnnzoo.cli.agreement import check_monitors, check_pair, check_trainer
from rnnzoo.cli.classes import import_class
from rnnzoo.cli.settings import MODE, check_configs, joined, shipped_configs, use_own_loader
from rnnzoo.data import CharTextData, LongMemoryData, SeriesData
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks import Forecaster, LanguageModel, SequenceTask
from rnnzoo.tasks.base import Task, contradictions
from rnnzoo.tasks.checkpoints import read_checkpoint
from rnnzoo.training.gradients import WarnOfDeadParameters
from rnnzoo.training.predictions import ParquetPredictions
from rnnzoo.training.progress import SampleText, digits, progress_bar
from rnnzoo.training.stopping import NAMES, StopBetweenSteps, Stopped, last_checkpoint, where_it_stands

# imported: known by short names
__all__ = ["CharTextData", "Forecaster", "LanguageModel", "LongMemoryData", "SequenceTask", "SeriesData", "ZooCLI"]

DEFAULTS = Path(__file__).parent.parent / "defaults.yaml"


class ZooCLI(LightningCLI):
    """LightningCLI for the tasks and data modules of rnnzoo, and for a user's own."""

    def __init__(self, command: str, args: list[str]):
        self.command, self.given = command, args
        each: dict[str, Any] = {"exit_on_error": False, "default_config_files": [str(DEFAULTS)]}
        super().__init__(
            model_class=Task,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "parser_mode": MODE,
                "exit_on_error": False,
                **{name: dict(each) for name in self.subcommands()},
            },
            load_from_checkpoint_support=False,  # a task stores its own settings, the same way without this command
        )

    # ---- parsing

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        self._preparing = subcommand
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # they go to a file
        if subcommand in ("test", "validate"):
            parser.set_defaults({"verbose": False})  # Lightning's table has digits that mean nothing
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.vocabulary", "model.init_args.vocabulary", apply_on="instantiate")
        parser.link_arguments("data.scaling", "model.init_args.scaling", apply_on="instantiate")
        parser.link_arguments("data.problem", "model.init_args.problem", apply_on="instantiate")
        if self._preparing == "predict":
            parser.add_lightning_class_args(ParquetPredictions, "predictions")
            parser.set_defaults({"predictions.path": "predictions.parquet"})

    def _parse_ckpt_path(self) -> None:
        """Takes from a checkpoint what belongs to its weights; Lightning's own lets it override the command line."""
        config = self.config[self.config.subcommand]
        model, data = config.get("model"), config.get("data")
        settings = model.get("init_args", {}) if model else {}
        resumed, pretrained = config.get("ckpt_path"), settings.get("pretrained")
        if resumed in ("best", "last", "hpc"):
            raise RnnZooError(f"ckpt_path must be a file here, not {resumed!r}: nothing has been trained yet")
        typed = self._typed("model")
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
        may_change: frozenset[str] = getattr(import_class(model.class_path), "may_change", frozenset())
        given = {key: settings[key] for key in typed if key in settings}
        given = {k: v.as_dict() if isinstance(v, jsonargparse.Namespace) else v for k, v in given.items()}
        wrong = contradictions(saved, given, may_change)
        if wrong:
            raise RnnZooError(f"the command line contradicts {argument} {path!r}: {'; '.join(wrong)}")
        fresh = may_change if argument == "model.pretrained" else frozenset()
        for key, value in saved.items():
            if key in settings and key not in typed and key not in fresh:
                settings[key] = value
        init = data.get("init_args", {}) if data else {}
        if (
            argument == "ckpt_path"
        ):  # of a run that was fine-tuned: what it took from elsewhere is in its own checkpoint
            for part in (settings, init):
                if part.get("pretrained"):
                    part["pretrained"] = None
        target = "vocabulary" if argument == "ckpt_path" else "pretrained"
        if target in init and not init.get("vocabulary"):
            init[target] = str(path)

    def _typed(self, group: str) -> set[str]:
        """The settings of a group that stand on the command line itself."""
        pattern = re.compile(rf"--{group}\.(?:init_args\.)?([A-Za-z_]\w*)")
        return {match[1] for argument in self.given if (match := pattern.match(argument))}

    # ---- running

    def before_instantiate_classes(self) -> None:
        check_pair(self.config[self.command].model, self.config[self.command].data)
        trainer = self.config[self.command].trainer
        check_trainer(trainer)
        accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
        if accelerator in ("gpu", "cuda") and not torch.accelerator.is_available():
            raise RnnZooError(f"trainer.accelerator is {accelerator!r}, but torch finds no GPU here; 'cpu' would run")
        on_gpu = accelerator not in ("cpu", None) and torch.accelerator.is_available()
        there = torch.accelerator.device_count() if on_gpu else os.cpu_count() or 1
        wanted = int(devices) if str(devices).isdigit() else 1
        if wanted > there:
            kind = "accelerators" if on_gpu else "processor cores"
            raise RnnZooError(f"trainer.devices is {devices}, but this machine has {there} {kind}")
        if self.command != "fit":
            self._leave_no_run(trainer)
            return
        folder = self._output_folder(trainer)
        if not _can_write(folder):
            raise RnnZooError(
                f"the run cannot be written to {str(folder)!r}: no folder can be made there;"
                " --trainer.logger.save_dir or --trainer.default_root_dir says where"
            )

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except Stopped as stop:
            for line in farewell(stop, self.given):
                say(line)
            # Lightning takes another status of a process that it started for a crash, and kills the others
            raise SystemExit(128 + stop.signum if self.trainer.is_global_zero else 0) from None
        except SystemExit as end:  # what Lightning makes of a Ctrl-C, and of SIGTERM where SLURM runs the job
            if not self.trainer.interrupted:
                raise
            signum = signal.SIGTERM if isinstance(end, SIGTERMException) else signal.SIGINT
            if subcommand == "fit":
                for line in farewell(Stopped(signum, *self._standing()), self.given):
                    say(line)
            raise SystemExit(128 + signum) from None

    def _standing(self) -> tuple[str, str | None]:
        """Where a run stands that was stopped in the middle of something, and its last checkpoint."""
        path = last_checkpoint(self.trainer)
        return where_it_stands(self.trainer), str(path) if path and path.is_file() else None

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        own = [*callbacks, *(config.get("callbacks") or [])]
        shows = config.get("enable_progress_bar") is not False
        if shows and not any(isinstance(c, ProgressBar) for c in own):
            callbacks = [*callbacks, progress_bar()]
        if self.command == "fit":
            callbacks = [*callbacks, StopBetweenSteps(), WarnOfDeadParameters(), *([SampleText()] if shows else [])]
        try:
            return super()._instantiate_trainer(config, callbacks)
        except (TypeError, ValueError, RuntimeError) as error:  # Lightning's, for one setting or another
            raise RnnZooError(f"trainer: {' '.join(str(error).split())}") from error

    def _leave_no_run(self, trainer: Any) -> None:
        """Evaluation writes no run folder, unless a logger is asked for."""
        if any(argument.startswith("--trainer.logger") for argument in self.given):
            return
        trainer.logger, trainer.enable_checkpointing, self.save_config_callback = False, False, None
        trainer.callbacks = [c for c in trainer.callbacks or [] if "ModelCheckpoint" not in c.class_path]

    @staticmethod
    def _output_folder(trainer: Any) -> Path:
        logger = trainer.get("logger")
        settings = logger.get("init_args", {}) if isinstance(logger, jsonargparse.Namespace) else {}
        return Path(settings.get("save_dir") or trainer.get("default_root_dir") or ".")

    def before_fit(self) -> None:
        # what a run cannot do is known before it leaves anything on the disk
        check_monitors(self.trainer.callbacks, self.model)  # type: ignore[attr-defined]
        with self.trainer.precision_plugin.forward_context():  # which kernel can run, and is taken, may rest on it
            self.model.try_out()
            report, why_slow = self.model.report(), self.model.why_slow()
        if isinstance(self.datamodule, CharTextData | SeriesData | LongMemoryData):
            self.datamodule.train_dataloader()
            self.datamodule.val_dataloader()
        say(report)
        if why_slow:
            say(why_slow)

    def after_fit(self) -> None:
        """What the best checkpoint reaches on held-out data, what it can do, and what to try next."""
        trainer = self.trainer
        kept = [getattr(callback, "best_model_path", "") for callback in trainer.checkpoint_callbacks]
        best = next(filter(None, kept), None)  # the last one, where nothing was validated
        if trainer.interrupted or best is None:
            return
        trainer.test(self.model, self.datamodule, ckpt_path=best, verbose=False)
        say("")
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not any(name.startswith("test") for name in metrics):  # limit_test_batches=0
            say(f"checkpoint: {relative(best)}")
            return
        for line in self.model.closing_lines(metrics, self.datamodule, relative(best)):
            say(line)

    def after_test(self) -> None:
        """A line a metric."""
        self._say_metrics("test_")

    def after_validate(self) -> None:
        """A line a metric."""
        self._say_metrics("val_")

    def _say_metrics(self, stage: str) -> None:
        for name, value in sorted(self.trainer.callback_metrics.items()):
            if name.startswith(stage):
                say(f"{name} {digits(float(value))}")


@rank_zero_only
def say(line: str) -> None:
    """Prints, on one process only."""
    print(line, flush=True)


def farewell(stop: Stopped, given: list[str]) -> list[str]:
    """What is said of a run that was stopped: where it stands, and the command that goes on from there."""
    lines = [f"stopped by {NAMES[signal.Signals(stop.signum)]}: {stop.stands}"]
    if stop.checkpoint is None or not Path(stop.checkpoint).is_file():
        return [*lines, "no checkpoint was written; the same command starts anew"]
    path = relative(stop.checkpoint)
    settings = (
        "" if (Path(path).parent.parent / "config.yaml").is_file() else f"{shlex.join(_without_checkpoint(given))} "
    )
    return [*lines, f"checkpoint: {path}", f"go on with: rnnzoo fit {settings}--ckpt_path {shlex.quote(path)}"]


def _without_checkpoint(given: list[str]) -> list[str]:
    """A command's arguments but for the checkpoint."""
    pairs = zip(["", *given], given, strict=False)
    return [a for before, a in pairs if a.partition("=")[0] != "--ckpt_path" and before != "--ckpt_path"]


def relative(path: str) -> str:
    """A path as a user would type it."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside


def run_lightning(command: str, args: list[str]) -> int:
    """Runs one of Lightning's commands."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "litlogger" not in r.getMessage())
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    if not sys.stderr.isatty():  # no line a step of what `datasets` does either
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if command != "fit":
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")  # evaluation writes none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own use of torch
    jsonargparse.set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    use_own_loader()
    args = with_own_config([shipped(a, before) for before, a in zip(["", *args], args, strict=False)])
    args = joined(args)
    check_configs(args)
    sys.argv[1:] = [command, *args]  # Lightning starts the other processes of a run by this line
    ZooCLI(command, sys.argv[2:])
    return 0


def with_own_config(args: list[str]) -> list[str]:
    """`args`, with the config that lies in a checkpoint's run folder where a checkpoint is all that was given."""
    text = " ".join(args)
    if re.search(r"(^| )(--config|-c|--model|--data)( |=)", text):
        return args
    for k, argument in enumerate(args):
        path = argument.partition("=")[2] if argument.startswith("--ckpt_path=") else ""
        if argument == "--ckpt_path" and k + 1 < len(args):
            path = args[k + 1]
        config = Path(path).parent.parent / "config.yaml"
        if path and Path(path).is_file() and config.is_file():
            return ["--config", str(config), *args]
        if path:
            read_checkpoint(path, "ckpt_path")  # what is wrong with it comes before what else is missing
    return args


def shipped(argument: str, before: str) -> str:
    """A config that came with the package, where ``--config configs/char_lm.yaml`` finds no such file here."""
    option, equals, value = argument.partition("=")
    path = Path(value if equals else argument)
    if (option if equals else before) not in ("--config", "-c") or path.exists() or path.parent.name != "configs":
        return argument
    for config in shipped_configs():
        if config.name == path.name:
            return f"{option}={config}" if equals else str(config)
    return argument


def _can_write(folder: Path) -> bool:
    """Whether `folder`, or the folders that are missing to it, could be made and written."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with tempfile.TemporaryDirectory(dir=folder):
            return True
    except OSError:
        return False

"""``rnnzoo fit | validate | test | predict``: a thin LightningCLI.

Configs are OmegaConf's, interpolated once every file and the command line are merged; the defaults of the package
lie under all of them. A checkpoint's settings win over a config's, and the command line's over both where they may
change.
"""

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rnnzoo.cli.agreement import check_monitors, check_nulls, check_pair, check_tokenizer, check_trainer
from rnnzoo.cli.arguments import (
    configs_first,
    joined,
    shipped,
    typed_settings,
    with_arguments_of,
    with_own_config,
    with_what,
    without_pretrained,
)
from rnnzoo.cli.classes import import_class, import_known, with_import_paths
from rnnzoo.cli.from_checkpoint import RunSettings, bring_data
from rnnzoo.cli.main import explain
from rnnzoo.cli.resume import (
    Resumed,
    find,
    limits_of,
    settings_digest,
    tell_other_processes,
    with_config_of,
    without_resume,
)
from rnnzoo.cli.run_config import SaveRunConfig
from rnnzoo.cli.settings import MODE, check_configs, use_own_loader
from rnnzoo.cli.trainer_settings import (
    check_run_folder,
    evaluated_precision,
    leave_earlier_defaults,
    leave_no_run,
    leave_nothing,
    leave_whole_lines,
    missing_devices,
    profile_steps,
    runs_of,
    strip,
    use_devices_here,
    without_effect,
    write_under_root,
)
from rnnzoo.description import describe
from rnnzoo.errors import RnnZooError
from rnnzoo.models.layers import Layers
from rnnzoo.tasks import pretrained as weights
from rnnzoo.tasks import suggestions
from rnnzoo.tasks.base import Task, contradictions
from rnnzoo.tasks.checkpoints import contents_of, read_checkpoint
from rnnzoo.training.bad_numbers import BadNumbers
from rnnzoo.training.checkpoints import BestCheckpoint, LastCheckpoint
from rnnzoo.training.exact_resume import rows_of
from rnnzoo.training.loggers import HELP as LOGGER_HELP
from rnnzoo.training.loggers import LogBeside, chosen
from rnnzoo.training.lost_processes import of_another_process
from rnnzoo.training.messages import one_line, relative, say, warn
from rnnzoo.training.out_of_memory import ExplainMemory, explained, is_out_of_memory
from rnnzoo.training.predictions import PredictionsFile
from rnnzoo.training.profile import Profile
from rnnzoo.training.progress import digits, progress_bar
from rnnzoo.training.run_folder import RunLogger
from rnnzoo.training.run_record import RunRecord
from rnnzoo.training.sharding import load_whole
from rnnzoo.training.stopping import (
    StopBetweenSteps,
    Stopped,
    farewell,
    last_checkpoint,
    no_interruption_lost,
    where_it_stands,
)
from rnnzoo.training.trainer import DEFAULTS, check_precision, fitting_callbacks, write_whole_files

_OF_OTHERS = ("tune", "compare")  # sections of a config that are of other commands, not of a run


class ZooCLI(LightningCLI):
    """LightningCLI for the tasks and data modules of rnnzoo, and for a user's own."""

    def __init__(self, command: str, given: list[str]):
        self.command = command
        self.resumed: Resumed | None = None
        self.profiles = command == "fit" and "--profile" in given
        given = [argument for argument in given if not (self.profiles and argument == "--profile")]
        self.source: str | None = None  # the checkpoint that settings come from
        given, self.resume = without_resume(given) if command == "fit" else (given, None)
        if self.resume:
            given = with_config_of(given, self.resume)
        self.given = given
        args = with_own_config(given)
        self.own_config = args is not given
        args, self.pretrained = without_pretrained(args)
        check_configs(args)
        each: dict[str, Any] = {"exit_on_error": False, "default_config_files": [str(DEFAULTS)]}
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "parser_mode": MODE,
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
        if subcommand in ("test", "validate"):
            parser.set_defaults({"verbose": False})  # Lightning's table has digits that mean nothing
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data", "model.init_args.description", compute_fn=describe, apply_on="instantiate")
        parser.add_argument("--logger", type=list[str] | str | None, default=None, help=LOGGER_HELP)
        parser.add_argument("--tune", type=dict | None, default=None, help="what `rnnzoo tune` searches, and how")
        parser.add_argument("--compare", type=dict | None, default=None, help="what `rnnzoo compare` compares")
        parser.add_lightning_class_args(BadNumbers, "numbers")  # a run's config has it, whatever reads that config
        if self._preparing == "predict":
            parser.add_lightning_class_args(PredictionsFile, "predictions")
            parser.set_defaults({"predictions.path": "predictions.parquet"})
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")  # stands in a run's config, for every command

    def _parse_ckpt_path(self) -> None:
        """Takes from a checkpoint what belongs to its weights; Lightning's own lets it override the command line."""
        config = self.config[self.config.subcommand]
        if self.command == "fit":
            self._go_on(config)
        model = config.get("model")
        settings = model.get("init_args", {}) if model else {}
        if self.pretrained is not None and "pretrained" in settings:
            settings["pretrained"], self.pretrained = self.pretrained, None
        resumed, pretrained = config.get("ckpt_path"), settings.get("pretrained")
        if resumed and self.pretrained is not None:  # of a module that takes none itself
            pretrained = self.pretrained
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
        self.source = f"{argument} {str(path)!r}"
        with contents_of(self.source):
            self._take(content, config, settings, typed, str(path), argument)

    def _take(
        self, content: dict[str, Any], config: Any, settings: Any, typed: set[str], path: str, argument: str
    ) -> None:
        """Takes from a checkpoint the settings of its model and its data."""
        resumed = argument == "ckpt_path"
        self._take_settings(content, settings, typed, path, argument)
        if resumed and (line := bring_data(config, content, path, self.given, self.own_config, self.command)):
            say(line)
        data = config.get("data")
        init = data.get("init_args", {}) if data else {}
        if resumed and "tokenizer" in typed_settings(self.given, "data"):
            check_tokenizer(init["tokenizer"], content, path)
        if resumed:  # a run that was fine-tuned: what it took from elsewhere is in its own checkpoint
            for part, name in product((settings, init), ("pretrained", "embeddings")):
                if part.get(name):
                    part[name] = None
        target = "pretrained" if not resumed else "checkpoint" if "checkpoint" in init else "vocabulary"
        own = typed_settings(self.given, "data")
        fixed = target in own if resumed else init.get("vocabulary") or {"tokenizer", "pretrained"} & own
        if target in init and not fixed:
            init[target] = path

    def _go_on(self, config: Any) -> None:
        """Finds the checkpoint that ``--resume`` goes on from."""
        own = config.clone()
        for section in _OF_OTHERS:
            own.pop(section, None)
        dumped = self._parser("fit").dump(own, skip_unset=False, skip_validation=True)
        self.settings, self.limits = settings_digest(dumped), limits_of(config.trainer)
        self.given_config = dumped
        if self.resume is None:
            return
        self.resumed = find(self.resume, config.trainer, runs_of(config.trainer, self.given), self.settings)
        tell_other_processes(self.given, self.resumed)
        if self.resumed is not None:
            config.ckpt_path = str(self.resumed.checkpoint)
            self.save_config_kwargs["given"] = dumped

    def _take_settings(self, content: dict[str, Any], settings: Any, typed: set[str], path: str, argument: str) -> None:
        """Takes from a checkpoint the settings of the model that belong to its weights."""
        model = self.config[self.config.subcommand].model
        kind = import_class(model.class_path)
        same = model.class_path.rpartition(".")[2] == content["rnnzoo"]["task"].rpartition(".")[2]
        if not same and argument == "ckpt_path":
            raise RnnZooError(
                f"{argument} {path!r} holds a {content['rnnzoo']['task']}, but the model is {model.class_path}"
            )
        saved = content["hyper_parameters"] or (content["rnnzoo"].get("model") or {}).get("init_args") or {}
        if not same:  # of another task: its layers alone
            shared = {*(field.name for field in fields(Layers)), *weights.OF_WEIGHTS}
            saved = {name: value for name, value in saved.items() if name in shared}
        may_change: frozenset[str] = getattr(kind, "may_change", frozenset())
        if argument == "model.pretrained":
            may_change |= getattr(kind, "may_differ", frozenset())
        given = {key: settings[key] for key in typed if key in settings}
        given = {k: v.as_dict() if isinstance(v, jsonargparse.Namespace) else v for k, v in given.items()}
        if wrong := contradictions(saved, given, may_change):
            raise RnnZooError(f"the command line contradicts {argument} {path!r}: {'; '.join(wrong)}")
        fresh = {*(may_change if argument == "model.pretrained" else ()), "description"}  # what the data say
        for key, value in saved.items():
            if key in settings and key not in typed and key not in fresh:
                settings[key] = value

    # ---- running

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except Exception as error:
            if self.source is None or explain(error) is not None:
                raise
            with contents_of(self.source):
                raise

    def before_instantiate_classes(self) -> None:
        config = self.config[self.command]
        for section in _OF_OTHERS:
            config.pop(section, None)
        trainer = config.trainer
        check_nulls(config)
        check_pair(config.model, config.data)
        check_trainer(trainer)
        for line in without_effect(self.command, config, self.given):
            warn(line)
        self.loggers = chosen(config.get("logger")) if self.command == "fit" else []
        if self.command != "fit":
            use_devices_here(trainer, self.given, self.own_config, warn)
        if absent := missing_devices(trainer):
            raise RnnZooError(f"{absent}; --trainer.accelerator auto --trainer.devices auto takes what is here")
        if self.command != "fit" and "precision" not in typed_settings(self.given, "trainer"):
            evaluated_precision(trainer, warn)
        check_precision(trainer.get("precision"), trainer.get("accelerator"))
        shares_out = getattr(import_class(config.data.class_path), "shares_out", False)
        if shares_out and "use_distributed_sampler" not in typed_settings(self.given, "trainer"):
            trainer.use_distributed_sampler = False  # Lightning's would shuffle streams and repeat windows
        if self.command != "fit":
            if not any(argument.startswith("--trainer.logger") for argument in self.given):
                leave_no_run(trainer)
                self.save_config_callback = None
            return
        if self.profiles:
            profile_steps(trainer, self.given)
            self.save_config_callback = None
            return
        if trainer.get("barebones"):
            strip(trainer, self.given)
            self.save_config_callback = None
        leave_earlier_defaults(trainer)
        write_under_root(trainer, self.given)
        check_run_folder(trainer)

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
        except Exception as error:
            if is_out_of_memory(error):
                raise RnnZooError(explained(error, self.trainer, self.model)) from error
            if self.source is not None and explain(error) is None and _is_of_restoring(error):
                with contents_of(self.source):
                    raise
            if not isinstance(error, TypeError | AttributeError | KeyError | ValueError):
                raise
            kind, data = type(self.model), type(self.datamodule)
            if not isinstance(error, RnnZooError) and not kind.__module__.startswith("rnnzoo."):
                error.add_note(f"{kind.__name__} ran on batches of {data.__name__}: does it take what these are?")
            raise

    def _standing(self) -> tuple[str, str | None]:
        """Where a run stands that was stopped in the middle of something, and its last checkpoint."""
        path = last_checkpoint(self.trainer)
        return where_it_stands(self.trainer), str(path) if path and path.is_file() else None

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        bare = config.get("barebones")
        own = [*callbacks, *(config.get("callbacks") or [])]
        shows = not bare and config.get("enable_progress_bar") is not False
        keeps = not bare and config.get("enable_checkpointing") is not False
        last = next((c for c in callbacks if isinstance(c, LastCheckpoint)), None)  # its settings are given
        callbacks = [c for c in callbacks if c is not last]
        if self.profiles:
            callbacks = [*callbacks, StopBetweenSteps(), ExplainMemory(), Profile()]
        elif self.command == "fit":
            callbacks = [*callbacks, StopBetweenSteps()]
            if keeps:
                self._dump_config()
                kept = self.config_dump if self.resumed is None else yaml.safe_load(self.given_config)
                callbacks.append(RunSettings(kept["model"], kept["data"]))
            if not bare:
                callbacks += [LogBeside(self.loggers)] if self.loggers else []
                callbacks += fitting_callbacks(own, shows=shows, keeps=keeps, last=last)
        else:
            callbacks = [*callbacks, ExplainMemory()]
            if shows and not any(isinstance(c, ProgressBar) for c in own):
                callbacks.append(progress_bar())
        try:
            trainer = super()._instantiate_trainer(config, callbacks)
        except (TypeError, ValueError, RuntimeError) as error:  # Lightning's, for one setting or another
            raise RnnZooError(f"trainer: {' '.join(str(error).split())}") from error
        write_whole_files(trainer)
        return trainer

    def fit(self, **arguments: Any) -> None:
        """Trains; a disk that fills meanwhile is named, and a run that fails before its first step leaves no folder."""
        try:
            self.trainer.fit(**arguments)
        except OSError as error:
            if error.filename or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self._leave_no_beginning()
                raise
            folder = getattr(self.trainer.logger, "log_dir", None) or self.trainer.default_root_dir
            leave_whole_lines(Path(folder))
            raise RnnZooError(f"the run {folder!r} cannot be written: {error.strerror}") from error
        except Exception as error:
            self._leave_no_beginning()
            if (said := of_another_process(error)) is None:
                raise
            _, path = self._standing()
            on = f"; {relative(path)} holds what was done: --resume goes on from there" if path else ""
            raise RnnZooError(said + on) from error

    def _leave_no_beginning(self) -> None:
        """Takes away the folder of a run that has not made a step."""
        logger = self.trainer.logger
        # a RunLogger's folder is this run's alone; any other may hold somebody's files
        begun = self.trainer.global_step or not self.trainer.is_global_zero
        if isinstance(logger, RunLogger) and logger.has_folder and not begun:
            leave_nothing(Path(logger.log_dir))

    def before_fit(self) -> None:
        for record in self._records():
            record.about = {"settings": self.settings, "limits": self.limits}
        if self.resumed is not None and isinstance(self.trainer.logger, RunLogger):
            rows = rows_of(read_checkpoint(self.resumed.checkpoint))
            self.trainer.logger.go_on(self.resumed.folder, rows)
        # what a run cannot do is known before it leaves anything on the disk
        check_monitors(self.trainer.callbacks, self.model)  # type: ignore[attr-defined]  # set by a connector
        if not isinstance(self.model, Task):
            if self.pretrained is not None:
                weights.load_matching(self.model, self.pretrained)
            return
        with self.trainer.precision_plugin.forward_context():  # which kernel can run, and is taken, may rest on it
            self.model.try_out()
            report, why_slow = self.model.report(), self.model.why_slow()
        if getattr(self.datamodule, "shares_out", False):
            self.datamodule.train_dataloader()
            self.datamodule.val_dataloader()
        say(report)
        if why_slow:
            say(why_slow)

    def before_predict(self) -> None:
        kind = type(self.model)
        if kind.predict_step is LightningModule.predict_step and kind.forward is LightningModule.forward:
            raise RnnZooError(f"{kind.__name__} defines no predict_step, which gives what is to be predicted")

    def after_fit(self) -> None:
        """What the best checkpoint reaches on held-out data, what it can do, and what to try next."""
        self._conclude()
        for record in self._records():
            record.add(self.trainer, tested=True)

    def _records(self) -> list[RunRecord]:
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        return [callback for callback in callbacks if isinstance(callback, RunRecord)]

    def _conclude(self) -> None:
        trainer = self.trainer
        if trainer.interrupted or self.profiles:
            return
        for name in ("barebones", "fast_dev_run"):
            if getattr(trainer, name):
                say(f"nothing was written: trainer.{name} is set")
                return
        ours = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint | LastCheckpoint))
        best = next(filter(None, (c.best_model_path for c in ours)), None)  # the last one, where nothing was validated
        if best is not None:  # not by the trainer: a callback that averages weights would put back what it averaged
            load_whole(self.model, read_checkpoint(best)["state_dict"])
        trainer.test(self.model, self.datamodule, verbose=False)
        say("")
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        where = relative(best) if best is not None else "none: trainer.enable_checkpointing is false"
        if not any(name.startswith("test") for name in metrics):  # limit_test_batches=0
            say(f"checkpoint: {where}")
            return
        if isinstance(self.model, Task):
            lines = self.model.closing_lines(metrics, self.datamodule, where)
        else:
            lines = suggestions.of_any(metrics, where, self.model)
        for line in lines:
            say(line)
            if best is None and line.startswith("checkpoint: "):
                break

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


def _is_of_restoring(error: BaseException) -> bool:
    """Whether an error was raised while Lightning took apart a checkpoint."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(
        f.filename.endswith("checkpoint_connector.py") and f.name.lstrip("_").startswith(("restore", "resume"))
        for f in frames
    )


def run_lightning(
    command: str,
    args: list[str],
    help_asked: str | None = None,
    after: Callable[[ZooCLI], None] | None = None,
    kind: type[ZooCLI] = ZooCLI,
) -> int:
    """Runs one of Lightning's commands, or says what it takes where help is asked for: "short" or "all".

    `after` gets the command, of class `kind`, when it has run.
    """
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "litlogger" not in r.getMessage())
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    if not sys.stderr.isatty():  # no line a step of what `datasets` does either
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if command != "fit":
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")  # evaluation writes none
    warnings.filterwarnings("ignore", ".*infer the batch indices.*")  # our data modules' rows say where they belong
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own use of torch
    warnings.filterwarnings("ignore", ".*LightningCLI's args parameter.*")  # sys.argv is for the other processes
    jsonargparse.set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    warnings.formatwarning = one_line(warnings.formatwarning)
    use_own_loader()
    import_known()
    args = with_arguments_of(with_import_paths(with_what(args) if command == "predict" else args))
    args = configs_first(joined([shipped(a, before) for before, a in zip(["", *args], args, strict=False)]))
    sys.argv[1:] = [command, *args]  # Lightning starts the other processes of a run by this line
    if help_asked == "short":
        from rnnzoo.cli.settings_help import HelpCLI

        HelpCLI(command, args)
    with no_interruption_lost():
        cli = kind(command, [*args, "--help"] if help_asked else args)
        if after is not None:
            after(cli)
    return 0

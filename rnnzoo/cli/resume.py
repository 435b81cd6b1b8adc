"""``fit --resume``: which run goes on, from which checkpoint, and whether there is anything left to do."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from rnnzoo.errors import RnnZooError
from rnnzoo.training.checkpoint_files import leave_no_parts, newest_whole
from rnnzoo.training.messages import relative, say
from rnnzoo.training.run_files import CONFIG, folders_in, is_run, read_record, state_of

# what may differ in the settings of one and the same run: how far it goes, where it is written, and what it shows
_MAY_DIFFER = (
    *("config", "ckpt_path", "weights_only", "logger", "checkpoint"),
    *("trainer.default_root_dir", "trainer.logger"),
    *(f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")),
    *(f"trainer.{name}" for name in ("enable_progress_bar", "enable_model_summary", "profiler", "log_every_n_steps")),
    *("data.init_args.num_workers", "data.init_args.cache_dir"),
)
LIMITS = ("max_epochs", "max_steps", "max_time")  # of a run; one that has reached them is done


@dataclass
class Resumed:
    """A run that goes on in its own folder.

    Args:
        folder: of the run.
        checkpoint: that it goes on from.
    """

    folder: Path
    checkpoint: Path


def without_resume(args: list[str]) -> tuple[list[str], str | None]:
    """`args` without ``--resume``, and the run folder that is given with it; "" is for the last run of the config."""
    made: list[str] = []
    found = None
    todo = list(args)
    while todo:
        argument = todo.pop(0)
        option, equals, value = argument.partition("=")
        if option != "--resume":
            made.append(argument)
            continue
        if found is not None:
            raise RnnZooError("--resume is given twice")
        if equals:
            found = value
        elif todo and not todo[0].startswith("-"):
            found = todo.pop(0)
        else:
            found = ""
    if found is not None and any(a.partition("=")[0] == "--ckpt_path" for a in made):
        raise RnnZooError(
            "--resume and --ckpt_path are both given: one goes on in a run's folder, the other in a new folder"
        )
    return made, found


def with_config_of(args: list[str], folder: str) -> list[str]:
    """`args`, with the config of the run that goes on where no other is given."""
    if any(a.partition("=")[0] in ("--config", "-c") for a in args):
        return args
    path = Path(folder)
    if not is_run(path):
        what = "is no run" if path.exists() else "does not exist"
        raise RnnZooError(
            f"--resume {folder!r} {what}: give a run's folder, such as runs/char_lm/version_0, or no value"
        )
    if not (path / CONFIG).is_file():
        raise RnnZooError(f"--resume {folder!r} has no {CONFIG}: give the settings of its run too, by --config")
    return ["--config", str(path / CONFIG), *args]


def settings_digest(dumped: str) -> str:
    """What tells a run's settings from those of another, but for what may differ in one and the same run.

    Args:
        dumped: the whole config, in YAML.
    """
    config = yaml.load(dumped, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    for name in _MAY_DIFFER:
        *outer, last = name.split(".")
        part = config
        for key in outer:
            part = part.get(key) or {} if isinstance(part, dict) else {}
        if isinstance(part, dict):
            part.pop(last, None)
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:32]


def limits_of(trainer: Namespace) -> dict[str, Any]:
    """How far a run goes."""
    return {name: str(trainer.get(name)) for name in LIMITS if trainer.get(name) is not None}


def find(folder: str, trainer: Namespace, runs: Path | None, digest: str) -> Resumed | None:
    """The run that goes on, or None where one is to start anew; says which.

    Args:
        folder: of the run, or "" for the last one with these settings.
        trainer: settings of the trainer, which say how far it goes.
        runs: where runs of this name lie; None where none are kept.
        digest: of the settings.

    Raises:
        RnnZooError: it still runs, it has no whole checkpoint, or there is no place to look for it.
        SystemExit: it is done, with status 0.
    """
    if folder:
        run = Path(folder)
        record = read_record(run)
    else:
        if runs is None:
            raise RnnZooError("--resume finds no runs: trainer.logger keeps none in folders; give a run's folder")
        known = [(path, read_record(path)) for path in folders_in(runs)]
        of_these = [(path, record) for path, record in known if record.get("settings") == digest]
        if not of_these:
            say(f"--resume: there is no run of these settings in {relative(str(runs))}: one starts anew")
            return None
        run, record = of_these[-1]
    shown, state = relative(str(run)), state_of(record)
    if state == "running":
        raise RnnZooError(f"run {shown!r} is still trained, by process {record['process']['id']} of this machine")
    if state == "finished" and record.get("tested") and record.get("limits") == limits_of(trainer):
        say(
            f"{shown} is done: {record.get('epochs')} epochs, {record.get('steps'):,} steps;"
            " a larger --trainer.max_epochs or --trainer.max_steps goes on"
        )
        raise SystemExit(0)
    checkpoints = run / "checkpoints"
    path, amiss = newest_whole(checkpoints)
    for line in amiss:
        say(f"rnnzoo: warning: {line}")
    if path is None:
        if folder or amiss:
            raise RnnZooError(f"run {shown!r} has no whole checkpoint to go on from")
        say(f"--resume: {shown} has no checkpoint yet: a run starts anew")
        return None
    leave_no_parts(checkpoints)
    say(f"--resume: {shown} goes on from {relative(str(path))}")
    return Resumed(run, path)


def tell_other_processes(args: list[str], resumed: Resumed | None) -> None:
    """Has the processes that Lightning starts by this command line go on with the same run, or start with it."""
    own = [] if resumed is None else [f"--resume={resumed.folder}"]
    sys.argv[1:] = ["fit", *args, *own]

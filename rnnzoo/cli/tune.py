"""``rnnzoo tune``: searches the settings that a config names, each trial a ``rnnzoo fit`` in a process of its own."""

import argparse
import os
import shlex
import signal
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnzoo.cli.parser import Parser
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "random", "gp")
PRUNERS = ("median", "halving", "none")
OF_FIT = ("config", "seed_everything", "logger", "optimizer", "lr_scheduler", "ckpt_path", "weights_only")
_TUNE = ("metric", "direction", "space")


def add_storage_options(parser: argparse.ArgumentParser) -> None:
    """The options by which workers find each other."""
    parser.add_argument("--study", help="its name in the storage, and its folder's (default: the name of the runs)")
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="any storage of Optuna's, for workers on many machines (default: study.db in the study's folder)",
    )
    parser.add_argument("--metric", help="what to judge by: one that the task logs (default: val_loss)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default: 0)")


def run(args: list[str]) -> int:
    """Runs the command."""
    parser = Parser(
        prog="rnnzoo tune",
        description="Search the settings that tune.space names in a config. Each trial is `rnnzoo fit` in a process of"
        " its own. The same command, given again, goes on; given at once on several machines with one --storage, they"
        " share the trials. Further options are those of `rnnzoo fit`: --config, --model.*, --data.*, --trainer.*.",
        allow_abbrev=False,
    )
    parser.add_argument("--trials", type=int, default=20, help="how many there are to be in all (default: 20)")
    add_storage_options(parser)
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe", help="what picks settings (default: tpe)")
    parser.add_argument("--pruner", choices=PRUNERS, default="median", help="what stops bad trials (default: median)")
    given, others = parse(parser, args)
    if given.trials < 1:
        raise RnnZooError(f"--trials={given.trials} must be at least 1")
    check_worker(parser.prog)
    from rnnzoo.tuning.study import interruptible

    try:
        with interruptible():
            return _tune(given, others)
    except KeyboardInterrupt:
        print(f"stopped; go on with: {shlex.join(['rnnzoo', 'tune', *args])}", flush=True)
        return 128 + signal.SIGINT


def parse(parser: argparse.ArgumentParser, args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and the arguments that are those of ``rnnzoo fit``.

    Raises:
        RnnZooError: one is neither.
    """
    given, others = parser.parse_known_args(args)
    options = [option for action in parser._actions for option in action.option_strings]
    for word in (argument.partition("=")[0] for argument in others):
        if word.startswith("--") and "." not in word and word.removeprefix("--") not in (*OF_FIT, "model", "data"):
            near = did_you_mean(word, [*options, *(f"--{name}" for name in OF_FIT)])
            raise RnnZooError(f"{parser.prog.split()[-1]}: unknown option {word}{near} see `{parser.prog} --help`")
    return given, others


def check_worker(prog: str) -> None:
    """Leaves SLURM's job, each of whose tasks may be a worker.

    Raises:
        RnnZooError: this process is one rank of several, or Optuna is missing.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or "LOCAL_RANK" in os.environ:
        raise RnnZooError(
            f"{prog} runs in one process and starts those of each trial:"
            " --trainer.devices 2 --trainer.strategy ddp instead of torchrun"
        )
    try:
        for package in ("optuna", "sklearn"):
            import_module(package)
    except ImportError as error:
        raise RnnZooError(f"{prog} needs the package {error.name!r}: pip install 'rnnzoo[tune]'") from None
    from rnnzoo.tuning.trial_process import leave_job

    leave_job()


def read_section(config: dict[str, Any], name: str, known: tuple[str, ...]) -> dict[str, Any]:
    """A section of a config, ``tune`` or ``compare``.

    Raises:
        RnnZooError: it has a key that is not known.
    """
    section = config.get(name) or {}
    for key in section:
        if key not in known:
            raise RnnZooError(f"{name}.{key} is unknown{did_you_mean(str(key), known)} there are: {', '.join(known)}")
    return section


def metric_of(given: str | None, section: dict[str, Any]) -> tuple[str, str]:
    """The metric of a study, and minimize or maximize."""
    from rnnzoo.training.run_files import sign

    metric = given or section.get("metric") or "val_loss"
    if not isinstance(metric, str) or metric.startswith("test_"):
        raise RnnZooError(f"metric {metric!r} must be one of validation, such as val_loss: held-out data stay unseen")
    named = section.get("direction") if given in (None, section.get("metric")) else None
    direction = named or ("minimize" if sign(metric) == 1 else "maximize")
    if direction not in ("minimize", "maximize"):
        raise RnnZooError(f"tune.direction is {direction!r}; it takes minimize or maximize")
    return metric, direction


def sampler_of(kind: str, seed: int) -> Any:
    """Makes samplers: of a trial, by how many there were before it, so that a study that goes on is the same study."""
    import numpy as np
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    classes = {"tpe": TPESampler, "random": RandomSampler, "gp": GPSampler}

    def sampler(before: int) -> Any:
        return classes[kind](seed=int(np.random.SeedSequence([seed, before]).generate_state(1)[0]))

    return sampler


def pruner_of(kind: str) -> Any:
    """What stops trials that are worse than others were after as many evaluations."""
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    return {"median": MedianPruner, "halving": SuccessiveHalvingPruner, "none": NopPruner}[kind]()


def _tune(given: argparse.Namespace, others: list[str]) -> int:
    import warnings

    from rnnzoo.training.messages import relative
    from rnnzoo.training.run_files import flat
    from rnnzoo.tuning.base_config import check_space, comparable, resolve, run_root, without_typed
    from rnnzoo.tuning.objective import TrainedRun
    from rnnzoo.tuning.report import BEST, best_of, draw, importances, write_best
    from rnnzoo.tuning.search_space import read_space
    from rnnzoo.tuning.storage import open_storage
    from rnnzoo.tuning.study import open_study, run_trials

    config = resolve(others)
    section = read_section(config, "tune", _TUNE)
    metric, direction = metric_of(given.metric, section)
    wanted = read_space(section.get("space"), flat(config))
    space = without_typed(others, wanted)
    if fixed := [name for name in wanted.distributions if name not in space.distributions]:
        if not space.distributions:
            raise RnnZooError(f"--{fixed[0]} is given, and tune.space has nothing else to search")
        print(f"given, and so not searched: {', '.join(fixed)}", flush=True)
    check_space(others, space)
    root = run_root(config, others)
    name = given.study or root.name
    folder = root / "tune" / name
    shared = {name: value for name, value in comparable(config).items() if name not in space.distributions}
    settings = {"metric": metric, **shared, "space": space.as_text()}
    study = open_study(name, open_storage(given.storage, folder), direction, settings)
    study.pruner = pruner_of(given.pruner)
    warnings.filterwarnings("ignore", module="optuna.*")
    objective = TrainedRun(others, space.sample, metric, direction, folder, closing=["--trainer.limit_test_batches=0"])
    progress = Progress(study, given.trials, metric)
    progress.start()
    run_trials(
        study,
        given.trials,
        objective,
        folder=folder,
        sampler=sampler_of(given.sampler, given.seed),
        finished=progress.finished,
        waiting=progress.waiting,
    )
    progress.close()
    best = best_of(study)
    write_best(best, config, folder / BEST)
    print(f"best: trial {best.number}, {metric} {best.value:.6g}")
    for setting, value in best.params.items():
        print(f"  --{setting} {shown(value)}")
    if shares := importances(study):
        print("importance (fANOVA): " + ", ".join(f"{setting} {share:.0%}" for setting, share in shares.items()))
    pictures = draw(study, metric, folder)
    print(f"pictures: {', '.join(relative(str(path)) for path in pictures)}")
    print(f"train it: rnnzoo fit --config {shlex.quote(relative(str(folder / BEST)))}")
    return 0


def shown(value: Any) -> str:
    """A setting's value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Progress:
    """A line for each trial that ends, and a bar in a terminal.

    Args:
        study: of the trials.
        total: how many there are to be.
        metric: what the values are of.
    """

    def __init__(self, study: "optuna.Study", total: int, metric: str):
        self.study, self.total, self.metric = study, total, metric
        self._bar: Any = None

    def start(self) -> None:
        """Says what is there already."""
        from rnnzoo.tuning.study import answered

        done = len(answered(self.study))
        if done:
            print(f"study {self.study.study_name!r} has {done} of {self.total} trials; it goes on", flush=True)
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, initial=min(done, self.total), unit="trial", file=sys.stderr)

    def finished(self, trial: "FrozenTrial") -> None:
        """Says how a trial ended, and how long the others may take."""
        from rnnzoo.tuning.report import completed
        from rnnzoo.tuning.study import ERROR, answered

        trials = answered(self.study)
        if ERROR in trial.user_attrs:
            result = f"failed: {trial.user_attrs[ERROR]}"
        elif trial.state.name == "PRUNED":
            evaluations = len(trial.intermediate_values)
            result = f"pruned after {evaluations} evaluation{'s' * (evaluations > 1)}"
        else:
            result = f"{self.metric} {trial.value:.6g}"
        settings = ", ".join(f"{name} {shown(value)}" for name, value in trial.params.items())
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        best = self.study.best_trial if completed(self.study) else None
        of_best = f", best {best.value:.6g} (trial {best.number})" if best is not None else ""
        self._say(
            f"trial {trial.number}: {result}; {settings}; {seconds:.0f} s; {len(trials)} of {self.total}"
            f"{of_best}{self._left(trials)}"
        )
        if self._bar is not None:
            self._bar.update(len(trials) - self._bar.n)

    def _left(self, trials: "list[FrozenTrial]") -> str:
        left = self.total - len(trials)
        times = [trial.duration.total_seconds() for trial in trials if trial.duration]
        if left <= 0 or not times:
            return ""
        others = sum(trial.state.name == "RUNNING" for trial in self.study.get_trials(deepcopy=False))
        seconds = sum(times) / len(times) * left / (1 + others)
        return f", about {time.strftime('%H:%M:%S', time.gmtime(seconds))} left" if seconds < 86400 else ""

    def waiting(self, count: int) -> None:
        """Says that other workers have the last trials."""
        self._say(f"waiting for {count} trial{'s' * (count != 1)} of other workers")

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)

"""What a trial is: a run in a process of its own, judged by a metric that it logs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial

from rnnzoo.errors import RnnZooError
from rnnzoo.training.run_files import CONFIG, read_metrics, read_record
from rnnzoo.tuning.base_config import trial_arguments
from rnnzoo.tuning.study import RESULT, TrialFailed
from rnnzoo.tuning.trial_process import COMMAND, TrialProcess

_POLL = 0.2  # seconds between two looks at a run


@dataclass
class TrainedRun:
    """The value of a run: the best of its metric over all of its evaluations.

    Args:
        given: arguments of ``rnnzoo fit`` that all trials share.
        values: the settings of a trial.
        metric: that is logged.
        direction: minimize or maximize.
        folder: of the study.
        closing: further arguments, behind all others.
        command: that runs ``rnnzoo``.
    """

    given: Sequence[str]
    values: Callable[[Trial], Mapping[str, Any]]
    metric: str
    direction: str
    folder: Path
    closing: Sequence[str] = ()
    command: Sequence[str] = field(default=COMMAND)

    def __call__(self, trial: Trial) -> float:
        """Trains a trial.

        Raises:
            TrialFailed: the training failed, or its metric is never a number.
            optuna.TrialPruned: it was worse than others by then, and was stopped.
        """
        name = f"trial_{trial.number}"
        words = [*trial_arguments(self.given, self.values(trial), self.folder / name), *self.closing]
        process = TrialProcess(words, self.folder / name, self.folder / f"{name}.log", self.command)
        try:
            self._watch(process, trial)
        except BaseException:
            try:
                process.stop()
            except KeyboardInterrupt:  # a second one
                process.kill()
            raise
        self._keep(process, trial)
        return self._value(process)

    def _watch(self, process: TrialProcess, trial: Trial) -> None:
        """Reports each evaluation, and stops a trial that is not worth going on with."""
        reported, ended = 0, False
        while not ended:
            ended = process.wait(_POLL)
            if process.status:
                raise TrialFailed(process.complaint())
            if not process.changed():
                continue
            for value in process.values(self.metric)[reported:]:
                reported += 1
                trial.report(value, reported)
                if not ended and trial.should_prune():
                    process.stop()
                    self._keep(process, trial)
                    raise optuna.TrialPruned

    def _value(self, process: TrialProcess) -> float:
        numbers = [value for value in process.values(self.metric) if math.isfinite(value)]
        if not numbers:
            raise TrialFailed(f"{self.metric} was never a number")
        return min(numbers) if self.direction == "minimize" else max(numbers)

    def _keep(self, process: TrialProcess, trial: Trial) -> None:
        """Puts into the storage what other machines have to know of a run."""
        kept: dict[str, Any] = {"folder": str(process.folder), "peak_memory": process.peak_memory}
        try:
            record, metrics = read_record(process.folder), read_metrics(process.folder)
            kept |= {
                key: record.get(key) for key in ("cell", "hidden_size", "parameters", "steps", "epochs", "seconds")
            }
            kept["last"] = {name: series.values[-1] for name, series in metrics.items()}
            kept["config"] = (process.folder / CONFIG).read_text(encoding="utf-8")
            if self.metric in metrics:
                series = metrics[self.metric]
                kept["curve"] = [series.steps, series.values]
        except (RnnZooError, OSError) as error:
            kept["unknown"] = str(error)
        trial.set_user_attr(RESULT, kept)

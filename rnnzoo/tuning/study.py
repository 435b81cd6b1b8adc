"""The trials of a study, run one after another by this worker, while others may do the same from the same storage."""

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from filelock import FileLock
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from rnnzoo.errors import RnnZooError
from rnnzoo.training.run_files import state_of, this_process
from rnnzoo.tuning.storage import retry

ERROR, WORKER, RESULT = "error", "worker", "result"  # what a trial keeps beside its settings and its value
MOST_FAILURES = 3  # trials that fail one after another from a worker's first on
_POLL = 2.0  # seconds between two looks at what other workers do
_NAMELESS = 300.0  # seconds after which a trial that no worker has put its name to is lost

Objective = Callable[[Trial], float]


class TrialFailed(Exception):
    """A trial's training failed; the message is one line."""


class Surplus(Exception):
    """Another worker has the last trial that was to be run."""


def open_study(name: str, storage: BaseStorage, direction: str, settings: Mapping[str, Any]) -> optuna.Study:
    """The study of a name, made where there is none.

    Args:
        name: in the storage.
        storage: that holds it.
        direction: minimize or maximize.
        settings: what makes its trials comparable, by name.

    Raises:
        RnnZooError: it is there, and was made with other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=name, storage=storage, direction=StudyDirection[direction.upper()], load_if_exists=True
    )
    wanted = {"direction": direction, **settings}
    found = study.user_attrs.get("settings")
    if found is None:
        study.set_user_attr("settings", wanted)
        return study
    for key in (*wanted, *found):
        if key not in found or key not in wanted or found[key] != wanted[key]:
            raise RnnZooError(
                f"study {name!r} was made with {key}={_shown(found, key)}, now it is {_shown(wanted, key)}:"
                " give another name, by --study NAME"
            )
    return study


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return repr(settings[key]) if key in settings else "nothing"


# ---- which trials count


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial has given its answer: a value, or that its settings cannot be trained."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or (
        trial.state == TrialState.FAIL and ERROR in trial.user_attrs
    )


def answered(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count, in the order of their numbers."""
    return [trial for trial in study.get_trials(deepcopy=False) if counts(trial)]


def _taken(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that have an answer, or are about to have one."""
    return [trial for trial in trials if counts(trial) or trial.state == TrialState.RUNNING]


def fail_lost_trials(study: optuna.Study) -> None:
    """Gives up the trials whose worker is gone, and queues their settings again.

    A worker of this machine is looked for; one of another has a heartbeat, where the storage keeps it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "experimental"
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        if worker is None:
            began = trial.datetime_start
            lost = began is not None and (datetime.now() - began).total_seconds() > _NAMELESS
        else:
            lost = state_of({"state": "running", "process": worker}) == "killed"
        if lost:
            with suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):  # another worker was faster
                study.tell(trial.number, state=TrialState.FAIL)
                retry()(study, trial)


# ---- running them


def run_trials(
    study: optuna.Study,
    total: int,
    objective: Objective,
    *,
    folder: Path,
    sampler: Callable[[int], BaseSampler] | None = None,
    prepare: Callable[[], None] = lambda: None,
    wait: bool = True,
    most_failures: int | None = MOST_FAILURES,
    finished: Callable[[FrozenTrial], None] = lambda trial: None,
    waiting: Callable[[int], None] = lambda count: None,
) -> bool:
    """Runs trials until so many have given their answer, by this worker and by all others together.

    Returns whether they have, which is so unless `wait` is false.

    Args:
        study: of the trials.
        total: how many trials there are to be in all.
        objective: trains one, and gives its value.
        folder: where workers of one machine lock each other out while they take a trial.
        sampler: of a trial, by how many there were before.
        prepare: is called before each trial, while no other worker of this machine takes one.
        wait: for the trials that others run; one that they lose is run here.
        most_failures: trials of this worker that may fail from its first on; None for any number.
        finished: is called with each trial that this worker has run.
        waiting: is called with the number of trials that others run, once nothing else is left to do.

    Raises:
        RnnZooError: the first trials of this worker all failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    errors: list[str] | None = None if most_failures is None else []

    def run(trial: Trial) -> float:
        trial.set_user_attr(WORKER, this_process())
        lock.release()
        trials = study.get_trials(deepcopy=False)
        if len(_taken([t for t in trials if t.number < trial.number])) >= total:  # of another machine's, at once
            raise Surplus
        try:
            return objective(trial)
        except TrialFailed as error:
            trial.set_user_attr(ERROR, str(error))
            raise

    def stand(study: optuna.Study, trial: FrozenTrial) -> None:
        nonlocal errors
        if not counts(trial):
            return
        finished(trial)
        if errors is not None:
            errors = [*errors, trial.user_attrs[ERROR]] if ERROR in trial.user_attrs else None

    said = False
    while True:
        fail_lost_trials(study)
        if errors is not None and most_failures is not None and len(errors) >= min(most_failures, total):
            raise RnnZooError(f"the first {len(errors)} trials failed: {errors[-1]}")
        if len(answered(study)) >= total:
            return True
        lock.acquire()
        try:
            trials = study.get_trials(deepcopy=False)
            missing = total - len(_taken(trials))
            if missing > 0:
                prepare()
                if sampler is not None:
                    study.sampler = sampler(len(trials))
                _run_one(study, run, stand)
        finally:
            lock.release(force=True)
        if missing <= 0:
            if not wait:
                return len(answered(study)) >= total
            if not said:
                waiting(sum(trial.state == TrialState.RUNNING for trial in trials))
                said = True
            time.sleep(_POLL)


def _run_one(study: optuna.Study, run: Objective, stand: Callable[[optuna.Study, FrozenTrial], None]) -> None:
    """Runs a trial; one that is interrupted is queued again."""
    before = {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))}
    try:
        study.optimize(run, n_trials=1, catch=(TrialFailed, Surplus), callbacks=[stand])
    except KeyboardInterrupt:
        for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            if trial.number not in before and trial.user_attrs.get(WORKER) == this_process():
                retry()(study, trial)
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Has SIGTERM end a worker as Ctrl-C does: with its trial stopped, and queued again.

    Ctrl-C too is asked for: a shell starts what runs in the background with SIGINT ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {signum: signal.signal(signum, receive) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

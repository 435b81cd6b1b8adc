"""Trials by several workers at once, of which one may be killed at any moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from worker import FAKE_FIT, SPACE

from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.objective import TrainedRun
from rnnzoo.tuning.storage import open_storage
from rnnzoo.tuning.study import ERROR, TrialFailed, answered, interruptible, open_study, run_trials

WORKER = Path(__file__).with_name("worker.py")


def start_worker(storage: str, folder: Path, total: int, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(WORKER), storage, str(folder), str(total), *arguments]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)


def run_of(folder: Path, *arguments: str) -> TrainedRun:
    return TrainedRun(arguments, SPACE.sample, "val_loss", "minimize", folder, command=FAKE_FIT)


def processes_with(mark: str) -> list[int]:
    """The processes whose command line has `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "shared", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["one folder", "two machines"]
)
def test_two_workers_at_once_make_as_many_trials_as_were_asked_for(tmp_path, shared):
    url = f"sqlite:///{tmp_path}/study.db"  # which both make at the same moment
    folders = [tmp_path / "a", tmp_path / ("a" if shared else "b")]  # what a worker locks lies in its folder
    workers = [start_worker(url, folder, 7, "--data.pause=0.05") for folder in folders]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    study = open_study("study", open_storage(url, tmp_path), "minimize", {})
    assert sum(trial.state == TrialState.COMPLETE for trial in study.trials) == 7
    assert len(list(tmp_path.glob("*/trial_*.log"))) == 7  # no more were started
    assert len({trial.user_attrs["worker"]["id"] for trial in answered(study)}) == 2
    if shared:
        assert len(study.trials) == 7


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("journal", marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_costs_its_trial_alone_and_leaves_no_process(tmp_path, kind):
    url = f"{kind}:///{tmp_path}/study.{kind}"
    mark = f"mark {tmp_path}"
    worker = start_worker(url, tmp_path, 3, "--data.evaluations=600", "--data.pause=1", f"--data.child={mark}")
    wait_for(lambda: (tmp_path / "trial_0" / "metrics.csv").is_file() and len(processes_with(mark)) > 1)
    worker.kill()
    worker.wait()
    wait_for(lambda: not processes_with(mark), 20)
    study = open_study("study", open_storage(url, tmp_path), "minimize", {})
    run_trials(study, 3, run_of(tmp_path), folder=tmp_path, sampler=lambda before: RandomSampler(seed=before))
    lost, again, *others = study.trials
    assert (lost.state, lost.value, ERROR in lost.user_attrs) == (TrialState.FAIL, None, False)
    assert again.params == lost.params  # its settings are tried once more
    assert [trial.state for trial in (again, *others)] == [TrialState.COMPLETE] * 3


class Terminated(TrainedRun):
    """A run whose worker gets SIGTERM once there is something of it."""

    def _watch(self, process, trial):
        wait_for(lambda: (process.folder / "metrics.csv").is_file())
        os.kill(os.getpid(), signal.SIGTERM)
        super()._watch(process, trial)


def test_a_worker_that_is_terminated_stops_its_trial(tmp_path):
    study = open_study("study", open_storage(None, tmp_path), "minimize", {})
    given = ["--data.evaluations=600", "--data.pause=1"]
    run = Terminated(given, SPACE.sample, "val_loss", "minimize", tmp_path, command=FAKE_FIT)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        run_trials(study, 2, run, folder=tmp_path)
    stopped, queued = study.trials
    assert (stopped.state, queued.state) == (TrialState.FAIL, TrialState.WAITING)
    assert queued.params == stopped.params
    assert not processes_with(str(tmp_path / "trial_0"))


def test_a_study_goes_on_as_if_it_had_never_stopped(tmp_path):
    def values_of(*totals: int) -> list[float]:
        folder = tmp_path / "-".join(map(str, totals))
        for total in totals:
            study = open_study("study", open_storage(None, folder), "minimize", {})
            run_trials(
                study,
                total,
                lambda trial: SPACE.sample(trial)["model.learning_rate"],
                folder=folder,
                sampler=lambda before: RandomSampler(seed=before),
            )
        return [trial.value for trial in study.trials]

    straight = values_of(5)
    assert values_of(2, 5) == straight
    assert len(set(straight)) == 5


def test_a_trial_that_is_worse_than_the_median_is_stopped(tmp_path):
    study = open_study("study", open_storage(None, tmp_path), "minimize", {})
    study.pruner = MedianPruner(n_startup_trials=2)
    for rate in (1e-2, 2e-2, 1.0):
        study.enqueue_trial({"model.learning_rate": rate})
    quick, slow = run_of(tmp_path), run_of(tmp_path, "--data.evaluations=100", "--data.pause=0.2")
    run_trials(study, 2, quick, folder=tmp_path)
    run_trials(study, 3, slow, folder=tmp_path)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert study.trials[0].value == pytest.approx(1 / 3)  # of the third evaluation, where the rate is the best
    assert 1 <= len(study.trials[2].intermediate_values) < 100
    assert study.trials[2].intermediate_values[1] == pytest.approx(4 + 1)


def test_the_first_trials_that_all_fail_end_a_search_with_their_error(tmp_path):
    study = open_study("study", open_storage(None, tmp_path), "minimize", {})
    with pytest.raises(RnnZooError, match=r"^the first 3 trials failed: learning_rate=-1 must be above 0$"):
        run_trials(study, 10, run_of(tmp_path, "--data.fails=true"), folder=tmp_path)
    assert [trial.user_attrs[ERROR] for trial in study.trials] == ["learning_rate=-1 must be above 0"] * 3


def test_a_trial_that_fails_among_others_counts_and_the_search_goes_on(tmp_path):
    def fails_once(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise TrialFailed("no")
        return float(trial.number)

    study = open_study("study", open_storage(None, tmp_path), "minimize", {})
    run_trials(study, 4, fails_once, folder=tmp_path)
    assert [trial.value for trial in study.trials] == [0.0, None, 2.0, 3.0]


def test_a_metric_that_is_not_logged_ends_a_search_at_once(tmp_path):
    study = open_study("study", open_storage(None, tmp_path), "minimize", {})
    run = TrainedRun(
        ["--data.evaluations=600", "--data.pause=1"], SPACE.sample, "val_los", "minimize", tmp_path, command=FAKE_FIT
    )
    with pytest.raises(
        RnnZooError, match=r"^metric 'val_los' is not logged; did you mean 'val_loss'\? there are: val_l"
    ):
        run_trials(study, 10, run, folder=tmp_path)
    assert not processes_with(str(tmp_path / "trial_0"))


def test_a_study_of_other_settings_is_refused(tmp_path):
    storage = open_storage(None, tmp_path)
    open_study("study", storage, "minimize", {"model.hidden_size": 64})
    open_study("study", storage, "minimize", {"model.hidden_size": 64})
    with pytest.raises(RnnZooError, match=r"model\.hidden_size=64, now it is 128: give another name, by --study NAME"):
        open_study("study", storage, "minimize", {"model.hidden_size": 128})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("study.db", "--storage 'study.db' is no URL: it takes sqlite:///"),
        ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
        ("nosql://me:secret@host/db", r"--storage 'nosql://me:\*\*\*@host/db' cannot be used: "),
    ],
)
def test_a_storage_that_cannot_be_opened_is_said_in_one_line(tmp_path, url, said):
    with pytest.raises(RnnZooError, match=said) as error:
        open_storage(url, tmp_path)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)

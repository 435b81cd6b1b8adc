"""A run in a process of its own, as its metric grows."""

import sys

import pytest

from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.trial_process import TrialProcess, values_in


def test_a_line_that_is_being_written_does_not_count(tmp_path):
    path = tmp_path / "metrics.csv"
    assert values_in(path, "val_loss", ended=False) == []
    path.write_text("epoch,step,train_loss\n0,9,1.5\n")
    assert values_in(path, "val_loss", ended=False) == []  # validation is still to come
    path.write_text("epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.25\n1,19,,1.12")
    assert values_in(path, "val_loss", ended=False) == [1.25]
    with path.open("a") as file:
        file.write("5\n")
    assert values_in(path, "val_loss") == [1.25, 1.125]


def test_a_metric_that_is_not_logged_is_known_with_the_first_of_its_kind(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss,val_bpc,test_bpc\n0,9,1.5,,\n")
    assert values_in(path, "val_loss", ended=False) == []
    with pytest.raises(RnnZooError, match=r"^metric 'val_loss' is not logged; .*there are: train_loss$"):
        values_in(path, "val_loss")
    with path.open("a") as file:
        file.write("0,9,,2.5,2.5\n")
    with pytest.raises(RnnZooError, match=r"^metric 'val_loss' is not logged; .*there are: train_loss, val_bpc$"):
        values_in(path, "val_loss", ended=False)


def test_a_trial_is_no_task_of_the_job_that_its_worker_is(tmp_path, monkeypatch):
    names = ["SLURM_NTASKS", "SLURM_PROCID", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "PL_GLOBAL_SEED", "RANKING"]
    for name in names:
        monkeypatch.setenv(name, "4")
    code = f"import os; print(*(name for name in {names} if name in os.environ))"
    process = TrialProcess([], tmp_path, tmp_path / "log", (sys.executable, "-c", code))
    assert process.wait(30)
    assert (process.status, process.log.read_text()) == (0, "RANKING\n")
    assert process.peak_memory > 2**20


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('rnnzoo: error: no such cell', file=sys.stderr); sys.exit(2)", "no such cell"),
        ("raise ValueError('of somebody')", "ValueError: of somebody"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL: the system may have run out of memory"),
        ("import sys; sys.exit(3)", "ended with status 3"),
    ],
)
def test_why_a_trial_failed_is_one_line(tmp_path, code, said):
    process = TrialProcess([], tmp_path, tmp_path / "log", (sys.executable, "-c", code))
    assert process.wait(30)
    assert process.complaint() == said

"""`rnnzoo tune` as a user meets it: real trials, each a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import optuna
import pytest
import yaml
from command_line import TINY_LM, TINY_MEMORY, shell

TINY = [word for word in TINY_MEMORY if "hidden_size" not in word] + ["--model.kernel=reference"]
SPACE = {
    "model.learning_rate": {"low": "1e-4", "high": "1e-1", "log": True},
    "model.cell": ["gru", "lstm"],
    "model.hidden_size": {"low": 8, "high": 32, "step": 8},
}


@pytest.fixture
def space(tmp_path):
    """A config with a search space, beside which the other settings stand."""

    def write(**section: object) -> str:
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump({"tune": {"space": SPACE, **section}}))
        return f"--config={path}"

    return write


def study_in(folder) -> optuna.Study:
    (path,) = folder.rglob("study.db")
    return optuna.load_study(study_name=path.parent.name, storage=f"sqlite:///{path}")


def test_the_best_trial_is_written_as_a_config_that_trains_to_the_same(tmp_path, zoo, space):
    answer = zoo("tune", *TINY, space(), "--trials=2")
    assert answer.status == 0, answer.err
    study = study_in(tmp_path)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert f"best: trial {study.best_trial.number}, val_loss {study.best_value:.6g}" in answer.out
    assert len(re.findall(r"^trial \d: val_loss", answer.out, re.M)) == 2
    folder = tmp_path / "runs" / "long_memory" / "tune" / "long_memory"
    assert {"best.yaml", "history.png", "slices.png", "parallel.png"} <= {path.name for path in folder.iterdir()}
    for trial in study.trials:  # its settings were trained, and its value is that of its best checkpoint
        record = json.loads((folder / f"trial_{trial.number}" / "run.json").read_text())
        assert trial.value == record["best"]
        assert {name: record[name] for name in ("cell", "hidden_size")} == {
            "cell": trial.params["model.cell"],
            "hidden_size": trial.params["model.hidden_size"],
        }
    command = re.search(r"^train it: rnnzoo (.*)$", answer.out, re.M)[1].split()
    again = zoo(*command)
    assert again.status == 0, again.err
    assert "held-out mean squared error" in again.out  # the trials did not see the test data
    (record,) = (tmp_path / "runs" / "long_memory").glob("version_*/run.json")
    assert json.loads(record.read_text())["best"] == study.best_value
    done = zoo("tune", *TINY, space(), "--trials=2")
    assert f"has 2 of 2 trials; it goes on\nbest: trial {study.best_trial.number}" in done.out


def test_settings_and_spaces_that_cannot_be_are_known_before_a_trial(tmp_path, zoo, space):
    def complaint(*given: str, **changed: object) -> str:
        return zoo("tune", *TINY, space(space={**SPACE, **changed}), *given).complaint

    assert complaint(**{"model.learning_rat": [1]}).startswith(
        "tune.space.model.learning_rat: rnnzoo.tasks.SequenceTask has no setting 'learning_rat'; did you mean 'lear"
    )
    assert complaint(**{"model.cell": ["gru", "lsmt"]}).startswith(
        "tune.space.model.cell: unknown cell 'lsmt'; did you mean 'lstm'?"
    )
    assert complaint(**{"model.hidden_size": {"low": 8, "high": 16.5}}).startswith("tune.space.model.hidden_size: ")
    assert complaint(**{"model.hidden_size": {"low": 9, "high": 8}}) == (
        "tune.space.model.hidden_size: low=9 is above high=8"
    )
    assert zoo("tune", *TINY, space(space={"model.cell": ["gru"]}), "--model.cell=lstm").complaint == (
        "--model.cell is given, and tune.space has nothing else to search"
    )
    assert complaint("--metric=test_loss").startswith("metric 'test_loss' must be one of validation")
    assert complaint("--trials=0") == "--trials=0 must be at least 1"
    assert complaint("--trails=3").startswith("tune: unknown option --trails")
    assert "has no setting 'hiden'; did you mean 'hidden_size'?" in complaint("--model.hiden=3")
    assert zoo("tune", *TINY).complaint.startswith("tune.space is missing: a config has it as tune: {space: ")
    assert zoo("tune", *TINY, space(metrc="val_loss")).complaint.startswith("tune.metrc is unknown; did you mean 'met")
    assert not (tmp_path / "runs").exists()


def test_a_config_with_a_search_space_trains_and_its_run_knows_nothing_of_it(tmp_path, zoo, space):
    answer = zoo("fit", *TINY, space())
    assert answer.status == 0, answer.err
    (path,) = tmp_path.rglob("version_0/config.yaml")
    assert "tune" not in yaml.safe_load(path.read_text())


@pytest.mark.slow
def test_two_workers_on_one_storage_share_the_trials_and_one_that_is_killed_costs_its_own(tmp_path, space):
    url = f"--storage=sqlite:///{tmp_path}/shared.db"
    given = ["tune", *TINY, "--trainer.max_steps=-1", "--trainer.max_epochs=20", space(), url, "--trials=4"]
    command = [sys.executable, "-m", "rnnzoo", *given]
    workers = [
        subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)
        for _ in range(3)
    ]
    while not list(tmp_path.rglob("trial_*/metrics.csv")):
        time.sleep(0.1)
        assert all(worker.poll() is None for worker in workers)
    study = optuna.load_study(study_name="long_memory", storage=url.removeprefix("--storage="))
    victim = next(t for t in study.trials if list(tmp_path.rglob(f"trial_{t.number}/metrics.csv")))
    os.kill(victim.user_attrs["worker"]["id"], signal.SIGKILL)
    statuses = sorted(worker.wait(300) for worker in workers)
    assert statuses == [-signal.SIGKILL, 0, 0]
    states = [trial.state.name for trial in study.trials]
    assert states.count("FAIL") == 1
    assert states.count("COMPLETE") + states.count("PRUNED") == 4
    assert not subprocess.run(["pgrep", "-f", f"{tmp_path}.*trial_"], capture_output=True, check=False).stdout


@pytest.mark.slow
def test_a_trial_on_two_processes_has_the_settings_and_the_value_of_one(tmp_path, text_file):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"tune": {"space": {"model.hidden_size": [8, 16]}}}))
    tiny = [word for word in TINY_LM if "hidden_size" not in word]
    given = ["tune", *tiny, f"--data.dataset={text_file}", "--model.kernel=native", "--config=space.yaml"]
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    values = []
    for words in (["--study=one"], ["--study=two", *two]):
        answer = shell(*given, *words, "--trials=1", cwd=tmp_path)
        assert answer.status == 0, answer
        values.append(float(re.search(r"^best: trial 0, val_loss (\S+)", answer.out, re.M)[1]))
    assert values[1] == pytest.approx(values[0], abs=1e-3)


@pytest.mark.slow
def test_ctrl_c_stops_the_trial_and_the_command_that_is_printed_goes_on(tmp_path, space):
    command = [sys.executable, "-m", "rnnzoo", "tune", *TINY, "--trainer.max_steps=-1", space(), "--trials=1"]
    words = [*command, "--trainer.max_epochs=10000"]
    run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while not list(tmp_path.rglob("trial_0/metrics.csv")):
        time.sleep(0.1)
        assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "stopped; go on with: rnnzoo tune " in said
    assert "stopped by SIGTERM" in next(tmp_path.rglob("trial_0.log")).read_text()
    stopped, queued = study_in(tmp_path).trials
    assert (stopped.state.name, queued.state.name, queued.params) == ("FAIL", "WAITING", stopped.params)

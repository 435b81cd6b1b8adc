"""Runs that start at once, in one folder."""

import multiprocessing
from pathlib import Path

import yaml

from rnnzoo.training.run_folder import RunLogger


def _take(folder: str, barrier, taken) -> None:
    logger = RunLogger(folder, name="x")
    barrier.wait(60)
    taken.put(logger.version)


def test_runs_that_start_at_once_have_a_folder_each(tmp_path):
    (tmp_path / "x" / "version_3").mkdir(parents=True)
    context = multiprocessing.get_context("fork")
    barrier, taken = context.Barrier(8), context.Queue()
    runs = [context.Process(target=_take, args=(str(tmp_path), barrier, taken)) for _ in range(8)]
    for run in runs:
        run.start()
    versions = sorted(taken.get(timeout=60) for _ in runs)
    for run in runs:
        run.join(60)
    assert versions == list(range(4, 12))


def test_the_folder_is_taken_before_the_next_asks(tmp_path):
    loggers = [RunLogger(tmp_path, name="x") for _ in range(3)]
    assert [logger.version for logger in loggers] == [0, 1, 2]
    assert [logger.version for logger in loggers] == [0, 1, 2]
    assert Path(loggers[1].log_dir).is_dir()


def test_only_the_first_process_of_a_run_takes_one(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.utilities.rank_zero.rank_zero_only.rank", 1)
    assert RunLogger(tmp_path, name="x").version == 0
    assert not (tmp_path / "x" / "version_0").exists()


def test_hparams_yaml_has_the_settings_without_the_description_which_may_hold_a_large_vocabulary(tmp_path):
    logger = RunLogger(tmp_path, name="x")
    logger.log_hyperparams({"cell": "gru", "hidden_size": 4, "description": {"vocabulary": ["a", "b"]}})
    logger.save()
    written = yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text())
    assert written == {"cell": "gru", "hidden_size": 4}

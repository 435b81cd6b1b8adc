"""The same config on two gloo processes, as a user starts them."""

import pyarrow.parquet as pq
import pytest
from command_line import TINY_FORECASTER, TINY_LM, TINY_MEMORY, shell

TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]


def held_out(answer) -> float:
    assert answer.status == 0, answer
    line = next(line for line in answer.out.splitlines() if line.startswith("held-out"))
    return float(line.split(": ")[1].split(";")[0])


@pytest.mark.compiler
def test_a_language_model_reaches_on_two_processes_what_it_reaches_on_one(tmp_path, lm_run, text_file):
    given = [*TINY_LM, f"--data.dataset={text_file}", "--model.kernel=fused"]
    two = shell("fit", *given, *TWO, cwd=tmp_path)
    assert "runs by kernel 'fused'" in two.out
    assert held_out(two) == pytest.approx(held_out(lm_run.answer), abs=2e-3)
    assert two.out.count("held-out") == 1


def test_a_forecaster_reaches_on_two_processes_what_it_reaches_on_one(tmp_path, forecast_run, series_file):
    given = [f"--data.dataset={series_file}", "--data.column=load"]
    two = shell("fit", *TINY_FORECASTER, *given, *TWO, cwd=tmp_path)
    assert held_out(two) == pytest.approx(held_out(forecast_run.answer), abs=5e-3)


def test_the_adding_problem_on_two_processes_ends_where_it_does_on_one(tmp_path, memory_run):
    two = shell("fit", *TINY_MEMORY, *TWO, cwd=tmp_path)
    assert held_out(two) == pytest.approx(held_out(memory_run.answer), abs=1e-4)
    assert two.out.count("held-out") == 1


def test_predictions_of_two_processes_are_those_of_one(tmp_path, lm_run, text_file, zoo):
    given = [*TINY_LM, f"--data.dataset={text_file}", f"--ckpt_path={lm_run.checkpoint}"]
    assert shell("predict", *given, *TWO, "--predictions.path=two.parquet", cwd=tmp_path).status == 0
    assert zoo("predict", *given, "--predictions.path=one.parquet").status == 0
    one, two = pq.read_table("one.parquet").to_pandas(), pq.read_table("two.parquet").to_pandas()
    assert one.position.equals(two.position)
    assert one.token.equals(two.token)
    assert (one.log_prob - two.log_prob).abs().max() < 1e-5


def test_a_forecasters_predictions_of_two_processes_are_those_of_one(tmp_path, forecast_run, series_file, zoo):
    given = [*TINY_FORECASTER, f"--data.dataset={series_file}", "--data.column=load"]
    given += [f"--ckpt_path={forecast_run.checkpoint}"]
    assert shell("predict", *given, *TWO, "--predictions.path=two.parquet", cwd=tmp_path).status == 0
    assert zoo("predict", *given, "--predictions.path=one.parquet").status == 0
    one, two = pq.read_table("one.parquet").to_pandas(), pq.read_table("two.parquet").to_pandas()
    keys = ["origin", "step"]
    assert one[keys].equals(two[keys])
    assert (one.drop(columns=keys) - two.drop(columns=keys)).abs().max().max() < 1e-4

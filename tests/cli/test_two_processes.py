"""The same config on two gloo processes, as a user starts them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from command_line import CONFIGS, TINY_FORECASTER, TINY_LM, TINY_MEMORY, Answer, make_series, make_text, shell
from processes import ended, start_ranks
from pyarrow import csv

TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]


def held_out(answer) -> float:
    assert answer.status == 0, answer
    line = next(line for line in answer.out.splitlines() if line.startswith("held-out"))
    return float(line.split(": ")[1].split(";")[0])


# slow, for `test_many_processes.py` compares the same of shorter runs, and their gradients too


@pytest.mark.slow
@pytest.mark.compiler
def test_a_language_model_reaches_on_two_processes_what_it_reaches_on_one(tmp_path, lm_run, text_file):
    given = [*TINY_LM, f"--data.dataset={text_file}", "--model.kernel=fused"]
    two = shell("fit", *given, *TWO, cwd=tmp_path)
    assert "runs by kernel 'fused'" in two.out
    assert held_out(two) == pytest.approx(held_out(lm_run.answer), abs=2e-3)
    assert two.out.count("held-out") == 1


@pytest.mark.slow
def test_a_forecaster_reaches_on_two_processes_what_it_reaches_on_one(tmp_path, forecast_run, series_file):
    given = [f"--data.dataset={series_file}", "--data.column=load"]
    two = shell("fit", *TINY_FORECASTER, *given, *TWO, cwd=tmp_path)
    assert held_out(two) == pytest.approx(held_out(forecast_run.answer), abs=5e-3)


@pytest.mark.slow
def test_the_adding_problem_on_two_processes_ends_where_it_does_on_one(tmp_path, memory_run):
    two = shell("fit", *TINY_MEMORY, *TWO, cwd=tmp_path)
    assert held_out(two) == pytest.approx(held_out(memory_run.answer), abs=1e-4)
    assert two.out.count("held-out") == 1


def uneven_text(tmp_path) -> list[str]:
    (tmp_path / "uneven.txt").write_text(make_text(200, seed=0)[:1003])  # streams of 201 and 200 characters
    given = ["--data.dataset=uneven.txt", "--data.split=[0.8,0.1,0.1]", "--data.sequence_length=25"]
    return [*given, "--model.kernel=fused"]


def uneven_series(tmp_path) -> list[str]:
    (tmp_path / "uneven.csv").write_text(make_series(280, seed=0))  # 137 windows in batches of 16 and 9
    return ["--data.dataset=uneven.csv", "--data.column=load"]


def uneven_memory(tmp_path) -> list[str]:
    return ["--data.examples=[41,13,9]", "--data.batch_size=8", "--trainer.max_steps=12"]  # one in the last batch


def uneven_words(tmp_path) -> list[str]:
    (tmp_path / "words.txt").write_text(make_text(640, seed=0))
    return ["--data.dataset=words.txt", "--data.split=[0.8,0.1,0.1]"]


TINY_WORDS = [
    *(f"--config={CONFIGS / 'word_lm.yaml'}", "--model.embedding_size=16", "--model.hidden_size=16"),
    *("--model.adaptive_softmax=[5,17]", "--model.dropout=0", "--data.batch_size=4", "--data.sequence_length=16"),
    *("--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"),
]


@pytest.mark.parametrize(
    ("tiny", "uneven"),
    [
        pytest.param(TINY_LM, uneven_text, marks=[pytest.mark.compiler, pytest.mark.slow]),
        pytest.param(TINY_FORECASTER, uneven_series, marks=pytest.mark.slow),
        pytest.param(TINY_MEMORY, uneven_memory, marks=pytest.mark.slow),
        pytest.param(TINY_WORDS, uneven_words, marks=pytest.mark.slow),
    ],
    ids=["text", "series", "memory", "words"],
)
def test_where_shares_are_uneven_two_processes_end_with_the_weights_and_losses_of_one(zoo, tmp_path, tiny, uneven):
    given = [*tiny, *uneven(tmp_path), "--model.schedule=constant", "--trainer.log_every_n_steps=1"]
    one, two = zoo("fit", *given), shell("fit", *given, *TWO, cwd=tmp_path)
    assert held_out(two) == pytest.approx(held_out(one), abs=1e-4)
    assert two.out.count("held-out") == one.out.count("held-out")
    if "--model.kernel=fused" in given:
        assert "runs by kernel 'fused'" in two.out
    runs = [(tmp_path / answer.checkpoint).parent.parent for answer in (one, two)]
    whole, shared = (torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in runs)
    assert max((whole[name] - shared[name]).abs().max().item() for name in whole) < 5e-5
    losses = [csv.read_csv(run / "metrics.csv")["train_loss"].drop_null().to_pylist() for run in runs]
    assert len(losses[0]) == len(losses[1]) >= 7
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow  # the next one does the same with a forecaster
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
    log = tmp_path / "log"
    assert ended(*start_ranks(2, ["predict", *given, "--predictions.path=two.parquet"], tmp_path, log)) == [0, 0]
    assert zoo("predict", *given, "--predictions.path=one.parquet").status == 0
    one, two = pq.read_table("one.parquet").to_pandas(), pq.read_table("two.parquet").to_pandas()
    keys = ["origin", "step"]
    assert one[keys].equals(two[keys])
    assert (one.drop(columns=keys) - two.drop(columns=keys)).abs().max().max() < 1e-4


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A data module and a task of somebody else in the working folder."""
    (tmp_path / "their_data.py").write_text(Path(__file__).with_name("their_data.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    return ["--data=their_data.TheirData", "--model=their_data.TheirTask", "--model.hidden_size=8"]


def test_data_that_are_not_ours_are_shared_out_by_lightning_and_predicted_once(theirs, tmp_path, zoo):
    quiet, log = "--trainer.enable_progress_bar=false", tmp_path / "log"
    assert ended(*start_ranks(2, ["fit", *theirs, "--trainer.max_epochs=1", quiet], tmp_path, log)) == [0, 0]
    fit = Answer(0, log.read_text(), "")
    seen = [list(map(int, (tmp_path / f"seen_{rank}.txt").read_text().split())) for rank in range(2)]
    assert [len(share) for share in seen] == [19, 19]
    assert set(seen[0] + seen[1]) == set(range(37))
    given = ["predict", "--ckpt_path", fit.checkpoint, quiet]
    assert ended(*start_ranks(2, [*given, "--predictions.path=two.parquet"], tmp_path, log)) == [0, 0]
    assert zoo(*given, "--predictions.path=one.csv").status == 0
    one, two = csv.read_csv("one.csv"), pq.read_table("two.parquet")
    assert one.column_names == ["label", "answer", "y", "x_0", "x_1"]
    assert one.num_rows == two.num_rows == 37
    answers = [torch.rand(6, 2, generator=torch.Generator().manual_seed(k)).mean().item() for k in range(37)]
    assert one["answer"].to_pylist() == pytest.approx(answers)
    assert sorted(one["label"].to_pylist()) != one["label"].to_pylist()  # rows are in the order of the data
    for name in one.column_names:
        assert two[name].to_pylist() == pytest.approx(one[name].to_pylist(), abs=1e-5)

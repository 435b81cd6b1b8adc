"""What watches over a training, by the command line: numbers that go bad, and the inside of the layers."""

import csv
from pathlib import Path

import pytest
import torch
from command_line import TINY_LM

import rnnzoo
from rnnzoo import RnnZooError

pytestmark = pytest.mark.usefixtures("nothing_compiled")

POISON = """
import torch
from lightning.pytorch import Callback

class Poison(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 2:
            with torch.no_grad():
                pl_module.model.head.bias[0] = float("nan")
"""


def test_a_loss_that_is_nan_ends_a_run_in_one_line_and_going_back_to_good_weights_ends_it_well(
    zoo, tmp_path, text_file
):
    (tmp_path / "poison.py").write_text(POISON)
    given = [*TINY_LM, f"--data.dataset={text_file}", "--trainer.max_steps=5", "--trainer.callbacks+=poison.Poison"]
    complaint = zoo("fit", *given).complaint
    assert complaint.startswith("step 2 (epoch 1): the loss of batch 2, positions 65, ")
    assert "is nan, first in the output of model.head; before this step model.head.bias was not finite" in complaint
    assert "--numbers.on_bad skip" in complaint
    saved = torch.load(Path("runs/char_lm/version_0/bad_batches/step_2.pt"), weights_only=True)
    assert saved["batch"]["inputs"].shape == (4, 32)
    answer = zoo("fit", *given, "--numbers.on_bad=restore", "--numbers.keep_every=1")
    assert answer.status == 0, answer
    assert "weights and optimizer are those of step 2 again" not in answer.err  # the copy of step 2 would be bad itself
    assert "weights and optimizer are those of step 1 again" in answer.err


def test_diagnostics_stand_in_metrics_csv(zoo, text_file):
    watching = ["--trainer.callbacks+=rnnzoo.training.diagnostics.Diagnostics", "--trainer.callbacks.every_n_steps=2"]
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--trainer.max_steps=4", *watching)
    assert answer.status == 0, answer
    with Path("runs/char_lm/version_0/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    name = "model.rnn.layers.0"
    for column in (f"grad_norm/{name}", f"lag_grad/{name}/16", f"saturated/{name}/sigmoid", f"state_norm/{name}/c"):
        assert [row["step"] for row in rows if row[column]] == ["0", "2"], column


def test_a_profile_names_three_costs_and_leaves_nothing_behind(zoo, text_file):
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--profile", "--trainer.max_steps=8")
    assert answer.status == 0, answer
    (line,) = [line for line in answer.out.splitlines() if "they cost the most" in line]
    assert line.startswith("3 steps of ")
    assert line.count("%") == 3
    assert list(Path.cwd().rglob("*")) == []


def test_only_a_training_is_profiled(zoo, lm_run):
    assert "--profile" in zoo("test", f"--ckpt_path={lm_run.checkpoint}", "--profile").complaint


def test_the_speed_of_a_run_stands_in_its_metrics_and_in_no_line(zoo, text_file):
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--trainer.log_every_n_steps=4")
    assert answer.status == 0, answer
    with Path("runs/char_lm/version_0/metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train_loss"]]
    assert all(row["tokens_per_second"] and row["gemm_share"] and row["data_wait"] for row in rows)
    assert "second" not in answer.out + answer.err


@pytest.mark.skipif(torch.accelerator.is_available(), reason="a CPU alone has no float16 by autocast")
def test_float16_on_a_cpu_is_refused_and_a_model_of_it_is_evaluated_all_the_same(zoo, lm_run, text_file):
    refused = "trainer.precision '16-mixed' needs a GPU, and this runs on a CPU: 'bf16-mixed' has half precision there"
    given = [*TINY_LM, f"--data.dataset={text_file}", "--trainer.precision=16-mixed"]
    assert zoo("fit", *given).complaint.startswith(refused)
    assert not Path("runs").exists()
    assert zoo("test", f"--ckpt_path={lm_run.checkpoint}", "--trainer.precision=16-mixed").complaint.startswith(refused)
    config = (lm_run.checkpoint.parents[1] / "config.yaml").read_text()
    Path("half.yaml").write_text(config.replace("precision: null", "precision: 16-mixed"))
    answer = zoo("test", "--config=half.yaml", f"--ckpt_path={lm_run.checkpoint}")
    assert answer.status == 0, answer
    assert "runs in 32-true" in answer.err


def test_float16_on_a_cpu_is_refused_in_python():
    with pytest.raises(RnnZooError, match=r"trainer\.precision '16-mixed' needs a GPU"):
        rnnzoo.trainer(precision="16-mixed", accelerator="cpu")

"""Going on from a checkpoint: what must stay is checked, what may change wins, and nothing else changes."""

import pytest
import torch
from command_line import TINY_LM, TINY_MEMORY


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def optimizer(path):
    return torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"][0]


def last(answer):
    assert answer.status == 0, answer.err
    return answer.checkpoint.with_name("last.ckpt")


def test_a_resumed_run_continues_exactly(zoo, text_file):
    keep = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.mode=max"]
    keep += ["--trainer.callbacks.filename={epoch}", "--trainer.max_epochs=3"]
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", *keep]
    straight = last(zoo(*given))
    resumed = last(zoo(*given, "--ckpt_path", straight.with_name("epoch=0.ckpt")))
    assert straight != resumed
    one, other = (torch.load(path, weights_only=True) for path in (straight, resumed))
    assert one["global_step"] == other["global_step"] > 100
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert optimizer(straight)["lr"] == optimizer(resumed)["lr"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (["--trainer.max_epochs=1"], ["--trainer.max_epochs=3", "--data.num_workers=1"]),
        (["--trainer.max_epochs=1"], ["--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2"]),
        (["--trainer.max_epochs=-1", "--trainer.max_steps=20"], ["--trainer.max_epochs=-1", "--trainer.max_steps=60"]),
        (["--trainer.max_epochs=2", "--trainer.max_steps=20"], ["--trainer.max_epochs=3"]),
    ],
    ids=["workers", "seldom validated", "steps", "steps, then epochs"],
)
def test_a_run_that_is_resumed_at_an_epochs_end_sees_the_examples_in_the_order_of_one_that_was_not(zoo, first, then):
    given = ["fit", *TINY_MEMORY, "--trainer.max_steps=-1", "--model.schedule=constant"]  # 20 batches an epoch
    straight = torch.load(last(zoo(*given, "--trainer.max_epochs=3")), weights_only=True)
    resumed = torch.load(last(zoo(*given, *then, "--ckpt_path", last(zoo(*given, *first)))), weights_only=True)
    assert straight["global_step"] == resumed["global_step"] == 60
    for name, value in straight["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


def test_more_epochs_and_another_learning_rate_win(zoo, text_file):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}"]
    once = last(zoo(*given, "--model.schedule=constant"))
    again = ["--ckpt_path", once, "--trainer.max_epochs=2", "--model.learning_rate=1e-3"]
    constant = last(zoo(*given, *again, "--model.schedule=constant"))
    assert optimizer(once)["lr"] == 4e-3
    assert optimizer(constant)["lr"] == 1e-3
    steps = torch.load(once, weights_only=True)["global_step"]
    saved = torch.load(constant, weights_only=True)
    assert (saved["epoch"], saved["global_step"]) == (1, 2 * steps)
    assert saved["hyper_parameters"]["learning_rate"] == 1e-3


def test_a_one_cycle_schedule_is_laid_anew_over_a_longer_run(zoo, text_file):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}"]
    once = last(zoo(*given))
    again = last(zoo(*given, "--ckpt_path", once, "--trainer.max_epochs=2", "--model.learning_rate=1e-3"))
    steps = torch.load(once, weights_only=True)["global_step"]
    (cycle,) = torch.load(again, weights_only=True)["lr_schedulers"]
    assert cycle["total_steps"] == 2 * steps
    assert cycle["last_epoch"] == 2 * steps
    assert optimizer(again)["max_lr"] == 1e-3
    assert optimizer(again)["lr"] < 1e-5  # at its end


def test_what_contradicts_the_checkpoint_is_an_error_with_both_values(zoo, lm_run, tmp_path):
    for setting, given, saved in [
        ("cell", "gru", "lstm"),
        ("hidden_size", 24, 16),
        ("embedding_size", 12, 8),
        ("num_layers", 2, 1),
    ]:
        for command in ("fit", "test", "predict"):
            said = zoo(command, f"--ckpt_path={lm_run.checkpoint}", f"--model.{setting}={given}").complaint
            assert f"{setting} is {given!r} but the checkpoint has {saved!r}" in said
            assert str(lm_run.checkpoint) in said
    assert list(tmp_path.iterdir()) == []


def test_every_contradiction_is_listed(zoo, lm_run):
    given = ["--model.cell=gru", "--model.hidden_size=24", "--model.learning_rate=1"]
    said = zoo("fit", f"--ckpt_path={lm_run.checkpoint}", *given).complaint
    assert "cell is 'gru'" in said
    assert "hidden_size is 24" in said
    assert "learning_rate" not in said


def test_the_cells_own_arguments_must_be_the_checkpoints(zoo, text_file):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", "--model.cell=janet", "--trainer.limit_train_batches=2"]
    run = zoo(*given, "--model.cell_args.beta=0.5")
    said = zoo("test", "--ckpt_path", run.checkpoint, "--model.cell_args.beta=0.7").complaint
    assert "cell_args is {'beta': 0.7} but the checkpoint has {'beta': 0.5}" in said
    assert zoo("test", "--ckpt_path", run.checkpoint, "--trainer.enable_progress_bar=false").status == 0
    assert zoo("test", "--ckpt_path", run.checkpoint, "--model.cell_args.beta=0.5").status == 0


def test_a_checkpoint_of_another_task_is_an_error(zoo, forecast_run, text_file):
    said = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--ckpt_path", forecast_run.checkpoint).complaint
    assert "holds a rnnzoo.tasks.forecasting.Forecaster, but the model is rnnzoo.tasks.LanguageModel" in said

"""What a checkpoint says of itself, and files that are none."""

import pytest
import torch
from lightning.pytorch import Trainer

from rnnzoo import RnnZooError
from rnnzoo.tasks import Forecaster, LanguageModel, load_task, read_checkpoint

SCALING = {"mean": 0.0, "std": 1.0, "seasonal_error": 2.5}


def written(task, path):
    """A checkpoint of a task that was not trained."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def language_model(tmp_path):
    return written(LanguageModel(["a", "b"], embedding_size=3, hidden_size=4), tmp_path / "lm.ckpt")


def test_a_checkpoint_says_which_task_and_version_wrote_it(language_model):
    content = read_checkpoint(language_model)
    assert content["rnnzoo"] == {"task": "rnnzoo.tasks.language_modeling.LanguageModel", "version": "0.1.0"}
    assert content["hyper_parameters"]["hidden_size"] == 4


def test_a_checkpoint_is_read_without_running_what_it_holds(language_model):
    torch.load(language_model, weights_only=True)


@pytest.mark.parametrize(
    "task",
    [
        LanguageModel(["a", "b"], cell="janet", cell_args={"beta": 0.5}, embedding_size=3, hidden_size=4, num_layers=2),
        Forecaster(SCALING, hidden_size=4, horizon=3, season=5, quantiles=[0.25, 0.5], dropout=0.1),
    ],
)
def test_a_task_is_loaded_as_it_was_written(task, tmp_path):
    path = written(task, tmp_path / "task.ckpt")
    for loaded in (
        load_task(path),
        type(task).load_from_checkpoint(path),
        type(task).load_from_checkpoint(path, weights_only=True),
    ):
        assert type(loaded) is type(task)
        assert dict(loaded.hparams) == dict(task.hparams)
        for name, value in task.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)
    assert not load_task(path).training


def test_a_task_that_was_loaded_computes_the_same(language_model):
    one, other = load_task(language_model), load_task(language_model)
    tokens = torch.tensor([[0, 1, 1, 0]])
    assert torch.equal(one(tokens)[0], other(tokens)[0])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: (path.unlink(), path.mkdir()), "is a folder, not a file"),
        (lambda path: path.write_bytes(b""), "cannot be read: truncated, or no checkpoint"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-100]),
            "is damaged: it is truncated, or was changed at its end",
        ),
        (lambda path: path.write_text("a text"), "cannot be read: truncated, or no checkpoint"),
        (lambda path: torch.save([1, 2], path), "is no checkpoint of rnnzoo"),
        (lambda path: torch.save({"state_dict": {}, "hyper_parameters": {}}, path), "is no checkpoint of rnnzoo"),
    ],
)
def test_what_is_no_checkpoint_is_named(language_model, spoil, says):
    spoil(language_model)
    with pytest.raises(RnnZooError, match=says) as error:
        read_checkpoint(language_model, "ckpt_path")
    assert str(error.value).startswith(f"ckpt_path {str(language_model)!r}")
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_holds_more_than_numbers_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("sprung",))

    path = tmp_path / "trap.ckpt"
    torch.save({"rnnzoo": {}, "hyper_parameters": {}, "x": Trap()}, path)
    with pytest.raises(RnnZooError, match="cannot be read"):
        read_checkpoint(path)


def test_a_checkpoint_of_a_task_that_is_not_installed_says_so(language_model):
    content = torch.load(language_model, weights_only=True)
    content["rnnzoo"]["task"] = "their_lab.Tagger"
    torch.save(content, language_model)
    with pytest.raises(RnnZooError, match=r"written by their_lab\.Tagger, which cannot be imported"):
        load_task(language_model)


def test_a_checkpoint_of_a_cell_that_is_not_installed_says_so(language_model):
    content = torch.load(language_model, weights_only=True)
    content["hyper_parameters"]["cell"] = "their_lab.cells.Leaky"
    torch.save(content, language_model)
    with pytest.raises(RnnZooError, match=r"there is no module 'their_lab'"):
        load_task(language_model)

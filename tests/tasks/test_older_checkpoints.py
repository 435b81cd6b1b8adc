"""Checkpoints that the version of 2026-11-26 wrote (commit ec93f0a), with what its models answered then."""

from pathlib import Path

import pytest
import torch

from rnnzoo import load
from rnnzoo.data import CharTextData
from rnnzoo.models.regular import regular
from rnnzoo.tasks import LanguageModel, read_checkpoint
from rnnzoo.training.checkpoint_files import damage

OLDER = Path(__file__).parent / "older"


@pytest.mark.filterwarnings("error:rnn_args")
@pytest.mark.parametrize("name", ["language_model", "forecaster", "sequences"])
def test_a_checkpoint_of_before_answers_as_it_did(name):
    then = torch.load(OLDER / f"{name}.ckpt", weights_only=True)["of_then"]
    model = load(OLDER / f"{name}.ckpt")
    with torch.no_grad():
        y = model(then["x"])
    torch.testing.assert_close(y[0] if isinstance(y, tuple) else y, then["y"])


@pytest.mark.parametrize("path", sorted(OLDER.glob("*/*.ckpt")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_checkpoint_of_each_task_of_each_version_answers_as_it_did(path):
    """As `tests/cli/write_older_checkpoints.py` has written them."""
    assert damage(path) == ""
    then = torch.load(path, weights_only=True)["of_then"]
    rnn = load(path).rnn
    with torch.no_grad():
        y = rnn(then["x"], **regular(rnn, then["x"]))[0]
    torch.testing.assert_close(y, then["y"])


def test_its_settings_have_todays_names():
    saved = read_checkpoint(OLDER / "language_model.ckpt")["hyper_parameters"]
    assert saved["description"]["vocabulary"] == ["a", "b", "c"]
    assert (saved["connect"], saved["transforms"]) == ("residual", {"Zoneout": {"p": 0.1}})
    assert not {"vocabulary", "rnn_args"} & set(saved)
    model = load(OLDER / "forecaster.ckpt")
    assert (model.model.horizon, model.model.season, model.description.scaling["std"]) == (3, 5, 1.0)
    about = load(OLDER / "sequences.ckpt").description
    assert (about.input_size, about.classes, about.answers) == (2, 3, 2)


def test_one_can_fine_tune_from_it(tmp_path):
    (tmp_path / "a.txt").write_text("abcd" * 50)
    path = str(OLDER / "language_model.ckpt")
    data = CharTextData(str(tmp_path / "a.txt"), batch_size=1, sequence_length=4, pretrained=path)
    assert data.vocabulary == ["a", "b", "c", "d"]
    same = {"cell": "janet", "cell_args": {"beta": 0.5}, "connect": "residual", "transforms": {"Zoneout": {"p": 0.1}}}
    sizes = {"embedding_size": 4, "hidden_size": 4, "num_layers": 2}
    new = LanguageModel(data.description, **same, **sizes, pretrained=path)
    old = load(path)
    assert torch.equal(new.model.embedding.weight[:3], old.model.embedding.weight)
    assert torch.equal(new.rnn.layers[1][0].cell.weight_hh, old.rnn.layers[1][0].cell.weight_hh)

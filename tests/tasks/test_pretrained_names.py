"""Weights to start from, whether they are dropped there or here, and tokens that are new."""

import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.data.tokenizers import train
from rnnzoo.description import Description
from rnnzoo.tasks import LanguageModel

SIZES = {"embedding_size": 3, "hidden_size": 4}


def of_words(*words):
    tokenizer = train("words", [" ".join(words)])
    return Description(vocabulary=tokenizer.vocabulary, tokenizer=tokenizer.to_json())


def saved(task, path):
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize(("there", "here"), [(0.0, 0.3), (0.3, 0.0), (0.2, 0.4)])
def test_weight_drop_may_differ_from_that_of_a_checkpoint_to_start_from(tmp_path, there, here):
    description = of_words("a", "b")
    old = LanguageModel(description, weight_drop=there, **SIZES).eval()
    path = saved(old, tmp_path / "old.ckpt")
    torch.manual_seed(1)
    new = LanguageModel(description, weight_drop=here, pretrained=path, **SIZES).eval()
    tokens = torch.tensor([[3, 4, 0, 3]])
    with torch.no_grad():
        assert torch.equal(new(tokens)[0], old(tokens)[0])


def test_any_other_setting_of_the_layers_may_not(tmp_path):
    path = saved(LanguageModel(of_words("a"), **SIZES), tmp_path / "old.ckpt")
    with pytest.raises(RnnZooError, match=r"made with other settings: hidden_size is 5 but the checkpoint has 4"):
        LanguageModel(of_words("a"), embedding_size=3, hidden_size=5, pretrained=path)


def test_words_that_a_model_lacks_start_at_the_mean_row_and_how_many_is_said(tmp_path, capsys):
    old = LanguageModel(of_words("a", "b", "c"), tied=True, embedding_size=4, hidden_size=4)
    path = saved(old, tmp_path / "old.ckpt")
    new = LanguageModel(of_words("c", "d", "a", "e"), tied=True, embedding_size=4, hidden_size=4, pretrained=path)
    row = {word: k for k, word in enumerate(old.text.names)}
    for k, word in enumerate(new.text.names):
        for theirs, ours in (
            (old.model.embedding.weight, new.model.embedding.weight),
            (old.model.head.bias, new.model.head.bias),
        ):
            torch.testing.assert_close(ours[k], theirs[row[word]] if word in row else theirs.mean(0))
    assert "knows 5 of 7 tokens; the others start at their mean" in capsys.readouterr().out

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnnzoo.data import Vocabulary
from rnnzoo.data.vocabulary import read_vocabulary
from rnnzoo.errors import RnnZooError


def test_an_id_is_the_place_of_its_character() -> None:
    vocabulary = Vocabulary(["b", "\n", "😀", "a"])
    ids = vocabulary.encode("a😀b\na")
    assert ids.tolist() == [3, 2, 0, 1, 3]
    assert ids.dtype == torch.int64
    assert vocabulary.decode(ids) == "a😀b\na"
    assert vocabulary.decode([0, 0, 3]) == "bba"
    assert vocabulary.decode(ids.view(1, 5)) == "a😀b\na"
    assert len(vocabulary) == 4


def test_the_empty_text_has_no_ids() -> None:
    vocabulary = Vocabulary(["a"])
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""


def test_unknown_characters_are_named_with_their_places() -> None:
    vocabulary = Vocabulary(list("abc"))
    with pytest.raises(
        RnnZooError, match=r"^prompt has 3 characters \('é' at 1, '\\t' at 2\) not in the vocabulary of 3$"
    ):
        vocabulary.encode("aé\té", name="prompt")
    with pytest.raises(RnnZooError, match=r"9 characters \('1' at 0, .*'5' at 4, and 4 others\)"):
        vocabulary.encode("123456789")


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ([], "empty"),
        (["a", "b", "a"], "'a' twice"),
        (["a", "bc"], "'bc'"),
        (["a", ""], "''"),
        (["a", 3], "has 3,"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(characters: list[str], message: str) -> None:
    with pytest.raises(RnnZooError, match=message):
        Vocabulary(characters)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_id_that_no_character_has_is_refused(wrong: int) -> None:
    with pytest.raises(RnnZooError, match=f"ids has {wrong}, but the ids of 3 characters are 0 to 2"):
        Vocabulary(list("abc")).decode([0, wrong])


def test_the_vocabulary_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"hyper_parameters": {"vocabulary": ["b", "a"]}, "state_dict": {"w": torch.ones(3)}}, path)
    assert read_vocabulary(str(path), "pretrained").characters == ["b", "a"]


def test_what_is_no_checkpoint_of_a_language_model_is_refused(tmp_path: Path) -> None:
    whole, other, text = tmp_path / "a.ckpt", tmp_path / "b.ckpt", tmp_path / "c.ckpt"
    torch.save({"hyper_parameters": {"vocabulary": ["a"]}, "state_dict": {"w": torch.ones(999)}}, whole)
    whole.write_bytes(whole.read_bytes()[:-500])
    torch.save({"hyper_parameters": {"horizon": 3}}, other)
    text.write_text("not a checkpoint")
    for path, message in (
        (whole, "not a checkpoint, or a truncated one"),
        (text, "not a checkpoint, or a truncated one"),
        (other, "holds no vocabulary"),
        (tmp_path / "none.ckpt", "no such file"),
        (tmp_path, "no such file"),
    ):
        with pytest.raises(RnnZooError, match=f"^pretrained=.*{message}"):
            read_vocabulary(str(path), "pretrained")


def test_a_vocabulary_needs_neither_lightning_nor_datasets() -> None:
    code = "import sys, rnnzoo.data.vocabulary; sys.exit('lightning' in sys.modules or 'datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

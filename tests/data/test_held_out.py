"""Data that nothing was trained on: those in one piece are tested whole."""

import pytest
import torch

from rnnzoo.data import CharTextData, LabelledTextData, TokenTextData
from rnnzoo.errors import RnnZooError

LINES = [f"row {k} of {'abcdefghij'[k % 10]}" for k in range(40)]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return str(path)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text("".join(f'{{"text": "{line}", "label": {k % 2}}}\n' for k, line in enumerate(LINES)))
    return str(path)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_text_in_one_piece_is_the_whole_part(text, part):
    whole = "".join(f"{line}\n" for line in LINES)
    assert CharTextData(text, held_out=True, batch_size=2).text(part) == whole
    assert TokenTextData(text, held_out=True, batch_size=2).text(part) == whole
    assert CharTextData(text, batch_size=2).text(part) != whole


@pytest.mark.parametrize("data", [CharTextData, TokenTextData])
def test_none_of_it_is_for_training(text, data):
    with pytest.raises(
        RnnZooError, match=r"held_out=true: dataset='.*other\.txt' is in one piece, and none of it is for"
    ):
        data(text, held_out=True).text("train")


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_in_one_piece_are_the_whole_part_also_where_they_are_streamed(table, tmp_path, streaming):
    trained = LabelledTextData(table, streaming=streaming, training_examples=None if streaming else 5)
    checkpoint = str(tmp_path / "run.ckpt")
    torch.save(
        {
            "rnnzoo": {"task": "a.Task"},
            "state_dict": {},
            "hyper_parameters": {"description": trained.description.to_json()},
        },
        checkpoint,
    )
    data = LabelledTextData(
        table, streaming=streaming, checkpoint=checkpoint, held_out=True, training_examples=None if streaming else 50
    )
    numbers = [len(batch.lengths) for batch in data.test_dataloader()]
    assert sum(numbers) == len(LINES)
    with pytest.raises(RnnZooError, match="none of it is for training"):
        list(data.train_dataloader())


def test_a_data_set_s_own_test_part_is_tested_alone(tmp_path):
    for part, count in (("train", 20), ("test", 7)):
        rows = "".join(f'{{"text": "{line}", "label": {k % 2}}}\n' for k, line in enumerate(LINES[:count]))
        (tmp_path / f"{part}.jsonl").write_text(rows)
    assert len(LabelledTextData(str(tmp_path), held_out=True).rows("test")) == 7

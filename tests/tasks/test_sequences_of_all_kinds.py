"""Sequences of different lengths, tokens, masks, both directions, answers to each step: against one row at a time."""

import pytest
import torch
import torch.nn.functional as F

from rnnzoo import RNN, Description, RnnZooError
from rnnzoo.data import SequenceBatch
from rnnzoo.data.examples import as_sequences
from rnnzoo.models import SequenceModel
from rnnzoo.tasks import SequenceTask

LENGTHS = [5, 2, 7, 1]


def rows(task, batch):
    """Loss and answers of a batch, each of its sequences by itself and without padding."""
    total, count, answers = 0.0, 0, []
    for k, n in enumerate(batch.lengths.tolist()):
        every = task.model.answers == 0
        y = batch.y[k : k + 1, :n] if every else batch.y[k : k + 1]
        alone = SequenceBatch(batch.x[k : k + 1, :n], y)
        judged = task.judge(alone, "val")
        total, count = total + judged.loss * judged.count, count + judged.count
        answers.append(judged.answers[0])
    return total / count, torch.cat(answers)


def batch_of(about, pad):
    """Random sequences, padded with `pad`."""
    x = torch.randint(5, (4, 7)) if about.vocabulary else torch.randn(4, 7, 3)
    wide = 7 if about.answers == 0 else 1
    y = torch.randint(about.classes, (4, wide)) if about.classes else torch.randn(4, wide)
    for k, n in enumerate(LENGTHS):
        x[k, n:] = pad
        if about.answers == 0:
            y[k, n:] = 0  # an answer behind the end, which counts for nothing
    return SequenceBatch(x, y, None, torch.tensor(LENGTHS))


KINDS = {
    "numbers in, one number out": Description(input_size=3, classes=0),
    "numbers in, a class of each step out": Description(input_size=3, classes=4, answers=0),
    "tokens in, one class out": Description(vocabulary=list("abcde"), classes=4),
    "tokens in, a number of each step out": Description(vocabulary=list("abcde"), classes=0, answers=0),
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_change_nothing(kind, bidirectional):
    about = KINDS[kind]
    task = SequenceTask(about, embedding_size=3, hidden_size=6, num_layers=2, bidirectional=bidirectional).eval()
    torch.manual_seed(1)
    batch = batch_of(about, pad=0)
    loss, answers = rows(task, batch)
    judged = task.judge(batch, "val")
    torch.testing.assert_close(judged.loss, loss)
    torch.testing.assert_close(judged.answers[0], answers)
    torch.manual_seed(1)
    other = task.judge(batch_of(about, pad=4), "val")
    torch.testing.assert_close(other.answers[0], judged.answers[0], rtol=0, atol=0)


def test_the_answer_to_a_sequence_has_seen_all_of_it_in_both_directions():
    torch.manual_seed(0)
    model = SequenceModel(RNN("gru", 2, 3, batch_first=True, bidirectional=True), 1)
    x = torch.randn(2, 6, 2)
    both = model.rnn.layers[0]
    for lengths in (None, torch.tensor([6, 4])):
        ends = [6, 6] if lengths is None else [6, 4]
        for k, n in enumerate(ends):
            halves = []
            for cell, sequence in zip(both, (x[k, :n], x[k, :n].flip(0)), strict=True):
                one = RNN("gru", 2, 3, batch_first=True)
                one.layers[0][0].load_state_dict(cell.state_dict())
                halves.append(one(sequence[None])[0][:, -1])
            torch.testing.assert_close(model(x, lengths)[k], model.head(torch.cat(halves, -1)))


def test_masks_and_time_gaps_of_the_batch_reach_the_cell():
    task = SequenceTask(Description(input_size=2, classes=0), cell="gru_d", hidden_size=4).eval()
    x, y = torch.randn(3, 5, 2), torch.randn(3, 1)
    mask, dt = (torch.rand(3, 5, 2) < 0.5).float(), torch.rand(3, 5, 2)
    expected, _ = task.rnn(x, mask=mask, dt=dt)
    batch = as_sequences({"x": x, "y": y, "mask": mask, "dt": dt})
    torch.testing.assert_close(task(batch.x, batch.lengths, batch.inputs)[:, 0], task.model.head(expected[:, -1])[:, 0])
    assert not torch.allclose(task(x), task(batch.x, batch.lengths, batch.inputs))
    told = task.judge({"x": x, "y": y, "mask": mask, "dt": dt}, "train").loss
    torch.testing.assert_close(told, F.mse_loss(task.model.head(expected[:, -1]), y))


def test_batches_as_datasets_and_tokenizers_make_them():
    ids = torch.tensor([[1, 2, 3], [4, 1, 0]])
    made = as_sequences(
        {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]), "label": torch.ones(2)}
    )
    assert made.lengths.tolist() == [3, 2]
    assert made.y.shape == (2, 1)
    assert made.inputs is None
    assert as_sequences((ids, torch.ones(2, 1), torch.tensor([3, 2]))).lengths.tolist() == [3, 2]
    assert as_sequences([ids, torch.ones(2)]).y.shape == (2, 1)
    with pytest.raises(RnnZooError, match="attention_mask has a step behind one that is missing: sequences must"):
        as_sequences({"x": ids, "y": ids, "attention_mask": torch.tensor([[0, 1, 1], [1, 1, 1]])})
    for wrong, shown in (({"text": ids}, "a dictionary with text"), ((ids,) * 4, "a tuple of 4"), (ids, "a Tensor")):
        with pytest.raises(RnnZooError, match=rf"a dictionary with x and y, not {shown}$"):
            as_sequences(wrong)


def test_answers_that_are_not_as_many_as_were_described_are_one_line():
    task = SequenceTask(Description(input_size=2, classes=0), hidden_size=4)
    with pytest.raises(RnnZooError, match=r"answers of shape \(3, 5\), but SequenceTask gives \(3, 1\): .* is 1 "):
        task.judge((torch.randn(3, 5, 2), torch.randn(3, 5)), "train")
    with pytest.raises(RnnZooError, match=r"SequenceTask needs the input_size of its data"):
        SequenceTask(Description(classes=2))
    with pytest.raises(RnnZooError, match=r"SequenceTask needs the classes of its data"):
        SequenceTask(Description(input_size=2))

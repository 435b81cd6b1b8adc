"""What data say of themselves: plain values that print, and come back from JSON as they were."""

import copy
import json
import pickle

import pytest
import torch

from rnnzoo import Description, RnnZooError
from rnnzoo.description import describe, described, of_hyper_parameters


def test_it_comes_back_from_json_whole():
    one = Description(
        source="Mine", vocabulary=["a", "ß"], scaling={"std": 2.5}, horizon=3, more={"pitch": 440, "tuning": {"a": [1]}}
    )
    again = described(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert (again.pitch, again.horizon, again.classes) == (440, 3, None)
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_it_prints_what_is_known_and_long_things_by_their_size():
    one = Description(vocabulary=list("abcdefghijklm"), horizon=48, more={"pitch": 440})
    assert str(one) == "vocabulary of 13, horizon 48, pitch 440"
    assert str(Description()) == "nothing"


def test_what_is_missing_is_named_with_both_sides():
    with pytest.raises(RnnZooError, match=r"^Task needs the classes and the pitch of its data, which Mine has not: "):
        Description(source="Mine", horizon=3).require(["classes", "horizon", "pitch"], "Task")
    with pytest.raises(AttributeError, match=r"has no 'horizn'; did you mean 'horizon'\? it has: horizon 3"):
        _ = Description(horizon=3).horizn


@pytest.mark.parametrize("value", [torch.ones(2), {1, 2}, float("nan"), b"a", object()])
def test_a_value_that_is_not_plain_is_refused(value):
    with pytest.raises(RnnZooError, match="description: pitch must be numbers, text, lists or dictionaries of them, "):
        Description(more={"pitch": value})


def test_what_older_data_modules_and_checkpoints_have_is_a_description_too():
    class Older:
        problem = {"input_size": 2, "classes": 0, "answers": 1, "constant": 0.5}  # noqa: RUF012

    assert describe(Older()) == Description(source="Older", input_size=2, classes=0, answers=1, constant=0.5)
    assert describe(object()) == Description(source="object")
    assert of_hyper_parameters({"vocabulary": ["a"], "cell": "gru"}) == Description(vocabulary=["a"])
    assert of_hyper_parameters({"scaling": {"std": 1.0}, "horizon": 3}) == Description(scaling={"std": 1.0})
    with pytest.raises(RnnZooError, match=r"must be a rnnzoo.Description, not 3"):
        described(3)

"""Hidden sizes by which cells have as many parameters as each other."""

import pytest
import torch

from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.matching import nearest_size


@pytest.mark.parametrize("start", [1, 7, 100, 3000])
@pytest.mark.parametrize("target", [1, 5, 1000, 123456])
def test_the_nearest_size_is_found_from_anywhere(start, target):
    size, value = nearest_size(lambda n: n * n + n, target, start)
    assert size == min(range(1, 1000), key=lambda n: abs(n * n + n - target))
    assert value == size * size + size


def test_sizes_that_a_cell_cannot_have_are_passed_over():
    def measure(size: int) -> float:
        if size % 8:
            raise RnnZooError(f"hidden_size={size} must be a multiple of 8")
        return 3.0 * size

    assert nearest_size(measure, 301, 64) == (104, 312.0)
    assert nearest_size(measure, 297, 64) == (96, 288.0)
    assert nearest_size(measure, 2, 64) == (8, 24.0)


def test_a_measure_within_the_tolerance_is_measured_no_further():
    tried: list[int] = []

    def measure(size: int) -> float:
        tried.append(size)
        return size / 100

    assert nearest_size(measure, 1.0, 32, tolerance=0.05) == (96, 0.96)
    assert tried == [32, 64, 128, 96]


def test_a_cell_without_any_size_is_an_error():
    def measure(size: int) -> float:
        raise RnnZooError("no cell")

    with pytest.raises(RnnZooError, match="no cell"):
        nearest_size(measure, 10)


def test_a_matched_model_has_the_parameters_of_nn_lstm_and_nn_gru(tmp_path, monkeypatch):
    from rnnzoo.tuning.matching import Models, matched_size, parameters

    monkeypatch.chdir(tmp_path)
    given = ["--model=SequenceTask", "--data=LongMemoryData", "--data.length=12", "--data.examples=[64,16,16]"]
    models = Models([*given, "--model.cell=lstm", "--model.hidden_size=20"])
    reference = parameters(models.reference)
    size, found = matched_size(models, "gru", "parameters")
    rest = reference - parameters(torch.nn.LSTM(2, 20)) - 21  # a head of 20 weights and a bias

    def count(n: int) -> int:
        return parameters(torch.nn.GRU(2, n)) + n + 1 + rest

    assert found == count(size)
    assert size == min(range(1, 100), key=lambda n: abs(count(n) - reference))
    with pytest.raises(RnnZooError, match=r"unknown cell 'lsmt'; did you mean 'lstm'\?"):
        matched_size(models, "lsmt", "parameters")
    size, ratio = matched_size(models, "rnn", "time")
    assert size >= 1
    assert ratio > 0
    assert not list(tmp_path.iterdir())

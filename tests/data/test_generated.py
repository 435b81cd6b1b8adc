"""Generated problems: labels found again by plain loops, what is drawn, and how often."""

import subprocess
import sys
from collections import Counter

import pytest
import torch

from rnnzoo.data.generated import GENERATED, GeneratedExamples

LENGTHS = {"adding": [2, 3, 30, 201], "copying": [21, 22, 57], "temporal_order": [10, 11, 19, 100, 137]}
CASES = [(name, length) for name, lengths in LENGTHS.items() for length in lengths]


def some(name: str, length: int, count: int, seed: int = 3, part: int = 0):
    return GeneratedExamples(GENERATED[name], length, seed, part, count).__getitems__(range(count))


def sum_of_marked(x: list[list[float]]) -> list[float]:
    """What the adding problem asks for, read off the sequence."""
    total = 0.0
    for value, mark in x:
        if mark == 1:
            total += value
    return [total]


def first_ten(x: list[list[float]]) -> list[float]:
    """What copying asks for: everything before the blanks, once the delimiter has come."""
    seen, asked = [], []
    for row in x:
        symbol = row.index(1)
        if symbol < 8:
            seen.append(symbol)
        elif asked or symbol == 9:
            asked.append(symbol)
    assert asked == [9] + [8] * 10
    return seen


def order(x: list[list[float]]) -> list[float]:
    """What temporal order asks for, from the symbols E X Y a b c d B."""
    word = "".join("EXYabcdB"[row.index(1)] for row in x)
    assert word[0] == "E"
    assert word[-1] == "B"
    relevant = "".join(c for c in word if c in "XY")
    assert not set(word[1:-1]) & set("EB")
    return [["XX", "XY", "YX", "YY"].index(relevant)]


LABELS = {"adding": sum_of_marked, "copying": first_ten, "temporal_order": order}


@pytest.mark.parametrize(("name", "length"), CASES)
def test_labels_are_those_that_a_plain_loop_reads_off_the_sequence(name, length):
    batch = some(name, length, 200)
    problem = GENERATED[name]
    assert batch.x.shape == (200, length, problem.input_size)
    assert batch.y.shape == (200, problem.answers)
    assert batch.x.dtype == torch.float32
    assert batch.y.dtype == (torch.int64 if problem.classes else torch.float32)
    for x, y in zip(batch.x.tolist(), batch.y.tolist(), strict=True):
        assert y == pytest.approx(LABELS[name](x), abs=1e-6)


@pytest.mark.parametrize("name", ["copying", "temporal_order"])
def test_symbols_are_one_hot(name):
    x = some(name, 40, 50).x
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert (x.sum(-1) == 1).all()


@pytest.mark.parametrize("length", LENGTHS["adding"])
def test_one_number_of_each_half_is_marked(length):
    marks = some("adding", length, 300).x[..., 1]
    assert (marks[:, : length // 2].sum(1) == 1).all()
    assert (marks[:, length // 2 :].sum(1) == 1).all()
    assert (marks.sum(0) > 0).all() or length > 100, "every step may be marked"


@pytest.mark.parametrize("length", LENGTHS["temporal_order"])
def test_x_and_y_lie_in_the_second_and_the_sixth_tenth(length):
    symbols = some("temporal_order", length, 500).x.argmax(-1)
    where = [((row == 1) | (row == 2)).nonzero().flatten().tolist() for row in symbols]
    tenths = range(length // 10, 2 * length // 10), range(5 * length // 10, 6 * length // 10)
    assert {first for first, _ in where} == set(tenths[0])
    assert {second for _, second in where} == set(tenths[1])


def test_numbers_to_add_have_the_mean_and_variance_that_a_constant_is_judged_by():
    y = some("adding", 30, 20_000).y
    assert y.mean().item() == pytest.approx(GENERATED["adding"].constant, abs=0.01)  # 3.5 standard errors
    assert y.var().item() == pytest.approx(1 / 6, abs=0.006)


@pytest.mark.parametrize("name", ["copying", "temporal_order"])
def test_classes_are_equally_frequent(name):
    y = some(name, 40, 4000).y
    shares = torch.bincount(y.flatten(), minlength=GENERATED[name].classes) / y.numel()
    assert len(shares) == GENERATED[name].classes
    expected = 1 / len(shares)
    error = (expected * (1 - expected) / y.numel()) ** 0.5
    assert (shares - expected).abs().max() < 4 * error


def test_recalled_symbols_do_not_depend_on_each_other():
    y = some("copying", 21, 6400).y
    pairs = Counter(map(tuple, y[:, [0, 9]].tolist()))
    assert len(pairs) == 64
    assert max(abs(n - 100) for n in pairs.values()) < 45  # 4.5 standard errors


@pytest.mark.parametrize("name", GENERATED)
def test_an_example_depends_on_seed_part_and_number_alone(name):
    problem = GENERATED[name]
    ten, many = (GeneratedExamples(problem, 40, 5, 1, count) for count in (10, 100))
    batch = many.__getitems__([7, 3, 9])
    assert batch.number.tolist() == [7, 3, 9]
    for row, k in enumerate([7, 3, 9]):
        x, y, number = ten[k]
        assert torch.equal(batch.x[row], x)
        assert torch.equal(batch.y[row], y)
        assert number == k


@pytest.mark.parametrize("name", GENERATED)
def test_parts_and_seeds_are_different_draws(name):
    seen = set()
    for seed in (0, 1):
        for part in range(3):
            seen |= {x.numpy().tobytes() for x in some(name, 40, 200, seed, part).x}
    assert len(seen) == 2 * 3 * 200


FINGERPRINTS = """
import hashlib
from rnnzoo.data.generated import GENERATED, GeneratedExamples
for problem in GENERATED.values():
    batch = GeneratedExamples(problem, 40, seed=4, part=1, count=9).__getitems__(range(9))
    print(hashlib.sha256(b"".join(a.numpy().tobytes() for a in batch)).hexdigest())
"""


def test_another_process_makes_the_same_examples(capsys):
    told = subprocess.run([sys.executable, "-c", FINGERPRINTS], capture_output=True, text=True, check=True).stdout
    exec(FINGERPRINTS, {})
    assert capsys.readouterr().out == told

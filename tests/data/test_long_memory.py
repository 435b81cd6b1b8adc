"""LongMemoryData: parts, pictures, processes, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from sklearn.datasets import load_digits

from rnnzoo.data import Examples, LongMemoryData
from rnnzoo.errors import RnnZooError

Process = Callable[..., SimpleNamespace]
SMALL: dict[str, Any] = {"length": 12, "examples": (40, 13, 9), "batch_size": 8}
PARTS = ("train", "val", "test")


def batches(data: LongMemoryData, part: str) -> list[Examples]:
    return list(getattr(data, f"{part}_dataloader")())


def everything(data: LongMemoryData, part: str) -> Examples:
    """A part in the order of its examples' numbers."""
    x, y, number = (torch.cat(side) for side in zip(*batches(data, part), strict=True))
    return Examples(x[number.argsort()], y[number.argsort()], number.sort().values)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("task", ["adding", "temporal_order"])
def test_each_part_has_its_examples_once(task: str, part: str) -> None:
    data = LongMemoryData(task, **SMALL)  # type: ignore[arg-type]
    count = dict(zip(PARTS, SMALL["examples"], strict=True))[part]
    assert everything(data, part).number.tolist() == list(range(count))
    if part != "train":
        assert [n for b in batches(data, part) for n in b.number.tolist()] == list(range(count))


def test_parts_are_disjoint() -> None:
    data = LongMemoryData(**SMALL)
    rows = [row.numpy().tobytes() for part in PARTS for row in everything(data, part).x]
    assert len(set(rows)) == 40 + 13 + 9


def test_each_epoch_has_an_order_of_its_own_that_the_seed_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        loader = LongMemoryData(**SMALL).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        orders.append([n for batch in loader for n in batch.number.tolist()])
    assert orders[0] == orders[1] != sorted(orders[0])
    assert orders[2] != orders[0] != orders[3]


def answered(batch: Examples) -> list[int]:
    """The numbers of the examples that have an answer."""
    there = (batch.y != -100) & ~batch.y.isnan()
    assert (there == there[:, :1]).all()
    return sorted(batch.number[there[:, 0]].tolist())


@pytest.mark.parametrize("task", ["copying", "digits", "adding"])
def test_two_processes_train_on_the_batches_of_one(task: str, process: Process) -> None:
    options = {"examples": (41, 13, 9), "batch_size": 8}
    one, *two = (LongMemoryData(task, **options) for _ in range(3))  # type: ignore[arg-type]
    for rank, data in enumerate(two):
        data.trainer = process(2, rank)  # type: ignore[assignment]
    seen = [[answered(b) for b in batches(d, "train")] for d in (one, *two)]
    assert [sorted(a + b) for a, b in zip(seen[1], seen[2], strict=True)] == seen[0]
    assert [len(share[-1]) for share in seen] == [1, 1, 0]
    both = {int(n): x for data in two for b in batches(data, "train") for n, x in zip(b.number, b.x, strict=True)}
    assert all(torch.equal(both[int(n)], x) for b in batches(one, "train") for n, x in zip(b.number, b.x, strict=True))


@pytest.mark.parametrize("part", ["val", "test", "predict"])
def test_processes_evaluate_each_example_once(part: str, process: Process) -> None:
    seen = []
    for rank in range(2):
        data = LongMemoryData(**SMALL)
        data.trainer = process(2, rank)  # type: ignore[assignment]
        seen.append([b.number.tolist() for b in batches(data, part)])
    assert len(seen[0]) == len(seen[1])
    assert [n for share in seen for b in share for n in b] == list(range(13 if part == "val" else 9))


def test_what_processes_cannot_share_is_refused(process: Process) -> None:
    data = LongMemoryData(**{**SMALL, "examples": (40, 13, 2)})
    data.trainer = process(3, 0)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match=r"^batch_size=8 is for all 3 processes"):
        data.train_dataloader()
    data.trainer = process(4, 0)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match="4 processes are more than the 2 examples of test"):
        data.test_dataloader()


def test_predict_reads_the_part_it_is_told() -> None:
    data = LongMemoryData(**SMALL, predict_split="validation")
    (x, *_), (y, *_) = batches(data, "predict"), batches(data, "val")
    assert torch.equal(x.x, y.x)


def test_what_is_not_given_is_two_hundred_steps_and_many_examples() -> None:
    data = LongMemoryData("copying")
    assert next(iter(data.test_dataloader())).x.shape[1:] == (200, 10)
    assert [len(getattr(data, f"{p}_dataloader")().dataset) for p in PARTS] == [20_000, 16, 32]  # batches, but of train


# ---- pictures


def found(row: list[float], pictures: np.ndarray) -> list[int]:
    return np.flatnonzero((pictures == np.array(row)).all(1)).tolist()


@pytest.mark.parametrize("length", [None, 64, 8, 1])
def test_digits_are_scikit_learns_with_their_classes_each_once(length: int | None) -> None:
    pixels, classes = load_digits(return_X_y=True)
    data, seen = LongMemoryData("digits", length=length), []
    for part in PARTS:
        x, y, _ = everything(data, part)
        assert x.shape[1:] == (length or 64, 64 // (length or 64))
        for row, label in zip((x.flatten(1) * 16).tolist(), y[:, 0].tolist(), strict=True):
            (at,) = found(row, pixels)
            assert classes[at] == label
            seen.append(at)
    assert sorted(seen) == list(range(1797))
    assert seen != sorted(seen)


def test_digits_of_every_part_have_every_class() -> None:
    for part in PARTS:
        counts = torch.bincount(everything(LongMemoryData("digits"), part).y[:, 0])
        assert counts.min() > 0.5 * counts.float().mean()
    assert LongMemoryData("digits", length=8).problem == {
        "input_size": 8,
        "classes": 10,
        "answers": 1,
        "constant": 0.0,
    }


def test_permuted_digits_are_the_digits_in_one_order_for_all() -> None:
    plain, permuted, other = (
        LongMemoryData(task, seed=seed)  # type: ignore[arg-type]
        for task, seed in (("digits", 2), ("permuted_digits", 2), ("permuted_digits", 3))
    )
    orders = []
    for data in (permuted, other):
        data._load()
        orders.append(data._load()["train"].order)
    assert sorted(orders[0]) == list(range(64)) != orders[0].tolist()
    assert orders[0].tolist() != orders[1].tolist()
    for part in PARTS:
        x, y, _ = everything(plain, part)
        px, py, _ = everything(permuted, part)
        assert torch.equal(y, py)
        for t in range(64):
            assert torch.equal(px[:, t], x[:, orders[0][t]])


def test_fewer_examples_are_the_first_of_all() -> None:
    few, all_ = LongMemoryData("digits", examples=(70, 12, 9)), LongMemoryData("digits")
    for part, count in zip(PARTS, (70, 12, 9), strict=True):
        a, b = everything(few, part), everything(all_, part)
        assert torch.equal(a.x, b.x[:count])


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, DatasetDict]:
    """Something like MNIST: 3 x 4 pixels, with a test split."""
    draw = np.random.default_rng(0)
    splits = {
        name: Dataset.from_dict(
            {"image": draw.integers(256, size=(n, 3, 4)).tolist(), "label": draw.integers(5, size=n)}
        )
        for name, n in (("train", 60), ("test", 20))
    }
    DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    return str(tmp_path / "saved"), DatasetDict(splits)


def test_mnist_keeps_its_own_test_split(pictures: tuple[str, DatasetDict]) -> None:
    path, splits = pictures
    data = LongMemoryData("mnist", dataset=path, batch_size=8)
    seen: dict[str, list[int]] = {}
    for part in PARTS:
        split = splits["test" if part == "test" else "train"]
        x, y, _ = everything(data, part)
        assert x.shape[1:] == (12, 1)
        rows = np.array(split["image"]).reshape(len(split), -1)
        at = [found(row, rows)[0] for row in (x.flatten(1) * 255).round().tolist()]
        assert [split["label"][k] for k in at] == y[:, 0].tolist()
        seen[part] = at
    assert sorted(seen["train"] + seen["val"]) == list(range(60))
    assert sorted(seen["test"]) == list(range(20))
    assert data.problem["classes"] == 5


def test_mnist_that_cannot_be_fetched_is_one_line() -> None:
    with pytest.raises(RnnZooError, match=r"^mnist cannot be fetched .* as 'ylecun/mnist' \(") as caught:
        LongMemoryData("mnist").setup()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("or take task='digits'")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [[[0]]] * 9}, r"has no column 'label': it has image"),
        ({"picture": [[[0]]] * 9, "label": [0] * 9}, r"has no column 'image': it has picture, label"),
        ({"image": [[[0]]] * 8 + [[[0, 1]]], "label": [0] * 9}, r"all be of one size, not \(1, 1\), \(1, 2\)"),
        ({"image": [[[300]]] * 9, "label": [0] * 9}, "whole numbers from 0 to 255"),
        ({"image": [[[0.5]]] * 9, "label": [0] * 9}, "whole numbers from 0 to 255"),
        ({"image": [[[0]]] * 9, "label": [-1] * 9}, "label.* whole numbers from 0"),
        ({"image": [[[0]]] * 9, "label": ["a"] * 9}, "label.* whole numbers from 0"),
        ({"image": [[[0]]] * 2, "label": [0] * 2}, "has 2 pictures: too few"),
        ({"image": [], "label": []}, "cannot be read"),
    ],
)
def test_pictures_that_cannot_be_used_are_one_line(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    Dataset.from_dict(columns).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(RnnZooError, match=message) as caught:
        LongMemoryData("mnist", dataset=str(tmp_path / "saved")).setup()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "addign"}, "^task='addign' is unknown; did you mean 'adding'\\? there are: adding, copying"),
        ({"length": 1}, "^length=1 is too short: adding takes at least 2 steps$"),
        ({"task": "copying", "length": 20}, "^length=20 is too short: copying takes at least 21 steps$"),
        ({"task": "temporal_order", "length": 9}, "^length=9 is too short: temporal_order takes at least 10 steps$"),
        ({"task": "digits", "length": 0}, "^length=0 is too short: digits takes at least 1 steps$"),
        ({"length": -3}, "^length=-3 is too short"),
        ({"examples": (10, 0, 10)}, r"^examples=\[10, 0, 10\] must be three numbers of at least 1"),
        ({"examples": (10, 10)}, r"^examples=\[10, 10\] must be three numbers"),
        ({"seed": -1}, "^seed=-1 must lie in 0 to"),
        ({"batch_size": 0}, "^batch_size=0 must be at least 1$"),
        ({"num_workers": -1}, "^num_workers=-1 must be at least 0$"),
        ({"predict_split": "all"}, "^predict_split='all' must be train, validation or test$"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RnnZooError, match=message):
        LongMemoryData(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "digits", "length": 200}, "their 64 pixels go into 1, 2, 4, 8, 16, 32, 64 steps"),
        ({"task": "digits", "examples": (2000, 1, 1)}, r"is more than digits has: 1,258 of train, 180 of validation"),
        (
            {"batch_size": 50, "examples": (40, 1, 1)},
            "larger than the 40 training examples of task='adding': batch_size=40 would do",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RnnZooError, match=message):
        LongMemoryData(**options).train_dataloader()

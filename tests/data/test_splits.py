import pytest

from rnnzoo.data.splits import check_fractions, cut, own_splits
from rnnzoo.errors import RnnZooError

NINETY = (0.9, 0.05, 0.05)


def test_one_piece_is_cut_in_order() -> None:
    assert cut({"train": 1000}, NINETY) == {
        "train": range(900),
        "validation": range(900, 950),
        "test": range(950, 1000),
    }


@pytest.mark.parametrize("length", [3, 7, 64, 101, 4032])
@pytest.mark.parametrize("split", [NINETY, (0.7, 0.11, 0.19), (1 / 3, 1 / 3, 1 / 3)])
def test_the_parts_lie_end_to_end(length: int, split: tuple[float, float, float]) -> None:
    parts = list(cut({"train": length}, split).values())
    assert parts[0].start == 0
    assert parts[0].stop == parts[1].start
    assert parts[1].stop == parts[2].start
    assert parts[2].stop == length


def test_own_splits_are_used_as_they_are() -> None:
    parts = cut({"train": 10, "validation": 4, "test": 6}, NINETY)
    assert parts == {"train": range(10), "validation": range(10, 14), "test": range(14, 20)}


def test_what_is_missing_is_the_end_of_the_one_before() -> None:
    assert cut({"train": 190, "test": 6}, NINETY) == {
        "train": range(180),
        "validation": range(180, 190),
        "test": range(190, 196),
    }
    assert cut({"train": 190, "validation": 20}, NINETY) == {
        "train": range(190),
        "validation": range(190, 200),
        "test": range(200, 210),
    }


def test_splits_go_by_several_names() -> None:
    assert own_splits(["test", "dev", "train", "extra"], "x") == {"train": "train", "validation": "dev", "test": "test"}
    assert own_splits(["validation", "valid", "train"], "x") == {"train": "train", "validation": "validation"}
    assert own_splits(["anything"], "x") == {"train": "anything"}


@pytest.mark.parametrize("split", [(0.9, 0.05), (0.9, 0.1, 0.1), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none_are_refused(split: tuple[float, ...]) -> None:
    with pytest.raises(RnnZooError, match=r"^split=\[.* must be three fractions above 0 that sum to 1"):
        check_fractions(split)

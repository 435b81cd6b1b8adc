"""Which rows train, validate and test: own splits, slices of them, and parts from a seed."""

import random
import re
import warnings
from itertools import chain
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value, load_dataset

from rnnzoo.data.parts import make_parts
from rnnzoo.errors import RnnZooError

SPLIT = (0.7, 0.2, 0.1)


def rows(count: int, first: int = 0, **columns: Any) -> Dataset:
    return Dataset.from_dict({"id": list(range(first, first + count)), **columns})


def ids(parts: dict[str, Dataset]) -> dict[str, list[int]]:
    return {part: made["id"][:] for part, made in parts.items()}


def test_a_data_set_in_one_piece_is_drawn_from_a_seed_every_row_once_in_its_order() -> None:
    parts = ids(make_parts({"train": rows(1001)}, SPLIT, 3))
    assert list(parts) == ["train", "validation", "test"]
    assert [len(own) for own in parts.values()] == [701, 200, 100]
    assert sorted(chain(*parts.values())) == list(range(1001))
    assert all(own == sorted(own) for own in parts.values())
    assert parts["test"] != list(range(901, 1001))  # not the end


def test_the_same_seed_gives_the_same_parts_and_another_seed_others() -> None:
    first, again, other = (ids(make_parts({"train": rows(200)}, SPLIT, seed)) for seed in (5, 5, 6))
    assert first == again
    assert first["test"] != other["test"]


def test_drawn_rows_come_from_all_over_the_data_set() -> None:
    own = ids(make_parts({"train": rows(10_000)}, (0.5, 0.25, 0.25), 0))["validation"]
    for tenth in range(10):
        share = sum(tenth * 1000 <= k < (tenth + 1) * 1000 for k in own) / 1000
        assert 0.2 < share < 0.3


def test_every_value_of_a_column_has_its_share_in_parts_that_are_drawn_alike() -> None:
    kinds = ["a"] * 100 + ["b"] * 50 + ["c"] * 50
    splits = {"train": rows(200, kind=random.Random(0).sample(kinds, 200)), "test": rows(9, 500, kind=["a"] * 9)}
    parts = make_parts(splits, (0.6, 0.2, 0.2), 1, stratify_column="kind")
    assert {part: len(made) for part, made in parts.items()} == {"train": 150, "validation": 50, "test": 9}
    assert sorted([*parts["train"]["id"], *parts["validation"]["id"]]) == list(range(200))
    for kind, share in zip("abc", (25, 12.5, 12.5), strict=True):
        assert abs(parts["validation"]["kind"][:].count(kind) - share) < 1
    again, other = (make_parts(splits, (0.6, 0.2, 0.2), seed, stratify_column="kind") for seed in (1, 2))
    assert ids(parts) == ids(again)
    assert ids(parts)["validation"] != ids(other)["validation"]
    assert ids(parts)["validation"] != ids(make_parts(splits, (0.6, 0.2, 0.2), 1))["validation"]


def test_own_splits_are_used_as_they_are_and_a_missing_one_comes_from_the_one_before_it() -> None:
    splits = {"train": rows(30), "test": rows(7, 100), "unsupervised": rows(9, 500)}
    parts = ids(make_parts(splits, SPLIT, 0))
    assert parts["test"] == list(range(100, 107))
    assert sorted(parts["train"] + parts["validation"]) == list(range(30))
    assert len(parts["validation"]) == round(30 * 0.2 / 0.9)
    dev = ids(make_parts({"train": rows(30), "dev": rows(9, 100)}, SPLIT, 0))
    assert dev["train"] == list(range(30))
    assert sorted(dev["validation"] + dev["test"]) == list(range(100, 109))
    assert len(dev["test"]) == 3


def test_an_only_split_is_for_training_whatever_it_is_called() -> None:
    assert sorted(chain(*ids(make_parts({"test": rows(20)}, SPLIT, 0)).values())) == list(range(20))


@pytest.mark.parametrize(
    "spec",
    [
        "train",
        "train[:10%]",
        "train[13:200]",
        "train[-20:]",
        "train[:80%]+validation",
        "validation[50%:]+train[:3]",
        "train[:33%](pct1_dropremainder)",
    ],
)
def test_a_slice_has_the_rows_that_datasets_reads_for_it(spec: str, tmp_path: Any) -> None:
    splits = {"train": rows(230), "validation": rows(41, 1000)}
    files = {}
    for name, own in splits.items():
        files[name] = str(tmp_path / f"{name}.parquet")
        own.to_parquet(files[name])
    expected = load_dataset("parquet", data_files=files, split=spec, cache_dir=str(tmp_path / "cache"))["id"][:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = make_parts(splits, SPLIT, 0, named={"train": "train", "validation": "train", "test": spec})
    assert parts["test"]["id"][:] == expected


def test_slices_name_all_parts_without_a_split_called_train() -> None:
    named = {"train": "full[:50%]", "validation": "full[50%:75%]", "test": "full[75%:]"}
    parts = ids(make_parts({"full": rows(40), "more": rows(3)}, SPLIT, 0, named=named))
    assert parts == {"train": [*range(20)], "validation": [*range(20, 30)], "test": [*range(30, 40)]}


def test_a_missing_part_is_made_of_the_slice_before_it() -> None:
    parts = ids(make_parts({"train": rows(300), "test": rows(8, 900)}, SPLIT, 0, named={"train": "train[:90]"}))
    assert sorted(parts["train"] + parts["validation"]) == list(range(90))
    assert parts["test"] == list(range(900, 908))


def test_a_split_whose_name_is_no_name_to_datasets_can_be_named() -> None:
    splits = {"train": rows(10), "dev-clean": rows(4, 50), "test": rows(3, 90)}
    parts = ids(make_parts(splits, SPLIT, 0, named={"validation": "dev-clean"}))
    assert parts["validation"] == [50, 51, 52, 53]


def test_slices_that_overlap_are_a_warning_with_how_many_rows() -> None:
    named = {"train": "train[:60]", "validation": "train[50:80]", "test": "train[80:]"}
    with pytest.warns(UserWarning, match="train and validation have 10 rows of dataset='d' in common") as caught:
        make_parts({"train": rows(100)}, SPLIT, 0, named=named, dataset="d")
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="validation and test have 12 rows .* in common"):
        make_parts({"train": rows(100), "test": rows(12, 200)}, SPLIT, 0, named={"validation": "test"})


def test_own_splits_and_slices_beside_each_other_are_no_warning() -> None:
    named = {"train": "train[:60]", "validation": "train[60:]"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_parts({"train": rows(100), "test": rows(12)}, SPLIT, 0, named=named)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            {"train": "tran"},
            "train_split='tran': dataset='d' has no split 'tran'; did you mean 'train'? it has train, ",
        ),
        ({"test": "train[:10%"}, "test_split='train[:10%' is neither a split of dataset='d' (train, validation) nor"),
        ({"test": ""}, None),
        ({"test": "train[5:5]"}, "test_split='train[5:5]' of dataset='d' has no rows"),
        ({"test": "train[8:3]"}, "test_split='train[8:3]' of dataset='d' has no rows"),
        ({"test": "train[:0%]"}, "test_split='train[:0%]' of dataset='d' has no rows"),
        ({"test": "train[100:200]"}, "test_split='train[100:200]': 100 is beyond the 50 rows of split 'train' of "),
        ({"test": "train[:51]"}, "test_split='train[:51]': 51 is beyond the 50 rows of split 'train' of dataset='d'"),
        ({"test": "train[-51:]"}, "test_split='train[-51:]': -51 is beyond the 50 rows of split 'train' of "),
        ({"test": "train[:120%]"}, "test_split='train[:120%]' is neither"),
        ({"test": "train[:2%](pct1_dropremainder)"}, "test_split='train[:2%](pct1_dropremainder)' of dataset='d': "),
        ({"train": "train+validation"}, "differ in their columns, so that they cannot be joined"),
    ],
)
def test_a_name_or_slice_that_is_wrong_is_one_line(named: dict[str, str | None], message: str | None) -> None:
    splits = {"train": rows(50), "validation": Dataset.from_dict({"id": ["a", "b", "c"]})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if message is None:
            make_parts(splits, SPLIT, 0, named=named, dataset="d")
            return
        with pytest.raises(RnnZooError, match=re.escape(message)) as caught:
            make_parts(splits, SPLIT, 0, named=named, dataset="d")
    assert "\n" not in str(caught.value)


def test_splits_of_which_none_is_called_train_say_how_to_name_one() -> None:
    with pytest.raises(RnnZooError, match="has the splits a, b, but none called train: say which by train_split="):
        make_parts({"a": rows(9), "b": rows(9)}, SPLIT, 0)


def test_an_empty_split_and_too_few_rows_are_one_line() -> None:
    with pytest.raises(RnnZooError, match=r"^split 'validation' of the data set has no rows$"):
        make_parts({"train": rows(9), "validation": rows(0)}, SPLIT, 0)
    with pytest.raises(RnnZooError, match="has 3 rows: too few, split leaves none for test"):
        make_parts({"train": rows(3)}, SPLIT, 0)


def grouped(seed: int, groups: int = 90) -> Dataset:
    rng = random.Random(seed)
    chapters = [f"c{g}" for g in range(groups) for _ in range(rng.randint(1, 30))]
    rng.shuffle(chapters)
    return rows(len(chapters), chapter=chapters)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_parts_and_their_sizes_are_near_the_fractions(seed: int) -> None:
    source = grouped(seed)
    parts = make_parts({"train": source}, SPLIT, seed, "chapter")
    sets = [set(own["chapter"]) for own in parts.values()]
    assert not sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2]
    assert sorted(chain(*ids(parts).values())) == list(range(len(source)))
    assert all(own == sorted(own) for own in ids(parts).values())
    for own, fraction in zip(parts.values(), SPLIT, strict=True):
        assert len(own) / len(source) == pytest.approx(fraction, rel=0.02)
    assert ids(make_parts({"train": source}, SPLIT, seed, "chapter")) == ids(parts)


def test_groups_depend_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    source = grouped(1)
    one, two = (make_parts({"train": source}, SPLIT, seed, "chapter")["test"] for seed in (1, 2))
    assert set(one["chapter"]) != set(two["chapter"])
    mixed = make_parts({"train": source.shuffle(seed=9)}, SPLIT, 1, "chapter")["test"]
    assert set(mixed["chapter"]) == set(one["chapter"])


def test_few_groups_of_unlike_sizes_come_as_near_as_they_can() -> None:
    chapters = ["small"] * 5 + ["large"] * 90 + ["tiny"] * 5
    for seed in range(4):
        parts = make_parts({"train": rows(100, chapter=chapters)}, (0.8, 0.1, 0.1), seed, "chapter")
        assert set(parts["train"]["chapter"]) == {"large"}
        assert all(len(parts[part]) == 5 for part in ("validation", "test"))


@pytest.mark.parametrize("kind", ["int", "bool", "label"])
def test_groups_may_be_numbers_truth_values_or_labels(kind: str) -> None:
    values: list[Any] = [k % 2 == 0 if kind == "bool" else k % 3 for k in range(60)]
    source = rows(60, g=values)
    if kind == "label":
        source = source.cast(Features({"id": Value("int64"), "g": ClassLabel(names=["a", "b", "c"])}))
    splits = {"train": source, "test": rows(3, g=values[:3] if kind != "label" else [0, 0, 0])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = make_parts(splits, (0.4, 0.4, 0.2), 0, "g")
    assert not set(parts["train"]["g"]) & set(parts["validation"]["g"])


def test_groups_that_a_data_sets_own_splits_share_are_a_warning() -> None:
    splits = {"train": rows(20, g=[k % 5 for k in range(20)]), "test": rows(2, g=[3, 9])}
    with pytest.warns(UserWarning, match="train and test, as the data set has them, share 1 groups, '3' for one"):
        make_parts(splits, (0.5, 0.25, 0.25), 0, "g")


def test_groups_without_a_part_to_make_have_no_effect() -> None:
    splits = {part: rows(5, g=[k] * 5) for k, part in enumerate(("train", "validation", "test"))}
    with pytest.warns(UserWarning, match="group_column='g' has no effect: the data set has a split for every part"):
        make_parts(splits, SPLIT, 0, "g")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("chapte", [1, 2, 3, 4], "group_column='chapte' is not in dataset='d'; did you mean 'chapter'? it has id, "),
        ("chapter", [1, None, 2, 3], "group_column='chapter' of dataset='d': row 1 has no group"),
        ("chapter", [[1], [2], [3], [4]], "must hold text or whole numbers, but its type is List("),
        ("chapter", [1, 1, 2, 2], "group_column='chapter' of dataset='d' has 2 groups: too few for 3 parts"),
    ],
)
def test_a_group_column_that_does_not_serve_is_one_line(column: str, values: list[Any], message: str) -> None:
    with pytest.raises(RnnZooError, match=re.escape(message)) as caught:
        make_parts({"train": rows(4, chapter=values)}, SPLIT, 0, column, dataset="d")
    assert "\n" not in str(caught.value)

"""Labelled series: from sktime, in long form, a row each; their parts, scales, gaps, and what is wrong with which."""

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Array2D, ClassLabel, Dataset, DatasetDict, Features, Value

from rnnzoo import RnnZooError
from rnnzoo.data import LabelledSeriesData

LENGTHS = (3, 5, 4)  # of the series k, k mod 3
COUNT = 30
KINDS = ("low", "high")


def long_form(count=COUNT, seed=0):
    """A frame of series of two variables, each of a kind, its steps at whole days."""
    draw = np.random.default_rng(seed)
    rows = []
    for k in range(count):
        for step in range(LENGTHS[k % 3]):
            a, b = draw.normal(10 * (k % 2), 1), draw.normal(-5, 0.1)
            rows.append({"id": f"s{k}", "t": f"2026-01-{step + 1:02d}", "a": a, "b": b, "kind": KINDS[k % 2]})
    return pd.DataFrame(rows)


def wide(frame):
    """The same with a row a series."""
    groups = [own for _, own in frame.groupby("id", sort=False)]
    columns = {"id": [own["id"].iloc[0] for own in groups], "kind": [own["kind"].iloc[0] for own in groups]}
    return Dataset.from_dict({**columns, "a": [list(o["a"]) for o in groups], "b": [list(o["b"]) for o in groups]})


def made(dataset, **settings):
    return LabelledSeriesData(dataset, **{"label_column": "kind", "batch_size": 4, **settings})


def by_id(data, part):
    """x and label of each series of a part, by its id."""
    ids, found = data.rows(part)[data.columns.id], {}
    for batch in data.loader(part, training=False):
        lengths = [batch.x.shape[1]] * len(batch.x) if batch.lengths is None else batch.lengths.tolist()
        for x, y, n, k in zip(batch.x, batch.y, lengths, batch.number.tolist(), strict=True):
            found[ids[k]] = (x[:n], int(y))
            assert (x[n:] == 0).all()
    return found


def same(one, other):
    for part in ("train", "validation", "test"):
        left, right = by_id(one, part), by_id(other, part)
        assert list(left) == list(right)
        for key in left:
            torch.testing.assert_close(left[key][0], right[key][0])
            assert left[key][1] == right[key][1]


# ---- the sets of sktime


def test_a_set_of_sktime_comes_in_its_own_splits_and_validation_from_its_training_part():
    pytest.importorskip("sktime")
    from sktime.datasets import load_japanese_vowels

    data = LabelledSeriesData("JapaneseVowels", scaling="none", split=(0.6, 0.2, 0.2))
    x, y = load_japanese_vowels("test", return_X_y=True)
    found = list(data.loader("test", training=False))
    assert torch.cat([batch.number for batch in found]).tolist() == list(range(370))
    labels = [data.description.labels[int(k)] for batch in found for k in batch.y]
    assert labels == y.tolist()
    assert data.description.labels == [str(k) for k in range(1, 10)]
    for batch in found[::7]:
        for row, n, k in zip(batch.x, batch.lengths, batch.number.tolist(), strict=True):
            expected = np.stack([np.asarray(cell) for cell in x.iloc[k]], 1)
            np.testing.assert_allclose(row[:n].numpy(), expected, rtol=1e-6)
    sizes = {part: len(data.read(part, training=False)) for part in ("train", "validation")}
    assert sizes == {"train": 202, "validation": 68}
    share = np.bincount(data.read("validation", training=False).answers)
    assert share.min() >= 7  # of 30 a speaker in the training part
    assert share.max() <= 8


def test_the_set_of_numbers_is_one_of_numbers():
    pytest.importorskip("sktime")
    about = LabelledSeriesData("Tecator").description
    assert (about.classes, about.labels, about.input_size) == (0, None, 1)
    assert 10 < about.constant < 25


def test_nothing_is_downloaded(monkeypatch):
    sktime = pytest.importorskip("sktime.datasets._dataset_downloader")

    def refuse(*args, **kwargs):
        raise AssertionError("this would have gone to a network")

    monkeypatch.setattr(sktime.DatasetDownloader, "download", refuse)
    assert LabelledSeriesData("UnitTest").description.classes == 2
    with pytest.raises(
        RnnZooError, match=r"dataset='GunPoints' .*; did you mean 'GunPoint'\? .* JapaneseVowels, "
    ) as told:
        _ = LabelledSeriesData("GunPoints").description
    assert "\n" not in str(told.value)


def test_without_sktime_its_sets_say_what_they_come_with(monkeypatch):
    monkeypatch.setattr("rnnzoo.data.sktime_sets.find_spec", lambda name: None)
    with pytest.raises(RnnZooError, match=r"^dataset='GunPoint' comes with sktime: pip install 'rnnzoo\[demo\]'$"):
        _ = LabelledSeriesData("GunPoint").description


# ---- the forms that data come in


def test_long_form_in_any_order_is_the_same_as_a_row_a_series(tmp_path):
    frame = long_form()
    whole = made(wide(frame), id_column="id", features=["a", "b"])
    first = frame.drop_duplicates("id").index  # series keep their order, and their steps lose it
    mixed = pd.concat([frame.loc[first], frame.drop(first).sample(frac=1, random_state=0)])
    mixed.to_csv(tmp_path / "mine.csv", index=False)
    same(made(str(tmp_path / "mine.csv"), id_column="id", time_column="t"), whole)
    same(made(frame.drop(columns="t")), whole)  # called id, and in the order of its rows
    assert whole.description.labels == ["high", "low"]
    assert whole.description.more["features"] == ["a", "b"]


def test_a_series_may_be_one_list_of_steps_and_all_of_a_length_an_array():
    frame = long_form()
    rows = wide(frame)
    steps = [np.stack([a, b], 1).tolist() for a, b in zip(rows["a"], rows["b"], strict=True)]
    nested = Dataset.from_dict({"id": rows["id"], "kind": rows["kind"], "x": steps})
    same(made(nested, id_column="id"), made(rows, id_column="id"))
    cut = [one[:3] for one in steps]
    features = Features({"kind": ClassLabel(names=["high", "low"]), "x": Array2D((3, 2), "float32")})
    array = Dataset.from_dict({"kind": [int(k == "low") for k in rows["kind"]], "x": cut}, features=features)
    data = made(array)
    assert data.description.labels == ["high", "low"]
    values = np.concatenate([cut[k] for k in (data.source_row("train", k)[1] for k in range(21))])
    np.testing.assert_allclose(data.description.more["feature_center"], values.mean(0), rtol=1e-6)


def test_own_splits_are_used_as_they_are():
    frame = long_form()
    parts = {"train": frame[:60], "validation": frame[60:90], "test": frame[90:]}
    data = made(
        DatasetDict({k: Dataset.from_pandas(v, preserve_index=False) for k, v in parts.items()}), features=["a"]
    )
    for part, own in parts.items():
        assert data.rows(part)["id"][:] == own["id"].unique().tolist()
    assert data.description.input_size == 1


def test_groups_stay_together():
    frame = long_form()
    frame["who"] = frame["id"].str[1:].astype(int) // 3
    data = made(frame.drop(columns="t"), group_column="who")
    who = {part: set(data.rows(part)["who"]) for part in ("train", "validation", "test")}
    assert not (who["train"] & who["test"])
    assert not (who["train"] & who["validation"])
    assert not (who["validation"] & who["test"])
    assert data.description.more["features"] == ["a", "b"]


# ---- scales and numbers


@pytest.mark.parametrize("scaling", ["standard", "robust", "mean", "none"])
def test_features_are_scaled_by_the_training_part_alone(scaling):
    frame = long_form().drop(columns="t")
    data = made(frame, scaling=scaling)
    training = frame[frame["id"].isin(data.rows("train")["id"][:])][["a", "b"]].to_numpy()
    center, scale = {
        "standard": (training.mean(0), training.std(0)),
        "robust": (np.median(training, 0), np.subtract(*np.percentile(training, [75, 25], axis=0))),
        "mean": (0, np.abs(training).mean(0)),
        "none": (0, 1),
    }[scaling]
    for part in ("train", "test"):
        for key, (x, _) in by_id(data, part).items():
            expected = (frame[frame["id"] == key][["a", "b"]].to_numpy() - center) / scale
            np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(training.mean(0), frame[["a", "b"]].mean(), rtol=1e-6)


def test_what_never_varies_is_divided_by_nothing_and_said():
    frame = long_form().drop(columns="t").assign(b=0.1)
    with pytest.warns(UserWarning, match="the feature 'b' has one value in the whole training part"):
        assert made(frame).description.more["feature_scale"][1] == 1.0


def test_labels_with_a_fraction_are_numbers_to_be_predicted_and_others_where_it_is_asked_for():
    frame = long_form().drop(columns=["t", "kind"])
    frame["y"] = frame["id"].str[1:].astype(int) + 0.5
    data = made(frame, label_column="y")
    y = [int(name[1:]) + 0.5 for name in data.rows("train")["id"][:]]
    about = data.description
    assert about.classes == 0
    assert (about.constant, about.more["answer_scale"]) == pytest.approx((np.mean(y), np.std(y)))
    assert data.read("train", training=False).answers.tolist() == y
    whole = frame.assign(y=frame["y"] - 0.5)
    assert made(whole, label_column="y", split_seed=None).description.classes == 21
    assert made(whole, label_column="y", regression=True).description.classes == 0


# ---- what is missing, and irregular times


def test_missing_values_are_zeros_with_a_mask_and_times_are_gaps_in_steps():
    frame = long_form()
    frame["t"] = [f"2026-01-{2 ** int(t[-2:]):02d}" for t in frame["t"]]  # the 2nd, 4th, 8th, 16th ...
    frame = frame[frame["t"] <= "2026-01-16"]
    frame.loc[frame.index[1], "a"] = np.nan
    with pytest.raises(
        RnnZooError, match=r"series 's0' has no value of 'a' at step 1 .*; fill it, or give missing=mask"
    ):
        made(frame, id_column="id", time_column="t", split_seed=None).series("train")
    data = made(frame, id_column="id", time_column="t", missing="mask", split_seed=None)
    batch = next(iter(data.loader("train", training=False)))
    known = frame[frame["id"].isin(data.rows("train")["id"][:])]["a"]
    expected = (frame["a"][:3].to_numpy() - known.mean()) / known.std(ddof=0)
    np.testing.assert_allclose(batch.x[0, :3, 0], np.nan_to_num(expected), rtol=1e-5)
    assert batch.inputs["mask"][0, :3].tolist() == [[1, 1], [0, 1], [1, 1]]
    # gaps of 2, 4 and 8 days; the one in the middle of all is a step
    gaps = [g for n in (data.series("train").lengths) for g in (2, 4, 8)[: n - 1]]
    step = float(np.median(gaps))
    assert data.description.more["time_step"] == step * 86400
    torch.testing.assert_close(batch.inputs["dt"][0, :3, 0], torch.tensor([1, 2 / step, 4 / step]))
    torch.testing.assert_close(batch.inputs["time"][0, :3, 0], torch.tensor([1, 1 + 2 / step, 1 + 6 / step]))


def test_without_gaps_to_tell_of_a_batch_has_nothing_beside_its_steps():
    batch = next(iter(made(long_form().drop(columns="t")).loader("train", training=True)))
    assert batch.inputs is None


# ---- what is wrong


def with_cell(row, column, value):
    frame = long_form()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame


WRONG = {
    "a label that changes": (
        lambda: with_cell(4, "kind", "low"),
        {},
        r"series 's1' has 'high' in column 'kind', but 'low' in row 4 \(the first is row 0\): it must be the same",
    ),
    "an infinite value": (
        lambda: with_cell(4, "a", np.inf),
        {},
        r"series 's1' has inf of 'a' at step 1 .*: values must",
    ),
    "a step without an id": (
        lambda: with_cell(7, "id", None),
        {},
        r"row 7 \(the first is row 0\) has no id_column='id'",
    ),
    "a time twice": (
        lambda: with_cell(4, "t", "2026-01-01"),
        {"time_column": "t"},
        r"series 's1' has 2026-01-01 in time_column='t' twice, in rows 3 and 4 \(the first",
    ),
    "text in a feature": (
        lambda: with_cell(4, "a", "x").astype({"a": str}),
        {"features": ["a", "b"]},
        r"the feature 'a' must hold numbers, but has 'x' in row 4 \(the first",
    ),
    "text in a column that may be one": (
        lambda: with_cell(4, "a", "x").astype({"a": str}),
        {},
        r"column 'a' has numbers, but 'x' in row 4 \(the first is row 0\): say by features=",
    ),
    "no label": (lambda: with_cell(slice(0, 2), "kind", None), {}, r"series 's0' has no label in 'kind'"),
    "one class": (lambda: long_form().assign(kind="low"), {}, r"needs two classes or more, but the only one is 'low'"),
    "no id": (
        lambda: long_form().drop(columns="id"),
        {},
        r"a row is a step: id_column must say which series .* are t, a",
    ),
    "no such feature": (long_form, {"features": ["aa"]}, r"features='aa' is not among the columns; did you mean 'a'\?"),
    "the label as a feature": (long_form, {"features": ["a", "id"]}, r"features has 'id', which is the id, the time"),
    "no such label": (long_form, {"label_column": "kin"}, r"label_column='kin' is not among the columns; did you mean"),
    "no such id": (long_form, {"id_column": "idd"}, r"id_column='idd' is not among the columns; did you mean 'id'\?"),
    "a series without a step": (
        lambda: Dataset.from_dict({"a": [[1.0], []] * 9, "kind": ["x", "y"] * 9}),
        {},
        r"row 1 \(the first is row 0\) has no step in 'a'",
    ),
    "variables of unlike lengths": (
        lambda: Dataset.from_dict({"a": [[1.0, 2.0]] * 9, "b": [[1.0, 2.0]] * 8 + [[1.0]], "kind": list("xyxyxyxyx")}),
        {"split_seed": None, "split": (0.98, 0.01, 0.01)},
        r"row 8 \(the first is row 0\) has 2 steps of 'a', but 1 of 'b'|too few",
    ),
    "unlike numbers of features": (
        lambda: Dataset.from_dict({"x": [[[1.0, 2.0]]] * 4 + [[[1.0, 2.0], [1.0]]] * 14, "kind": ["x", "y"] * 9}),
        {"split_seed": None},
        r"row 4 \(the first is row 0\) has 1 features in 'x' where the first series has 2",
    ),
    "an unknown scaling": (
        long_form,
        {"scaling": "standart"},
        r"scaling='standart' is unknown; did you mean 'standard'",
    ),
    "a label that is no number": (
        lambda: long_form().assign(kind="x"),
        {"regression": True},
        r"series 's\d+' has the label 'x': it must be a finite number",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_a_line_with_its_series(what):
    give, settings, says = WRONG[what]
    frame = give()
    if what != "a time twice" and isinstance(frame, pd.DataFrame):
        frame = frame.drop(columns="t") if what != "no id" else frame
    with pytest.raises(RnnZooError, match=says) as told:
        made(frame, **settings).setup("fit")
    assert "\n" not in str(told.value)


def test_a_class_that_training_did_not_see_is_an_error_with_its_series_and_the_classes():
    frame = long_form().drop(columns="t")
    test = frame[90:].assign(kind="middle")
    data = made({"train": frame[:60], "validation": frame[60:90], "test": test})
    name = test["id"].iloc[0]
    says = rf"series '{name}' of test has the label 'middle', which is not among the 2 of training: high, low$"
    with pytest.raises(RnnZooError, match=says):
        data.setup("fit")


def test_a_test_part_of_other_features_is_an_error():
    rows = {"kind": ["x", "y"] * 9}
    two, three = ({**rows, "x": [[[1.0 * k] * width, [2.0] * width] for k in range(18)]} for width in (2, 3))
    data = made({"train": Dataset.from_dict(two), "test": Dataset.from_dict(three)})
    with pytest.raises(RnnZooError, match=r"the test part of .* has 3 features, but training had 2"):
        data.setup("fit")


def test_numbers_of_ids_and_labels_are_as_good_as_names():
    frame = long_form().drop(columns="t")
    frame = frame.assign(id=frame["id"].str[1:].astype(int), kind=(frame["kind"] == "low").astype(int) * 5 - 2)
    data = made(frame)
    assert data.description.labels == ["-2", "3"]
    assert data.rows("test").features["id"] == Value("int64")

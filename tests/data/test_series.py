import datetime
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from rnnzoo.data import SeriesData, Window
from rnnzoo.errors import RnnZooError

Write = Callable[[str, bytes | str], str]
Process = Callable[..., SimpleNamespace]

Y = np.round(np.sin(np.arange(500) / 7) + np.arange(500) * 0.01, 6)
SMALL: dict[str, Any] = {"horizon": 4, "context": 8, "season": 12, "batch_size": 8}


def table(values: Sequence[Any], times: Sequence[Any] | None = None, name: str = "value") -> str:
    head = name if times is None else f"time,{name}"
    rows = [str(v) for v in values] if times is None else [f"{t},{v}" for t, v in zip(times, values, strict=True)]
    return "\n".join([head, *rows]) + "\n"


def changed(row: int, value: Any, *more: tuple[int, Any]) -> list[Any]:
    values: list[Any] = list(Y)
    for k, v in ((row, value), *more):
        values[k] = v
    return values


def origins(loader: Any) -> list[int]:
    return [o for batch in loader for o in batch.origin.tolist()]


def test_the_bundled_series_is_half_hourly_demand() -> None:
    data = SeriesData()
    assert len(data.series) == 4032
    assert data.series[:3].tolist() == [22262, 21756, 22247]
    batch = next(iter(data.train_dataloader()))
    assert batch.past.shape == (32, 672)
    assert batch.future.shape == (32, 48)


def test_repeating_last_week_has_the_error_that_the_demo_compares_with() -> None:
    data = SeriesData()
    error = [(b.future - b.past[:, -336:-288]).abs().mean(1) for b in data.test_dataloader()]
    assert (torch.cat(error).mean() / data.scaling["seasonal_error"]).item() == pytest.approx(1.04, abs=0.005)


def test_scaling_is_of_the_training_part_alone(write: Write) -> None:
    later = np.where(np.arange(500) < 350, Y, 1e6 + Y)
    data = SeriesData(write("a.csv", table(list(later))), **SMALL)
    train = Y[:350]
    assert data.parts["train"] == range(350)
    assert data.scaling == pytest.approx(
        {"mean": train.mean(), "std": train.std(), "seasonal_error": np.abs(train[12:] - train[:-12]).mean()}
    )
    assert all(type(v) is float for v in data.scaling.values())


def test_windows_are_slices_of_the_series_unscaled(write: Write) -> None:
    data = SeriesData(write("a.csv", table(list(Y))), **SMALL)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            assert isinstance(batch, Window)
            for past, future, origin in zip(*batch, strict=True):
                assert torch.equal(past, torch.tensor(Y[origin - 20 : origin], dtype=torch.float64))
                assert torch.equal(future, torch.tensor(Y[origin : origin + 4], dtype=torch.float64))


@pytest.mark.parametrize("horizon", [1, 4, 30])
def test_the_futures_of_the_parts_do_not_overlap(horizon: int, write: Write) -> None:
    data = SeriesData(write("a.csv", table(list(Y))), **{**SMALL, "horizon": horizon})
    train, validation, test = (
        sorted(origins(loader)) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    )
    assert train == list(range(20, 350 - horizon + 1))
    assert validation == list(range(350, 405 - horizon + 1))
    assert test == list(range(405, 500 - horizon + 1))


def test_strides_thin_the_windows_out(write: Write) -> None:
    data = SeriesData(write("a.csv", table(list(Y))), stride=3, eval_stride=4, **SMALL)
    assert sorted(origins(data.train_dataloader())) == list(range(20, 347, 3))
    assert origins(data.test_dataloader()) == list(range(405, 497, 4))


def test_predict_reads_the_part_it_is_told_or_the_future(write: Write) -> None:
    path = write("a.csv", table(list(Y)))
    assert origins(SeriesData(path, **SMALL).predict_dataloader()) == list(range(405, 497))
    assert origins(SeriesData(path, predict_split="train", **SMALL).predict_dataloader()) == list(range(20, 347))
    (window,) = SeriesData(path, predict_split="future", **SMALL).predict_dataloader()
    assert window.origin.tolist() == [500]
    assert torch.equal(window.past[0], torch.tensor(Y[480:], dtype=torch.float64))
    assert window.future.isnan().all()
    assert window.future.shape == (1, 4)


def test_each_epoch_has_an_order_of_its_own_that_the_seed_fixes(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path, orders = write("a.csv", table(list(Y))), []
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        loader = SeriesData(path, **SMALL).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        orders.append(origins(loader))
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert orders[2] != orders[0] != orders[3]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(orders[3])


def test_two_processes_train_on_the_batches_of_one(write: Write, process: Process) -> None:
    path = write("a.csv", table(list(Y[:-1])))  # 326 training windows
    one, *two = (SeriesData(path, **SMALL) for _ in range(3))
    for rank, data in enumerate(two):
        data.trainer = process(2, rank)  # type: ignore[assignment]
    batches = [[sorted(b.origin.tolist()) for b in d.train_dataloader()] for d in (one, *two)]
    assert [sorted(a + b) for a, b in zip(batches[1], batches[2], strict=True)] == batches[0]
    assert len(one.train_dataloader().dataset) == 326  # type: ignore[arg-type]


def test_a_process_that_gets_no_window_of_the_last_batch_gets_one_without_a_future(
    write: Write, process: Process
) -> None:
    path, shares = write("a.csv", table(list(Y[:-9]))), []
    for rank in range(2):
        data = SeriesData(path, **SMALL)
        data.trainer = process(2, rank)  # type: ignore[assignment]
        shares.append(list(data.train_dataloader()))
    assert len(shares[0]) == len(shares[1])
    assert [b.future.isnan().all().item() for b in shares[1]] == [False] * (len(shares[1]) - 1) + [True]
    known = [origin for share in shares for b in share for origin in b.origin[~b.future.isnan().any(1)].tolist()]
    assert sorted(known) == list(range(20, 20 + 321))


@pytest.mark.parametrize("name", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_processes_evaluate_each_window_once(name: str, write: Write, process: Process) -> None:
    path, seen = write("a.csv", table(list(Y[:-3]))), []
    for rank in range(2):
        data = SeriesData(path, **SMALL)
        data.trainer = process(2, rank)  # type: ignore[assignment]
        seen.append([b.origin.tolist() for b in getattr(data, name)()])
    assert len(seen[0]) == len(seen[1])
    assert [o for part in seen for b in part for o in b] == origins(getattr(SeriesData(path, **SMALL), name)())


def test_what_processes_cannot_share_is_refused(write: Write, process: Process) -> None:
    data = SeriesData(write("a.csv", table(list(Y))), predict_split="future", **SMALL)
    data.trainer = process(3, 0)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match=r"^batch_size=8 is for all 3 processes"):
        data.train_dataloader()
    data.trainer = process(2, 0)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match="2 processes are more than the 1 windows of future"):
        data.predict_dataloader()
    data.trainer = process(2, 0, injects=True)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match="use_distributed_sampler=False"):
        data.test_dataloader()


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "saved"])
def test_any_kind_of_file_gives_the_same_values(kind: str, tmp_path: Path) -> None:
    times = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=k) for k in range(500)]
    rows = Dataset.from_dict({"when": times, "name": ["x"] * 500, "demand": Y})
    path = str(tmp_path / f"rows.{kind}")
    write = {"csv": rows.to_csv, "parquet": rows.to_parquet, "jsonl": rows.to_json, "saved": rows.save_to_disk}[kind]
    write(path, **({"date_format": "iso"} if kind == "jsonl" else {}))
    data = SeriesData(path, time_column="when", **SMALL)
    assert (data.series == Y).all()


def test_own_splits_are_used_in_the_order_of_time(tmp_path: Path) -> None:
    parts = {"test": Y[400:], "train": Y[:300], "validation": Y[300:400]}
    DatasetDict({k: Dataset.from_dict({"v": v}) for k, v in parts.items()}).save_to_disk(str(tmp_path / "d"))
    data = SeriesData(str(tmp_path / "d"), **SMALL)
    assert (data.series == Y).all()
    assert data.parts == {"train": range(300), "validation": range(300, 400), "test": range(400, 500)}


def test_numbers_come_out_of_a_csv_file_as_they_went_in(write: Write) -> None:
    values = [math.sin(k) * 10 ** (k % 9) for k in range(500)]
    assert SeriesData(write("a.csv", table(values)), **SMALL).series.tolist() == pytest.approx(values, rel=1e-15)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (table(changed(17, "")), {}, r"^target_column='value' of .* is nan in row 17 \(the first is row 0\): fill"),
        (
            table(changed(17, "NaN", (40, "inf"), (41, "inf"))),
            {},
            r"is nan in row 17 \(the first is row 0\), and 2 more",
        ),
        (table(changed(17, "-inf")), {}, "is -inf in row 17 "),
        (table(changed(17, "n/k")), {}, r"must hold numbers, but row 17 \(the first is row 0\) has 'n/k'$"),
        (table(changed(17, "x"), range(500)), {"target_column": "value"}, "but row 17 .* has 'x'"),
        (table([3.5] * 500), {}, "is constant, 3.5 throughout"),
        (
            table(list(Y), range(500)),
            {},
            "has more than one column of numbers, time, value: choose with target_column=",
        ),
        (table(list(Y)), {"target_column": "demand"}, "^target_column='demand' is not in .* it has value$"),
        (table(list(Y)), {"time_column": "when"}, "^time_column='when' is not in .* it has value$"),
        (table("ab" * 20, "cd" * 20), {}, "has no column of numbers: its columns are time, value"),
        ("", {}, "is an empty file"),
        ("value\n", {}, "no rows"),
        (table([1.0, 2.0]), {}, "has 2 values: too few, split leaves none for test"),
    ],
)
def test_a_series_that_cannot_be_used_is_one_line(
    content: str, options: dict[str, Any], message: str, write: Write
) -> None:
    with pytest.raises(RnnZooError, match=message) as caught:
        SeriesData(write("a.csv", content), **SMALL, **options).setup()
    assert "\n" not in str(caught.value)


def test_text_far_down_a_long_file_is_found(write: Write) -> None:
    values: list[Any] = [1.5, 2.5] * 60_000
    values[90_000] = "broken"
    with pytest.raises(RnnZooError, match=r"but row 90,000 .* has 'broken'"):
        SeriesData(write("a.csv", table(values))).setup()


HOURS = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=k) for k in range(500)]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            [*range(9), 8, *range(10, 500)],
            r"has 8 twice, in rows 8 and 9 \(the first is row 0\): keep one; if the rows",
        ),
        ([*range(9), 3, *range(10, 500)], r"has 3 twice, in rows 3 and 9 "),
        ([*HOURS[:6], HOURS[2], *HOURS[7:]], r"has 2020-01-01 02:00:00 twice, in rows 2 and 6 "),
        ([*HOURS[:6], "soon", *HOURS[7:]], "has 'soon' in row 6 .*, which is no date or time"),
        ([*range(9), "", *range(10, 500)], "is empty in row 9 "),
    ],
)
def test_times_that_come_twice_or_are_none_are_named(times: list[Any], message: str, write: Write) -> None:
    path = write("a.csv", table(list(Y), times))
    with pytest.raises(RnnZooError, match=f"^time_column='time' of .*{message}"):
        SeriesData(path, target_column="value", time_column="time", **SMALL).setup()
    SeriesData(path, target_column="value", **SMALL).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({name: 0}, f"^{name}=0 must be at least 1$") for name in ("horizon", "context", "season", "batch_size")),
        ({"stride": -1}, "^stride=-1 must be at least 1$"),
        ({"eval_stride": 0}, "^eval_stride=0 must be at least 1$"),
        ({"split": (0.7, 0.2, 0.2)}, "must be three fractions"),
        ({"predict_split": "all"}, "^predict_split='all' must be"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RnnZooError, match=message):
        SeriesData(**options)


def test_windows_that_do_not_fit_are_refused(write: Write) -> None:
    path = write("a.csv", table(list(Y)))
    with pytest.raises(RnnZooError, match=r"the validation part of .* has 55, too few for a window: .* horizon=56"):
        SeriesData(path, **{**SMALL, "horizon": 56}).val_dataloader()
    with pytest.raises(RnnZooError, match=r"the train part of .* has 350, too few for a window: context=340"):
        SeriesData(path, **{**SMALL, "context": 340}).train_dataloader()
    with pytest.raises(RnnZooError, match=r"^season=350 is longer than the 350 values"):
        _ = SeriesData(path, **{**SMALL, "season": 350}).scaling
    with pytest.raises(RnnZooError, match=r"batch_size=400 is larger than the 327 training windows .*=327 would do"):
        SeriesData(path, **{**SMALL, "batch_size": 400}).train_dataloader()
    with pytest.raises(RnnZooError, match=r"the future part of .* too few for a window"):
        SeriesData(path, predict_split="future", **{**SMALL, "context": 490}).predict_dataloader()


def test_a_series_without_a_scale_is_refused(write: Write) -> None:
    with pytest.raises(RnnZooError, match="repeats itself exactly after season=12"):
        _ = SeriesData(write("a.csv", table([0.0, 1.0, 2.0] * 100)), **SMALL).scaling
    with pytest.raises(RnnZooError, match=r"is constant in the training part, 1.0 throughout"):
        _ = SeriesData(write("b.csv", table([1.0] * 80 + [2.0] * 20)), **SMALL).scaling


@pytest.mark.parametrize("name", ["missing.csv", "./missing", "someone/something"])
def test_a_series_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(RnnZooError, match=f"^dataset='{name}'"):
        SeriesData(name).setup()


def test_a_file_of_no_known_kind_is_refused(write: Write) -> None:
    with pytest.raises(RnnZooError, match=r"is none of the files that are read: .csv, "):
        SeriesData(write("a.txt", "1\n2\n")).setup()


def noisy(level: float, unit: float) -> np.ndarray:
    return level + unit * np.random.default_rng(0).standard_normal(500)


def test_a_level_far_above_the_variation_is_kept(write: Write) -> None:
    """At 1e8 a float32 is exact to 8: the deviations of 3 would be gone."""
    data = SeriesData(write("a.csv", table([f"{v:.6f}" for v in noisy(1e8, 3)])), **SMALL)
    expected = np.round(noisy(0, 3), 6)
    for batch in data.test_dataloader():
        for past, future, origin in zip(*batch, strict=True):
            assert np.abs(past.numpy() - 1e8 - expected[origin - 20 : origin]).max() < 1e-6
            assert np.abs(future.numpy() - 1e8 - expected[origin : origin + 4]).max() < 1e-6
    train = expected[:350]
    assert data.scaling["seasonal_error"] == pytest.approx(np.abs(train[12:] - train[:-12]).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (noisy(1e17, 300), np.float64, r"has values up to 1e\+17, which are held to 16 at best: too coarse"),
        (noisy(1e8, 30), np.float32, r"has values up to 1e\+08, which are held to 8 at best: too coarse for differenc"),
        (noisy(1e8, 3e3), np.float32, None),
        (noisy(1e8, 3), np.float64, None),
        (noisy(1e39, 1e38), np.float64, None),
        (noisy(1e307, 3e307), np.float64, r"has values up to .*e\+308, too large to add up"),
    ],
)
def test_a_variation_that_the_numbers_cannot_hold_is_refused(
    values: np.ndarray, kind: Any, message: str | None, tmp_path: Path
) -> None:
    Dataset.from_dict({"v": values.astype(kind)}).to_parquet(str(tmp_path / "a.parquet"))
    data = SeriesData(str(tmp_path / "a.parquet"), **SMALL)
    if message is None:
        assert all(map(math.isfinite, data.scaling.values()))
    else:
        with pytest.raises(RnnZooError, match=message):
            _ = data.scaling


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_whole_numbers_that_a_float_cannot_hold_are_refused(kind: str, tmp_path: Path) -> None:
    """2 ** 53 + 1 is the first; they would become a constant series, or one that moves in steps of its own."""
    for level, fits in ((2**53 - 300, True), (10**17, False)):
        rows = Dataset.from_dict({"v": [level + k * k % 13 for k in range(200)]})
        (rows.to_csv if kind == "csv" else rows.to_parquet)(str(tmp_path / f"{level}.{kind}"))
        data = SeriesData(str(tmp_path / f"{level}.{kind}"), **SMALL)
        if fits:
            assert (data.series - level).tolist() == [k * k % 13 for k in range(200)]
        else:
            with pytest.raises(
                RnnZooError, match=r"has whole numbers up to 1e\+17, of which a float64 holds those to 2 "
            ):
                data.setup()


class Mean(LightningModule):
    """The smallest model that reads every window of every loader."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: Window, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self.seen.append([])
        self.seen[-1] += batch.origin.tolist()
        return ((batch.future - self.level) ** 2).mean()

    def predict_step(self, batch: Window, batch_idx: int) -> list[int]:
        return batch.origin.tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_shuffles_anew_each_epoch_and_predicts_in_order(write: Write, tmp_path: Path) -> None:
    data, model = SeriesData(write("a.csv", table(list(Y))), **SMALL), Mean()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, train_dataloaders=None, datamodule=data)
    assert [sorted(epoch) for epoch in model.seen] == [list(range(20, 347))] * 2
    assert model.seen[0] != model.seen[1]
    predicted = trainer.predict(model, datamodule=data)
    assert [o for batch in predicted or [] for o in batch] == list(range(405, 497))

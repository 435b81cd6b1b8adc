from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from rnnzoo.data.panel import Panel
from rnnzoo.data.sharing import Batches
from rnnzoo.data.windows import Origins, Windows

SERIES = np.arange(100, dtype=np.float64) ** 2


def windows_of(series: np.ndarray, past: int, horizon: int, origins: range) -> Windows:
    return Windows(Panel.of(series), past, horizon, Origins.of(origins))


def test_a_window_is_two_slices_of_the_series() -> None:
    windows = windows_of(SERIES, past=7, horizon=3, origins=range(10, 98, 5))
    batch = windows.__getitems__(range(len(windows)))
    assert batch.past.shape == (18, 7)
    assert batch.future.shape == (18, 3)
    for past, future, origin in zip(*batch, strict=True):
        assert past.tolist() == SERIES[origin - 7 : origin].tolist()
        assert future.tolist() == SERIES[origin : origin + 3].tolist()
    assert batch.origin.tolist() == list(range(10, 98, 5))
    assert (batch.past.dtype, batch.future.dtype, batch.origin.dtype) == (torch.float64, torch.float64, torch.int64)
    one = windows[4]
    assert all(torch.equal(a, b[4]) for a, b in zip(one, batch, strict=True))


def test_what_is_not_known_yet_is_nan() -> None:
    past, future, origin = windows_of(SERIES, past=4, horizon=3, origins=range(99, 101)).__getitems__([0, 1])
    assert past[1].tolist() == SERIES[-4:].tolist()
    assert future[0, 0] == SERIES[99]
    assert future.isnan().tolist() == [[False, True, True], [True, True, True]]
    assert origin.tolist() == [99, 100]
    assert not np.isnan(SERIES).any()


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "32-true", "64-true", "bf16-mixed"])
def test_a_trainers_precision_does_not_round_a_window(precision: Any) -> None:
    """Lightning rounds all the tensors that it finds; 257 is no bfloat16, and 1e8 + 1 no float32."""
    window = windows_of(1e8 + np.arange(300.0), past=280, horizon=3, origins=range(290, 295)).__getitems__([0, 1])
    trainer = Trainer(accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False)
    converted = trainer.precision_plugin.convert_input(window)
    there = trainer.strategy.batch_to_device(converted, torch.device("cpu"))
    assert [torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(window, there, strict=True)] == [True] * 3
    assert there.past[0, -1] == 1e8 + 289


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [4, 5, 7, 8, 33])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_processes_see_each_window_once_in_equally_many_batches(processes: int, count: int, batch_size: int) -> None:
    windows = windows_of(SERIES, past=5, horizon=2, origins=range(10, 10 + count))
    shares = [Batches(windows, batch_size, processes, rank) for rank in range(processes)]
    seen = [[b.origin.tolist() for b in (share[k] for k in range(len(share)))] for share in shares]
    assert [o for share in seen for batch in share for o in batch] == list(range(10, 10 + count))
    assert len({len(share) for share in seen}) == 1
    assert all(1 <= len(batch) <= batch_size + 1 for share in seen for batch in share)


def test_one_process_keeps_to_the_batch_size() -> None:
    batches = Batches(windows_of(SERIES, past=5, horizon=2, origins=range(10, 43)), 8)
    assert max(len(batches[k].origin) for k in range(len(batches))) <= 8

"""What many series are scaled by: each by itself, whatever lengths the others have."""

import numpy as np
import pytest

from rnnzoo.data import pieces
from rnnzoo.data.panel import Panel
from rnnzoo.data.scalers import Scaler
from rnnzoo.data.series_scales import SeriesScales


def of_numpy(values: np.ndarray, scaler: Scaler) -> float:
    if scaler == "seasonal":
        return float(np.nanmean(np.abs(values[3:] - values[:-3])))
    if scaler == "robust":
        return float(np.subtract(*np.nanquantile(values, [0.75, 0.25])))
    return float(np.nanstd(values) if scaler == "standard" else np.nanmean(np.abs(values)))


@pytest.mark.parametrize("scaler", ["seasonal", "standard", "robust", "mean"])
def test_each_of_many_series_has_a_scale_of_its_own_training_part(
    scaler: Scaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnzoo.data.series_scales.ROWS", 100)  # so that series of a length are several calls
    monkeypatch.setattr(pieces, "ROWS", 100)
    draw = np.random.default_rng(0)
    lengths = draw.choice([20, 31, 45, 300], 60)
    starts = np.append(0, np.cumsum(lengths))
    values = draw.normal(50, 9, starts[-1])
    values[draw.random(len(values)) < 0.05] = np.nan
    first, stop = lengths // 8, lengths // 2
    stop[::7] = 0  # without a training part: by its first 12 steps
    panel = Panel(values, starts, [str(k) for k in range(60)])
    made = SeriesScales(panel, first, stop, 3, 12, scaler, "x", 0.0)
    begins, ends = starts[:-1] + np.where(stop > 0, first, 0), starts[:-1] + np.where(stop > 0, stop, 12)
    parts = [values[a:b] for a, b in zip(begins, ends, strict=True)]
    assert made.units == pytest.approx([of_numpy(part, scaler) for part in parts], rel=1e-12)
    trained = np.concatenate([part for part, end in zip(parts, stop, strict=True) if end])
    scaling = made.scaling()
    assert scaling["mean"] == pytest.approx(np.nanmean(trained), rel=1e-12)
    assert scaling["std"] == pytest.approx(np.nanstd(trained), rel=1e-12)
    assert scaling["seasonal_error"] == pytest.approx(np.median([of_numpy(part, "seasonal") for part in parts]))

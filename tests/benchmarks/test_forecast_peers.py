"""What `benchmarks/forecast_peers.py` judges forecasts by, beside a hand's calculation; and its table."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUANTILES = [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def judge():
    spec = importlib.util.spec_from_file_location("forecast_figures", BENCHMARKS / "forecast_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def series():
    """Two series, of which the second has twice the first one's scale; the last two steps are held out."""
    first = [1.0, 2.0, 4.0, 3.0, 5.0, 8.0]  # |4 - 1| and |3 - 2|: 2 on average
    second = [0.0, 0.0, 4.0, -4.0, 1.0, 1.0]  # |4 - 0| and |-4 - 0|: 4
    names = ["b"] * len(first) + ["a"] * len(second)
    return pd.DataFrame({"unique_id": names, "ds": [*range(len(first)), *range(len(second))], "y": first + second})


def forecasts():
    """The two steps held out, from the last before them."""
    rows = [
        ("b", 3, 4, 4.0, 6.0, 7.0),
        ("b", 3, 5, 5.0, 7.0, 7.5),
        ("a", 3, 4, 0.0, 1.0, 2.0),
        ("a", 3, 5, 2.0, 3.0, 4.0),
    ]
    return pd.DataFrame(rows, columns=["unique_id", "cutoff", "place", "q0.1", "q0.5", "q0.9"])


def test_forecasts_are_judged_as_by_hand(judge):
    scale = judge.scales(series(), season=2, held_out=2)
    assert scale.to_dict() == {"b": 2.0, "a": 4.0}
    found = judge.figures(forecasts(), series(), scale, QUANTILES)
    assert found["MASE"] == pytest.approx((1 / 2 + 1 / 2 + 0 / 4 + 2 / 4) / 4)
    # pinball losses of the errors (1, -1, -2), (3, 1, 0.5), (1, 0, -1) and (-1, -2, -3)
    pinball = [(0.1 + 0.5 + 0.2) / 2, (0.3 + 0.5 + 0.45) / 2, (0.1 + 0 + 0.1) / 4, (0.9 + 1 + 0.3) / 4]
    assert found["CRPS"] == pytest.approx(2 * sum(pinball) / 3 / 4)
    assert found["coverage"] == 2 / 4  # 5 in [4, 7] and 1 in [0, 2]; 8 above 7.5, 1 below 2
    assert found["width"] == pytest.approx((3 / 2 + 2.5 / 2 + 2 / 4 + 2 / 4) / 4)


def test_what_is_held_out_is_no_part_of_the_scale(judge):
    later = series()
    later.loc[[4, 5], "y"] = 1000.0
    assert judge.scales(later, season=2, held_out=2).to_dict() == {"b": 2.0, "a": 4.0}
    assert judge.scales(later, season=2, held_out=0)["b"] > 100


def test_a_missing_forecast_or_another_window_is_an_error(judge):
    scale = judge.scales(series(), season=2, held_out=2)
    missing = forecasts()
    missing.loc[2, "q0.5"] = np.nan
    with pytest.raises(ValueError, match=r"no forecast at .*'unique_id': 'a'"):
        judge.figures(missing, series(), scale, QUANTILES)
    asked = {"held_out": 2, "horizon": 2, "step": 1, "what": "it"}
    assert judge.check_windows(forecasts(), series(), **asked) == 2
    with pytest.raises(ValueError, match="it has 3 steps ahead where 4 are asked for"):
        judge.check_windows(forecasts()[1:], series(), **asked)
    with pytest.raises(ValueError, match="not in both"):
        judge.check_windows(forecasts().assign(cutoff=2), series(), **asked)


def content(ours, theirs):
    """A result with three seeds of each."""
    runs, took = {}, {"validation_seconds": 1.0, "windows": 1000, "steps": 10, "windows_judged": 2, "every": 1}
    for model, mases, seconds in (("rnnzoo gru", ours, 2.0), ("neuralforecast GRU", theirs, 5.0)):
        for seed, mase in enumerate(mases):
            judged = {"MASE": mase, "CRPS": mase / 2, "coverage": 0.8, "width": 1.0, "seconds": seconds + seed, **took}
            runs[f"data/{model}/{seed}"] = {"data": "data", "model": model, "seed": seed, **judged}
    sizes = ("horizon", "context", "season", "batch_size", "validation_steps", "test_steps", "series", "steps")
    about = {"processor": "a processor", "day": "2026-01-01", "versions": {"torch": "2"}}
    return {"about": about, "data": {"data": dict.fromkeys(sizes, 1)}, "runs": runs}


def test_the_table_says_what_is_worse_than_a_peer_and_the_ratio_of_the_times(judge):
    text = judge.table(content([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]))
    assert "| rnnzoo `gru` | 0.600 ± 0.100 | 0.300 ± 0.050 | 80.0 ± 0.0 |" in text
    assert "MASE yes, CRPS yes; 0.40x (0.25x to 0.50x) |" in text  # 1, 2, 3 seconds beside 4, 5, 6
    worse = judge.table(content([0.7, 0.8, 0.9], [0.5, 0.6, 0.7]))
    assert "MASE NO, CRPS NO" in worse


def test_the_table_in_the_readme_is_that_of_the_result(judge):
    result = json.loads((BENCHMARKS / "results/forecast_peers.json").read_text(encoding="utf-8"))
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- forecast_peers -->\n")
    found, _, _ = rest.partition("<!-- /forecast_peers -->\n")
    assert found == judge.table(result)

"""The soak's verdict: slopes and errors are scipy's, and what rises is seen."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import linregress


@pytest.fixture(scope="module")
def soak():
    path = Path(__file__).parents[2] / "benchmarks/soak.py"
    spec = importlib.util.spec_from_file_location("soak", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


def test_the_slope_and_its_error_are_those_of_a_line_by_least_squares(soak):
    hours, values = np.linspace(0.2, 1, 40), np.random.default_rng(0).normal(700, 2, 40)
    line = linregress(hours, values)
    np.testing.assert_allclose(soak.slope(hours, values), (line.slope, line.stderr))


@pytest.mark.parametrize(("memory", "files"), [(0, 0), (30, 0), (0, 5)])
def test_memory_and_files_that_rise_are_seen(soak, memory, files):
    noise = np.random.default_rng(1).normal(0, 2, 100)
    samples = [(36.0 * k, 700 + memory * k / 100 + noise[k], 8 + round(files * k / 100)) for k in range(100)]
    found = soak.judge(samples)
    assert found["resident_mib"]["flat"] == (memory == 0)
    assert found["open_files"]["flat"] == (files == 0)


def test_what_is_kept_once_at_the_beginning_does_not_count(soak):
    samples = [(36.0 * k, 700.0 if k > 10 else 300.0 + 40 * k, 8) for k in range(100)]
    assert soak.judge(samples)["resident_mib"]["flat"]

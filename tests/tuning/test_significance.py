"""What a few seeds say, beside values worked out by hand and by numpy."""

import numpy as np
import pytest
from scipy import stats

from rnnzoo.tuning.significance import against_best, holm, mean_and_interval, verdicts


def test_the_interval_of_five_values_is_that_of_students_t():
    mean, half = mean_and_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    assert half == pytest.approx(2.776445 * np.sqrt(2.5 / 5), rel=1e-6)  # t of 4 degrees, from a printed table
    assert np.isnan(mean_and_interval([1.0])[1])


def test_holms_correction_multiplies_the_smallest_most_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_welchs_t_is_that_of_its_formula():
    one, other = [1.0, 1.2, 0.9, 1.1], [1.5, 2.5, 2.0]
    a, b = np.var(one, ddof=1) / 4, np.var(other, ddof=1) / 3
    t, degrees = (np.mean(other) - np.mean(one)) / np.sqrt(a + b), (a + b) ** 2 / (a**2 / 3 + b**2 / 2)
    best, p_values = against_best({"x": other, "y": one}, sign=1)
    assert best == "y"
    assert p_values == {"x": pytest.approx(2 * stats.t.sf(t, degrees))}


def test_the_verdicts_say_which_seeds_do_not_suffice():
    values = {"gru": [1.0, 1.1, 0.9, 1.05], "lstm": [1.02, 1.12, 0.95, 1.0], "rnn": [3.0, 3.1, 2.9, 3.05]}
    near, far = verdicts(values, sign=1)
    assert near.startswith("4 seeds do not tell gru from lstm (p = 0.")
    assert far.startswith("gru is better than rnn (p = ")
    assert verdicts(values, sign=-1)[0].startswith("rnn is better than gru")
    assert verdicts({"a": [1.0], "b": [2.0]}, 1) == ["1 seed does not tell a from b: nothing is known of the spread"]
    assert verdicts({"a": [1.0, 1.0], "b": [1.0, 1.0]}, 1) == ["2 seeds do not tell a from b (p = 1)"]
    assert verdicts({"a": [1.0]}, 1) == []

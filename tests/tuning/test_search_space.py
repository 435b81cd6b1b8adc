"""Search spaces as they stand in a config."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.search_space import arguments, read_space


def test_ranges_and_choices_become_distributions_of_optuna():
    space = read_space(
        {
            "model.learning_rate": {"low": "1e-4", "high": 1e-2, "log": True},  # PyYAML reads 1e-4 as text
            "model.cell": ["lstm", "gru"],
            "model.hidden_size": {"low": 64, "high": 500, "step": 64},
            "model.num_layers": {"low": 1, "high": 3},
            "model.dropout": {"low": 0, "high": 0.5, "step": 0.25},
            "model.transforms": [None, {"Zoneout": {"p": 0.1}}],
        }
    )
    assert space.distributions == {
        "model.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "model.cell": CategoricalDistribution(["lstm", "gru"]),
        "model.hidden_size": IntDistribution(64, 448, step=64),
        "model.num_layers": IntDistribution(1, 3),
        "model.dropout": FloatDistribution(0.0, 0.5, step=0.25),
        "model.transforms": CategoricalDistribution([None, '{"Zoneout": {"p": 0.1}}']),
    }
    trial = optuna.trial.FixedTrial({name: values[-1] for name, values in space.extremes().items()})
    assert arguments(space.sample(trial)) == [
        "--model.learning_rate=0.01",
        "--model.cell=gru",
        "--model.hidden_size=448",
        "--model.num_layers=3",
        "--model.dropout=0.5",
        '--model.transforms={"Zoneout": {"p": 0.1}}',
    ]
    assert arguments({"model.transforms": None, "model.bidirectional": True}) == [
        "--model.transforms=null",
        "--model.bidirectional=true",
    ]


def test_a_setting_that_is_a_float_has_a_range_of_floats():
    given = {"model.noise": {"low": 0, "high": 1}, "model.num_layers": {"low": 1, "high": 3}}
    assert read_space(given, {"model.noise": 0.0, "model.num_layers": 1}).distributions == {
        "model.noise": FloatDistribution(0.0, 1.0),
        "model.num_layers": IntDistribution(1, 3),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"tune\.space is missing: a config has it as tune: \{space: "),
        ([], r"tune\.space must name settings, not be \[\]"),
        ({"lr": [1]}, r"tune\.space\.lr is no setting; it begins with one of model\., data\., trainer\."),
        ({"modle.cell": [1]}, r"tune\.space\.modle\.cell is no setting; did you mean 'model'\?"),
        ({"model.cell": "lstm"}, r"tune\.space\.model\.cell is 'lstm'; it takes a list of choices, or a range"),
        ({"model.cell": []}, r"tune\.space\.model\.cell must have at least one choice"),
        ({"model.cell": ["gru", "gru"]}, r"tune\.space\.model\.cell has 'gru' twice"),
        ({"model.x": {"low": 1, "hihg": 2}}, r"tune\.space\.model\.x has an unknown key 'hihg'; did you mean 'high'\?"),
        ({"model.x": {"low": 1}}, r"tune\.space\.model\.x has no 'high'"),
        ({"model.x": {"low": 2, "high": 1}}, r"tune\.space\.model\.x: low=2 is above high=1"),
        ({"model.x": {"low": 0, "high": 1, "log": True}}, r"tune\.space\.model\.x: low=0 must be above 0 where log"),
        ({"model.x": {"low": 1, "high": 2, "log": True, "step": 1}}, r"has log and step=1; give one"),
        ({"model.x": {"low": 1, "high": 2, "step": 0}}, r"step=0 must be above 0"),
        ({"model.x": {"low": "few", "high": 2}}, r"tune\.space\.model\.x\.low is 'few'; it takes a number"),
        ({"model.x": {"low": 1, "high": True}}, r"tune\.space\.model\.x\.high is True; it takes a number"),
        ({"model.x": {"low": 1, "high": 2, "log": "yes"}}, r"tune\.space\.model\.x\.log is 'yes'; it takes true or"),
        ({"model.x": {"choices": [1], "low": 1}}, r"tune\.space\.model\.x has choices and low; give one"),
    ],
)
def test_a_space_that_cannot_be_searched_is_said_in_one_line(given, said):
    with pytest.raises(RnnZooError, match=said) as error:
        read_space(given)
    assert "\n" not in str(error.value)

"""What a cell's constants cannot be: one line with the argument, its value and what would be right."""

import math

import pytest

from rnnzoo import RNN, RnnZooError, create

AT_LEAST_ONE = "must be a whole number of at least 1, not"


@pytest.mark.parametrize(
    ("cell", "constants", "message"),
    [
        # sizes and counts
        ("cfc", {"backbone_units": 0}, f"backbone_units {AT_LEAST_ONE} 0"),
        ("fast_slow_rnn", {"slow_size": 2.5}, f"slow_size {AT_LEAST_ONE} 2.5"),
        ("fastgrnn", {"rank_ih": 0}, f"rank_ih {AT_LEAST_ONE} 0"),
        ("fastgrnn", {"rank_hh": "x"}, f"rank_hh {AT_LEAST_ONE} 'x'"),
        ("lmu", {"order": 0}, f"order {AT_LEAST_ONE} 0"),
        ("lstmp", {"proj_size": 0}, f"proj_size {AT_LEAST_ONE} 0"),
        ("ltc", {"unfolds": -1}, f"unfolds {AT_LEAST_ONE} -1"),
        ("mc_lstm", {"mass_size": 7}, "mass_size of mc_lstm must be at most input_size=3, not 7"),
        ("mogrifier_lstm", {"rounds": -1}, "rounds of mogrifier_lstm must be 0 or more, not -1"),
        ("orthogonal_rnn", {"negative": 9}, "negative of orthogonal_rnn must lie in 0 to 8 units, not 9"),
        ("rhn", {"depth": 0}, f"depth {AT_LEAST_ONE} 0"),
        ("rhn", {"depth": 1.0}, "argument 'depth' of cell 'rhn' must be int, not 1.0"),
        ("s4d", {"state_size": 7}, "state_size of s4d must be even, for its numbers come in pairs, not 7"),
        ("slstm", {"heads": 3}, "heads of slstm must divide hidden_size=8, which 3 does not"),
        # lists and names
        ("clockwork_rnn", {"periods": 3}, "periods must be a list of numbers such as [1, 2, 4], not 3"),
        ("clockwork_rnn", {"periods": []}, "periods must be 1 to 8 (hidden_size) ascending numbers, not []"),
        ("clockwork_rnn", {"periods": [4, 2]}, "periods must be 1 to 8 (hidden_size) ascending numbers, not [4, 2]"),
        ("clockwork_rnn", {"periods": [1.5]}, f"a period {AT_LEAST_ONE} 1.5"),
        ("fast_slow_rnn", {"fast": "lsmt"}, "unknown cell 'lsmt'; did you mean 'lstm'?"),
        ("ligru", {"norm": "bach"}, "norm of ligru must be 'batch', 'layer' or 'none', not 'bach'"),
        ("qrnn", {"pooling": ""}, "pooling of qrnn must be 'f', 'fo' or 'ifo', not ''"),
        ("cfc", {"mode": "pure"}, "cell 'cfc' has no argument 'mode'; it has: "),
        # a step of an equation that goes nowhere, or backwards
        ("antisymmetric_rnn", {"epsilon": 0.0}, "epsilon of antisymmetric_rnn must be above 0, not 0.0"),
        ("cornn", {"dt": 0.0}, "dt of cornn must be above 0, not 0.0"),
        ("ctrnn", {"dt": math.inf}, "dt of ctrnn must be finite, not inf"),
        ("gated_antisymmetric_rnn", {"epsilon": -1}, "epsilon of gated_antisymmetric_rnn must be above 0, not -1"),
        ("lem", {"dt": -0.5}, "dt of lem must be above 0, not -0.5"),
        ("lipschitz_rnn", {"epsilon": 0}, "epsilon of lipschitz_rnn must be above 0, not 0"),
        ("unicornn", {"dt": 0.0}, "dt of unicornn must be above 0, not 0.0"),
        # numbers with a range
        ("cornn", {"epsilon": -1.0}, "epsilon of cornn must be at least 0, not -1.0"),
        ("cornn", {"gamma": math.inf}, "gamma of cornn must be finite, not inf"),
        ("gated_antisymmetric_rnn", {"gamma": -1.0}, "gamma of gated_antisymmetric_rnn must be at least 0, not -1.0"),
        ("lipschitz_rnn", {"beta_a": 1.5}, "beta_a of lipschitz_rnn must be in [0, 1], not 1.5"),
        ("lipschitz_rnn", {"gamma_w": -1.0}, "gamma_w of lipschitz_rnn must be at least 0, not -1.0"),
        ("phased_lstm", {"ratio": 0.0}, "ratio of phased_lstm must be in (0, 1], not 0.0"),
        ("scrn", {"alpha": -1.0}, "alpha of scrn must be in [0, 1], not -1.0"),
        ("unicornn", {"alpha": -1.0}, "alpha of unicornn must be at least 0, not -1.0"),
        # what torch could not draw the first weights from
        ("ema", {"max_steps": math.inf}, "max_steps of ema must be finite, not inf"),
        ("indrnn", {"max_gain": math.inf}, "gains of indrnn must be 0 <= min_gain <= max_gain, not 0.0 and inf"),
        ("lipschitz_rnn", {"init_std": -1.0}, "init_std of lipschitz_rnn must be at least 0, not -1.0"),
        ("lru", {"max_phase": math.inf}, "max_phase of lru must be finite, not inf"),
        ("s5", {"step_scale": math.inf}, "step_scale of s5 must be finite, not inf"),
        # nan passes for whatever it is compared with
        ("ema", {"max_steps": math.nan}, "argument 'max_steps' of cell 'ema' must be a number, not nan"),
        ("janet", {"beta": math.nan}, "argument 'beta' of cell 'janet' must be a number, not nan"),
        ("layernorm_lstm", {"eps": math.nan}, "argument 'eps' of cell 'layernorm_lstm' must be a number, not nan"),
    ],
)
def test_a_constant_that_cannot_be_is_named_with_its_value(cell, constants, message):
    for make in (create, RNN):
        with pytest.raises(RnnZooError) as caught:
            make(cell, 3, 8, **constants)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)

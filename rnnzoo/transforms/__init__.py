"""What every cell can be given from outside: transforms, each a cell around a cell, and weight drop."""

from rnnzoo.transforms.around import Around
from rnnzoo.transforms.dilated import Dilated
from rnnzoo.transforms.gates import LayerNormGates, MultiplicativeIntegration
from rnnzoo.transforms.initial_state import LearnedInitialState
from rnnzoo.transforms.named import named
from rnnzoo.transforms.recurrent_dropout import RecurrentDropout
from rnnzoo.transforms.resets import Resets
from rnnzoo.transforms.variational import VariationalDropout
from rnnzoo.transforms.weight_drop import weight_drop
from rnnzoo.transforms.zoneout import Zoneout

__all__ = [
    "Around",
    "Dilated",
    "LayerNormGates",
    "LearnedInitialState",
    "MultiplicativeIntegration",
    "RecurrentDropout",
    "Resets",
    "VariationalDropout",
    "Zoneout",
    "named",
    "weight_drop",
]

"""Truncated backpropagation through time: the state goes on from batch to batch, its gradient does not."""

from typing import Any

from torch.utils._pytree import tree_map

from rnnzoo.errors import RnnZooError
from rnnzoo.rnn import RNN


class CarriedState:
    """The state that a stream of batches is read with, one for each stage, so that validation never sees training's.

    Raises:
        RnnZooError: the RNN is bidirectional: a backward direction starts at a sequence's end, not where the last
            batch ended.
    """

    def __init__(self, rnn: RNN):
        if rnn.bidirectional:
            raise RnnZooError("state can be carried between batches in one direction only, not with bidirectional=True")
        self._states: dict[str, Any] = {}

    def __getitem__(self, stage: str) -> Any:
        """The state at the end of the last batch of `stage`, or None at its start."""
        return self._states.get(stage)

    def __setitem__(self, stage: str, hx: Any) -> None:
        """Keeps `hx` for the next batch of `stage`, cut off from the graph."""
        self._states[stage] = tree_map(lambda a: a.detach(), hx)

    def reset(self, stage: str) -> None:
        """Forgets the state of `stage`, as at the border of an epoch."""
        self._states.pop(stage, None)

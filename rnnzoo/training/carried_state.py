"""Truncated backpropagation through time: the state goes on from batch to batch, its gradient does not."""

from typing import Any

from torch import Tensor

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
        self._states[stage] = _detached(hx)

    def put_back(self, stage: str, hx: Any) -> None:
        """Goes on with `hx`, in plain tuples and lists, where an interrupted run left `stage`."""
        self._states[stage] = hx

    def reset(self, stage: str) -> None:
        """Forgets the state of `stage`, as at the border of an epoch."""
        self._states.pop(stage, None)

    def snapshot(self) -> dict[str, Any]:
        """The state of every stage, for `restore`."""
        return dict(self._states)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes back to the states of an earlier `snapshot`."""
        self._states = dict(snapshot)


def _detached(hx: Any) -> Any:
    """A state in torch's shapes, cut off from the graph; a tree_map would cost a small step several percent."""
    if isinstance(hx, Tensor):
        return hx.detach()
    cut = [_detached(a) for a in hx]
    return type(hx)(*cut) if isinstance(hx, tuple) else cut

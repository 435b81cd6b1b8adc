"""From the states that an encoder ends in to those that a decoder starts from."""

from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo import states
from rnnzoo.rnn import RNN

_CARRIED = ("h", "c")  # besides a state's first field: others are normalisers, clocks and the like


class Bridge(nn.Module):
    """Hands the states of the encoder's layers on to the decoder's, the last layer's to the last.

    A state like the encoder's goes over as it is. Where the cells, the sizes or the number of directions differ, a
    linear map makes the first field, `h` and `c` of the fields of the same name, or the first from the first; a field
    that is no vector of real numbers, and any other, starts as the decoder's cell starts it.

    Args:
        encoder: whose states come; in one direction or both.
        decoder: whose states are made; in one direction.
    """

    def __init__(self, encoder: RNN, decoder: RNN):
        super().__init__()
        self.maps = nn.ModuleDict()
        self._encoder, self._decoder = (encoder,), (decoder,)  # in tuples: they are no parts of this module
        theirs, ours = _examples(encoder), _examples(decoder)
        D = len(encoder._cells[0])
        self._plan: list[dict[str, str] | None] = []  # of each layer None for the state as it is, else whose field
        for k, new in enumerate(ours):
            old = theirs[D * self._layer(k)]
            if D == 1 and _alike(old, new):
                self._plan.append(None)
                continue
            sources: dict[str, str] = {}
            for i, field in enumerate(new._fields):
                source = field if field in old._fields else old._fields[0] if i == 0 else None
                if source is None or not (i == 0 or field in _CARRIED):
                    continue
                width = getattr(old, source).shape[-1]
                if _is_vector(getattr(old, source)) and _is_vector(getattr(new, field)):
                    self.maps[f"{k}_{field}"] = nn.Linear(D * width, getattr(new, field).shape[-1])
                    sources[field] = source
            self._plan.append(sources)

    @property
    def connected(self) -> bool:
        """Whether anything of the encoder's state reaches the decoder's."""
        return any(sources is None or sources for sources in self._plan)

    def _layer(self, k: int) -> int:
        """The encoder's layer for the decoder's layer k."""
        deep, own = self._encoder[0].num_layers, self._decoder[0].num_layers
        return max(k + deep - own, 0)

    def forward(self, hx: Any) -> Any:
        """The decoder's state to start from, from the encoder's final one, both in torch's shapes."""
        cells, own = self._encoder[0]._cells, self._decoder[0]._cells
        D = len(cells[0])
        finals = states.split(cells, hx)
        like = next(a for state in finals for a in state)
        starts = states.initial(own, len(like), _real(like))
        news = []
        for k, start in enumerate(starts):
            olds = finals[D * self._layer(k) : D * (self._layer(k) + 1)]
            sources = self._plan[k]
            if sources is None:
                news.append(type(start)(*olds[0]))
                continue
            mapped = {
                field: self.maps[f"{k}_{field}"](torch.cat([getattr(old, source) for old in olds], -1))
                for field, source in sources.items()
            }
            news.append(start._replace(**{field: a.to(getattr(start, field).dtype) for field, a in mapped.items()}))
        return states.join(own, news)


def _examples(rnn: RNN) -> list[Any]:
    """The state of every cell for a batch of one, layer by layer."""
    return states.initial(rnn._cells, 1, torch.zeros(1))


def _alike(a: Any, b: Any) -> bool:
    return a._fields == b._fields and all(x.shape == y.shape and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def _is_vector(a: Tensor) -> bool:
    return a.dim() == 2 and a.is_floating_point()


def _real(a: Tensor) -> Tensor:
    return a.real if a.is_complex() else a

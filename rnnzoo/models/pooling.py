"""What is said of a whole sequence, from what an RNN says at each of its steps."""

import torch
from torch import Tensor, nn

from rnnzoo.errors import RnnZooError, did_you_mean

POOLINGS = ("last", "mean", "max", "concat", "attention")


class Pooling(nn.Module):
    """One vector for each sequence; what lies behind a sequence's end has no effect.

    "last" is the forward half at the last step and the backward half at the first, "mean" and "max" go over the steps,
    "concat" is all three side by side (Howard & Ruder 2018), and "attention" is a mean weighed by
    exp(v . tanh(W y + b)) (Yang et al. 2016).

    Args:
        kind: one of `POOLINGS`.
        size: H, the features of a step.
        both: whether the second half of them reads from the end.

    Raises:
        RnnZooError: a kind that there is not.
    """

    def __init__(self, kind: str, size: int, both: bool = False) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise RnnZooError(
                f"pooling {kind!r} is unknown{did_you_mean(kind, POOLINGS)} there are: {', '.join(POOLINGS)}"
            )
        self.kind, self.both = kind, both
        self.output_size = 3 * size if kind == "concat" else size
        if kind == "attention":
            self.key, self.query = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def forward(self, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, output_size) of y (B, T, H), whose sequences have `lengths` (B,) int64 of the T steps; all by default."""
        if lengths is None:
            lengths = torch.full((y.shape[0],), y.shape[1], device=y.device)
        if self.kind == "last":
            return self._last(y, lengths)
        inside = (torch.arange(y.shape[1], device=y.device) < lengths[:, None])[..., None]
        if self.kind == "mean":
            return _mean(y, inside, lengths)
        if self.kind == "max":
            return _max(y, inside)
        if self.kind == "concat":
            return torch.cat([self._last(y, lengths), _max(y, inside), _mean(y, inside, lengths)], -1)
        y = y.masked_fill(~inside, 0)
        score = self.query(self.key(y).tanh()).masked_fill(~inside, -torch.inf)
        return (score.softmax(1) * y).sum(1)

    def _last(self, y: Tensor, lengths: Tensor) -> Tensor:
        last = y.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, y.shape[-1]))[:, 0]
        if not self.both:
            return last
        half = y.shape[-1] // 2
        return torch.cat([last[:, :half], y[:, 0, half:]], -1)


def _mean(y: Tensor, inside: Tensor, lengths: Tensor) -> Tensor:
    return y.masked_fill(~inside, 0).sum(1) / lengths[:, None]


def _max(y: Tensor, inside: Tensor) -> Tensor:
    return y.masked_fill(~inside, -torch.inf).amax(1)

"""A linear-chain conditional random field: the best and the likely sequences of tags, whatever gives their scores."""

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import at_least_one
from rnnzoo.errors import RnnZooError


class LinearChainCRF(nn.Module):
    """Lafferty, McCallum & Pereira 2001; over a recurrent network's scores as Lample et al. 2016.

    ::

        score(y) = start[y_1] + Σ_t emissions[t, y_t] + Σ_t transitions[y_{t-1}, y_t] + end[y_T]
        log p(y) = score(y) - log Z          log Z = log Σ_y exp score(y), over all K^T sequences of tags

    Everything here takes `lengths`; what lies behind a sequence's end has no effect, to the last bit. A step takes
    B K² numbers. Scores are in float32 at least.

    Args:
        tags: K.
        forbidden: (K + 1, K + 1) of bool, which `decode` never takes: from the tag i to the tag j; in the last row and
            column, as the first and as the last tag. Likelihoods allow them, for data may have them all the same.

    Raises:
        RnnZooError: `tags` below 1, or `forbidden` of another shape.
    """

    forbidden: Tensor

    def __init__(self, tags: int, forbidden: Tensor | None = None):
        super().__init__()
        self.tags = at_least_one("tags", tags)
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.start, self.end = nn.Parameter(torch.zeros(tags)), nn.Parameter(torch.zeros(tags))
        forbidden = torch.zeros(tags + 1, tags + 1, dtype=torch.bool) if forbidden is None else forbidden
        if forbidden.shape != (tags + 1, tags + 1):
            raise RnnZooError(f"forbidden must be ({tags + 1}, {tags + 1}) for {tags} tags, not {_shape(forbidden)}")
        self.register_buffer("forbidden", forbidden, persistent=False)

    def log_likelihood(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """log p of sequences of tags, (B,), in nats.

        Args:
            emissions: (B, T, K), the score of each tag at each step.
            tags: (B, T) int64; any number behind a sequence's end.
            lengths: (B,) int64, 1 to T.
        """
        return self.score(emissions, tags, lengths) - self.log_partition(emissions, lengths)

    def score(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """The score of one sequence of tags, (B,); arguments as those of `log_likelihood`."""
        emissions, inside = self._checked(emissions, lengths)
        tags = tags.where(inside, 0)
        steps = emissions.gather(-1, tags[..., None])[..., 0].where(inside, 0.0)
        passed = self.transitions[tags[:, :-1], tags[:, 1:]].where(inside[:, 1:], 0.0)
        last = tags.gather(1, lengths[:, None] - 1)[:, 0]
        return self.start[tags[:, 0]] + steps.sum(1) + passed.sum(1) + self.end[last]

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """log Z, (B,): of the scores of all sequences; arguments as those of `log_likelihood`."""
        emissions, inside = self._checked(emissions, lengths)
        return (self._forward(emissions, inside)[-1] + self.end).logsumexp(-1)

    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """p(y_t = k), (B, T, K), by the forward and backward recursions; 0 behind a sequence's end."""
        emissions, inside = self._checked(emissions, lengths)
        forward = self._forward(emissions, inside)
        ahead = [self.end.expand_as(forward[0])]  # of what follows on tag k at a step, log Σ exp
        for here, t in zip(emissions.flip(1).unbind(1)[:-1], range(len(forward) - 1, 0, -1), strict=True):
            through = (self.transitions + (here + ahead[-1])[:, None, :]).logsumexp(-1)
            ahead.append(through.where(inside[:, t, None], ahead[-1]))
        joint = torch.stack(forward, 1) + torch.stack(ahead[::-1], 1)
        total = (forward[-1] + self.end).logsumexp(-1)
        return (joint - total[:, None, None]).exp().where(inside[..., None], 0.0)

    def decode(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The sequence of tags with the highest score (Viterbi 1967), (B, T) int64; 0 behind a sequence's end.

        It takes nothing that is forbidden, unless there is no other way. Arguments as those of `log_likelihood`.
        """
        with torch.no_grad():
            emissions, inside = self._checked(emissions, lengths)
            # a sum of T of these is finite, and below any other score
            lowest = torch.finfo(emissions.dtype).min / (4 * (emissions.shape[1] + 1))
            passing = self.transitions.masked_fill(self.forbidden[:-1, :-1], lowest)
            best = self.start.masked_fill(self.forbidden[-1, :-1], lowest) + emissions[:, 0]
            same, came_from = torch.arange(self.tags, device=best.device).expand_as(best), []
            for here, alive in zip(emissions.unbind(1)[1:], inside.unbind(1)[1:], strict=True):
                higher, previous = (best[:, :, None] + passing).max(1)
                best = (higher + here).where(alive[:, None], best)
                came_from.append(previous.where(alive[:, None], same))  # behind the end a path stays where it is
            tag = (best + self.end.masked_fill(self.forbidden[:-1, -1], lowest)).argmax(-1)
            path = [tag]
            for previous in reversed(came_from):
                tag = previous.gather(1, tag[:, None])[:, 0]
                path.append(tag)
            return torch.stack(path[::-1], 1).where(inside, 0)

    def _forward(self, emissions: Tensor, inside: Tensor) -> list[Tensor]:
        """At each of T steps, log Σ exp of the scores of all that ends in tag k there, (B, K); the last one stays."""
        alphas = [self.start + emissions[:, 0]]
        for here, alive in zip(emissions.unbind(1)[1:], inside.unbind(1)[1:], strict=True):
            after = (alphas[-1][:, :, None] + self.transitions).logsumexp(1) + here
            alphas.append(after.where(alive[:, None], alphas[-1]))
        return alphas

    def _checked(self, emissions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Emissions in float32 at least, 0 behind the end of a sequence, and where they are inside, (B, T)."""
        if emissions.dim() != 3 or emissions.shape[-1] != self.tags or emissions.shape[:1] != lengths.shape:
            raise RnnZooError(
                f"emissions must be (B, T, {self.tags}) with lengths (B,), not {_shape(emissions)} with"
                f" {_shape(lengths)}"
            )
        inside = torch.arange(emissions.shape[1], device=emissions.device) < lengths[:, None]
        exact = emissions.to(torch.promote_types(emissions.dtype, torch.float32))
        return exact.where(inside[..., None], 0.0), inside  # a NaN there would be one in the gradient too


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)

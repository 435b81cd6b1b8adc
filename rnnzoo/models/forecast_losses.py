"""What the numbers of a forecast mean, a point, quantiles or a distribution; the loss of each, and its quantiles."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, StudentT

from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.models.forecast_model import Outlook


class ForecastLoss:
    """The meaning of the O numbers that a model gives for each step ahead.

    Args:
        quantiles: to forecast.
    """

    certain = False  # whether every quantile is the same
    counts = False  # whether values must be 0, 1, 2 and so on

    def __init__(self, quantiles: Sequence[float]) -> None:
        self._quantiles = list(quantiles)

    @property
    def outputs(self) -> int:
        """O."""
        return 1

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        """Of each step ahead, (B, K), beside what came, `y` (B, K)."""
        raise NotImplementedError

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        """The quantiles (B, K, M) at levels (B, K, M) in (0, 1), or at one that broadcasts to it."""
        raise NotImplementedError

    def quantiles(self, out: Outlook) -> Tensor:
        """(B, K, Q), rising."""
        return self.at(out, self._levels(out.left).expand(*out.base.shape, -1))

    def _levels(self, like: Tensor) -> Tensor:
        return like.new_tensor(self._quantiles)  # no buffer: that would be rounded with the weights


class QuantileLoss(ForecastLoss):
    """A number for each quantile, by the pinball loss (Koenker & Bassett 1978), in units of the scale."""

    @property
    def outputs(self) -> int:
        return len(self._quantiles)

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        q = self._levels(out.left)
        error = _units(out, y)[..., None] - out.left
        return torch.maximum(q * error, (q - 1) * error).mean(-1)

    def quantiles(self, out: Outlook) -> Tensor:
        return out.base[..., None] + out.scale[..., None] * out.left.sort(-1).values

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        """By lines between those that are forecast, over the normal distribution's; the outer lines go on."""
        found, own = self.quantiles(out), torch.special.ndtri(self._levels(out.left))
        if len(own) == 1:
            return found.expand_as(levels)
        z = torch.special.ndtri(levels)
        right = torch.searchsorted(own, z.contiguous()).clamp(1, len(own) - 1)
        low, high = found.gather(-1, right - 1), found.gather(-1, right)
        return low + (high - low) * (z - own[right - 1]) / (own[right] - own[right - 1])


class PointLoss(ForecastLoss):
    """One number, by the squared, the absolute or Huber's (1964) error in units of the scale.

    All quantiles are that number until they are calibrated.
    """

    certain = True

    def __init__(self, quantiles: Sequence[float], kind: str) -> None:
        super().__init__(quantiles)
        errors: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
        self._error = errors[kind]

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        return self._error(out.left[..., 0], _units(out, y), reduction="none")

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        return (out.base[..., None] + out.scale[..., None] * out.left).expand_as(levels)


class NormalLoss(ForecastLoss):
    """A normal distribution, by -ln p in units of the scale: its mean, and its standard deviation before softplus."""

    @property
    def outputs(self) -> int:
        return 2

    def _distribution(self, out: Outlook) -> Normal:
        return Normal(out.left[..., 0], _positive(out.left[..., 1]), validate_args=False)

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        return -self._distribution(out).log_prob(_units(out, y))

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        own = self._distribution(out)
        z = torch.special.ndtri(levels)
        left = own.loc[..., None] + own.scale[..., None] * z
        return out.base[..., None] + out.scale[..., None] * left


class StudentTLoss(ForecastLoss):
    """Student's t distribution, by -ln p in units of the scale: degrees of freedom above 2, location and scale."""

    @property
    def outputs(self) -> int:
        return 3

    def _distribution(self, out: Outlook) -> StudentT:
        df = 2 + _positive(out.left[..., 0])
        return StudentT(df, out.left[..., 1], _positive(out.left[..., 2]), validate_args=False)

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        return -self._distribution(out).log_prob(_units(out, y))

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        from scipy.special import stdtrit

        own = self._distribution(out)
        z = torch.from_numpy(stdtrit(_exact(own.df)[..., None], _exact(levels))).to(own.loc)
        left = own.loc[..., None] + own.scale[..., None] * z
        return out.base[..., None] + out.scale[..., None] * left


class NormalMixtureLoss(ForecastLoss):
    """A mixture of three normal distributions, by -ln p in units of the scale: weights, means and deviations."""

    parts = 3

    @property
    def outputs(self) -> int:
        return 3 * self.parts

    def _distribution(self, out: Outlook) -> tuple[Tensor, Normal]:
        weight, loc, spread = out.left.chunk(3, -1)
        apart = torch.linspace(-1, 1, self.parts, device=loc.device, dtype=loc.dtype)  # alike, they would stay so
        return weight.log_softmax(-1), Normal(loc + apart, _positive(spread), validate_args=False)

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        weight, own = self._distribution(out)
        return -(weight + own.log_prob(_units(out, y)[..., None])).logsumexp(-1)

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        """By bisection of the distribution function."""
        weight, own = self._distribution(out)
        low = (own.loc - 10 * own.scale).amin(-1, keepdim=True).expand_as(levels).clone()
        high = (own.loc + 10 * own.scale).amax(-1, keepdim=True).expand_as(low).clone()
        for _ in range(50):
            middle = (low + high) / 2
            below = (weight.exp()[..., None, :] * own_cdf(own, middle)).sum(-1) < levels
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return out.base[..., None] + out.scale[..., None] * (low + high) / 2


def own_cdf(distribution: Normal, at: Tensor) -> Tensor:
    """P(X < at) of each part (..., Q, M), for `at` (..., Q)."""
    z = (at[..., None] - distribution.loc[..., None, :]) / distribution.scale[..., None, :]
    return torch.special.ndtr(z)


class PoissonLoss(ForecastLoss):
    """Counts with a Poisson distribution, by -ln p; its rate is scale softplus(base / scale + left)."""

    counts = True

    def _rate(self, out: Outlook) -> Tensor:
        return out.scale * F.softplus(out.base / out.scale + out.left[..., 0]) + 1e-6

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        rate, y = self._rate(out), _counts(y)
        return rate - y * rate.log() + (y + 1).lgamma()

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        from scipy.stats import poisson

        return torch.from_numpy(poisson.ppf(_exact(levels), _exact(self._rate(out))[..., None])).to(out.base)


class NegativeBinomialLoss(PoissonLoss):
    """Counts with a negative binomial distribution, by -ln p: mean as `PoissonLoss`, variance mean + alpha mean²."""

    @property
    def outputs(self) -> int:
        return 2

    def _parameters(self, out: Outlook) -> tuple[Tensor, Tensor]:
        """r = 1 / alpha and the mean."""
        return 1 / _positive(out.left[..., 1]), self._rate(out)

    def loss(self, out: Outlook, y: Tensor) -> Tensor:
        (r, mean), y = self._parameters(out), _counts(y)
        chosen = (y + r).lgamma() - r.lgamma() - (y + 1).lgamma()
        return -(chosen + r * (r / (r + mean)).log() + y * (mean / (r + mean)).log())

    def at(self, out: Outlook, levels: Tensor) -> Tensor:
        from scipy.stats import nbinom

        r, mean = (_exact(part)[..., None] for part in self._parameters(out))
        return torch.from_numpy(nbinom.ppf(_exact(levels), r, r / (r + mean))).to(out.base)


_POINTS = ("mse", "mae", "huber")
_OTHERS: dict[str, type[ForecastLoss]] = {
    "quantile": QuantileLoss,
    "normal": NormalLoss,
    "student_t": StudentTLoss,
    "normal_mixture": NormalMixtureLoss,
    "poisson": PoissonLoss,
    "negative_binomial": NegativeBinomialLoss,
}
LOSSES = (*_OTHERS, *_POINTS)


def make_loss(name: str, quantiles: Sequence[float]) -> ForecastLoss:
    """A loss by its name.

    Raises:
        RnnZooError: there is none.
    """
    if name in _POINTS:
        return PointLoss(quantiles, name)
    if name not in _OTHERS:
        raise RnnZooError(f"loss {name!r} is unknown{did_you_mean(name, LOSSES)} there are: {', '.join(LOSSES)}")
    return _OTHERS[name](quantiles)


def _units(out: Outlook, y: Tensor) -> Tensor:
    """What came, as what should have been left."""
    return (y - out.base) / out.scale


def _exact(x: Tensor) -> np.ndarray:
    made: np.ndarray = x.detach().double().cpu().numpy()
    return made


def _positive(x: Tensor) -> Tensor:
    return F.softplus(x) + 1e-4


def _counts(y: Tensor) -> Tensor:
    """Counts; NaN where they are not known.

    Raises:
        RnnZooError: a value that is none.
    """
    if y.device.type == "cpu":
        known = y[~y.isnan()]
        if (wrong := known[(known < 0) | (known != known.round())]).numel():
            raise RnnZooError(
                f"loss='poisson' and 'negative_binomial' are for counts, 0, 1, 2 and so on, but a value is"
                f" {float(wrong[0]):g}"
            )
    return y

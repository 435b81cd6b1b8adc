"""Conformal calibration: bands that cover what they promise, from the errors in the validation part alone."""

import torch
from torch import Tensor
from torchmetrics import Metric

_FEW = 50  # windows; of fewer, all steps ahead are calibrated together


class Calibration(Metric):
    """What to add to each forecast quantile so that it holds in the validation part (split conformal prediction).

    For a quantile q of n windows it is the ceil((n + 1) q)-th smallest of the errors y - forecast_q (Lei et al. 2018;
    of quantiles Romano et al. 2019), for each step ahead by itself. The median is not moved.

    Args:
        quantiles: that are forecast, rising.
    """

    full_state_update = False
    errors: list[Tensor]

    def __init__(self, quantiles: list[float]) -> None:
        super().__init__()
        self.quantiles = quantiles
        self.add_state("errors", [], dist_reduce_fx="cat")

    def update(self, errors: Tensor) -> None:
        """Adds the errors (B, K, Q) of windows, in units of their scale; NaN where nothing is known."""
        self.errors.append(errors.detach().float())

    def compute(self) -> Tensor:
        """(K, Q), in units of the scale."""
        found = self.errors
        errors = torch.cat(found) if isinstance(found, list) else found
        horizon = errors.shape[1]
        if int((~errors[:, 0, 0].isnan()).sum()) < _FEW:
            errors = errors.flatten(0, 1)[:, None]
        offsets = torch.zeros(errors.shape[1:], device=errors.device)
        for k in range(errors.shape[1]):
            for j, q in enumerate(self.quantiles):
                own = errors[:, k, j]
                own = own[~own.isnan()].sort().values
                if q != 0.5 and len(own):
                    n = len(own)
                    # of a lower quantile by the mirrored rule, so that both are on the safe side
                    place = -(-(n + 1) * q // 1) if q > 0.5 else n + 1 - (-(-(n + 1) * (1 - q) // 1))
                    offsets[k, j] = own[min(max(int(place), 1), n) - 1]
        return offsets.expand(horizon, -1)

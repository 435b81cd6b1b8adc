"""What counts as one unit of a series: how far its values are spread."""

from typing import Literal, get_args

import torch
from torch import Tensor

from rnnzoo.errors import RnnZooError

Scaler = Literal["seasonal", "standard", "robust", "mean", "none"]


def check_scaler(name: str, scaler: str) -> None:
    """Raises RnnZooError where there is no such scaler; `name` is the setting."""
    if scaler not in get_args(Scaler):
        raise RnnZooError(f"{name}={scaler!r} must be one of {', '.join(get_args(Scaler))}")


def unit_of(values: Tensor, season: int, scaler: Scaler) -> Tensor:
    """One unit (N,) of series (N, L), of the values that are not NaN; 0 where none can be told.

    "seasonal" is the mean of |y_t - y_{t - season}|, "standard" the standard deviation, "robust" the range between the
    quartiles, "mean" the mean of |y|, and "none" is 1.
    """
    if scaler == "none":
        return torch.ones_like(values[:, 0])
    if scaler == "robust":
        last = ((~values.isnan()).sum(1, keepdim=True) - 1).clamp(min=0)
        rising = values.sort(1).values  # NaN last
        at = last * values.new_tensor([0.25, 0.75])
        low, high = rising.gather(1, at.floor().long()), rising.gather(1, at.ceil().long())
        quartiles = low + (high - low) * at.frac()
        return (quartiles[:, 1] - quartiles[:, 0]).nan_to_num(0.0)
    if scaler == "seasonal":
        return (values[:, season:] - values[:, :-season]).abs().nanmean(1).nan_to_num(0.0)
    if scaler == "mean":
        return values.abs().nanmean(1).nan_to_num(0.0)
    return (values - values.nanmean(1, keepdim=True)).square().nanmean(1).sqrt().nan_to_num(0.0)

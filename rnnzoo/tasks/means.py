"""Means over the batches of an epoch, as exact as their values."""

import torch
from torch import Tensor
from torchmetrics import Metric

from rnnzoo.data.windows import exact_dtype


class ExactMean(Metric):
    """A weighted mean, in float64 whatever the trainer's precision; NaN where one of its values is.

    torchmetrics' MeanMetric adds up in the precision of the module that holds it, three digits in bfloat16, and leaves
    out values that are NaN.
    """

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor | float) -> None:
        """Adds a mean over `weight` items."""
        value = value.detach().to(exact_dtype(value.device))
        weight = torch.as_tensor(weight, dtype=value.dtype, device=value.device)
        # not +=: a sum of a float64 and of a zero in the module's precision is a float64
        self.total = self.total + torch.where(weight > 0, value * weight, 0.0)  # the mean of nothing is NaN
        self.weight = self.weight + weight

    def compute(self) -> Tensor:
        return self.total / self.weight


class ExpOfMean(ExactMean):
    """e to the weighted mean: the perplexity, of nats."""

    def compute(self) -> Tensor:
        return super().compute().exp()

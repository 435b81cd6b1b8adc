"""What stands around an RNN: embeddings and heads."""

from rnnzoo.models.forecast_model import ForecastModel
from rnnzoo.models.token_model import TokenModel

__all__ = ["ForecastModel", "TokenModel"]

"""Initialisations that torch lacks."""

import torch
from torch import Tensor, nn


def orthogonal_(W: Tensor) -> Tensor:
    """``nn.init.orthogonal_`` for weights of any dtype: its QR decomposition knows no half precision."""
    wide = torch.empty_like(W, dtype=torch.promote_types(W.dtype, torch.float32))
    with torch.no_grad():
        return W.copy_(nn.init.orthogonal_(wide))

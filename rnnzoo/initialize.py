"""Initialisations that torch lacks."""

import torch
from torch import Tensor, nn


def orthogonal_(W: Tensor) -> Tensor:
    """``nn.init.orthogonal_`` for weights of any dtype: its QR decomposition knows no half precision."""
    with torch.no_grad():
        return W.copy_(nn.init.orthogonal_(wide_like(W)))


def wide_like(W: Tensor) -> Tensor:
    """An empty tensor like W, in float32 at least, to compute W's first values in."""
    return torch.empty_like(W, dtype=torch.promote_types(W.dtype, torch.float32), requires_grad=False)


def glorot_and_orthogonal_(W: Tensor, R: Tensor, *biases: Tensor | None) -> None:
    """Keras' start of recurrent layers: each gate's block of W Glorot's, each of R orthogonal, biases zero."""
    H = R.shape[1]
    for block in W.split(H):
        nn.init.xavier_uniform_(block)
    for block in R.split(H):
        orthogonal_(block)
    for b in biases:
        if b is not None:
            nn.init.zeros_(b)

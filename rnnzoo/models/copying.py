"""The words of a source in the mouth of a decoder: probabilities of making a token or copying one, and their loss.

Tokens of the source that the target's vocabulary of V lacks have ids of their own, V, V + 1, ..., a sentence at a time
(See et al. 2017)::

    p(w) = g softmax(logits)_w + (1 - g) Σ_{s: source token s is w} a_s        g = σ(gate)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo.models.encoder_decoder import Decoded


def copy_ids(tokens: Sequence[int], known: Sequence[int], unknown: Sequence[str | None], size: int) -> list[int]:
    """The target ids of a source's tokens: V + k for the k-th different one that the target's vocabulary lacks.

    Args:
        tokens: ids of the source.
        known: for every id of the source's vocabulary the target's, or -1.
        unknown: the words behind the tokens that are known to neither, else None.
        size: V.
    """
    own: dict[int | str, int] = {}
    ids = []
    for token, word in zip(tokens, unknown, strict=True):
        if word is None and known[token] >= 0:
            ids.append(known[token])
        else:
            ids.append(size + own.setdefault(token if word is None else word, len(own)))
    return ids


def log_probabilities(decoded: Decoded, ids: Tensor | None, extra: int = 0) -> Tensor:
    """Of every next token, (..., V + extra), float32 at least.

    Args:
        decoded: what the decoder says, with or without T.
        ids: (B, S), the target ids of the source's tokens; None where nothing is copied.
        extra: how many ids there are from V on.
    """
    logits = decoded.logits.float() if decoded.logits.dtype != torch.float64 else decoded.logits
    if decoded.gate is None or decoded.weights is None or ids is None:
        made = logits.log_softmax(-1)
        return F.pad(made, (0, extra), value=-torch.inf) if extra else made
    g = decoded.gate.to(logits.dtype)[..., None].sigmoid()
    p = F.pad(g * logits.softmax(-1), (0, extra))
    weights = decoded.weights.to(logits.dtype)
    where = ids if weights.dim() == 2 else ids[:, None].expand_as(weights)
    return p.scatter_add(-1, where, (1 - g) * weights).log()


def token_losses(
    decoded: Decoded, targets: Tensor, ids: Tensor | None, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Of every target token -ln p, and the loss to be minimised, each (B, T) or (N,), in nats.

    With `smoothing` ε the loss is (1 - ε) (-ln p) + ε times the mean over the vocabulary of -ln softmax(logits)
    (Szegedy et al. 2016); what is copied is not smoothed.

    Args:
        decoded: what the decoder says at the steps before the targets.
        targets: (B, T) or (N,), below V or copied; where they are negative, both are 0.
        ids: (B, S) or (N, S), the target ids of the source's tokens; None where nothing is copied.
        smoothing: in [0, 1).
    """
    logits = decoded.logits.float() if decoded.logits.dtype != torch.float64 else decoded.logits
    V = logits.shape[-1]
    there = targets >= 0
    total = logits.logsumexp(-1)
    made = targets.clamp(0, V - 1)
    log_p = logits.gather(-1, made[..., None])[..., 0] - total
    if decoded.gate is not None and decoded.weights is not None and ids is not None:
        gate = decoded.gate.to(logits.dtype)
        here = ids if decoded.weights.dim() == 2 else ids[:, None]
        same = here == targets[..., None]
        copied = (decoded.weights.to(logits.dtype) * same).sum(-1).clamp(min=torch.finfo(logits.dtype).tiny)
        log_p = (F.logsigmoid(gate) + log_p).masked_fill(targets >= V, -torch.inf)
        log_p = torch.logaddexp(log_p, F.logsigmoid(-gate) + copied.log())
    nats = -log_p.masked_fill(~there, 0.0)
    if not smoothing:
        return nats, nats
    spread = (total - logits.mean(-1)).masked_fill(~there, 0.0)
    return nats, (1 - smoothing) * nats + smoothing * spread

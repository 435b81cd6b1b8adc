"""What an encoder-decoder writes for its sources: beam search over its steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnzoo.models.beam_search import Hypothesis, beam_search, rows_of
from rnnzoo.models.copying import log_probabilities
from rnnzoo.models.encoder_decoder import DecoderState, EncoderDecoder, Memory


def decode(
    model: EncoderDecoder,
    source: Tensor,
    lengths: Tensor | None,
    copies: Tensor | None,
    *,
    begin: int,
    end: int,
    limits: Tensor,
    never: Sequence[int] = (),
    beam: int = 4,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> list[Hypothesis]:
    """The target that is found for each source.

    Args:
        model: what writes.
        source: tokens (B, S).
        lengths: (B,) int64, of each source; S by default.
        copies: (B, S), the target ids of the source's tokens, for a model with a copy gate.
        begin, end: the tokens around a target.
        limits: (B,) int64, tokens of a target at most, with its end.
        never: tokens that are not written.
        beam, alpha, beta: as of `beam_search`.

    Raises:
        RnnZooError: as `beam_search`.
    """
    memory, state = model.encode(source, lengths)
    rows = torch.arange(len(source), device=source.device).repeat_interleave(max(beam, 1))
    wide = Memory(*rows_of(tuple(memory), rows))
    ids = None if model.gate is None or copies is None else copies
    extra = 0 if ids is None else max(0, int(ids.max()) + 1 - model.target_size)
    wide_ids = None if ids is None else ids[rows]

    def step(tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState, Tensor | None]:
        decoded, state = model.step(tokens, state, wide)
        log_p = log_probabilities(decoded, wide_ids, extra)
        if never:
            log_p[:, list(never)] = -torch.inf
        return log_p, state, decoded.weights

    return beam_search(
        step,
        select(state, rows),
        torch.full((len(source),), begin, device=source.device),
        end=end,
        limits=limits,
        select=select,
        beam=beam,
        alpha=alpha,
        beta=beta,
        mask=memory.mask if model.attention is not None else None,
    )


def select(state: DecoderState, rows: Tensor) -> DecoderState:
    """The rows of a decoder's state."""
    fed, coverage = rows_of((state.fed, state.coverage), rows)
    return DecoderState(rows_of(state.hx, rows, axis=1), fed, coverage, state.before)

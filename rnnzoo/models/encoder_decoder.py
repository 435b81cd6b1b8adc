"""A source sequence of tokens in, a target sequence out: an encoder, a decoder that looks at it, and a copy gate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnnzoo import states
from rnnzoo.errors import RnnZooError
from rnnzoo.models.attention import ATTENTIONS, Attention, check_attention
from rnnzoo.models.bridge import Bridge
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN


class Memory(NamedTuple):
    """What a decoder looks at, of B sources of S steps.

    `values`, (B, S, E): what the encoder gives. `keys`, (B, S, K): of the attention, None without one. `mask`, (B, S)
    bool: where there is a step.
    """

    values: Tensor
    keys: Tensor | None
    mask: Tensor


class DecoderState(NamedTuple):
    """Where a decoder is in its targets.

    `hx`: of its layers, in torch's shapes. `fed`, (B, ·): what the step before hands to the next beside `hx`, its
    output (Bahdanau) or its attentional vector (input feeding); None for nothing. `coverage`, (B, S): the sum of the
    weights so far, or None. `before`: how many steps came before.
    """

    hx: Any
    fed: Tensor | None
    coverage: Tensor | None
    before: int


class Decoded(NamedTuple):
    """What a decoder says of T target steps, or of one, without T.

    `logits`, (B, T, V): of the next token. `weights`, (B, T, S): of the attention, or None. `gate`, (B, T): log-odds
    that the token is made rather than copied, or None. `repeated`, (B, T): Σ_s min(weight, coverage before), or None.
    """

    logits: Tensor
    weights: Tensor | None
    gate: Tensor | None
    repeated: Tensor | None = None


class _Output(NamedTuple):
    """What a step is read out from, o_t (B, O), and the rest of `Decoded`."""

    o: Tensor
    weights: Tensor | None
    gate: Tensor | None
    repeated: Tensor | None


class EncoderDecoder(nn.Module):
    """Two RNNs, the second of which writes a target while it looks at what the first made of a source.

    ::

        m, s = encoder(x)                                   s_0 = bridge(s)
        none:      s_t = decoder(y_{t-1}, s_{t-1})                               o_t = s_t
        Luong:     s_t = decoder(y_{t-1}, s_{t-1})    c_t = attention(s_t, m)    o_t = tanh(W [c_t; s_t])
        Bahdanau:  c_t = attention(s_{t-1}, m)        s_t = decoder([y_{t-1}; c_t], s_{t-1})   o_t as Luong's
        logits_t = U o_t + b

    "dot", "general" and "concat" are Luong et al. 2015: all target steps run through a kernel at once, and attention
    follows. With input feeding, o_{t-1} beside y_{t-1}, and in "bahdanau" (Bahdanau et al. 2015) a step needs the one
    before, and they run one by one. What a cell takes besides x is `regular`.

    Args:
        encoder: batch_first; its input_size is the size of the source's embeddings.
        decoder: makes the decoder, batch_first and in one direction, from its input_size.
        source_size: tokens of the source's vocabulary.
        target_size: V, tokens of the target's.
        embedding_size: of the target's embeddings.
        attention: "dot", "general", "concat" or "bahdanau"; None for the last state alone.
        input_feeding: whether o_{t-1} is an input of step t; for Luong's attention.
        coverage: whether "bahdanau" reads what was looked at before (See et al. 2017).
        copying: whether there is a gate between making a token and copying one of the source (See et al. 2017).
        shared: whether source and target have one vocabulary and one embedding.
        tied: whether the target's embedding is the matrix of the logits too; o_t then has its size.
        unknown: the target token that stands for one beyond V, a copied one.
        dropout: on embeddings and before the logits; in [0, 1).

    Raises:
        RnnZooError: parts that do not go together.
    """

    def __init__(
        self,
        encoder: RNN,
        decoder: Callable[[int], RNN],
        source_size: int,
        target_size: int,
        *,
        embedding_size: int,
        attention: str | None = "general",
        input_feeding: bool = False,
        coverage: bool = False,
        copying: bool = False,
        shared: bool = False,
        tied: bool = False,
        unknown: int = 0,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.attention_name = check_attention(attention)
        self._check(input_feeding, coverage, copying)
        if shared and (source_size != target_size or encoder.input_size != embedding_size):
            raise RnnZooError(
                f"a shared embedding needs one vocabulary and one size: {source_size} tokens of {encoder.input_size}"
                f" are not {target_size} of {embedding_size}"
            )
        self.inside = self.attention_name == "bahdanau"
        self.input_feeding, self.unknown, self.target_size = input_feeding, unknown, target_size
        self.encoder = encoder
        self.source_embedding = nn.Embedding(source_size, encoder.input_size)
        self.target_embedding = self.source_embedding if shared else nn.Embedding(target_size, embedding_size)
        self.dropout = nn.Dropout(dropout)
        # what input feeding feeds has the size of the output, which the decoder made from it decides: as wide as itself
        memory_size = encoder.output_size
        extra = memory_size if self.inside else 0
        if input_feeding:
            extra = embedding_size if tied else decoder(embedding_size).output_size
        self.decoder = decoder(embedding_size + extra)
        if self.decoder.bidirectional:
            raise RnnZooError("a decoder goes forward only: it must not be bidirectional")
        H = self.decoder.output_size
        out = embedding_size if tied else H
        self.bridge = Bridge(encoder, self.decoder)
        if self.attention_name is None and not self.bridge.connected:
            raise RnnZooError(
                "without attention the decoder knows of the source by the encoder's last state alone, and the states of"
                " these cells cannot be handed over: attention='general' would do"
            )
        self.attention: Attention | None = None
        self.combine: nn.Linear | None = None
        if self.attention_name is not None:
            self.attention = ATTENTIONS[self.attention_name](H, memory_size, coverage=coverage)
            self.combine = nn.Linear(memory_size + H, out, bias=False)
        elif out != H:
            self.combine = nn.Linear(H, out, bias=False)
        self.covers = coverage
        self.gate = nn.Linear(memory_size + H + self.decoder.input_size, 1) if copying else None
        self.head = nn.Linear(out, target_size)
        if tied:
            self.head.weight = self.target_embedding.weight
            nn.init.normal_(self.target_embedding.weight, std=embedding_size**-0.5)

    def _check(self, input_feeding: bool, coverage: bool, copying: bool) -> None:
        name = self.attention_name
        if copying and name is None:
            raise RnnZooError("copying needs attention, whose weights say what is copied: attention='general' would do")
        if input_feeding and name in (None, "bahdanau"):
            raise RnnZooError(f"input_feeding needs attention dot, general or concat, not {name or 'none'}")
        if coverage and name != "bahdanau":
            raise RnnZooError(f"coverage needs attention 'bahdanau', not {name or 'none'}")

    @property
    def stepwise(self) -> bool:
        """Whether target steps run one by one."""
        return self.inside or self.input_feeding

    # ---- the source

    def encode(self, source: Tensor, lengths: Tensor | None = None) -> tuple[Memory, DecoderState]:
        """What the decoder looks at, and the state it starts from.

        Args:
            source: tokens (B, S).
            lengths: (B,) int64, of each source, at least 1; S by default. What lies behind them has no effect.
        """
        x = self.dropout(self.source_embedding(source))
        values, hx = self.encoder(x, lengths=lengths, **regular(self.encoder, x))
        start = self.bridge(hx)
        steps = torch.arange(source.shape[1], device=source.device)
        mask = (
            torch.ones_like(source, dtype=torch.bool) if lengths is None else steps < lengths.to(steps.device)[:, None]
        )
        fed = None
        if self.input_feeding:
            fed = values.new_zeros(len(source), self.head.in_features)
        elif self.inside:
            fed = self._emitted(start, values)
        coverage = values.new_zeros(source.shape) if self.covers else None
        keys = None if self.attention is None else self.attention.keys(values)
        return Memory(values, keys, mask), DecoderState(start, fed, coverage, 0)

    def _emitted(self, hx: Any, like: Tensor) -> Tensor:
        """What the last layer would have given in the state to start from, or zeros where that is of another size."""
        cell, H = self.decoder._cells[-1][0], self.decoder.output_size
        h = cell.emit(states.split(self.decoder._cells, hx)[-1])
        return h.to(like.dtype) if h.shape == (len(like), H) and not h.is_complex() else like.new_zeros(len(like), H)

    # ---- the target

    def forward(
        self, source: Tensor, target: Tensor, lengths: Tensor | None = None, where: Tensor | None = None
    ) -> Decoded:
        """What is said of the token after each of `target`.

        Args:
            source: tokens (B, S).
            target: tokens (B, T), the first of which begins a target; those of V or more are copied ones.
            lengths: (B,) int64, of each source; S by default.
            where: (B, T) bool: the N steps that are asked for, which are then given one behind the other, (N, ...);
                all by default. Logits of what is only padding would take as long as the others.
        """
        memory, state = self.encode(source, lengths)
        x = self._embedded(target)
        if not self.stepwise:
            y, _ = self.decoder(x, state.hx, **regular(self.decoder, x))
            context, weights = (None, None) if self.attention is None else self._attend(self.attention, y, memory)
            if where is not None:
                x, y = x[where], y[where]
                if context is not None and weights is not None:
                    context, weights = context[where], weights[where]
            o, gate = self._combined(context, y), self._gate(context, y, x)
            return Decoded(self.head(self.dropout(o)), weights, gate)
        made = []
        for x_t in x.unbind(1):
            output, state = self._advance(x_t, state, memory)
            made.append(output)
        o = torch.stack([output.o for output in made], 1)
        rest = [_over_time(part) for part in list(zip(*made, strict=True))[1:]]
        if where is not None:
            o, rest = o[where], [None if part is None else part[where] for part in rest]
        return Decoded(self.head(self.dropout(o)), *rest)

    def step(self, token: Tensor, state: DecoderState, memory: Memory) -> tuple[Decoded, DecoderState]:
        """What is said of the token after `token` (B,), and the state to go on from."""
        (o, *rest), state = self._advance(self._embedded(token), state, memory)
        return Decoded(self.head(self.dropout(o)), *rest), state

    def _embedded(self, tokens: Tensor) -> Tensor:
        known = torch.where(tokens < self.target_size, tokens, self.unknown)
        return self.dropout(self.target_embedding(known))

    def _advance(self, x: Tensor, state: DecoderState, memory: Memory) -> tuple[_Output, DecoderState]:
        weights = context = repeated = None
        coverage = state.coverage
        if state.fed is not None:
            beside = state.fed
            if self.inside and self.attention is not None:
                context, weights = self._attend_once(self.attention, state.fed, memory, coverage)
                beside = context
            x = torch.cat([x, beside.to(x.dtype)], -1)
        y, hx = self.decoder.step(x, state.hx, **regular(self.decoder, x, state.before))
        if self.attention is not None and context is None:
            context, weights = self._attend_once(self.attention, y, memory)
        if coverage is not None and weights is not None:
            repeated = torch.minimum(weights, coverage).sum(-1)
            coverage = coverage + weights
        o = self._combined(context, y)
        fed = y if self.inside else o if self.input_feeding else None
        output = _Output(o, weights, self._gate(context, y, x), repeated)
        return output, DecoderState(hx, fed, coverage, state.before + 1)

    def _attend(
        self, attention: Attention, query: Tensor, memory: Memory, coverage: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return attention(query, memory.values, memory.mask, keys=memory.keys, coverage=coverage)

    def _attend_once(
        self, attention: Attention, query: Tensor, memory: Memory, coverage: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        context, weights = self._attend(attention, query[:, None], memory, coverage)
        return context[:, 0], weights[:, 0]

    def _combined(self, context: Tensor | None, y: Tensor) -> Tensor:
        if self.combine is None:
            return y
        return torch.tanh(self.combine(y if context is None else torch.cat([context, y], -1)))

    def _gate(self, context: Tensor | None, y: Tensor, x: Tensor) -> Tensor | None:
        return None if self.gate is None or context is None else self.gate(torch.cat([context, y, x], -1))[..., 0]


def _over_time(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.stack(tensors, 1) if tensors else None

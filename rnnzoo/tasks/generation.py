"""How a language model writes: the likeliest token, a random one, or the likeliest of several texts."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rnnzoo.arrange import map_state
from rnnzoo.errors import RnnZooError
from rnnzoo.models.token_model import TokenModel


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    Args:
        temperature: below 1 sharpens the distribution, above 1 flattens it, 0 takes the likeliest.
        top_k: choose among so many of the likeliest; None for all.
        top_p: then among the fewest that together have this probability (Holtzman et al. 2020).
        beam: go on with so many texts at a time, and give the likeliest; None writes one, by the other settings.
        stop: strings that end a text, which they are no part of.

    Raises:
        RnnZooError: a value out of range, or one that has no effect.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    beam: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise RnnZooError(f"temperature must be 0, for the likeliest, or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise RnnZooError(f"top_k must be at least 1, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise RnnZooError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.beam is not None and self.beam < 1:
            raise RnnZooError(f"beam must be at least 1, not {self.beam}")
        if "" in self.stop:
            raise RnnZooError("stop is an empty string, which every text has; leave it out")
        given = {"temperature": self.temperature != 1, "top_k": self.top_k is not None, "top_p": self.top_p != 1}
        idle = [f"{name}={getattr(self, name)}" for name, typed in given.items() if typed]
        if self.beam is not None and idle:
            raise RnnZooError(f"{', '.join(idle)} has no effect beside beam={self.beam}, which takes the likeliest")


def sample(
    logits: Tensor,
    temperature: float,
    top_p: float,
    generator: torch.Generator | Sequence[torch.Generator] | None,
    top_k: int | None = None,
) -> Tensor:
    """One token (B,) from logits (B, V); `generator` may be one for each row."""
    if temperature == 0:
        return logits.argmax(-1)
    if top_k is not None and top_k < logits.shape[-1]:
        # by rank, not by value: of equal logits no more than top_k are kept
        best = logits.topk(top_k, -1).indices
        logits = torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best))
    p = (logits / temperature).softmax(-1)
    if top_p < 1:
        sorted_p, order = p.sort(-1, descending=True)
        behind = sorted_p.cumsum(-1) - sorted_p >= top_p  # what lies before has enough already
        p = p.masked_fill(behind.gather(-1, order.argsort(-1)), 0)
    if isinstance(generator, Sequence):
        return torch.cat([torch.multinomial(row, 1, generator=g) for row, g in zip(p, generator, strict=True)])
    return torch.multinomial(p, 1, generator=generator)[:, 0]


def continuations(
    model: TokenModel,
    prompts: Sequence[Tensor],
    length: int,
    sampling: Sampling,
    generator: torch.Generator | Sequence[torch.Generator] | None,
    unwritten: Sequence[int] = (),
) -> Iterator[Tensor]:
    """The next token (B,) of each of B prompts, `length` times: one step of the RNN each.

    Args:
        model: in evaluation mode.
        prompts: of any lengths, each (N,) int64.
        length: tokens to make.
        sampling: how.
        generator: of the random numbers, or one for each prompt; None for torch's own.
        unwritten: tokens that are never made.
    """
    hidden = torch.tensor(unwritten, dtype=torch.int64, device=prompts[0].device)

    def chosen(logits: Tensor) -> Tensor:
        logits = logits.float().index_fill(-1, hidden, -math.inf) if len(hidden) else logits.float()
        return sample(logits, sampling.temperature, sampling.top_p, generator, sampling.top_k)

    before = torch.tensor([[len(prompt)] for prompt in prompts], device=prompts[0].device)
    with torch.inference_mode():
        logits, hx = _read(model, prompts)
        token = chosen(logits)
    yield token
    for k in range(length - 1):
        with torch.inference_mode():
            logits, hx = model.step(token, hx, int(before) + k if len(before) == 1 else before + k)
            token = chosen(logits)
        yield token


def _read(model: TokenModel, prompts: Sequence[Tensor]) -> tuple[Tensor, object]:
    """Logits (B, V) behind each prompt, and the state."""
    if len({len(prompt) for prompt in prompts}) == 1:
        logits, hx = model(torch.stack(list(prompts)))
        return logits[:, -1], hx
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    tokens = torch.nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
    logits, hx = model(tokens, None, lengths)
    return logits[torch.arange(len(prompts)), lengths - 1], hx


def beam_search(
    model: TokenModel,
    prompt: Tensor,
    length: int,
    beam: int,
    unwritten: Sequence[int] = (),
    ends: Callable[[list[int]], bool] = lambda tokens: False,
) -> list[int]:
    """The tokens that go on from a prompt (N,), the likeliest of those found with `beam` texts at a time.

    A text that `ends` is put aside. In the end the one with the highest mean log-probability of its tokens is taken:
    of texts of one length that is the likeliest, and of others a short one has no advantage.

    Args:
        model: in evaluation mode.
        prompt: int64.
        length: tokens to make at most.
        beam: texts that are gone on with.
        unwritten: tokens that are never made.
        ends: whether a text, given by its tokens, ends there.
    """
    hidden = torch.tensor(unwritten, dtype=torch.int64, device=prompt.device)
    texts, done = [list[int]()], list[tuple[float, list[int]]]()
    total = torch.zeros(1, dtype=torch.float64)
    with torch.inference_mode():
        logits, hx = _read(model, [prompt])
        for k in range(length):
            log_p = logits.double().index_fill(-1, hidden, -math.inf).log_softmax(-1).cpu()
            sums = (total[:, None] + log_p).flatten()
            total, best = sums.topk(min(beam, int(sums.isfinite().sum())))
            rows, tokens = best // log_p.shape[-1], best % log_p.shape[-1]
            texts = [[*texts[row], token] for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)]
            over = [k == length - 1 or ends(text) for text in texts]
            done += [(float(s) / (k + 1), text) for s, text, o in zip(total, texts, over, strict=True) if o]
            if all(over):
                break
            going = [i for i, o in enumerate(over) if not o]
            texts, total, rows, tokens = [texts[i] for i in going], total[going], rows[going], tokens[going]
            rows, tokens = rows.to(prompt.device), tokens.to(prompt.device)
            hx = map_state(partial(torch.index_select, dim=1, index=rows), hx)
            logits, hx = model.step(tokens, hx, len(prompt) + k)
    return max(done)[1]

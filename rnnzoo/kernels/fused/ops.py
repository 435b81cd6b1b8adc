"""The loops as operations of torch.library: one node in autograd, in torch.compile and in torch.export."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.differentiation import is_dual
from rnnzoo.kernels.fused.gradients import Origin, differentiable_once, lies_turned
from rnnzoo.kernels.fused.memory import BLOCKS
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.steps import steps_of

PROGRAMS: dict[str, Program] = {}  # by key, for the life of the process: what was compiled or exported may call any
NARROW = "-bfloat16"  # ends the keys of programs with products of bfloat16
FORWARD = "kernel 'fused' has no derivatives in forward mode; set kernel='reference', which has"
SECOND = "kernel 'fused' has no second derivative; set kernel='reference', which has"

_LIB = torch.library.Library("rnnzoo", "DEF")
# -> what is emitted (N, n), the final states, and where `keep`, what the backward reads; sizes: as a PackedSequence's
_LIB.define("scan(str program, Tensor u, Tensor[] s, Tensor[] constants, Tensor? sizes, bool keep) -> Tensor[]")
# -> the gradients of u, s and constants, in turn; an empty one where none is wanted
_LIB.define(
    "scan_backward(str program, Tensor dy, Tensor[] ds, Tensor? u, Tensor[] s, Tensor[] constants, Tensor[] new,"
    " Tensor[] kept, Tensor? sizes, bool[] wanted) -> Tensor[]"
)


def scan(
    program: Program,
    u: Tensor,
    s: Sequence[Tensor],
    constants: Sequence[Tensor],
    sizes: Tensor | None,
    narrow: bool,
) -> Any:
    """What is emitted (N, n) and the final states, from u (N, P), the initial states and the constants; where `narrow`,
    with products of bfloat16."""
    key = program.key + NARROW if narrow else program.key
    return torch.ops.rnnzoo.scan.default(key, u, list(s), list(constants), sizes, False)


def _program(key: str) -> Program:
    found = PROGRAMS.get(key)
    if found is not None:
        return found
    if key.removesuffix(NARROW) not in PROGRAMS:
        raise RnnZooError(f"no program {key!r} in this process: run the RNN once on its own before what was exported")
    return PROGRAMS.setdefault(key, PROGRAMS[key.removesuffix(NARROW)].narrowed(key))


@torch.library.impl(_LIB, "scan", "CPU")
def _scan(
    key: str, u: Tensor, s: list[Tensor], constants: list[Tensor], sizes: Tensor | None, keep: bool
) -> list[Tensor]:
    if not len(s[0]):
        return _scan_fake(key, u, s, constants, sizes, keep)  # of an empty batch there is nothing but shapes
    program, steps = _program(key), steps_of(len(u), len(s[0]), sizes)
    program.check(u, s, steps)
    return (program.forward if keep else program.infer)(u, s, constants, steps)


@torch.library.impl(_LIB, "scan_backward", "CPU")
def _scan_backward(
    key: str,
    dy: Tensor,
    ds: list[Tensor],
    u: Tensor | None,
    s: list[Tensor],
    constants: list[Tensor],
    new: list[Tensor],
    kept: list[Tensor],
    sizes: Tensor | None,
    wanted: list[bool],
) -> list[Tensor]:
    if not len(s[0]):
        shapes = _scan_backward_fake(key, dy, ds, u, s, constants, new, kept, sizes, wanted)
        return [torch.zeros_like(a) for a in shapes]
    steps = steps_of(len(dy), len(s[0]), sizes)
    found = _program(key).backward(dy, ds, u, s, constants, new, kept, steps, wanted)
    return [dy.new_empty(0) if a is None else a for a in found]


@torch.library.register_fake("rnnzoo::scan", lib=_LIB)
def _scan_fake(
    key: str, u: Tensor, s: list[Tensor], constants: list[Tensor], sizes: Tensor | None, keep: bool
) -> list[Tensor]:
    program = _program(key)
    out = [u.new_empty(u.shape[0], program.plan.output_width), *(torch.empty_like(a) for a in s)]
    return out + [u.new_empty(n) for n in program.sizes_kept(u.shape[0])] if keep else out


@torch.library.register_fake("rnnzoo::scan_backward", lib=_LIB)
def _scan_backward_fake(
    key: str,
    dy: Tensor,
    ds: list[Tensor],
    u: Tensor | None,
    s: list[Tensor],
    constants: list[Tensor],
    new: list[Tensor],
    kept: list[Tensor],
    sizes: Tensor | None,
    wanted: list[bool],
) -> list[Tensor]:
    plan = _program(key).plan
    shapes = [(dy.shape[0], plan.input_width), *(a.shape for a in s)]
    found = [dy.new_empty(z if need else 0) for z, need in zip(shapes, wanted, strict=False)]
    for gradient, c, need in zip(plan.gradients, constants, wanted[len(found) :], strict=True):
        if not (need and gradient.there):
            found.append(dy.new_empty(0))
        else:
            found.append(dy.new_empty(c.shape[::-1]).t() if lies_turned(gradient, c) else dy.new_empty(c.shape))
    return found


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, key: str, S: int, sizes: Tensor | None, u: Tensor, origin: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        s, constants = list(rest[:S]), list(rest[S:])
        with torch._C._AutoDispatchBelowAutograd():
            h, *out = torch.ops.rnnzoo.scan.default(key, u, s, constants, sizes, True)
        plan = _program(key).plan
        last, behind = out[:S], out[S:]
        further = iter(behind)
        new = [h if plan.emitted == f"n{k}" else next(further) for k in range(S)]
        kept = list(further)
        ctx.key, ctx.sizes, ctx.counts = key, sizes, (S, len(constants), len(new))
        ctx.save_for_backward(origin, *s, *constants, *new, *kept)
        # what the backward reads must not be the user's to change in place, as nn.GRU's output is
        return (_copy(h) if any(a is h for a in new) else h), *last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        origin, *saved = ctx.saved_tensors
        u = origin if _program(ctx.key).plan.reads_input else None
        groups, at = [], 0
        for n in ctx.counts:
            groups.append(saved[at : at + n])
            at += n
        wanted = [ctx.needs_input_grad[3], *ctx.needs_input_grad[5:]]
        with torch._C._AutoDispatchBelowAutograd():
            found = torch.ops.rnnzoo.scan_backward.default(
                ctx.key, grads[0], list(grads[1:]), u, *groups, saved[at:], ctx.sizes, wanted
            )
        there = [a if need and (a.numel() or a.dim() > 1) else None for a, need in zip(found, wanted, strict=True)]
        if torch.is_grad_enabled():  # create_graph
            there = differentiable_once(SECOND, there, (*grads, *ctx.saved_tensors))
        return None, None, None, there[0], None, *there[1:]


def _copy(a: Tensor) -> Tensor:
    """A copy, in memory that is used again unless it is torch.compile that asks."""
    return BLOCKS.empty(tuple(a.shape), a.dtype).copy_(a) if type(a) is Tensor else a.clone()


@torch.library.impl(_LIB, "scan", "Autograd")
def _scan_autograd(
    key: str, u: Tensor, s: list[Tensor], constants: list[Tensor], sizes: Tensor | None, keep: bool
) -> list[Tensor]:
    if forward_ad._current_level >= 0 and any(is_dual(a) for a in (u, *s, *constants)):
        raise RnnZooError(FORWARD)  # below autograd the tangent would be lost without a word
    # where something is to be kept, a graph that has its own backward asks for it
    if not keep and torch.is_grad_enabled() and any(a.requires_grad for a in (u, *s, *constants)):
        origin = u if _program(key).plan.reads_input else Origin.apply(u)
        return list(_Scan.apply(key, len(s), sizes, u, origin, *s, *constants))
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.rnnzoo.scan.default(key, u, s, constants, sizes, keep)


@torch.library.impl(_LIB, "scan_backward", "Autograd")
def _scan_backward_autograd(*given: Any) -> list[Tensor]:
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.rnnzoo.scan_backward.default(*given)

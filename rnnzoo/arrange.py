"""From what a user gives to what a kernel gets, time first or packed, and the way back; every check of a call."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnzoo import states
from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import Work
from rnnzoo.kernels.fingerprint import for_one_call
from rnnzoo.kernels.layout import Dense, Packed, pack, pad
from rnnzoo.transforms.recorded import Recorded
from rnnzoo.transforms.resets import Resets

Sequences = Tensor | PackedSequence
Layers = Sequence[Sequence[Cell]]
RESETS = "resets"


class Arranged(NamedTuple):
    """A call as a kernel gets it, and the way back from what it returns."""

    work: Work
    outputs: Callable[[Tensor], Sequences]  # rows of a kernel, laid out as x
    state: Callable[[Any], Any]  # a state in torch's shapes, its rows in the order of x, unbatched where x is
    time: int  # steps of x, of which the longest sequence may have fewer
    unbatched: bool


def arrange(
    layers: Layers,
    x: Sequences,
    hx: Any,
    *,
    batch_first: bool,
    dropout: float,
    lengths: Tensor | Sequence[int] | None,
    resets: Sequences | None,
    inputs: dict[str, Sequences],
) -> Arranged:
    """The call of a stack on sequences in any layout.

    Raises:
        RnnZooError: shapes, dtypes, devices or lengths that do not fit.
    """
    check_names(layers, inputs)
    if resets is not None:
        inputs = {**inputs, RESETS: resets}
    if isinstance(x, PackedSequence):
        if lengths is not None:
            raise RnnZooError("lengths cannot be given with a PackedSequence, which has its own")
        packed, data = x, {name: _packed_input(name, a, x) for name, a in inputs.items()}
        check_input(layers, packed.data)
        if resets is not None:
            data[RESETS] = check_resets(data[RESETS], 1)
        return _arrange_packed(layers, packed, hx, dropout, data, lambda y: packed._replace(data=y))

    if not isinstance(x, Tensor):
        raise RnnZooError(f"x must be a tensor or a PackedSequence, not a {type(x).__name__}")
    if x.dim() not in (2, 3):
        legend = "(B, T, I)" if batch_first else "(T, B, I)"
        raise RnnZooError(f"x must be {legend} or unbatched (T, I), not of shape {tuple(x.shape)}")
    check_input(layers, x)
    unbatched = x.dim() == 2
    time_first = unbatched or not batch_first
    steps = {name: step_input(name, a, x) for name, a in inputs.items()}
    if resets is not None:
        steps[RESETS] = check_resets(steps[RESETS], x.dim() - 1)
    if unbatched:
        x, steps = x.unsqueeze(1), {n: a.unsqueeze(1) for n, a in steps.items()}
        hx = map_state(with_batch, hx)
    elif not time_first:
        x, steps = x.transpose(0, 1), {n: a.transpose(0, 1) for n, a in steps.items()}
    T, B = x.shape[:2]
    if not T:
        raise RnnZooError(f"x must have at least one step, but has T={T}, B={B}")

    def lay_back(y: Tensor) -> Tensor:
        return y.squeeze(1) if unbatched else y if time_first else y.transpose(0, 1)

    if lengths is not None:
        sizes = _check_lengths(lengths, T, B)
        if B and int(sizes.min()) < T:
            packed = pack(x, sizes)
            data = {n: pack(a, sizes).data for n, a in steps.items()}

            def pad_back(y: Tensor) -> Sequences:
                return lay_back(pad(packed._replace(data=y), T))

            return _arrange_packed(layers, packed, hx, dropout, data, pad_back, T, unbatched)
    if hx is not None:
        states.check(layers, hx, B, x)
    work = Work(layers, x, Dense(x), hx, dropout, steps)
    return Arranged(work, lay_back, without_batch if unbatched else lambda last: last, T, unbatched)


def _arrange_packed(
    layers: Layers,
    packed: PackedSequence,
    hx: Any,
    dropout: float,
    inputs: dict[str, Tensor],
    back: Callable[[Tensor], Sequences],
    time: int | None = None,
    unbatched: bool = False,
) -> Arranged:
    """The same for packed data, whose rows a kernel sees longest first."""
    layout = Packed(packed)
    if hx is not None:
        states.check(layers, hx, layout.batch, packed.data)
        hx = map_state(lambda a: _rows(a, packed.sorted_indices), hx)

    def state_back(last: Any) -> Any:
        last = map_state(lambda a: _rows(a, packed.unsorted_indices), last)
        return without_batch(last) if unbatched else last

    work = Work(layers, packed.data, layout, hx, dropout, inputs)
    return Arranged(work, back, state_back, time or layout.time, unbatched)


def begin(work: Work, draw: bool) -> Work:
    """`work` with what its cells have each to themselves: their inputs, resets, and what they draw for every call."""
    layers, layout = work.layers, work.layout
    shared = {n: a for n, a in work.inputs.items() if n != RESETS}
    resets = work.inputs.get(RESETS)
    if resets is not None:
        layers = [[for_one_call(Resets(cell), cell) for cell in directions] for directions in layers]
    own = []
    for directions in layers:
        for d, cell in enumerate(directions):
            mine = {n: shared[n] for n in cell.inputs}
            for n, a in cell.draw(layout.batch, _real(cell.like(work.x))).items() if draw else ():
                mine[n] = layout.spread(a)
            if resets is not None:  # read from the end, what begins at t + 1 has been left at t
                mine[RESETS] = layout.ahead(resets) if d else resets
            own.append(mine)
    alike = resets is None and all(mine.keys() == shared.keys() for mine in own)
    return work if alike else replace(work, layers=layers, own=own)


def recorded(work: Work) -> Work:
    """`work` with cells that keep the states of all steps."""
    return replace(
        work, layers=[[for_one_call(Recorded(cell), cell) for cell in directions] for directions in work.layers]
    )


def all_states(arranged: Arranged) -> Any:
    """The states after each step, (T, ...) of torch's shapes, from the cells of a run that was recorded."""
    work, time = arranged.work, arranged.time
    found = []
    for directions in work.layers:
        for d, cell in enumerate(cast(Sequence[Recorded], directions)):
            fields = (work.layout.reverse(a) if d else a for a in cell.seen)
            rows = [work.layout.whole(a).transpose(0, 1) for a in fields]  # (B, T, ...), T where a state has features
            behind = time - work.layout.time
            rows = [torch.cat([a, a.new_zeros(len(a), behind, *a.shape[2:])], 1) if behind else a for a in rows]
            found.append(type(cell.seen)(*rows))
    joined = arranged.state(states.join(work.layers, found))
    return map_state(lambda a: a.movedim(1 if arranged.unbatched else 2, 0), joined)


def _real(like: Tensor) -> Tensor:
    return like.real if like.is_complex() else like


def check_input(layers: Layers, x: Tensor) -> None:
    """Raises RnnZooError where the first layer cannot take `x`."""
    cell = layers[0][0]
    if x.shape[-1] != cell.input_size:
        name = type(cell).__name__
        raise RnnZooError(
            f"{name} expects {cell.input_size} input features (input_size) but x has {x.shape[-1]}:"
            f" shape {tuple(x.shape)}"
        )
    like = cell.like(x)
    if x.device != like.device:
        raise RnnZooError(f"x lies on {x.device}, the weights on {like.device}; move one with .to(...)")
    exact = cell.gates or x.is_floating_point()  # a cell with a projection of its own may take whole numbers
    if x.dtype != like.dtype and exact and not torch.is_autocast_enabled(x.device.type):
        raise RnnZooError(f"x must be {like.dtype}, as the weights, not {x.dtype}")


def check_names(layers: Layers, inputs: dict[str, Any]) -> None:
    """Raises RnnZooError unless `inputs` are what the cells take besides x."""
    cells = [cell for directions in layers for cell in directions]
    taken = {name: None for cell in cells for name in cell.inputs}
    if inputs.keys() == taken.keys():
        return
    unknown, missing = sorted(inputs.keys() - taken.keys()), sorted(taken.keys() - inputs.keys())
    names, takes = " and ".join(dict.fromkeys(type(cell).__name__ for cell in cells)), ", ".join(taken) or "nothing"
    wrong = f"got {unknown}" if unknown else f"{missing} is missing"
    raise RnnZooError(f"{names} takes {takes} besides x; {wrong}")


def check_resets(resets: Tensor, dims: int) -> Tensor:
    """`resets`, whose leading axes are those of x, if it has no more and holds bool or real numbers."""
    if resets.dim() != dims or resets.is_complex():
        wanted = "(T, B), bool or 0 and 1, laid out as x"
        raise RnnZooError(f"resets must be of shape {wanted}, not {resets.dtype} of shape {tuple(resets.shape)}")
    return resets


def step_input(name: str, a: Sequences, x: Tensor) -> Tensor:
    """What a cell takes besides x, if it is laid out as x."""
    lead = x.dim() - 1
    if isinstance(a, PackedSequence) or a.shape[:lead] != x.shape[:lead]:
        got = "a PackedSequence" if isinstance(a, PackedSequence) else f"of shape {tuple(a.shape)}"
        raise RnnZooError(f"{name} must be laid out as x, {tuple(x.shape[:lead])} and what follows, not {got}")
    return a


def _packed_input(name: str, a: Sequences, x: PackedSequence) -> Tensor:
    if not isinstance(a, PackedSequence) or not torch.equal(a.batch_sizes, x.batch_sizes):
        raise RnnZooError(f"{name} must be a PackedSequence with the lengths of x, as x is one")
    return a.data


def _check_lengths(lengths: Tensor | Sequence[int], T: int, B: int) -> Tensor:
    """`lengths` as an int64 tensor on the CPU, where torch wants it."""
    try:
        sizes = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError):
        raise RnnZooError(f"lengths must be whole numbers of shape (B,), not {lengths!r}") from None
    if not B and not sizes.numel():
        return torch.empty(0, dtype=torch.int64)
    if sizes.is_floating_point() or sizes.is_complex() or sizes.dtype == torch.bool or sizes.dim() != 1:
        raise RnnZooError(f"lengths must be whole numbers of shape (B,), not {sizes.dtype} of {tuple(sizes.shape)}")
    if len(sizes) != B:
        raise RnnZooError(f"lengths must have one entry for each of the {B} sequences, not {len(sizes)}")
    sizes = sizes.to("cpu", torch.int64)
    if int(sizes.min()) < 1 or int(sizes.max()) > T:
        row = int(((sizes < 1) | (sizes > T)).nonzero()[0])
        raise RnnZooError(f"lengths must lie in 1 to T={T}, but lengths[{row}] is {int(sizes[row])}")
    return sizes


def with_batch(a: Tensor) -> Tensor:
    """The state of an unbatched sequence as that of a batch of one; a scalar is left for the check to name."""
    return a.unsqueeze(1) if a.dim() else a


def without_batch(hx: Any) -> Any:
    """The state of a batch of one as that of an unbatched sequence."""
    return map_state(lambda a: a.squeeze(1), hx)


def _rows(a: Tensor, index: Tensor | None) -> Tensor:
    return a if index is None else a.index_select(1, index)


def map_state(fn: Callable[[Tensor], Tensor], hx: Any) -> Any:
    """`fn` of every tensor of a state in torch's shapes; what is no state is left for the check to name."""
    if hx is None:
        return None
    if isinstance(hx, Tensor):
        return fn(hx)
    if isinstance(hx, list):
        return [map_state(fn, layer) for layer in hx]
    if isinstance(hx, tuple):
        mapped = [map_state(fn, a) for a in hx]
        return type(hx)(*mapped) if hasattr(hx, "_fields") else tuple(mapped)
    return hx

"""RNN: any cell in a stack, in one direction or both, over sequences of any length; nn.LSTM's signature."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnzoo import states
from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.cells.registry import create
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels import Explanation, Work, check_kernel, choose, explain
from rnnzoo.kernels.checkpointed import run_checkpointed
from rnnzoo.kernels.derived import with_derived_weights
from rnnzoo.kernels.layout import Dense, Packed

CellLike = str | type[Cell] | Callable[..., Cell]
Sequences = Tensor | PackedSequence


class RNN(nn.Module):
    """A recurrent layer of any cell; where ``nn.LSTM`` stood, with the cell as its first argument.

    Args:
        cell: a registered name, an import path, a Cell class, or a function (input_size, hidden_size) -> Cell.
        input_size: features of x.
        hidden_size: features of the hidden state.
        num_layers: cells on top of each other.
        bias: whether the products have biases.
        batch_first: whether x and the output are (B, T, ...) rather than (T, B, ...); states never are.
        dropout: probability of zeroing an output of a layer but the last, in training; in [0, 1).
        bidirectional: whether a second stack reads from the end; outputs are (forward, backward), side by side.
        kernel: what runs it: "auto", or a kernel's name; can be set later, ``rnn.kernel = "reference"``.
        checkpoint_every: in training, keep of every so many steps only the state they start from, and compute them
            again in the backward (Chen et al. 2016); None keeps everything.
        device: where the weights lie.
        dtype: of the weights.
        constants: the cell's own keyword arguments, ``RNN("janet", 10, 20, beta=0.5)``.

    Raises:
        RnnZooError: an unknown cell or kernel, an argument the cell does not have, or a value out of range.
    """

    def __init__(
        self,
        cell: CellLike,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        kernel: str = "auto",
        checkpoint_every: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **constants: Any,
    ):
        super().__init__()
        self.num_layers = at_least_one("num_layers", num_layers)
        check_dropout(dropout)
        if dropout and num_layers == 1:
            warnings.warn(f"dropout={dropout} acts between layers, and num_layers=1 has none between", stacklevel=2)
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.kernel = kernel
        self.checkpoint_every = checkpoint_every
        if checkpoint_every is not None:
            at_least_one("checkpoint_every", checkpoint_every)
        if not bias:
            constants["bias"] = False

        def make(size: int) -> Cell:
            if isinstance(cell, str | type | nn.Module) or not callable(cell):
                return create(cell, size, hidden_size, **constants)  # type: ignore[arg-type]
            made = cell(size, hidden_size, **constants)
            if not isinstance(made, Cell):
                raise RnnZooError(f"cell, called with ({size}, {hidden_size}), must make a Cell, not {made!r}")
            return made

        with _defaults(device, dtype):
            self.layers = nn.ModuleList()
            for _ in range(num_layers):
                directions = [make(input_size) for _ in range(1 + bidirectional)]
                self.layers.append(nn.ModuleList(directions))
                input_size = len(directions) * directions[0].output_size
        first = self._cells[0][0]
        self.input_size, self.hidden_size = first.input_size, first.hidden_size
        self.output_size = input_size
        self.register_load_state_dict_pre_hook(_accept_torch_names)

    @property
    def kernel(self) -> str:
        """The kernel asked for; "auto" takes the cheapest that can run a call, and ``explain`` says which."""
        return self._kernel

    @kernel.setter
    def kernel(self, name: str) -> None:
        self._kernel = check_kernel(name)

    def forward(
        self, x: Sequences, hx: Any = None, *, lengths: Tensor | Sequence[int] | None = None, **inputs: Sequences
    ) -> tuple[Sequences, Any]:
        """Runs over whole sequences.

        Args:
            x: (T, B, input_size), (B, T, input_size) with batch_first, (T, input_size), or a PackedSequence.
            hx: the state to start from, in torch's shapes: (num_layers * directions, B, H) a field, without B where
                x is unbatched; a tensor where the cell's state has one field, a tuple where more, and a list with
                one entry a layer where sizes differ between layers. None starts from the cell's initial state.
            lengths: (B,) steps of each sequence, 1 to T, in any order; the output behind them is zero, and the final
                state is that of each sequence's own end.
            inputs: what the cell takes besides x, a step at a time: (T, B, ...), laid out as x.

        Returns:
            The outputs (T, B, directions * output_size), laid out as x, and the final state, shaped as `hx`.

        Raises:
            RnnZooError: shapes, dtypes, devices or lengths that do not fit, or a kernel that cannot run this.
        """
        work, restore = self._arrange(x, hx, lengths, inputs)
        kernel = choose(self._kernel, work)
        if self.checkpoint_every and self.checkpoint_every < work.layout.time and torch.is_grad_enabled():
            return restore(*run_checkpointed(kernel, work, self.checkpoint_every))
        return restore(*kernel.run(work))

    def explain(
        self, x: Sequences, hx: Any = None, *, lengths: Tensor | Sequence[int] | None = None, **inputs: Sequences
    ) -> Explanation:
        """Which kernel would run this call, and what each of the others answers."""
        return explain(self._kernel, self._arrange(x, hx, lengths, inputs)[0])

    def step(self, x: Tensor, hx: Any = None, **inputs: Tensor) -> tuple[Tensor, Any]:
        """One time step, x (B, input_size) or (input_size,); state as in ``forward``.

        Raises:
            RnnZooError: the stack is bidirectional, or a shape does not fit.
        """
        if self.bidirectional:
            raise RnnZooError("step needs a stack of one direction: a backward one starts at a sequence's end")
        if not isinstance(x, Tensor):
            raise RnnZooError(f"x must be a tensor, not a {type(x).__name__}")
        if x.dim() not in (1, 2):
            raise RnnZooError(f"step takes x of shape (B, I) or (I,), not {tuple(x.shape)}")
        self._check_input(x)
        self._check_names(inputs)
        inputs = {name: self._step_input(name, a, x) for name, a in inputs.items()}
        unbatched = x.dim() == 1
        if unbatched:
            x, inputs, hx = x[None], {n: a[None] for n, a in inputs.items()}, _map(_with_batch, hx)
        if hx is not None:
            states.check(self._cells, hx, len(x), x)
        olds = states.initial(self._cells, len(x), x) if hx is None else states.split(self._cells, hx)
        news = []
        for k, ((cell,), s) in enumerate(zip(self._cells, olds, strict=True)):
            if k and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            x, s = cell(x, s, **inputs)
            news.append(s)
        hx = states.join(self._cells, news)
        return (x[0], _map(lambda a: a.squeeze(1), hx)) if unbatched else (x, hx)

    def flatten_parameters(self) -> None:
        """For code written for nn.LSTM: nothing to do, every call sees to it."""

    @property
    def _cells(self) -> list[list[Cell]]:
        return [cast(list[Cell], list(directions.children())) for directions in self.layers]

    def _arrange(
        self, x: Sequences, hx: Any, lengths: Tensor | Sequence[int] | None, inputs: dict[str, Sequences]
    ) -> tuple[Work, Callable[[Tensor, Any], tuple[Sequences, Any]]]:
        """What a kernel gets, time first or packed, and the way back from what it returns."""
        self._check_names(inputs)
        cells = with_derived_weights(self._cells)
        dropout = self.dropout if self.training else 0.0
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise RnnZooError("lengths cannot be given with a PackedSequence, which has its own")
            packed, data = x, {name: self._packed_input(name, a, x) for name, a in inputs.items()}
            self._check_input(packed.data)

            def pack_back(y: Tensor) -> Sequences:
                return packed._replace(data=y)

            return self._arrange_packed(cells, packed, hx, dropout, data, pack_back)

        if not isinstance(x, Tensor):
            raise RnnZooError(f"x must be a tensor or a PackedSequence, not a {type(x).__name__}")
        if x.dim() not in (2, 3):
            raise RnnZooError(f"x must be {self._shape_legend()} or unbatched (T, I), not of shape {tuple(x.shape)}")
        self._check_input(x)
        unbatched = x.dim() == 2
        time_first = unbatched or not self.batch_first
        steps = {name: self._step_input(name, a, x) for name, a in inputs.items()}
        if unbatched:
            x, steps = x.unsqueeze(1), {n: a.unsqueeze(1) for n, a in steps.items()}
            hx = _map(_with_batch, hx)
        elif not time_first:
            x, steps = x.transpose(0, 1), {n: a.transpose(0, 1) for n, a in steps.items()}
        T, B = x.shape[:2]
        if not T or not B:
            raise RnnZooError(f"x must have at least one step and one sequence, but has T={T}, B={B}")

        def lay_back(y: Tensor) -> Tensor:
            return y.squeeze(1) if unbatched else y if time_first else y.transpose(0, 1)

        if lengths is not None:
            sizes = _check_lengths(lengths, T, B)
            if int(sizes.min()) < T:
                packed = pack_padded_sequence(x, sizes, enforce_sorted=False)
                data = {n: pack_padded_sequence(a, sizes, enforce_sorted=False).data for n, a in steps.items()}

                def pad_back(y: Tensor) -> Sequences:
                    return lay_back(pad_packed_sequence(packed._replace(data=y), total_length=T)[0])

                return self._arrange_packed(cells, packed, hx, dropout, data, pad_back, unbatched)
        if hx is not None:
            states.check(cells, hx, B, x)
        work = Work(cells, x, Dense(x), hx, dropout, steps)
        return work, lambda y, last: (lay_back(y), _map(lambda a: a.squeeze(1), last) if unbatched else last)

    def _arrange_packed(
        self,
        cells: list[list[Cell]],
        packed: PackedSequence,
        hx: Any,
        dropout: float,
        inputs: dict[str, Tensor],
        back: Callable[[Tensor], Sequences],
        unbatched: bool = False,
    ) -> tuple[Work, Callable[[Tensor, Any], tuple[Sequences, Any]]]:
        """The same for packed data, whose rows a kernel sees longest first."""
        layout = Packed(packed)
        if hx is not None:
            states.check(cells, hx, layout.batch, packed.data)
            hx = _map(lambda a: _rows(a, packed.sorted_indices), hx)

        def restore(y: Tensor, last: Any) -> tuple[Sequences, Any]:
            last = _map(lambda a: _rows(a, packed.unsorted_indices), last)
            return back(y), _map(lambda a: a.squeeze(1), last) if unbatched else last

        return Work(cells, packed.data, layout, hx, dropout, inputs), restore

    def _check_input(self, x: Tensor) -> None:
        cell = self._cells[0][0]
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

    def _check_names(self, inputs: dict[str, Any]) -> None:
        cell = self._cells[0][0]
        unknown, missing = set(inputs) - set(cell.inputs), set(cell.inputs) - set(inputs)
        if unknown or missing:
            name, takes = type(cell).__name__, ", ".join(cell.inputs) or "nothing"
            wrong = f"got {sorted(unknown)}" if unknown else f"{sorted(missing)} is missing"
            raise RnnZooError(f"{name} takes {takes} besides x; {wrong}")

    def _step_input(self, name: str, a: Sequences, x: Tensor) -> Tensor:
        lead = x.dim() - 1
        if isinstance(a, PackedSequence) or a.shape[:lead] != x.shape[:lead]:
            got = "a PackedSequence" if isinstance(a, PackedSequence) else f"of shape {tuple(a.shape)}"
            raise RnnZooError(f"{name} must be laid out as x, {tuple(x.shape[:lead])} and what follows, not {got}")
        return a

    def _packed_input(self, name: str, a: Sequences, x: PackedSequence) -> Tensor:
        if not isinstance(a, PackedSequence) or not torch.equal(a.batch_sizes, x.batch_sizes):
            raise RnnZooError(f"{name} must be a PackedSequence with the lengths of x, as x is one")
        return a.data

    def _shape_legend(self) -> str:
        return "(B, T, I)" if self.batch_first else "(T, B, I)"

    def extra_repr(self) -> str:
        parts = [f"kernel={self._kernel!r}"]
        parts += [f"{n}={getattr(self, n)}" for n in ("batch_first", "dropout", "bidirectional") if getattr(self, n)]
        return ", ".join(parts)


def check_dropout(p: float) -> None:
    """Raises RnnZooError for a probability of dropout outside [0, 1)."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
        raise RnnZooError(f"dropout must be a probability in [0, 1), not {p!r}")


def torch_names(rnn: RNN) -> dict[str, str]:
    """nn.LSTM's name of every weight, ``weight_ih_l0_reverse``, for ours, ``layers.0.1.weight_ih``."""
    return {
        f"{name}_l{k}{'_reverse' * d}": f"layers.{k}.{d}.{name}"
        for k, directions in enumerate(rnn._cells)
        for d, cell in enumerate(directions)
        for name, shape in cell.parameter_shapes().items()
        if shape
    }


def _accept_torch_names(rnn: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Lets a checkpoint written with nn.LSTM in this place load into the RNN that replaces it."""
    for theirs, ours in torch_names(rnn).items():
        if prefix + theirs in state:
            state[prefix + ours] = state.pop(prefix + theirs)


def _check_lengths(lengths: Tensor | Sequence[int], T: int, B: int) -> Tensor:
    """`lengths` as an int64 tensor on the CPU, where torch wants it."""
    try:
        sizes = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError):
        raise RnnZooError(f"lengths must be whole numbers of shape (B,), not {lengths!r}") from None
    if sizes.is_floating_point() or sizes.is_complex() or sizes.dtype == torch.bool or sizes.dim() != 1:
        raise RnnZooError(f"lengths must be whole numbers of shape (B,), not {sizes.dtype} of {tuple(sizes.shape)}")
    if len(sizes) != B:
        raise RnnZooError(f"lengths must have one entry for each of the {B} sequences, not {len(sizes)}")
    sizes = sizes.to("cpu", torch.int64)
    if int(sizes.min()) < 1 or int(sizes.max()) > T:
        row = int(((sizes < 1) | (sizes > T)).nonzero()[0])
        raise RnnZooError(f"lengths must lie in 1 to T={T}, but lengths[{row}] is {int(sizes[row])}")
    return sizes


def _with_batch(a: Tensor) -> Tensor:
    """The state of an unbatched sequence as that of a batch of one; a scalar is left for the check to name."""
    return a.unsqueeze(1) if a.dim() else a


def _rows(a: Tensor, index: Tensor | None) -> Tensor:
    return a if index is None else a.index_select(1, index)


def _map(fn: Callable[[Tensor], Tensor], hx: Any) -> Any:
    """`fn` of every tensor of a state in torch's shapes; what is no state is left for the check to name."""
    if hx is None:
        return None
    if isinstance(hx, Tensor):
        return fn(hx)
    if isinstance(hx, list):
        return [_map(fn, layer) for layer in hx]
    if isinstance(hx, tuple):
        mapped = [_map(fn, a) for a in hx]
        return type(hx)(*mapped) if hasattr(hx, "_fields") else tuple(mapped)
    return hx


@contextlib.contextmanager
def _defaults(device: torch.device | str | None, dtype: torch.dtype | None) -> Iterator[None]:
    """Tensors made inside have this device and dtype, so that cells need no arguments for them."""
    before = torch.get_default_dtype()
    with torch.device(device) if device is not None else contextlib.nullcontext():
        if dtype is not None:
            torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)

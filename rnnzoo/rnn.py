"""RNN: any cell in a stack, in one direction or both, over sequences of any length; nn.LSTM's signature."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnnzoo import states
from rnnzoo.arrange import (
    Arranged,
    Sequences,
    all_states,
    arrange,
    begin,
    check_input,
    check_names,
    check_resets,
    map_state,
    recorded,
    step_input,
    with_batch,
    without_batch,
)
from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels import Explanation, Kernel, Work, check_kernel, explain, run
from rnnzoo.kernels.checkpointed import run_checkpointed
from rnnzoo.kernels.derived import with_derived_weights
from rnnzoo.stack import CellLike, Transforms, defaults, each, functions, layers_of, make_layers
from rnnzoo.transforms.resets import reset


class RNN(nn.Module):
    """A recurrent layer of any cell; where ``nn.LSTM`` stood, with the cell as its first argument.

    Args:
        cell: a registered name, an import path, a Cell class, or a function (input_size, hidden_size) -> Cell; or a
            list with one for each layer.
        input_size: features of x.
        hidden_size: features of the hidden state; or a list with one number for each layer.
        num_layers: cells on top of each other; None is as many as lists have entries, or 1.
        bias: whether the products have biases.
        batch_first: whether x and the output are (B, T, ...) rather than (T, B, ...); states never are.
        dropout: probability of zeroing an output of a layer but the last, in training; in [0, 1).
        bidirectional: whether a second stack reads from the end; outputs are (forward, backward), side by side.
        locked_dropout: whether `dropout` zeroes the same units at all steps of a sequence (Gal & Ghahramani 2016);
            a call of ``step`` draws anew.
        kernel: what runs it: "auto", or a kernel's name; can be set later, ``rnn.kernel = "reference"``.
        checkpoint_every: in training, keep of every so many steps only the state they start from, and compute them
            again in the backward (Chen et al. 2016); None keeps everything.
        transforms: what goes around every cell, the innermost first: functions Cell -> Cell, such as
            ``[Zoneout]`` or ``[lambda cell: Zoneout(cell, 0.2)]`` of ``rnnzoo.transforms``; or their names,
            ``"Zoneout"``, or with the arguments behind the cell ``{"Zoneout": {"p": 0.2}}``.
        connect: what goes past every layer: "residual", "highway", "dense", or what makes a module of (x, y) from
            (input_size, output_size), see ``rnnzoo.connections``. What goes past is not dropped by `dropout`.
        dilation: a layer reads its state of so many steps ago (Chang et al. 2017); or a list with one for each layer.
        device: where the weights lie.
        dtype: of the weights.
        constants: the cell's own keyword arguments, ``RNN("janet", 10, 20, beta=0.5)``.

    Raises:
        RnnZooError: an unknown cell or kernel, an argument the cell does not have, or a value out of range.
    """

    def __init__(
        self,
        cell: CellLike | Sequence[CellLike],
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        locked_dropout: bool = False,
        kernel: str = "auto",
        checkpoint_every: int | None = None,
        transforms: Transforms = (),
        connect: str | Callable[[int, int], nn.Module] | None = None,
        dilation: int | Sequence[int] = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **constants: Any,
    ):
        super().__init__()
        n = self.num_layers = layers_of(num_layers, cell=cell, hidden_size=hidden_size, dilation=dilation)
        _check_switches(bias=bias, batch_first=batch_first, bidirectional=bidirectional, locked_dropout=locked_dropout)
        check_dropout(dropout)
        if dropout and n == 1:
            warnings.warn(f"dropout={dropout} acts between layers, and num_layers=1 has none between", stacklevel=2)
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.locked_dropout = locked_dropout
        self.kernel = kernel
        self.checkpoint_every = checkpoint_every
        if checkpoint_every is not None:
            at_least_one("checkpoint_every", checkpoint_every)
        if not bias:
            constants["bias"] = False

        with defaults(device, dtype):
            self.layers, connections, self.output_size = make_layers(
                each(cell, n),
                input_size,
                each(hidden_size, n),
                1 + bidirectional,
                functions(transforms),
                each(dilation, n),
                connect,
                constants,
            )
        self.connections = connections if connect is not None else None
        self.input_size = self._cells[0][0].input_size
        self.hidden_size = hidden_size if isinstance(hidden_size, int) else tuple(hidden_size)
        self.register_load_state_dict_pre_hook(_accept_torch_names)

    @property
    def kernel(self) -> str:
        """The kernel asked for; "auto" takes the cheapest that can run a call, and ``explain`` says which."""
        return self._kernel

    @kernel.setter
    def kernel(self, name: str) -> None:
        self._kernel = check_kernel(name)

    def forward(
        self,
        x: Sequences,
        hx: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Sequences | None = None,
        return_states: bool = False,
        **inputs: Sequences,
    ) -> tuple[Sequences, Any] | tuple[Sequences, Any, Any]:
        """Runs over whole sequences.

        Args:
            x: (T, B, input_size), (B, T, input_size) with batch_first, (T, input_size), or a PackedSequence.
            hx: the state to start from, in torch's shapes: (num_layers * directions, B, H) a field, without B where
                x is unbatched; a tensor where the cell's state has one field, a tuple where more, and a list with
                one entry a layer where cells or sizes differ between layers. None starts from the cell's initial state.
            lengths: (B,) steps of each sequence, 1 to T, in any order; the output behind them is zero, and the final
                state is that of each sequence's own end.
            resets: (T, B) of bool or of 0 and 1, laid out as x: where something new begins, as a document or an
                episode, so that no state passes between this step and the one before it, in either direction.
            return_states: whether to return the states of all steps as well. They take T times a state's memory, and
                what the vendor's kernel would run is run by another.
            inputs: what the cell takes besides x, a step at a time: (T, B, ...), laid out as x.

        Returns:
            The outputs (T, B, directions * output_size), laid out as x, and the final state, shaped as `hx`; with
            return_states also the states after each step, (T, *shape of hx) a field, zero behind a sequence's end.

        Raises:
            RnnZooError: shapes, dtypes, devices or lengths that do not fit, or a kernel that cannot run this.
        """
        if torch.compiler.is_compiling() and (
            lengths is not None or resets is not None or return_states or isinstance(x, PackedSequence)
        ):
            if not torch.compiler.is_exporting():
                return _beside_the_graph(self, x, hx, lengths, resets, return_states, inputs)
            if lengths is not None or isinstance(x, PackedSequence):
                raise RnnZooError(
                    "torch.export takes no lengths and no PackedSequence: how many rows each step has is no part of a"
                    " program; export it on padded sequences"
                )
        return self._run(x, hx, lengths, resets, return_states, inputs)

    def _run(
        self,
        x: Sequences,
        hx: Any,
        lengths: Tensor | Sequence[int] | None,
        resets: Sequences | None,
        return_states: bool,
        inputs: dict[str, Sequences],
    ) -> tuple[Sequences, Any] | tuple[Sequences, Any, Any]:
        arranged = self._arrange(x, hx, lengths, resets, inputs)
        if return_states:
            arranged = arranged._replace(work=recorded(arranged.work))
        every, time = self.checkpoint_every, arranged.work.layout.time
        if every and every < time and torch.is_grad_enabled() and not return_states:
            y, last = run(self._kernel, arranged.work, partial(run_checkpointed, every=every))
        else:
            y, last = run(self._kernel, arranged.work, _run_whole)
        results = arranged.outputs(y), arranged.state(last)
        return (*results, all_states(arranged)) if return_states else results

    def explain(
        self,
        x: Sequences,
        hx: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Sequences | None = None,
        **inputs: Sequences,
    ) -> Explanation:
        """Which kernel would run this call, and what each of the others answers."""
        return explain(self._kernel, self._arrange(x, hx, lengths, resets, inputs, draw=False).work)

    def step(self, x: Tensor, hx: Any = None, *, resets: Tensor | None = None, **inputs: Tensor) -> tuple[Tensor, Any]:
        """One time step, x (B, input_size) or (input_size,); state and resets, (B,) or (), as in ``forward``.

        Raises:
            RnnZooError: the stack is bidirectional, or a shape does not fit.
        """
        if self.bidirectional:
            raise RnnZooError("step needs a stack of one direction: a backward one starts at a sequence's end")
        if not isinstance(x, Tensor):
            raise RnnZooError(f"x must be a tensor, not a {type(x).__name__}")
        if x.dim() not in (1, 2):
            raise RnnZooError(f"step takes x of shape (B, I) or (I,), not {tuple(x.shape)}")
        check_input(self._cells, x)
        check_names(self._cells, inputs)
        inputs = {name: step_input(name, a, x) for name, a in inputs.items()}
        if resets is not None:
            resets = check_resets(step_input("resets", resets, x), x.dim() - 1)
        unbatched = x.dim() == 1
        if unbatched:
            x, inputs, hx = x[None], {n: a[None] for n, a in inputs.items()}, map_state(with_batch, hx)
            resets = None if resets is None else resets[None]
        cells = with_derived_weights(self._cells)
        if hx is not None:
            states.check(cells, hx, len(x), x)
        olds = states.initial(cells, len(x), x) if hx is None else states.split(cells, hx)
        news = []
        for k, ((cell,), s) in enumerate(zip(cells, olds, strict=True)):
            z = nn.functional.dropout(x, self.dropout) if k and self.dropout and self.training else x
            s = s if resets is None else reset(cell, s, resets)
            y, s = cell(z, s, **{n: inputs[n] for n in cell.inputs})
            x = y if self.connections is None else self.connections[k](x, y)
            news.append(s)
        hx = states.join(cells, news)
        return (x[0], without_batch(hx)) if unbatched else (x, hx)

    def flatten_parameters(self) -> None:
        """For code written for nn.LSTM: nothing to do, every call sees to it."""

    @property
    def _cells(self) -> list[list[Cell]]:
        return [cast(list[Cell], list(directions.children())) for directions in self.layers]

    def _arrange(
        self,
        x: Sequences,
        hx: Any,
        lengths: Tensor | Sequence[int] | None,
        resets: Sequences | None,
        inputs: dict[str, Sequences],
        draw: bool = True,
    ) -> Arranged:
        arranged = arrange(
            with_derived_weights(self._cells),
            x,
            hx,
            batch_first=self.batch_first,
            dropout=self.dropout if self.training else 0.0,
            lengths=lengths,
            resets=resets,
            inputs=inputs,
        )
        arranged.work.connections, arranged.work.locked = tuple(self.connections or ()), self.locked_dropout
        return arranged._replace(work=begin(arranged.work, draw))

    def extra_repr(self) -> str:
        parts = [f"kernel={self._kernel!r}"]
        shown = ("batch_first", "dropout", "locked_dropout", "bidirectional")
        parts += [f"{n}={getattr(self, n)}" for n in shown if getattr(self, n)]
        return ", ".join(parts)


def _beside_the_graph(rnn: RNN, *given: Any) -> Any:
    """The call as it is without torch.compile: its graphs cannot hold how many rows each step has, nor the cells that
    are made for one call."""
    return torch.compiler.disable(rnn._run)(*given)


# torch's marks, as torch.compiler.disable would set them, without importing torch._dynamo
_beside_the_graph._torchdynamo_disable = True  # type: ignore[attr-defined]
_beside_the_graph._torchdynamo_disable_msg = (  # type: ignore[attr-defined]
    "an RNN with lengths, a PackedSequence, resets or return_states runs beside the graph"
)


def _run_whole(kernel: Kernel, work: Work) -> tuple[Tensor, Any]:
    return kernel.run(work)


def check_dropout(p: float, name: str = "dropout") -> None:
    """Raises RnnZooError for a probability of dropout outside [0, 1), with the `name` of the setting."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
        raise RnnZooError(f"{name} must be a probability in [0, 1), not {p!r}")


def _check_switches(**given: Any) -> None:
    """Raises RnnZooError for a switch that is neither True nor False, such as what nn.RNN has in another place."""
    for name, value in given.items():
        if value in ("tanh", "relu") and isinstance(value, str):
            cell = "rnn" if value == "tanh" else "rnn_relu"
            raise RnnZooError(
                f"{name} must be True or False, not {value!r}; nn.RNN's nonlinearity is a cell of its own here:"
                f" RNN({cell!r}, ...)"
            )
        if not isinstance(value, bool):
            raise RnnZooError(f"{name} must be True or False, not {value!r}")


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

"""The settings of recurrent layers, once for every task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo import initialize
from rnnzoo.cells.registry import check_constants, find, name_of
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.models.blocks import BlockStack, check_block
from rnnzoo.rnn import RNN, check_dropout

INITIALIZATIONS = ("chrono", "forget_bias", "identity", "orthogonal_recurrence")  # of rnnzoo.initialize, without "_"
_OLDER = ("transforms", "connect", "dilation")


@dataclass(kw_only=True)
class Layers:
    """The recurrent layers of a task: which cell, how many, how large, what goes around them, and how they start.

    Args:
        cell: a cell's registered name or import path.
        cell_args: the cell's own arguments, by name.
        hidden_size: features of the hidden state; or a list with one number for each layer.
        num_layers: cells on top of each other.
        dropout: between layers, and where the task drops what goes into and comes out of them; in [0, 1).
        locked_dropout: whether dropout zeroes the same units at all steps of a sequence (Gal & Ghahramani 2016).
        bidirectional: whether a second stack reads from the end.
        transforms: what goes around every cell, the innermost first, by name: Zoneout, {Zoneout: {p: 0.1}}, or a list.
        connect: what goes past every layer: "residual", "highway" or "dense".
        dilation: a layer reads its state of so many steps ago; or a list with one number for each layer.
        block: what goes around every layer, with a norm before it and its input past it: "mamba" or "griffin", whose
            features are the embedding's and whose cell has `hidden_size` units. None for the cells alone.
        block_args: the block's own arguments, by name.
        kernel: what runs the layers: "auto" or a kernel's name.
        checkpoint_every: in training, keep of every so many steps only the state they start from, and compute them
            again in the backward; for sequences of thousands of steps. None keeps everything.
        initialization: how the cells start instead of in their own way, by name: forget_bias, identity,
            orthogonal_recurrence, {chrono: {max_steps: 1000}}, or a list.
        rnn_args: an older name, for {transforms: ..., connect: ..., dilation: ...}.

    Raises:
        RnnZooError: a value out of range, or a cell or something else of a name that there is not.
    """

    cell: str = "lstm"
    cell_args: dict[str, Any] | None = None
    hidden_size: int | list[int] = 128
    num_layers: int = 1
    dropout: float = 0.0
    locked_dropout: bool = False
    bidirectional: bool = False
    transforms: str | dict[str, Any] | list[Any] | None = None
    connect: str | None = None
    dilation: int | list[int] = 1
    block: str | None = None
    block_args: dict[str, Any] | None = None
    kernel: str = "auto"
    checkpoint_every: int | None = None
    initialization: str | dict[str, Any] | list[Any] | None = None
    rnn_args: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self._take_older()
        found, self.cell_args = find(self.cell), dict(self.cell_args or {})
        check_constants(found, self.cell_args)
        self.cell = name_of(found)
        check_dropout(self.dropout)
        self._check_block()
        self._initializers = _initializers(self.initialization)

    def _take_older(self) -> None:
        given, self.rnn_args = self.rnn_args or {}, None
        for name, value in given.items():
            if name not in _OLDER:
                near = did_you_mean(name, _OLDER)
                raise RnnZooError(f"rnn_args has {name!r}{near} it may have: {', '.join(_OLDER)}")
            setattr(self, name, value)
        if given:
            now = ", ".join(f"--model.{name}" for name in given)
            rank_zero_warn(f"rnn_args is an older name: its settings stand beside the others now, {now}")

    def _check_block(self) -> None:
        """Blocks go past what a stack of cells alone may have."""
        if self.block is None:
            if self.block_args:
                raise RnnZooError(f"block_args {self.block_args} are for a block, and block is null")
            return
        check_block(self.block, self.block_args or {})
        if not isinstance(self.hidden_size, int):
            raise RnnZooError(f"block={self.block!r} takes one hidden_size for all layers, not {self.hidden_size}")
        for name, value, plain in (
            ("bidirectional", self.bidirectional, False),
            ("connect", self.connect, None),
            ("dilation", self.dilation, 1),
        ):
            if value != plain:
                raise RnnZooError(f"block={self.block!r} and {name}={value!r} exclude each other: give one")

    def rnn(self, input_size: int) -> RNN:
        """The layers over `input_size` features, with the batch first: (B, T, input_size) -> (B, T, output_size).

        With a `block` it is a stack of blocks, which is called as an RNN is.
        """
        if self.block is None:
            return self._cells(input_size, self.num_layers)
        assert isinstance(self.hidden_size, int)
        rnns = [self._cells(self.hidden_size, 1) for _ in range(self.num_layers)]
        stack = BlockStack(self.block, rnns, input_size, self.dropout, **(self.block_args or {}))
        return cast(RNN, stack)

    def _cells(self, input_size: int, num_layers: int) -> RNN:
        rnn = RNN(
            self.cell,
            input_size,
            self.hidden_size,
            num_layers,
            batch_first=True,
            dropout=self.dropout if num_layers > 1 else 0.0,
            bidirectional=self.bidirectional,
            locked_dropout=self.locked_dropout,
            kernel=self.kernel,
            checkpoint_every=self.checkpoint_every,
            transforms=self.transforms or (),
            connect=self.connect,
            dilation=self.dilation,
            **(self.cell_args or {}),
        )
        for name, arguments in self._initializers:
            function = getattr(initialize, f"{name}_")
            try:
                function(rnn, **arguments)
            except TypeError as error:  # an argument that it has not, or lacks
                raise RnnZooError(f"initialization {name!r}: {error}") from error
        return rnn


def _initializers(given: str | Mapping[str, Any] | Sequence[Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments, in their order."""
    if given is None:
        return []
    if isinstance(given, str):
        given = {given: None}
    if not isinstance(given, Mapping):
        return [one for each in given for one in _initializers(each)]
    for name in given:
        if name.removesuffix("_") not in INITIALIZATIONS:
            near = did_you_mean(name, INITIALIZATIONS)
            raise RnnZooError(f"initialization {name!r} is unknown{near} there are: {', '.join(INITIALIZATIONS)}")
    return [(name.removesuffix("_"), dict(arguments or {})) for name, arguments in given.items()]

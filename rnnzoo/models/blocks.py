"""The blocks of Mamba and of Griffin around any cell: a norm, a convolution, the cell, a gate, and x past them."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.cells.linear import RGLRU, wide
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.kernels import Explanation
from rnnzoo.rnn import RNN


class BlockState(NamedTuple):
    """What a block remembers.

    Args:
        window: (1, B, W - 1, H), the last inputs of the convolution.
        cell: the state of the RNN of one layer.
    """

    window: Tensor
    cell: Any


class RMSNorm(nn.Module):
    """Zhang & Sennrich 2019: x g / √(mean of x² + ε), in float32 at least."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        high = wide(x)
        return (high * (high.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype) * self.weight


class MambaBlock(nn.Module):
    """Gu & Dao 2023, a block of width D around a cell of H units.

    n = RMSNorm(x)
    v, z = W_in n
    c_t = silu(b + Σ_j w_j v_{t-W+1+j})      a convolution of W steps, unit by unit
    x + W_out (cell(c) silu(z))

    Args:
        rnn: one layer over H features, batch_first.
        size: D.
        dropout: on what is added to x; in [0, 1).
        width: W, steps of the convolution.
        bias: whether the two products have biases.
        eps: ε of the norm.
    """

    eps: ClassVar[float] = 1e-5

    def __init__(
        self,
        rnn: RNN,
        size: int,
        dropout: float = 0.0,
        *,
        width: int = 4,
        bias: bool = False,
        eps: float | None = None,
    ):
        super().__init__()
        self.width = at_least_one("width of a block's convolution", width)
        self.dropout = nn.Dropout(dropout)
        self.norm = RMSNorm(size, self.eps if eps is None else eps)
        self.expand = nn.Linear(size, rnn.input_size + rnn.output_size, bias)
        self.convolution = nn.Conv1d(rnn.input_size, rnn.input_size, width, groups=rnn.input_size)
        self.rnn = rnn
        self.contract = nn.Linear(rnn.output_size, size, bias)

    def forward(
        self, x: Tensor, state: BlockState | None, lengths: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, BlockState]:
        """x (B, T, D) -> the same shape, and the state after each sequence's last step."""
        v, z = self.expand(self.norm(x)).split([self.rnn.input_size, self.rnn.output_size], -1)
        c, window = self.convolve(v, state, lengths)
        y, cell = self.rnn(F.silu(c), None if state is None else state.cell, lengths=lengths, **inputs)
        return x + self.dropout(self.contract(y * F.silu(z))), BlockState(window, cell)

    def convolve(self, v: Tensor, state: BlockState | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """The convolution (B, T, H) of v, causal, and the window to go on from."""
        past = v.new_zeros(len(v), self.width - 1, v.shape[-1]) if state is None else state.window[0].to(v.dtype)
        padded = torch.cat([past, v], 1)
        if lengths is None:
            window = padded[:, v.shape[1] :]
        else:
            steps = lengths.to(v.device)[:, None] + torch.arange(self.width - 1, device=v.device)
            window = padded.gather(1, steps[..., None].expand(-1, -1, v.shape[-1]))
        return self.convolution(padded.transpose(1, 2)).transpose(1, 2), window[None]


class GriffinBlock(MambaBlock):
    """De et al. 2024, a recurrent block of width D around a cell of H units, and a gated product of M behind it.

    n = RMSNorm(x)
    v, z = W_in n + b
    c_t = b + Σ_j w_j v_{t-W+1+j}            a convolution of W steps, unit by unit
    r = x + W_out (cell(c) gelu(z)) + b
    u, g = W_up RMSNorm(r) + b               M features each
    r + W_down (u gelu(g)) + b

    Around `rg_lru` a sequence begins as in the released code: h_1 = σ(i_1) v_1, without the factor √(1 - a²).

    Args:
        rnn: one layer over H features, batch_first.
        size: D.
        dropout: on what is added to x and r; in [0, 1).
        width: W, steps of the convolution.
        mlp_size: M; 3 D by default, as in the paper.
        eps: ε of the norms.
    """

    eps = 1e-6

    def __init__(
        self,
        rnn: RNN,
        size: int,
        dropout: float = 0.0,
        *,
        width: int = 4,
        mlp_size: int | None = None,
        eps: float | None = None,
    ):
        super().__init__(rnn, size, dropout, width=width, bias=True, eps=eps)
        mlp_size = 3 * size if mlp_size is None else at_least_one("mlp_size", mlp_size)
        self.mlp_norm = RMSNorm(size, self.norm.eps)
        self.up = nn.Linear(size, 2 * mlp_size)
        self.down = nn.Linear(mlp_size, size)

    def forward(
        self, x: Tensor, state: BlockState | None, lengths: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, BlockState]:
        """x (B, T, D) -> the same shape, and the state after each sequence's last step."""
        v, z = self.expand(self.norm(x)).split([self.rnn.input_size, self.rnn.output_size], -1)
        c, window = self.convolve(v, state, lengths)
        hx = self._begin(c) if state is None else state.cell
        y, cell = self.rnn(c, hx, lengths=lengths, **inputs)
        r = x + self.dropout(self.contract(y * F.gelu(z, approximate="tanh")))
        u, g = self.up(self.mlp_norm(r)).chunk(2, -1)
        return r + self.dropout(self.down(u * F.gelu(g, approximate="tanh"))), BlockState(window, cell)

    def _begin(self, c: Tensor) -> Tensor | None:
        """The state from which `rg_lru`'s first step is σ(i) v; None for any other cell.

        a h_0 + s σ(i) v with s = √(1 - a²) is σ(i) v where h_0 = a / (1 + s) σ(i) v.
        """
        cell: Cell = self.rnn._cells[0][0]
        if type(cell) is not RGLRU:
            return None
        v, r, i = cell.project(c[:, 0])
        log_a = cell.c * wide(r).sigmoid() * F.logsigmoid(wide(cell.Lambda))
        s = (-torch.expm1(2 * log_a)).clamp(min=torch.finfo(log_a.dtype).tiny).sqrt()
        return (log_a.exp() / (1 + s) * wide(i).sigmoid() * v).to(cell.like(c).dtype)[None]


BLOCKS: Mapping[str, type[MambaBlock]] = {"mamba": MambaBlock, "griffin": GriffinBlock}


def check_block(kind: str, options: Mapping[str, Any]) -> None:
    """Raises RnnZooError for a kind of block that there is not, or an option that it has not."""
    if kind not in BLOCKS:
        raise RnnZooError(f"block {kind!r} is unknown{did_you_mean(kind, BLOCKS)} there are: {', '.join(BLOCKS)}")
    known = [p.name for p in inspect.signature(BLOCKS[kind]).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            near = did_you_mean(name, known)
            raise RnnZooError(f"block_args has {name!r}{near} a block of {kind} takes: {', '.join(known)}")


class BlockStack(nn.Module):
    """Blocks on top of each other and a norm behind them, in the place of an RNN: (B, T, D) -> (B, T, D).

    Args:
        kind: "mamba" or "griffin".
        rnns: an RNN of one layer for each block.
        size: D.
        dropout: of the blocks, in [0, 1).
        options: what else the blocks of this kind take.

    Raises:
        RnnZooError: another kind, or an option that its blocks have not.
    """

    batch_first = True
    bidirectional = False

    def __init__(self, kind: str, rnns: list[RNN], size: int, dropout: float = 0.0, **options: Any):
        super().__init__()
        check_block(kind, options)
        self.input_size = self.output_size = size
        blocks = [BLOCKS[kind](rnn, size, dropout, **options) for rnn in rnns]
        self.blocks = nn.ModuleList(blocks)
        self.norm = RMSNorm(size, blocks[0].norm.eps)
        self.num_layers, self.hidden_size, self.kernel = len(rnns), rnns[0].hidden_size, rnns[0].kernel

    @property
    def _blocks(self) -> list[MambaBlock]:
        return cast(list[MambaBlock], list(self.blocks))

    @property
    def _cells(self) -> list[list[Cell]]:
        return [block.rnn._cells[0] for block in self._blocks]

    def forward(
        self, x: Tensor, hx: Any = None, *, lengths: Tensor | None = None, **inputs: Tensor
    ) -> tuple[Tensor, list[BlockState]]:
        """The outputs (B, T, D), and the state to go on from, one of each block.

        Args:
            x: (B, T, D).
            hx: the state of an earlier call; None starts anew.
            lengths: (B,) steps of each sequence; what lies behind them has no effect.
            inputs: what the cell takes besides x, (B, T, ...).
        """
        if lengths is not None and not isinstance(lengths, Tensor):
            lengths = torch.as_tensor(lengths, device=x.device)
        states = []
        for k, block in enumerate(self._blocks):
            x, state = block(x, None if hx is None else hx[k], lengths, inputs)
            states.append(state)
        return self.norm(x), states

    def step(self, x: Tensor, hx: Any = None, **inputs: Tensor) -> tuple[Tensor, list[BlockState]]:
        """One time step, x (B, D)."""
        y, hx = self(x[:, None], hx, **{name: a[:, None] for name, a in inputs.items()})
        return y[:, 0], hx

    def explain(self, x: Tensor, **inputs: Tensor) -> Explanation:
        """Which kernel would run the cell of a block."""
        rnn = self._blocks[0].rnn
        return rnn.explain(x.new_zeros(*x.shape[:-1], rnn.input_size), **inputs)

"""The contract: a recurrence of which only ``step`` sees time, and its two common refinements.

Sizes: T time, B batch, I input, H hidden, P projected, G gates (rows of weight_ih / H).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import SUPPORTED_NODES, _register_namedtuple, tree_flatten, tree_unflatten

from rnnzoo.errors import RnnZooError


class Hidden(NamedTuple):
    """The state of a cell that carries its output alone."""

    h: Tensor


class HiddenCell(NamedTuple):
    """The state of the LSTM family: output and memory."""

    h: Tensor
    c: Tensor


CLASS_CHANGES = [0]  # how often an attribute of a Cell class was set or deleted: what kernels remember goes by it


class _CellMeta(type):
    """Initialises the parameters once, when the last ``__init__`` is done and every one of them exists."""

    def __setattr__(cls, name: str, value: Any) -> None:
        CLASS_CHANGES[0] += 1
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        CLASS_CHANGES[0] += 1
        super().__delattr__(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        cell = super().__call__(*args, **kwargs)
        missing = cell._missing()
        if missing:
            raise RnnZooError(f"cell {cls.__name__} must define {missing}")
        if not _WITHOUT_START.get():
            cell._initialise()
        return cell


_WITHOUT_START: ContextVar[bool] = ContextVar("without_start", default=False)


@contextlib.contextmanager
def without_start() -> Iterator[None]:
    """Cells made inside have parameters of no particular values: for who counts them, or loads others at once."""
    token = _WITHOUT_START.set(True)
    try:
        yield
    finally:
        _WITHOUT_START.reset(token)


class Cell(nn.Module, metaclass=_CellMeta):
    """A recurrence of which only ``step`` sees time.

    ::

        u = project(x, **inputs)   before the loop, any leading dims   (..., I) -> (..., P), one big GEMM; any pytree
        s = step(u, s)             inside the loop, one time step      (B, P), State -> State
        h = emit(s)                inside the loop: what is collected  default: the state's first field
        y = readout(h, u, x)       after the loop, any leading dims    -> (..., output_size); default: h

    ``State`` is a NamedTuple of (B, ...) tensors. Constants are keyword arguments of the constructor, kept as
    attributes. ``step`` draws no random numbers: masks are drawn in ``project``, for all time steps at once, or, what
    is the same for all steps of a sequence, in ``draw``.

    ``rows`` say what the gates are for, in the order of their rows: "keep" where a larger number keeps more of the old
    state, "write" where it lets more of the new one in, "new" for the candidate that is written, "read" for what is
    emitted of a memory, "reset" for what the candidate sees of the old state; of an LSTM's i f g o,
    ``rows = ("write", "keep", "new", "read")``. Initialisations and dropout find their gates by them.

    Args:
        input_size: features of x, at least 1.
        hidden_size: features of the hidden state, at least 1.
        bias: whether the products have biases.

    Raises:
        RnnZooError: a size below 1, or a subclass without the method it has to define, or that defines wrongly.
    """

    State: ClassVar[Any] = Hidden
    gates: ClassVar[int] = 0  # rows of weight_ih / H; 0 for a cell with its own `project`
    vectors: ClassVar[tuple[str, ...]] = ()  # parameters of one number a unit, such as peepholes
    rows: ClassVar[tuple[str, ...]] = ()  # what each gate is for, see above; () where that is not said
    inputs: ClassVar[tuple[str, ...]] = ()  # what `project` takes besides x, a step at a time: masks, time gaps
    pinned: ClassVar[str | None] = None  # the kernel that "auto" means for this cell
    not_fused: ClassVar[str | None] = None  # why the kernel `fused` does not take it, known without a trace
    limits: ClassVar[Mapping[str, str]] = {}  # checks of rnnzoo.testing that cannot hold, each with the reason

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        state = cls.State
        if hasattr(state, "_fields") and state not in SUPPORTED_NODES:
            # by this name torch.export writes a state, and finds its class where the cell's module is imported
            _register_namedtuple(state, serialized_type_name=f"{state.__module__}.{state.__qualname__}")
            torch.serialization.add_safe_globals([state])  # and a file of weights alone may hold one

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True):
        super().__init__()
        self.input_size = at_least_one("input_size", input_size)
        self.hidden_size = at_least_one("hidden_size", hidden_size)
        self.bias = bias
        if not isinstance(self.gates, int):
            raise RnnZooError(f"{type(self).__name__}.gates must be a number of gates, not {self.gates!r}")
        if isinstance(self.vectors, str):
            raise RnnZooError(f"{type(self).__name__}.vectors must be a tuple of names, such as ({self.vectors!r},)")
        for name, shape in self.parameter_shapes().items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)) if shape else None)
        for name in self.vectors:
            self.register_parameter(name, nn.Parameter(torch.empty(hidden_size)))

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        """Weights in torch's order, which is the order in which they are initialised; None for one left out."""
        rows = self.gates * self.hidden_size
        return {
            "weight_ih": (rows, self.input_size) if rows else None,
            "bias_ih": (rows,) if rows and self.bias else None,
        }

    @property
    def output_size(self) -> int:
        """Features of what ``readout`` returns."""
        return self.hidden_size

    def reset_parameters(self) -> None:
        """Draws every parameter from U(-1/√H, 1/√H), as torch's recurrent modules do."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            nn.init.uniform_(p, -bound, bound)

    def constrain_(self) -> None:
        """Brings parameters back into the range that the cell's paper keeps them in; called after every step of the
        optimiser, by the tasks or by a loop of one's own."""

    def project(self, x: Tensor, **inputs: Tensor) -> Any:
        """What can be computed before time runs, x (..., I) -> a pytree of (..., P)."""
        return F.linear(x, self.weight_ih, self.bias_ih) if self.gates else x

    def draw(self, batch: int, like: Tensor) -> dict[str, Tensor]:
        """What is drawn once a call for each sequence, (batch, ...) by name; ``project`` gets it at every step, with
        its inputs, but for a ``project`` that is called alone, which draws for itself."""
        return {}

    def step(self, u: Any, s: Any) -> Any:
        """One time step, u (B, P) and the old state -> the new state."""
        raise RnnZooError(f"cell {type(self).__name__} must define step(u, s)")

    def emit(self, s: Any) -> Tensor:
        """What is collected from each step's state."""
        return s[0]

    def readout(self, h: Tensor, u: Any, x: Tensor) -> Tensor:
        """The output from what was collected, after the loop: (..., output_size)."""
        return h

    def initial_state(self, batch: int, like: Tensor) -> Any:
        """The state before the first step: zeros of (batch, H) a field, of `like`'s dtype and device."""
        return self.State(*(like.new_zeros(batch, self.hidden_size) for _ in self.State._fields))

    def _missing(self) -> str | None:
        return "step(u, s)" if type(self).step is Cell.step else None

    def _initialise(self) -> None:
        """What is done once, when the last ``__init__`` is done."""
        self.reset_parameters()

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"

    # Derived: an ordinary cell overrides nothing below.

    def forward(self, x: Tensor, s: Any = None, **inputs: Tensor) -> tuple[Tensor, Any]:
        """One time step, x (B, I) -> output (B, output_size) and the new state."""
        u = self.project(x, **inputs)
        old = self.initial_state(x.shape[0], self.like(x)) if s is None else s
        new = self.step(u, old)
        check_state(self, old, new)
        return self.readout(self.emit(new), u, x), new

    def scan(self, u: Any, s: Any) -> tuple[Tensor, Any]:
        """All time steps, u with leading T: the loop that every kernel is tested against."""
        hs = []
        for u_t in steps(u):
            s = self.step(u_t, s)
            hs.append(self.emit(s))
        return torch.stack(hs), s

    @property
    def linear(self) -> bool:
        """Whether the cell has ``coefficients``, from which its step is derived."""
        return False

    def like(self, x: Tensor) -> Tensor:
        """A tensor with the dtype that a state starts in: the weights', for under autocast x may be narrower."""
        own = (p for p in self._parameters.values() if p is not None and p.is_floating_point())
        p = next(own, None)  # the cell's own first: asked for in every call
        if p is None:
            p = next((p for p in self.parameters() if p.is_floating_point()), None)
        return x if p is None else p


class GatedCell(Cell):
    """``step`` is one recurrent product, the framework's, and a row-wise ``update``; parameters as in nn.LSTM."""

    hidden_bias: ClassVar[bool] = True  # redundant in all but GRU; kept so that weights convert

    @property
    def recurrent_size(self) -> int:
        """Features of ``s.h``, which the recurrent product reads: H, but for a projected output."""
        return self.hidden_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        rows = self.gates * self.hidden_size
        if not rows:
            raise RnnZooError(f"cell {type(self).__name__} must define gates, the rows of weight_ih / hidden_size")
        return {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.recurrent_size),
            "bias_ih": (rows,) if self.bias else None,
            "bias_hh": (rows,) if self.bias and self.hidden_bias else None,
        }

    def product(self, h: Tensor) -> Tensor:
        """R h + b, the recurrent product, (B, G H)."""
        return F.linear(h, self.weight_hh, self.bias_hh)

    def update(self, wx: Tensor, rh: Tensor, s: Any) -> Any:
        """From W x + b and R h + b, each (B, G H), to the new state; row-wise."""
        raise RnnZooError(f"cell {type(self).__name__} must define update(wx, rh, s)")

    def step(self, u: Any, s: Any) -> Any:
        return self.update(u, self.product(s.h), s)

    def _missing(self) -> str | None:
        own = type(self).update is not GatedCell.update or type(self).step is not GatedCell.step
        return None if own else "update(wx, rh, s)"


class LinearCell(Cell):
    """h_t = a_t h_{t-1} + b_t with a_t and b_t functions of x_t alone: parallel over time."""

    def coefficients(self, u: Any) -> tuple[Tensor, Tensor]:
        """a and b, each (..., H) or what else the state has, from u (..., P)."""
        raise RnnZooError(f"cell {type(self).__name__} must define coefficients(u)")

    def step(self, u: Any, s: Any) -> Any:
        a, b = self.coefficients(u)
        return self.State((a * s.h + b).to(s.h.dtype))  # which a and b may be wider than

    @property
    def linear(self) -> bool:
        return type(self).step is LinearCell.step

    def _missing(self) -> str | None:
        own = type(self).coefficients is not LinearCell.coefficients or type(self).step is not LinearCell.step
        return None if own else "coefficients(u)"


def steps(u: Any, sizes: Sequence[int] | None = None) -> list[Any]:
    """The time steps of a pytree: along T, or `sizes` rows each of packed data.

    unbind, not u[t]: the gradient of u[t] is a zero tensor as long as u.
    """
    leaves, spec = tree_flatten(u)
    cut = [a.unbind(0) if sizes is None else a.split(sizes) for a in leaves]
    return [tree_unflatten(leaf, spec) for leaf in zip(*cut, strict=True)]


def check_state(cell: Cell, old: Any, new: Any) -> None:
    """Raises RnnZooError when a step does not give a state like the one that it got."""
    name = type(cell).__name__
    if not isinstance(new, type(old)):
        raise RnnZooError(f"cell {name} must return a {type(old).__name__} from a step, not a {type(new).__name__}")
    for field, a, b in zip(old._fields, old, new, strict=True):
        if not isinstance(b, Tensor) or a.shape != b.shape:
            got = tuple(b.shape) if isinstance(b, Tensor) else type(b).__name__
            raise RnnZooError(
                f"cell {name} returned {field} of shape {got} from a step; its state has {tuple(a.shape)}"
            )
        if a.dtype != b.dtype and not (a.is_floating_point() and b.is_floating_point()):
            raise RnnZooError(f"cell {name} returned {field} as {b.dtype} from a step, not {a.dtype}")


def at_least_one(name: str, value: Any) -> int:
    """`value`, a whole number of 1 or more, or an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RnnZooError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def above_zero(name: str, value: float) -> float:
    """`value`, a finite number above 0, or an error that names the argument."""
    if not 0 < value < math.inf:
        raise RnnZooError(f"{name} must be {'finite' if value > 0 else 'above 0'}, not {value!r}")
    return value


def between(name: str, value: float, low: float, high: float = math.inf) -> float:
    """`value`, a finite number from `low` to `high`, or an error that names the argument."""
    if not low <= value <= high or value == math.inf:
        wanted = f"in [{low}, {high}]" if high < math.inf else "finite" if value > low else f"at least {low}"
        raise RnnZooError(f"{name} must be {wanted}, not {value!r}")
    return value

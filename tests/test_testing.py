"""The suite catches faults: each is planted in a cell that is right otherwise, and named by the check it should be."""

import doctest
import inspect
import random
from typing import NamedTuple

import pytest
import torch
from oracles import ORACLES, run_oracle
from torch import Tensor, nn

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells import GatedCell, Hidden, HiddenCell, LinearCell
from rnnzoo.cells.gru import GRU
from rnnzoo.cells.lstm import LSTM
from rnnzoo.kernels.fingerprint import fingerprint
from rnnzoo.kernels.linear_scan import LinearScan
from rnnzoo.testing import Result, check_cell, checks, find_causes, run_checks, suite
from rnnzoo.testing.case import expect, results, run


class Good(GatedCell):
    """A cell without a fault: h_t = (1 - a) h_{t-1} + a tanh(W x + R h)."""

    gates, State, vectors = 1, Hidden, ("rate",)
    rate: Tensor

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        a = self.rate.sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())


class GoodLinear(LinearCell):
    gates, State = 2, Hidden

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        f, g = u.chunk(2, -1)
        return f.sigmoid(), g


class RowLeak(Good):
    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h - 0.1 * wx.mean(0, keepdim=True))


class RowLeakInReadout(Good):
    def readout(self, h, u, x):
        return h.softmax(-2)


class WrongFinalState(Good):
    def scan(self, u, s):
        h, last = super().scan(u, s)
        return h, Hidden(last.h * 1.001)


class WrongFirstOutput(Good):
    def scan(self, u, s):
        h, last = super().scan(u, s)
        return torch.cat([2 * h[:1], h[1:]]), last


class StateNotCarried(Good):
    def update(self, wx, rh, s):
        return Hidden((wx + self.rate).tanh() + 0 * rh)


class DetachedParameter(Good):
    def update(self, wx, rh, s):
        a = self.rate.detach().sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())


class DetachedState(Good):
    def update(self, wx, rh, s):
        return super().update(wx, rh.detach() + 0 * rh, Hidden(s.h.detach()))


class UnusedParameter(Good):
    vectors = ("rate", "spare")


class UnusedGate(GatedCell):
    gates, State = 3, Hidden

    def update(self, wx, rh, s):
        f, g, _ = (wx + rh).chunk(3, -1)
        return Hidden(f.sigmoid() * s.h + g.tanh())


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a.tanh())
        return a.tanh()

    @staticmethod
    def backward(ctx, grad):
        (h,) = ctx.saved_tensors
        return grad * (1 - h)


class OwnFunction(Good):
    def update(self, wx, rh, s):
        return Hidden(WrongBackward.apply(wx + rh) * self.rate)


class LooksAhead(Good):
    def readout(self, h, u, x):
        return h + 0.1 * h.flip(0) if h.dim() == 3 else h


class LooksAheadInProject(Good):
    def project(self, x):
        u = super().project(x)
        return u - u.mean(0) if x.dim() == 3 else u


class LooksAheadUnseen(Good):
    """Without a gradient, and the last step alone looks like a causal one."""

    def readout(self, h, u, x):
        return h + x.detach().cumsum(0)[-1:].sum(-1, keepdim=True) if h.dim() == 3 else h


class Noisy(Good):
    def update(self, wx, rh, s):
        return Hidden(nn.functional.dropout(super().update(wx, rh, s).h, 0.5, self.training))


class NoisyAlways(Good):
    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h + 0.01 * torch.randn_like(wx))


class InPlace(Good):
    def update(self, wx, rh, s):
        return Hidden(s.h.mul_(0.5).add_((self.rate * (wx + rh)).tanh()))


class HiddenMemory(Good):
    """Remembers the last input on the side."""

    last = 0.0

    def step(self, u, s):
        new = super().step(u + 0.1 * (self.last if torch.is_tensor(self.last) and len(self.last) == len(u) else 0), s)
        self.last = u.detach()
        return new


class StepsNotFromCoefficients(GoodLinear):
    def step(self, u, s):
        a, b = self.coefficients(u)
        return Hidden(a * s.h + (1 - a) * b)


class CoefficientsOverTime(GoodLinear):
    """Normalised over time when it sees time, and over nothing when it sees one step."""

    def coefficients(self, u):
        f, g = u.chunk(2, -1)
        return (f - f.mean(0) if u.dim() == 3 else f).sigmoid(), g


class ForgetsToInitialise(Good):
    def reset_parameters(self):
        nn.init.ones_(self.rate)
        nn.init.orthogonal_(self.weight_hh)
        nn.init.zeros_(self.bias_ih)
        nn.init.zeros_(self.bias_hh)


class InitialisesFromElsewhere(Good):
    def reset_parameters(self):
        super().reset_parameters()
        with torch.no_grad():
            self.rate.fill_(float(torch.Generator().seed() % 1000) / 1000)


class LosesItsConstant(Good):
    def __init__(self, input_size, hidden_size, *, alpha: float = 0.5):
        super().__init__(input_size, hidden_size)


class PlainTensor(Good):
    """A constant that is no buffer."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.scale = torch.rand(hidden_size, dtype=torch.float64)

    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h * self.scale.to(wx.dtype))


class DrawnBuffer(Good):
    """A random constant that neither the state dict nor the seed knows."""

    def reset_parameters(self):
        super().reset_parameters()
        self.scale = torch.rand(self.hidden_size)

    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h * self.scale.to(wx))


class ReadsValues(Good):
    def update(self, wx, rh, s):
        return super().update(wx, rh, s) if float(wx.detach().sum()) > -1e9 else s


class MakesTensors(Good):
    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h + torch.zeros(len(wx), self.hidden_size, dtype=wx.dtype))


class AlwaysDouble(Good):
    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h.double())


class KeepsDoubles(GatedCell):
    gates, State = 1, HiddenCell

    def update(self, wx, rh, s):
        h = (wx + rh).tanh()
        return HiddenCell(h, s.c.double() + h)


class Squeezes(Good):
    def update(self, wx, rh, s):
        h = super().update(wx, rh, s).h.squeeze()
        return Hidden(h if h.dim() == 2 else h[None, :-1])


class HoldsALambda(Good):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.act = lambda a: a.tanh()


class WrongShape(Good):
    def update(self, wx, rh, s):
        return Hidden(torch.cat([wx, rh], -1).tanh())


class WrongOutputSize(Good):
    @property
    def output_size(self):
        return 2 * self.hidden_size


class WrongKind(Good):
    def update(self, wx, rh, s):
        return (wx + rh).tanh()


class Raises(Good):
    def update(self, wx, rh, s):
        return Hidden(wx @ rh)


class SharedClock(NamedTuple):
    h: Tensor
    clock: Tensor


class OneClockForAll(GatedCell):
    """A clock of shape () for the whole batch, which lengths cannot share."""

    gates, State = 1, SharedClock

    def initial_state(self, batch, like):
        return SharedClock(like.new_zeros(batch, self.hidden_size), torch.zeros((), dtype=torch.int64))

    def update(self, wx, rh, s):
        return SharedClock((wx + rh).tanh() / (1 + s.clock), s.clock + 1)


class MixesDtypes(Good):
    def update(self, wx, rh, s):
        return Hidden(torch.lerp(s.h, (wx + rh).tanh(), self.rate.sigmoid()))


CAUGHT = [
    (RowLeak, "rows are independent", "expected row 0 alone to equal row 0 in a batch of 4, but "),
    (RowLeakInReadout, "rows are independent", "look for a mean, a sum, a norm or a softmax over the batch axis"),
    (
        WrongFinalState,
        "scan equals the loop over step",
        "expected scan to equal the loop over step, but final state h[",
    ),
    (WrongFinalState, "step equals scan", "final state h["),
    (WrongFirstOutput, "step equals scan", "outputs[0, "),
    (StateNotCarried, "it remembers", "expected the first x to change later outputs"),
    (DetachedParameter, "no parameter is dead", "the gradient of rate is zero; look for .detach()"),
    (DetachedState, "gradients equal finite differences", "for the gradient of "),
    (UnusedParameter, "no parameter is dead", "the gradient of spare is zero"),
    (UnusedGate, "no parameter is dead", "the gradient of weight_ih in gate 2 of 3 is zero"),
    (OwnFunction, "gradients equal finite differences", "or the backward of an autograd.Function"),
    (LooksAhead, "it is causal", "expected outputs before step 4 not to depend on x from step 4 on, but outputs["),
    (LooksAhead, "step equals scan", "but outputs["),
    (LooksAheadInProject, "it is causal", "look for time steps mixed in project or readout"),
    (LooksAheadUnseen, "it is causal", "expected outputs before step 4"),
    (Noisy, "a step draws no random numbers", "expected a step in training mode to be the same under any seed"),
    (NoisyAlways, "a step draws no random numbers", "draw masks in project, for all time steps at once"),
    (NoisyAlways, "step equals scan", "outputs["),
    (InPlace, "it leaves its arguments alone", "look for in-place arithmetic"),
    (HiddenMemory, "it resumes from its state", "look for what the step reads but the state does not hold"),
    (StepsNotFromCoefficients, "a linear step equals its coefficients", "expected step to be a h + b, but h["),
    (
        CoefficientsOverTime,
        "a linear step equals its coefficients",
        "expected coefficients of all steps at once to be those of each step",
    ),
    (
        ForgetsToInitialise,
        "reset parameters sets all and follows the seed",
        "every number of weight_ih to be set, but nan",
    ),
    (
        InitialisesFromElsewhere,
        "reset parameters sets all and follows the seed",
        "expected the same weights from the same",
    ),
    (LosesItsConstant, "constants are attributes", "expected attributes named alpha"),
    (PlainTensor, "it follows its device", "it raised "),
    (DrawnBuffer, "a state dict goes round", "look for tensors kept as plain attributes"),
    (ReadsValues, "the step compiles whole", "it raised "),
    (ReadsValues, "the step exports", "it raised "),
    (MakesTensors, "it follows its device", "it raised "),
    (AlwaysDouble, "it runs in float32", "it raised RuntimeError"),
    (KeepsDoubles, "it runs in float32", "expected c of a float32 cell to stay torch.float32, got torch.float64"),
    (Squeezes, "it takes one step of one sequence", "cell Squeezes returned h of shape"),
    (HoldsALambda, "it pickles", "it raised "),
    (WrongShape, "a step keeps the shapes and dtypes of the state", "returned h of shape (4, 10) from a step"),
    (WrongOutputSize, "a step keeps the shapes and dtypes of the state", "(4, 10) (batch, output_size), got (4, 5)"),
    (WrongKind, "a step keeps the shapes and dtypes of the state", "must return a Hidden from a step, not a Tensor"),
    (Raises, "a step keeps the shapes and dtypes of the state", "it raised RuntimeError"),
    (
        OneClockForAll,
        "a step keeps the shapes and dtypes of the state",
        "expected clock to start with the batch axis 4",
    ),
    (MixesDtypes, "it runs under autocast with every kernel", "it raised RuntimeError"),
]


@pytest.mark.parametrize(("cell", "name", "message"), CAUGHT, ids=lambda v: getattr(v, "__name__", None))
def test_a_planted_fault_is_caught_by_its_check(cell, name, message):
    answers = {r.name: r for r in run_checks(cell(3, 5), slow=name.startswith("the step"))}
    assert not answers[name].passed, f"{name} passed"
    assert message in answers[name].message


def test_cells_without_a_fault_pass_so_that_each_fault_is_the_cause():
    check_cell(Good(3, 5))
    check_cell(GoodLinear(3, 5))
    check_cell(Good(5, 3), slow=False)
    check_cell(Good(1, 1), slow=False)
    check_cell(Good(7, 4), slow=False)


def test_a_kernel_that_gives_wrong_final_states_or_gradients_is_caught(monkeypatch):
    right = LinearScan.scan

    def wrong_final(self, cell, u, s, layout):
        h, last = right(self, cell, u, s, layout)
        return h, type(last)(h[0])

    def wrong_gradient(self, cell, u, s, layout):
        return right(self, cell, u, Hidden(s.h.detach()), layout)

    for wrong, part in ((wrong_final, "final state"), (wrong_gradient, "gradient of initial state")):
        monkeypatch.setattr(LinearScan, "scan", wrong)
        with pytest.raises(AssertionError, match=rf"expected kernel 'linear_scan' .* but {part}"):
            check_cell(create("mingru", 3, 5), slow=False)


def test_a_flip_that_ignores_lengths_is_caught(monkeypatch):
    from rnnzoo.kernels.layout import Packed

    monkeypatch.setattr(Packed, "reverse", lambda self, x: x.flip(0))
    answers = {r.name: r for r in run_checks(create("gru", 3, 5), slow=False)}
    assert not answers["lengths equal each sequence alone"].passed
    assert "expected a sequence of" in answers["lengths equal each sequence alone"].message


def test_final_states_in_the_wrong_order_are_caught(monkeypatch):
    from rnnzoo import states

    right = states.join
    monkeypatch.setattr(states, "join", lambda layers, finals: right(layers, list(finals)[::-1]))
    answers = {r.name: r for r in run_checks(create("lstm", 3, 5), slow=False)}
    wrong = answers["stepping a stack equals running it"]
    assert not wrong.passed
    assert "expected rnn.step in a loop to equal rnn(x), but outputs" in wrong.message


def test_a_state_that_is_lost_between_pieces_of_a_sequence_is_caught(monkeypatch):
    """checkpoint_every runs pieces; one that starts each of them anew differs from the whole."""
    from rnnzoo.kernels import checkpointed

    right = checkpointed.checkpoint
    rnn = RNN("gru", 3, 5, checkpoint_every=3, dtype=torch.float64)
    x = torch.randn(8, 2, 3, dtype=torch.float64)
    whole = rnn(x)[0]
    monkeypatch.setattr(
        checkpointed,
        "checkpoint",
        lambda piece, mine, s, part, **options: right(piece, mine, Hidden(torch.zeros_like(s.h)), part, **options),
    )
    with pytest.raises(AssertionError, match="not carried over"):
        expect({"outputs": rnn(x)[0]}, {"outputs": whole}, "a state is not carried over")


class Scaled(Good):
    def __init__(self, input_size, hidden_size, *, scale: float = 0.5):
        super().__init__(input_size, hidden_size)
        self.scale = scale

    def update(self, wx, rh, s):
        return Hidden(self.scale * super().update(wx, rh, s).h)


def test_a_kernel_that_knows_a_cell_by_its_class_alone_is_caught(monkeypatch):
    check_cell(Scaled(3, 5), slow=False)
    monkeypatch.setattr(
        "rnnzoo.kernels.fused.prepared.fingerprint",
        lambda cell: fingerprint(cell)._replace(digest=type(cell).__name__, portable=False),
    )
    answers = {r.name: r for r in run_checks(Scaled(3, 6), slow=False)}
    assert "another constant" in answers["instances with other constants keep apart"].message


class NotANumber(Good):
    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh().log())


class Branches(Good):
    def update(self, wx, rh, s):
        new = super().update(wx, rh, s)
        return Hidden(0.5 * new.h) if wx.sum() > 0 else new


class DrawnInPython(Good):
    def update(self, wx, rh, s):
        return Hidden(super().update(wx, rh, s).h * random.random())


class Counts(Good):
    steps = 0

    def update(self, wx, rh, s):
        self.steps += 1
        return Hidden(super().update(wx, rh, s).h * (1 + 0.1 * self.steps))


class ByNumpy(Good):
    def update(self, wx, rh, s):
        return Hidden(torch.from_numpy(super().update(wx, rh, s).h.detach().numpy()))


def line_of(cell, code):
    lines, first = inspect.getsourcelines(cell)
    return f"test_testing.py:{first + next(k for k, line in enumerate(lines) if code in line)}"


@pytest.mark.parametrize(
    ("cell", "text", "code", "reason", "least"),
    [
        (NotANumber, "log of finite numbers gives nan, ", "log()", "", 15),
        (NoisyAlways, "the step draws random numbers: randn_like, ", "randn_like", "draws random numbers", 10),
        (Branches, "the step reads the value of a tensor, ", "if wx.sum", "reads the value of a tensor into Python", 3),
        (DrawnInPython, "the same step from the same state gives another result each time", None, "", 10),
        (Counts, "the step changes the cell, so it is no function of its arguments: it sets self.steps", None, "", 10),
        (InPlace, "the step changes its arguments in place: state h", None, "", 5),
        (ByNumpy, "nothing that the step returns has a gradient", None, "numpy", 2),
        (RowLeak, "one row of a batch has a part in another one", None, "mixes the rows of a batch", 2),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_what_fails_of_one_cause_is_said_once_with_its_line_and_what_explain_says(cell, text, code, reason, least):
    torch.manual_seed(0)
    made = cell(3, 5)
    with pytest.raises(AssertionError) as error:
        check_cell(made, slow=False)
    head, first, *others = str(error.value).split("\n")
    assert first.startswith(f"- {text}")
    assert code is None or line_of(cell, code) in first
    assert reason in first
    assert not reason or "explain: fused cannot: " in first
    failed = [r.name for r in run_checks(made, slow=False) if not r.passed]
    assert head.startswith(f"{made} fails ")
    (cause,) = find_causes(made, failed)
    assert len(cause.follows) >= least
    assert len(others) <= 1


@pytest.mark.parametrize("cell", [Good, GoodLinear, UnusedGate, WrongFinalState, Noisy, LooksAhead])
def test_faults_of_their_own_have_no_common_cause(cell):
    failed = [r.name for r in run_checks(cell(3, 5), slow=False) if not r.passed]
    assert find_causes(cell(3, 5), failed) == []


def test_a_step_that_cannot_be_compiled_prints_no_graph(capfd):
    answers = {r.name: r for r in run_checks(Branches(3, 5))}
    assert not answers["the step exports"].passed
    assert capfd.readouterr() == ("", "")


def test_the_report_lists_every_failed_check_and_where_to_look():
    with pytest.raises(AssertionError) as error:
        check_cell(LooksAhead(3, 5), slow=False)
    lines = str(error.value).split("\n")
    assert lines[0] == f"LooksAhead(3, 5) fails {len(lines) - 1} of {len(run_checks(Good(3, 5), slow=False))} checks:"
    assert all(line.startswith("- ") and "expected " in line and "; look " in line for line in lines[1:])


def test_where_no_step_runs_one_failure_says_so_and_the_file_of_the_cell():
    first, *others = run_checks(Raises(3, 5))
    assert not first.passed
    assert "test_testing.py:" in first.message
    assert all(r.skipped and r.passed for r in others)


def test_checks_by_name_and_the_quick_ones():
    names = list(checks())
    assert [r.name for r in run_checks(Good(3, 5))] == names
    quick = [r.name for r in run_checks(Good(3, 5), slow=False)]
    assert set(names) - set(quick) == {"the step compiles whole", "the step exports"}
    skipped = next(r for r in run_checks(Good(3, 5), slow=False) if r.skipped)
    assert skipped == Result("scan equals the loop over step", True, "the cell has no scan of its own", True)


def test_neither_the_cell_nor_the_random_numbers_of_the_caller_change():
    cell = Good(3, 5)
    before, state = {n: p.clone() for n, p in cell.named_parameters()}, torch.get_rng_state()
    check_cell(cell, slow=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert cell.training
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in cell.named_parameters())


def test_what_is_no_cell_and_inputs_it_does_not_take_are_named():
    with pytest.raises(RnnZooError, match=r"check_cell takes an instance such as MyCell\(3, 5\), not the class Good"):
        check_cell(Good)
    with pytest.raises(RnnZooError, match=r"takes an instance such as MyCell\(3, 5\), not a str"):
        run_checks("lstm")
    with pytest.raises(RnnZooError, match=r"inputs names \['dt'\], but Good takes nothing besides x"):
        check_cell(Good(3, 5), inputs={"dt": torch.rand})


def test_a_cell_with_a_limit_says_so_on_its_class_with_the_reason():
    class Limited(ReadsValues):
        limits = {"the step compiles whole": "it reads values", "the step exports": "it reads values"}  # noqa: RUF012

    answers = {r.name: r for r in run_checks(Limited(3, 5))}
    assert answers["the step exports"] == Result("the step exports", True, "it reads values", True)
    Limited.limits = {"the step export": "it reads values"}
    with pytest.raises(
        RnnZooError, match=r"Limited\.limits has no check 'the step export'; did you mean 'the step exports'\?"
    ):
        check_cell(Limited(3, 5))


class Masked(Good):
    """What it takes besides x has to be whole numbers of shape (T, B, I), which the default is not."""

    inputs = ("mask",)

    def project(self, x, mask):
        if mask.shape != x.shape or mask.dtype != torch.int64:
            raise ValueError(f"mask is {mask.dtype} of {tuple(mask.shape)}")
        return super().project(x * mask)


def test_inputs_of_any_shape_and_kind_can_be_made():
    check_cell(Masked(3, 5), inputs={"mask": lambda T, B: torch.randint(0, 2, (T, B, 3))})
    with pytest.raises(AssertionError, match=r"ValueError: mask is torch.float64 of \(4, 1\)"):
        check_cell(Masked(3, 5))


# ---- What only an oracle can tell


class GatesSwapped(LSTM):
    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        f, i, g, o = (wx + rh).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * c.tanh(), c)


class OldMemoryShown(LSTM):
    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        new = super().update(wx, rh, s)
        return HiddenCell((wx + rh).chunk(4, -1)[3].sigmoid() * (new.c + 0.01 * s.c).tanh(), new.c)


class BiasTwice(GRU):
    def step(self, u, s):
        return super().step(u + self.bias_ih, s)


class ResetBiasOutside(GRU):
    """The bias of the candidate's recurrent product outside the reset: it is another cell, and consistent."""

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        H = self.hidden_size
        moved = torch.cat([torch.zeros_like(self.bias_hh[: 2 * H]), self.bias_hh[2 * H :]])
        return super().update(wx + moved, rh - moved, s)


@pytest.mark.parametrize(
    ("cell", "name"),
    [(GatesSwapped, "lstm"), (OldMemoryShown, "lstm"), (BiasTwice, "gru"), (ResetBiasOutside, "gru")],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_a_consistent_cell_that_is_not_the_papers_passes_the_suite_and_fails_its_oracle(cell, name):
    check_cell(cell(3, 5), slow=False)
    right = create(name, 3, 5).double()
    wrong = cell(3, 5).double()
    wrong.load_state_dict(right.state_dict())
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    start = right.initial_state(2, x)
    start = type(start)(*(torch.randn_like(a) for a in start))
    wanted = results(*run_oracle(ORACLES[name].step, right, x, start))
    expect(results(*run(right, x, start, {})), wanted, "expected the right cell to equal its oracle", 1e-12)
    with pytest.raises(AssertionError, match="expected the wrong cell to differ, but outputs"):
        expect(results(*run(wrong, x, start, {})), wanted, "expected the wrong cell to differ", 1e-6)


def test_the_comparison_sees_values_shapes_dtypes_and_nan():
    a = torch.randn(2, 3, dtype=torch.float64)
    expect({"a": a}, {"a": a.clone()}, "equal", 0.0)
    off = a.clone()
    off[1, 2] += 1e-3
    for got, message in (
        (off, r"claim, but a\[1, 2\]: "),
        (a[:1], r"claim, but a: shape \(1, 3\), not \(2, 3\)"),
        (a.float(), "claim, but a: torch.float32, not torch.float64"),
        (a * torch.nan, r"claim, but a\[0, 0\]: nan, not "),
    ):
        with pytest.raises(AssertionError, match=message):
            expect({"a": got}, {"a": a}, "claim")
    with pytest.raises(AssertionError, match=r"clock: \[1, 2\], not \[1, 3\]"):
        expect({"clock": torch.tensor([1, 2])}, {"clock": torch.tensor([1, 3])}, "claim")


def test_the_example_of_the_documentation_runs():
    assert doctest.testmod(suite).attempted > 0
    assert doctest.testmod(suite).failed == 0

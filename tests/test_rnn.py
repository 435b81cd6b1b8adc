"""The driver: nn.LSTM's shapes, any layout of sequences, and one clear line for each bad input."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnzoo import RNN, RnnZooError, list_cells
from rnnzoo.cells import HiddenCell
from rnnzoo.testing.case import expect, results

T, B, I, H = 7, 4, 3, 5
LENGTHS = [3, 7, 1, 5]
NAMES = ["lstm", "gru", "janet", "mingru", "cudnn_lstm"]


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# ---- Shapes


def test_the_shapes_are_those_of_the_issue():
    rnn = RNN("lstm", 10, 20, num_layers=2, batch_first=True, dropout=0.2, bidirectional=False)
    output, (h_n, c_n) = rnn(torch.randn(32, 15, 10))
    assert (output.shape, h_n.shape, c_n.shape) == ((32, 15, 20), (2, 32, 20), (2, 32, 20))
    output, h_n = RNN("gru", 10, 20, num_layers=2, batch_first=True)(torch.randn(32, 15, 10))
    assert (output.shape, h_n.shape) == ((32, 15, 20), (2, 32, 20))
    output, h_n = RNN("gru", 10, 20, batch_first=True, bidirectional=True)(torch.randn(32, 15, 10))
    assert (output.shape, h_n.shape) == ((32, 15, 40), (2, 32, 20))
    assert RNN("janet", 10, 20, beta=0.5).layers[0][0].beta == 0.5


def test_sizes_are_attributes_as_in_torch():
    rnn = RNN("lstm", I, H, 2, bidirectional=True)
    assert (rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.output_size) == (I, H, 2, 2 * H)
    assert (rnn.batch_first, rnn.bidirectional, rnn.bias, rnn.dropout) == (False, True, True, 0.0)
    rnn.flatten_parameters()  # code written for nn.LSTM calls it
    assert "LSTM(3, 5)" in repr(rnn)
    assert "kernel='auto'" in repr(rnn)


@pytest.mark.parametrize("name", NAMES)
def test_batch_first_and_unbatched_give_the_same_numbers(name):
    rnn = RNN(name, I, H, 2, bidirectional=True, dtype=torch.float64)
    x = double(T, B, I)
    y, last = rnn(x)
    first = copy.deepcopy(rnn)
    first.batch_first = True
    y_first, last_first = first(x.transpose(0, 1))
    expect(results(y_first.transpose(0, 1), last_first), results(y, last), "expected batch_first to be a layout", 0.0)
    one = x[:, 1]
    y_one, last_one = rnn(one)
    assert y_one.shape == (T, 2 * H)
    want = last[:, 1] if isinstance(last, torch.Tensor) else type(last)(*(a[:, 1] for a in last))
    expect(results(y_one, last_one), results(y[:, 1], want), "expected an unbatched sequence to equal its row", 1e-12)
    expect(results(*first(one)), results(y_one, last_one), "expected batch_first not to matter without a batch", 0.0)
    again, _ = rnn(one, last_one)
    expect({"y": again}, {"y": rnn(x, last)[0][:, 1]}, "expected an unbatched state to go in", 1e-12)
    y_short, _ = rnn(one, lengths=[4])
    expect({"y": y_short[:4]}, {"y": rnn(one[:4])[0]}, "expected lengths to work on one sequence", 1e-12)
    assert not y_short[4:].any()


def test_a_state_of_two_fields_unpacks_and_keeps_its_names():
    _, last = RNN("lstm", I, H)(torch.randn(T, B, I))
    assert isinstance(last, HiddenCell)
    assert last.h is last[0]
    assert last.c is last[1]
    h, c = RNN("lstm", I, H)(torch.randn(T, B, I), (torch.zeros(1, B, H), torch.zeros(1, B, H)))[1]
    assert h.shape == c.shape == (1, B, H)


@pytest.mark.parametrize("name", NAMES)
def test_going_on_from_a_state_equals_running_through(name):
    rnn = RNN(name, I, H, 3, dtype=torch.float64)
    x = double(T, B, I)
    y1, middle = rnn(x[:2])
    y2, end = rnn(x[2:], middle)
    expect(results(torch.cat([y1, y2]), end), results(*rnn(x)), "expected carried state to continue exactly", 1e-12)


# ---- Lengths and packed sequences


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_lengths_equal_each_sequence_alone(name, kernel, batch_first):
    rnn = RNN(name, I, H, 2, bidirectional=True, batch_first=batch_first, kernel=kernel, dtype=torch.float64)
    x, hx = double(T, B, I), rnn(double(1, 2, I).expand(B, 2, I) if batch_first else double(2, B, I))[1]
    y, last = rnn(x.transpose(0, 1) if batch_first else x, hx, lengths=LENGTHS)
    y = y.transpose(0, 1) if batch_first else y
    assert y.shape == (T, B, 2 * H)
    for b, n in enumerate(LENGTHS):
        at = slice(b, b + 1)

        def row(s, at=at):
            return s[:, at] if isinstance(s, torch.Tensor) else type(s)(*(a[:, at] for a in s))

        alone = x[:n, at]
        y_b, last_b = rnn(alone.transpose(0, 1) if batch_first else alone, row(hx))
        y_b = y_b.transpose(0, 1) if batch_first else y_b
        expect(results(y[:n, at], row(last)), results(y_b, last_b), f"expected row {b} to equal itself alone", 1e-12)
        assert not y[n:, b].any()


@pytest.mark.parametrize("given", [LENGTHS, tuple(LENGTHS), torch.tensor(LENGTHS), torch.tensor(LENGTHS).int()])
def test_lengths_come_as_a_list_or_a_tensor(given):
    rnn, x = RNN("gru", I, H), torch.randn(T, B, I)
    assert torch.equal(rnn(x, lengths=given)[0], rnn(x, lengths=torch.tensor(LENGTHS))[0])
    assert torch.equal(rnn(x, lengths=[T] * B)[0], rnn(x)[0])


def test_padding_has_no_influence_and_gets_no_gradient():
    rnn = RNN("janet", I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I, requires_grad=True)
    rnn(x, lengths=LENGTHS)[0].square().sum().backward()
    for b, n in enumerate(LENGTHS):
        assert x.grad[:n, b].any()
        assert not x.grad[n:, b].any()
    filled = x.detach().clone()
    for b, n in enumerate(LENGTHS):
        filled[n:, b] = torch.nan
    assert torch.equal(rnn(filled, lengths=LENGTHS)[0], rnn(x, lengths=LENGTHS)[0])


@pytest.mark.parametrize("enforce_sorted", [False, True], ids=["unsorted", "sorted"])
@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_a_packed_sequence_goes_in_and_comes_out(name, kernel, enforce_sorted):
    lengths = sorted(LENGTHS, reverse=True) if enforce_sorted else LENGTHS
    rnn = RNN(name, I, H, 2, bidirectional=True, kernel=kernel, dtype=torch.float64)
    x = double(T, B, I)
    hx = rnn(double(2, B, I))[1]
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=enforce_sorted)
    y, last = rnn(packed, hx)
    assert isinstance(y, PackedSequence)
    assert torch.equal(y.batch_sizes, packed.batch_sizes)
    padded, sizes = pad_packed_sequence(y)
    assert sizes.tolist() == lengths
    expect(results(padded, last), results(*rnn(x, hx, lengths=lengths)), "expected packed to equal lengths", 0.0)


def test_a_packed_sequence_of_equal_lengths_equals_the_dense_one():
    rnn, x = RNN("peephole_lstm", I, H, 2, dtype=torch.float64), double(T, B, I)
    y, last = rnn(pack_padded_sequence(x, torch.tensor([T] * B)))
    expect(results(pad_packed_sequence(y)[0], last), results(*rnn(x)), "expected the same", 1e-12)


# ---- An empty batch


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("name", "module"), [("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)])
def test_an_empty_batch_is_what_it_is_in_torch(name, module, batch_first):
    module = module(I, H, 2, batch_first=batch_first, bidirectional=True)
    x = torch.randn(*((0, T, I) if batch_first else (T, 0, I)), requires_grad=True)
    y, last = module(x)
    y.sum().backward()
    for kernel in ("auto", "native", "reference"):
        rnn = RNN(name, I, H, 2, batch_first=batch_first, bidirectional=True, kernel=kernel)
        x.grad = None
        mine, state = rnn(x)
        assert mine.shape == y.shape
        fields = zip(*((a,) if torch.is_tensor(a) else a for a in (state, last)), strict=True)
        assert all(a.shape == b.shape for a, b in fields)
        mine.sum().backward()
        assert x.grad.shape == x.shape
        for p in rnn.parameters():
            assert torch.equal(p.grad, torch.zeros_like(p))


@pytest.mark.parametrize("name", list_cells())
def test_an_empty_batch_goes_through_every_cell_by_every_kernel(name):
    rnn = RNN(name, I, H, kernel="reference")
    inputs = {n: torch.rand(T, 0, 1) for n in rnn.layers[0][0].inputs}
    x = torch.randn(T, 0, I, requires_grad=True)
    size = rnn(torch.randn(T, B, I), **{n: torch.rand(T, B, 1) for n in inputs})[0].shape[2]
    for kernel in [row.kernel for row in rnn.explain(x, **inputs).rows if row.why_not is None]:
        rnn.kernel = kernel
        y, last = rnn(x, **inputs)
        assert y.shape == (T, 0, size)
        y.sum().backward()
        assert not any(p.grad.any() for p in rnn.parameters() if p.grad is not None)
        assert rnn(x, last, lengths=[], **inputs)[0].shape == (T, 0, size)
        assert rnn.step(x[0], last, **{n: a[0] for n, a in inputs.items()})[0].shape == (0, size)
    rnn.kernel = "auto" if rnn.layers[0][0].pinned is None else "reference"
    states = rnn(x, resets=torch.zeros(T, 0), return_states=True, **inputs)[2]
    assert all(a.shape[:3] == (T, 1, 0) for a in ((states,) if torch.is_tensor(states) else states))


def test_an_empty_batch_has_no_lengths():
    refuses(
        "lengths must have one entry for each of the 0 sequences, not 2",
        RNN("gru", I, H),
        torch.randn(T, 0, I),
        lengths=[3, 4],
    )


# ---- One step at a time


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_steps_equal_the_whole_batched_and_unbatched(name, kernel):
    rnn = RNN(name, I, H, 2, kernel=kernel, batch_first=True, dtype=torch.float64)
    x = double(B, T, I)
    y, last = rnn(x)
    hx, hx_one, ys, ys_one = None, None, [], []
    for t in range(T):
        y_t, hx = rnn.step(x[:, t], hx)
        y_one, hx_one = rnn.step(x[2, t], hx_one)
        ys.append(y_t)
        ys_one.append(y_one)
    expect(results(torch.stack(ys, 1), hx), results(y, last), "expected steps to equal the whole", 1e-12)
    expect(results(torch.stack(ys_one), hx_one), results(*rnn(x[2])), "expected unbatched steps to equal it", 1e-12)


def test_dropout_acts_in_a_step_of_training_and_not_in_evaluation():
    rnn = RNN("gru", I, 50, 2, dropout=0.5)
    x = torch.randn(B, I)
    assert not torch.equal(rnn.step(x)[0], rnn.step(x)[0])
    rnn.eval()
    assert torch.equal(rnn.step(x)[0], rnn.step(x)[0])


# ---- It is a module


def test_it_pickles_and_saves_whole(tmp_path):
    rnn, x = RNN("lstm", I, H, 2, bidirectional=True), torch.randn(T, B, I)
    assert torch.equal(pickle.loads(pickle.dumps(rnn))(x)[0], rnn(x)[0])
    torch.save(rnn, tmp_path / "rnn.pt")
    other = torch.load(tmp_path / "rnn.pt", weights_only=False)
    other.load_state_dict(rnn.state_dict())
    assert torch.equal(other(x)[0], rnn(x)[0])


def test_the_device_and_the_dtype_of_weights_are_chosen_at_once():
    assert RNN("janet", I, H, dtype=torch.float64).layers[0][0].weight_ih.dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32
    meta = RNN("janet", I, H, 2, device="meta")
    assert {p.device.type for p in meta.parameters()} == {"meta"}
    with pytest.raises(RnnZooError):
        RNN("janet", I, 0, dtype=torch.float64)
    assert torch.get_default_dtype() == torch.float32, "an error leaves the default dtype alone"


def test_a_layer_of_a_model_can_be_frozen():
    rnn = RNN("lstm", I, H, 2)
    rnn.layers[0].requires_grad_(False)
    rnn(torch.randn(T, B, I))[0].sum().backward()
    assert all(p.grad is None for p in rnn.layers[0].parameters())
    assert all(p.grad is not None for p in rnn.layers[1].parameters())


def test_dropout_without_layers_between_warns():
    with pytest.warns(UserWarning, match="dropout=0.5 acts between layers, and num_layers=1 has none between"):
        RNN("lstm", I, H, dropout=0.5)


# ---- Bad input, each by the name of the argument, its value and what would be right


def refuses(message, call, *args, **options):
    with pytest.raises(RnnZooError) as error:
        call(*args, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0, -3, 1.5, True, "2"])
def test_sizes_and_num_layers_are_whole_numbers_of_at_least_one(value):
    refuses(f"num_layers must be a whole number of at least 1, not {value!r}", RNN, "lstm", I, H, value)
    refuses(f"hidden_size must be a whole number of at least 1, not {value!r}", RNN, "lstm", I, value)
    refuses(f"input_size must be a whole number of at least 1, not {value!r}", RNN, "lstm", value, H)


@pytest.mark.parametrize("value", [1, 0, "yes", None, 2, torch.tensor(True)], ids=repr)
@pytest.mark.parametrize("name", ["bias", "batch_first", "bidirectional"])
def test_a_switch_is_true_or_false(name, value):
    refuses(f"{name} must be True or False, not {value!r}", RNN, "lstm", I, H, **{name: value})


def test_the_nonlinearity_of_nn_rnn_in_its_place_is_no_bias():
    refuses("bias must be True or False, not 'relu'", RNN, "rnn", I, H, 2, "relu")
    refuses("nn.RNN's nonlinearity is a cell of its own here: RNN('rnn_relu', ...)", RNN, "rnn", I, H, 2, "relu")
    refuses("nn.RNN's nonlinearity is a cell of its own here: RNN('rnn', ...)", RNN, "rnn", I, H, 2, "tanh", True)


@pytest.mark.parametrize("value", [-0.1, 1, 1.0, 2.5, True, "half", float("nan")])
def test_dropout_lies_in_zero_to_one_without_one(value):
    refuses(f"dropout must be a probability in [0, 1), not {value!r}", RNN, "lstm", I, H, 2, dropout=value)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([7, 3, 0, 1], "lengths must lie in 1 to T=7, but lengths[2] is 0"),
        ([7, -2, 3, 1], "lengths must lie in 1 to T=7, but lengths[1] is -2"),
        ([7, 3, 5, 8], "lengths must lie in 1 to T=7, but lengths[3] is 8"),
        ([7, 3, 5], "lengths must have one entry for each of the 4 sequences, not 3"),
        ([7.0, 3.0, 5.5, 1.0], "lengths must be whole numbers of shape (B,), not torch.float32 of (4,)"),
        (torch.tensor([[7, 3, 5, 1]]), "lengths must be whole numbers of shape (B,), not torch.int64 of (1, 4)"),
        (torch.ones(4, dtype=torch.bool), "lengths must be whole numbers of shape (B,), not torch.bool of (4,)"),
        (7, "lengths must be whole numbers of shape (B,), not torch.int64 of ()"),
        (["a"], "lengths must be whole numbers of shape (B,), not ['a']"),
    ],
)
def test_lengths_that_do_not_fit_are_named(lengths, message):
    refuses(message, RNN("gru", I, H), torch.randn(T, B, I), lengths=lengths)


def test_lengths_do_not_go_with_a_packed_sequence():
    packed = pack_padded_sequence(torch.randn(T, B, I), torch.tensor(LENGTHS), enforce_sorted=False)
    message = "lengths cannot be given with a PackedSequence, which has its own"
    refuses(message, RNN("gru", I, H), packed, lengths=LENGTHS)


H0 = torch.zeros(2, B, H)


@pytest.mark.parametrize(
    ("name", "hx", "message"),
    [
        ("lstm", H0, "hx must be a tuple of 2 tensors (h, c), not a tensor"),
        ("lstm", (H0,), "hx must be a tuple of 2 tensors (h, c), not a tuple of 1"),
        ("lstm", (H0, H0, H0), "hx must be a tuple of 2 tensors (h, c), not a tuple of 3"),
        ("lstm", [H0, H0], "hx must be a tuple of 2 tensors (h, c), not a list"),
        ("lstm", (H0, None), "hx.c must be a tensor, not NoneType"),
        (
            "lstm",
            (H0, H0[:1]),
            "hx.c must have the shape (2, 4, 5) (num_layers * directions, batch, ...), not (1, 4, 5)",
        ),
        (
            "lstm",
            (H0[:, :3], H0),
            "hx.h must have the shape (2, 4, 5) (num_layers * directions, batch, ...), not (2, 3, 5)",
        ),
        ("lstm", (H0, H0.double()), "hx.c must be torch.float32, as the weights, not torch.float64"),
        ("lstm", (H0.to("meta"), H0), "hx.h lies on meta, the weights on cpu"),
        ("gru", (H0, H0), "hx must be a tensor (h), not a tuple of 2"),
        ("gru", {"h": H0}, "hx must be a tensor (h), not a dict"),
        ("gru", H0[..., :4], "hx must have the shape (2, 4, 5) (num_layers * directions, batch, ...), not (2, 4, 4)"),
        ("gru", H0[:, :1], "hx must have the shape (2, 4, 5) (num_layers * directions, batch, ...), not (2, 1, 5)"),
        ("gru", H0[0], "hx must have the shape (2, 4, 5) (num_layers * directions, batch, ...), not (4, 5)"),
        ("gru", H0.long(), "hx must be torch.float32, as the weights, not torch.int64"),
    ],
)
def test_a_state_that_does_not_fit_is_named(name, hx, message):
    rnn = RNN(name, I, H, 2)
    packed = pack_padded_sequence(torch.randn(T, B, I), torch.tensor(LENGTHS), enforce_sorted=False)
    refuses(message, rnn, torch.randn(T, B, I), hx)
    refuses(message, rnn, packed, hx)
    refuses(message, rnn, torch.randn(T, B, I), hx, lengths=LENGTHS)
    refuses(message, rnn.step, torch.randn(B, I), hx)


@pytest.mark.parametrize("hx", [torch.tensor(0.0), torch.zeros(2, 3), torch.zeros(2, 1, H), (H0,), "zero"], ids=str)
def test_a_state_that_does_not_fit_an_unbatched_sequence_is_named(hx):
    rnn = RNN("gru", I, H, 2)
    refuses("hx must ", rnn, torch.randn(T, I), hx)
    refuses("hx must ", rnn.step, torch.randn(I), hx)


def test_a_list_of_states_that_does_not_fit_is_named():
    from rnnzoo import create

    sizes = iter([5, 6] * 4)
    rnn = RNN(lambda i, h: create("gru", i, next(sizes)), I, H, 2)
    x, good = torch.randn(T, B, I), [torch.zeros(1, B, 5), torch.zeros(1, B, 6)]
    rnn(x, good)
    refuses("hx must be a list with one state for each of the 2 layers, not Tensor", rnn, x, good[0])
    refuses("hx must be a list with one state for each of the 2 layers, not one of 1", rnn, x, good[:1])
    refuses("hx[1] must have the shape (1, 4, 6) (directions, batch, ...), not (1, 4, 5)", rnn, x, [good[0]] * 2)


def test_a_bidirectional_stack_takes_no_step():
    rnn = RNN("lstm", I, H, bidirectional=True)
    refuses("step needs a stack of one direction", rnn.step, torch.randn(B, I))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.randn(T, B, 9), "GRU expects 3 input features (input_size) but x has 9: shape (7, 4, 9)"),
        (torch.randn(T, 9), "GRU expects 3 input features (input_size) but x has 9: shape (7, 9)"),
        (torch.randn(I), "x must be (T, B, I) or unbatched (T, I), not of shape (3,)"),
        (torch.randn(2, T, B, I), "x must be (T, B, I) or unbatched (T, I), not of shape (2, 7, 4, 3)"),
        (torch.randn(T, B, I).double(), "x must be torch.float32, as the weights, not torch.float64"),
        (torch.ones(T, B, I).long(), "x must be torch.float32, as the weights, not torch.int64"),
        (torch.empty(T, B, I, device="meta"), "x lies on meta, the weights on cpu; move one with .to(...)"),
        (torch.randn(0, B, I), "x must have at least one step, but has T=0, B=4"),
        (torch.randn(0, 0, I), "x must have at least one step, but has T=0, B=0"),
        (torch.randn(0, I), "x must have at least one step, but has T=0, B=1"),
        ([[0.0] * I], "x must be a tensor or a PackedSequence, not a list"),
    ],
)
def test_a_sequence_that_does_not_fit_is_named(x, message):
    refuses(message, RNN("gru", I, H), x)


def test_a_step_that_does_not_fit_is_named():
    step = RNN("gru", I, H).step
    refuses("step takes x of shape (B, I) or (I,), not (7, 4, 3)", step, torch.randn(T, B, I))
    refuses("GRU expects 3 input features (input_size) but x has 9: shape (4, 9)", step, torch.randn(B, 9))
    refuses("x must be torch.float32, as the weights, not torch.float64", step, torch.randn(B, I).double())
    refuses("x must be a tensor, not a list", step, [0.0] * I)


def test_a_packed_sequence_that_does_not_fit_is_named():
    rnn, lengths = RNN("gru", I, H), torch.tensor(LENGTHS)
    wrong = pack_padded_sequence(torch.randn(T, B, 9), lengths, enforce_sorted=False)
    refuses("GRU expects 3 input features (input_size) but x has 9", rnn, wrong)
    wrong = pack_padded_sequence(torch.randn(T, B, I).double(), lengths, enforce_sorted=False)
    refuses("x must be torch.float32, as the weights, not torch.float64", rnn, wrong)


def test_the_dtype_of_x_matters_to_a_cell_with_a_projection_of_its_own_too():
    from rnnzoo.cells import Cell, Hidden

    class Own(Cell):
        def __init__(self, input_size: int, hidden_size: int):
            super().__init__(input_size, hidden_size)
            self.W = nn.Linear(input_size, hidden_size)

        def project(self, x):
            return self.W(x)

        def step(self, u, s):
            return Hidden((u + s.h).tanh())

    refuses("x must be torch.float32, as the weights, not torch.float64", RNN(Own, I, H), torch.randn(T, B, I).double())


def test_what_a_cell_does_not_take_besides_x_is_named():
    refuses("GRU takes nothing besides x; got ['dt']", RNN("gru", I, H), torch.randn(T, B, I), dt=torch.ones(T, B))
    refuses("GRU takes nothing besides x; got ['dt']", RNN("gru", I, H).step, torch.randn(B, I), dt=torch.ones(B))


def test_an_unknown_argument_of_the_cell_is_named():
    refuses("cell 'lstm' has no argument 'hiden_size'", RNN, "lstm", I, H, hiden_size=3)
    refuses("cell 'janet' has no argument 'beat'; did you mean 'beta'?", RNN, "janet", I, H, beat=0.5)

"""Weights to and from torch's modules, exactly, and checkpoints written with nn.LSTM that load into an RNN."""

from itertools import product

import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError, from_torch, to_torch
from rnnzoo.cells.lstm import LSTM, LSTMP

T, B, I, H = 7, 4, 3, 5


def relu(*args, **options):
    return nn.RNN(*args, nonlinearity="relu", **options)


MODULES = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN, "rnn_relu": relu}


def flat(last):
    return torch.cat([a.flatten() for a in last]) if isinstance(last, tuple) else last.flatten()


@pytest.mark.parametrize("name", MODULES)
def test_there_and_back_nothing_is_lost(name):
    for num_layers, bidirectional, bias, batch_first in product((1, 3), (False, True), (True, False), (False, True)):
        options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "dtype": torch.float64}
        module = MODULES[name](I, H, num_layers, **options)
        rnn = from_torch(module)
        assert (rnn.num_layers, rnn.bidirectional, rnn.bias, rnn.batch_first) == (
            num_layers,
            bidirectional,
            bias,
            batch_first,
        )
        x = torch.randn(B, T, I, dtype=torch.float64)
        (y, last), (y_torch, last_torch) = rnn(x), module(x)
        torch.testing.assert_close(y, y_torch, rtol=0, atol=1e-12)
        torch.testing.assert_close(flat(last), flat(last_torch), rtol=0, atol=1e-12)
        back = to_torch(rnn)
        assert type(back) is type(module)
        assert back.mode == module.mode
        assert torch.equal(back(x)[0], y_torch)
        wanted = module.state_dict()
        assert list(back.state_dict()) == list(wanted)
        assert all(torch.equal(a, wanted[n]) for n, a in back.state_dict().items())


def test_a_converted_module_has_weights_of_its_own():
    module = nn.LSTM(I, H)
    rnn = from_torch(module)
    with torch.no_grad():
        module.weight_ih_l0.zero_()
    assert rnn.layers[0][0].weight_ih.abs().min() > 0


def test_dropout_and_mode_travel_too():
    rnn = from_torch(nn.GRU(I, H, 2, dropout=0.25).eval())
    assert (rnn.dropout, rnn.training) == (0.25, False)
    back = to_torch(rnn)
    assert (back.dropout, back.training) == (0.25, False)
    assert to_torch(RNN("gru", I, H, dtype=torch.bfloat16)).weight_ih_l0.dtype == torch.bfloat16


@pytest.mark.parametrize(("pinned", "make"), [("cudnn_lstm", nn.LSTM), ("cudnn_gru", nn.GRU), ("cudnn_rnn", nn.RNN)])
def test_a_pinned_cell_converts_as_its_plain_twin(pinned, make):
    rnn = RNN(pinned, I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I)
    module = to_torch(rnn)
    assert isinstance(module, make)
    torch.testing.assert_close(module(x)[0], rnn(x)[0])


def test_an_nn_lstm_with_a_projection_becomes_lstmp():
    module = nn.LSTM(I, H, 2, bidirectional=True, proj_size=2, dtype=torch.float64)
    rnn, x = from_torch(module), torch.randn(T, B, I, dtype=torch.float64)
    assert (rnn.layers[0][0].proj_size, rnn.output_size) == (2, 4)
    (y, last), (y_torch, last_torch) = rnn(x), module(x)
    torch.testing.assert_close(y, y_torch, rtol=0, atol=1e-12)
    torch.testing.assert_close(flat(last), flat(last_torch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_an_lstmp_becomes_an_nn_lstm_with_a_projection(bias):
    rnn = RNN("lstmp", I, H, 2, bias, bidirectional=True, proj_size=2, dtype=torch.float64)
    module, x = to_torch(rnn), torch.randn(T, B, I, dtype=torch.float64)
    assert isinstance(module, nn.LSTM)
    assert (module.proj_size, module.hidden_size, module.bias) == (2, H, bias)
    (y, last), (y_torch, last_torch) = rnn(x), module(x)
    torch.testing.assert_close(y, y_torch, rtol=0, atol=1e-12)
    torch.testing.assert_close(flat(last), flat(last_torch), rtol=0, atol=1e-12)
    again = from_torch(module)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), rnn.parameters(), strict=True))


def test_projections_that_torch_does_not_have_are_named():
    with pytest.raises(RnnZooError, match=r"nn\.LSTM takes a proj_size below hidden_size=5, and this one is 5"):
        to_torch(RNN("lstmp", I, H, proj_size=5))
    sizes = iter([2, 3])
    with pytest.raises(RnnZooError, match="sizes of projections differ: 2 and 3"):
        to_torch(RNN(lambda i, h: LSTMP(i, h, proj_size=next(sizes)), I, H, 2))


def test_what_goes_past_a_layer_is_not_left_out():
    with pytest.raises(RnnZooError, match="to_torch cannot convert this RNN: torch's modules have no connections past"):
        to_torch(RNN("gru", I, I, 2, connect="residual"))


def test_one_size_for_each_layer_converts_where_they_are_equal():
    rnn, x = RNN("gru", I, [H, H]), torch.randn(T, B, I)
    torch.testing.assert_close(to_torch(rnn)(x)[0], rnn(x)[0])


def test_what_torch_does_not_have_is_named():
    with pytest.raises(RnnZooError, match="to_torch cannot convert this RNN: janet has no torch equivalent"):
        to_torch(RNN("janet", I, H))

    class Mine(LSTM):
        pass

    with pytest.raises(RnnZooError, match=r"to_torch cannot convert this RNN: .*Mine has no torch equivalent"):
        to_torch(RNN(Mine, I, H))
    names = iter([LSTM, Mine])
    with pytest.raises(RnnZooError, match=r"to_torch cannot convert this RNN: the stack mixes lstm and .*Mine"):
        to_torch(RNN(lambda i, h: next(names)(i, h), I, H, 2))
    sizes = iter([5, 6])
    with pytest.raises(RnnZooError, match="to_torch cannot convert this RNN: hidden sizes differ: 5 and 6"):
        to_torch(RNN(lambda i, h: LSTM(i, next(sizes)), I, H, 2))
    with pytest.raises(RnnZooError, match=r"from_torch takes an nn.LSTM, nn.GRU or nn.RNN, not Linear"):
        from_torch(nn.Linear(2, 3))


class Model(nn.Module):
    """A model in which an RNN takes the place of an nn.LSTM."""

    def __init__(self, layer):
        super().__init__()
        self.encoder = nn.ModuleDict({"rnn": layer})
        self.head = nn.Linear(2 * H, 2)

    def forward(self, x):
        return self.head(self.encoder["rnn"](x)[0])


def test_a_checkpoint_of_nn_lstm_loads_into_the_rnn_that_replaces_it():
    module, rnn = nn.LSTM(I, H, 2, bidirectional=True), RNN("lstm", I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I)
    saved = module.state_dict()
    names = list(saved)
    assert rnn.load_state_dict(saved).missing_keys == []
    assert list(saved) == names, "the checkpoint itself stays as it is"
    torch.testing.assert_close(rnn(x)[0], module(x)[0])


def test_so_it_does_inside_a_model_under_any_prefix():
    old, new = Model(nn.LSTM(I, H, 2, bidirectional=True)), Model(RNN("lstm", I, H, 2, bidirectional=True))
    x = torch.randn(T, B, I)
    new.load_state_dict(old.state_dict())
    torch.testing.assert_close(new(x), old(x))
    outer = nn.Sequential(Model(RNN("lstm", I, H, 2, bidirectional=True)))
    outer.load_state_dict({f"0.{name}": a for name, a in old.state_dict().items()})
    torch.testing.assert_close(outer(x), old(x))
    again = Model(RNN("lstm", I, H, 2, bidirectional=True))
    again.load_state_dict(new.state_dict())  # and its own names go on loading
    assert torch.equal(again(x), new(x))


def test_a_checkpoint_that_does_not_fit_is_an_error_as_it_is_in_torch():
    rnn = RNN("lstm", I, H)
    with pytest.raises(RuntimeError, match=r"Missing key.*layers\.0\.0\.weight_ih"):
        rnn.load_state_dict({n: a for n, a in nn.LSTM(I, H).state_dict().items() if n != "weight_ih_l0"})
    with pytest.raises(RuntimeError, match="weight_ih_l1"):
        rnn.load_state_dict(nn.LSTM(I, H, 2).state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        rnn.load_state_dict(nn.GRU(I, H).state_dict())

"""Convolutions before an RNN, and sequence models with them and with a pooling: one sequence at a time, by hand."""

import math

import numpy as np
import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.models import ConvolutionalStem, SequenceModel
from rnnzoo.models.stem import make_stem

LENGTHS = [5, 2, 7, 1]


@pytest.mark.parametrize("kernel_size", [1, 4, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_and_neighbours_have_no_effect(kernel_size, stride):
    stem = ConvolutionalStem(3, channels=[4, 6], kernel_size=kernel_size, stride=stride).double()
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    for k, n in enumerate(LENGTHS):
        x[k, n:] = torch.nan
    y, lengths = stem(x, torch.tensor(LENGTHS))
    for k, n in enumerate(LENGTHS):
        alone, none = stem(x[k : k + 1, :n])
        assert none is None
        steps = math.ceil(math.ceil(n / stride) / stride)
        assert int(lengths[k]) == alone.shape[1] == steps
        torch.testing.assert_close(y[k, :steps], alone[0])


def test_a_layer_is_the_convolution_of_numpy_a_norm_and_a_gelu():
    stem = ConvolutionalStem(1, channels=1, kernel_size=3).double()
    torch.nn.init.zeros_(stem.norms[0].weight)  # the norm of one channel says nothing: look before it
    x = np.random.default_rng(0).standard_normal(6)
    kernel, bias = stem.convolutions[0].weight[0, 0].tolist(), stem.convolutions[0].bias.item()
    expected = np.convolve(x, kernel[::-1], mode="same") + bias
    seen = []
    stem.norms[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    stem(torch.from_numpy(x)[None, :, None])
    np.testing.assert_allclose(seen[0][0, :, 0].detach().numpy(), expected)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "concat", "attention"])
@pytest.mark.parametrize("stem", [None, {"channels": 4, "kernel_size": 3, "stride": 2}])
def test_a_model_answers_a_sequence_in_a_batch_as_alone(pooling, stem):
    made = None if stem is None else make_stem(3, stem)
    rnn = RNN("gru", 3 if made is None else 4, 5, batch_first=True, bidirectional=True)
    model = SequenceModel(rnn, 2, pooling=pooling, stem=made, noise=0.5).double().eval()
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    y = model(x, torch.tensor(LENGTHS))
    assert y.shape == (4, 1, 2)
    for k, n in enumerate(LENGTHS):
        torch.testing.assert_close(model(x[k : k + 1, :n])[0], y[k])


@pytest.mark.parametrize("pooling", ["mean", "max", "concat"])
def test_a_pooling_is_that_of_numpy(pooling):
    model = SequenceModel(RNN("gru", 2, 3, batch_first=True), 1, pooling=pooling).double()
    x = torch.randn(2, 6, 2, dtype=torch.float64)
    y = model.rnn(x, lengths=torch.tensor([4, 6]))[0].detach().numpy()
    weight, bias = (p.detach().numpy() for p in (model.head.weight, model.head.bias))
    for k, n in enumerate((4, 6)):
        own = y[k, :n]
        made = {"mean": own.mean(0), "max": own.max(0), "concat": np.concatenate([own[-1], own.max(0), own.mean(0)])}
        expected = weight @ made[pooling] + bias
        np.testing.assert_allclose(model(x, torch.tensor([4, 6]))[k, 0].detach().numpy(), expected)


def test_noise_is_of_training_alone_and_as_large_as_it_says():
    seen = []
    model = SequenceModel(RNN("gru", 2, 3, batch_first=True), 1, noise=0.3)
    model.rnn.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x = torch.zeros(40, 50, 2)
    model(x)
    model.eval()
    model(x)
    assert seen[0].std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(seen[1], x)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"answers": 0, "pooling": "max"},
            "pooling='max' is for one answer to a sequence, but there is one at every step",
        ),
        ({"answers": 2, "stem": make_stem(2, {})}, "stem='a stem' is for one answer .* at the last 2 steps"),
        ({"vocabulary_size": 9, "noise": 0.1}, "noise is for numbers, but the steps are tokens"),
        ({"noise": -1.0}, "noise must be 0 or more, not -1.0"),
        ({"pooling": "sum"}, "pooling 'sum' is unknown"),
    ],
)
def test_settings_that_exclude_each_other_are_said(settings, says):
    with pytest.raises(RnnZooError, match=says):
        SequenceModel(RNN("gru", 2, 3, batch_first=True), 1, **settings)


def test_arguments_of_a_stem_are_checked():
    for arguments, says in (
        ({"chanels": 3}, r"^stem has 'chanels'; did you mean 'channels'\? it may have: channels, kernel_size, stride$"),
        ({"channels": 0}, "^stem.channels must be 1 or more, not 0$"),
        ({"stride": 1.5}, "^stem.stride must be 1 or more, not 1.5$"),
    ):
        with pytest.raises(RnnZooError, match=says):
            make_stem(2, arguments)

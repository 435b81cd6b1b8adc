"""Large buffers of `fused` are used again, never while anybody still holds them."""

import torch

from rnnzoo import RNN
from rnnzoo.kernels.fused.memory import _WAIT, Blocks

N = 1 << 18  # float32 numbers of a block


def test_a_block_is_used_again_once_no_tensor_lies_in_it():
    blocks = Blocks()
    a = blocks.empty((N,), torch.float32)
    place, part = a.data_ptr(), a[3:5]
    del a
    b = blocks.empty((N,), torch.float32)
    assert b.data_ptr() != place  # a part of the first is still held
    del part
    assert blocks.empty((N,), torch.float32).data_ptr() == place
    assert blocks.empty((N // 2,), torch.float64).data_ptr() == place  # as many bytes
    assert blocks.empty((N + 1,), torch.float32).data_ptr() != place


def test_small_tensors_are_torchs():
    blocks = Blocks()
    assert blocks.empty((N - 1,), torch.float32).shape == (N - 1,)
    assert not blocks._blocks


def test_what_has_waited_long_is_given_back():
    blocks = Blocks()
    blocks.empty((N,), torch.float32)
    for _ in range(_WAIT):
        blocks.empty((N + 1,), torch.float32)
    assert list(blocks._blocks) == [4 * (N + 1)]


def test_what_nobody_holds_is_given_back_when_asked():
    blocks = Blocks()
    held = blocks.empty((N,), torch.float32)
    blocks.empty((N + 1,), torch.float32)
    blocks.give_back()
    assert list(blocks._blocks) == [4 * N]
    del held
    blocks.give_back()
    assert not blocks._blocks


def test_a_block_made_in_inference_mode_serves_training():
    blocks = Blocks()
    with torch.inference_mode():
        blocks.empty((N,), torch.float32)
    a = blocks.empty((N,), torch.float32)
    assert not a.is_inference()
    assert not a._is_view()


def test_outputs_that_are_held_and_changed_in_place_spoil_no_later_step():
    rnn = RNN("lstm", 8, 64, kernel="fused")
    x = torch.randn(64, 80, 8)  # outputs of more than a megabyte
    outputs, gradients = [], []
    for _ in range(3):
        rnn.zero_grad()
        y, _ = rnn(x)
        y.sum().backward()
        gradients.append(rnn.layers[0][0].weight_hh.grad.clone())
        outputs.append(y.detach())
        with torch.no_grad():
            rnn(x)[0].mul_(2.0)  # a user's own arithmetic in place
    assert len({y.data_ptr() for y in outputs}) == 3
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(gradients[0], gradients[2])

"""The memory of lmu equals scipy's linear systems, its output keras' recurrent cell on what scipy remembers."""

import os

import numpy as np
import pytest
import scipy.signal
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")  # which keras reads when it is imported
import keras

from rnnzoo.cells import create
from rnnzoo.cells.legendre import legendre_memory

T, B, I, H = 40, 2, 3, 5


def system(order, theta):
    """A / θ and B / θ of the paper, an entry at a time."""
    A = [[(2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(order)] for i in range(order)]
    return np.array(A) / theta, np.array([[(2 * i + 1) * (-1) ** i] for i in range(order)]) / theta


@pytest.mark.parametrize(("order", "theta"), [(1, 2.0), (6, 9.0), (32, 100.0), (256, 784.0)])
def test_its_matrices_are_the_system_held_for_one_step(order, theta):
    A, B_ = system(order, theta)
    wanted, wanted_b, *_ = scipy.signal.cont2discrete((A, B_, np.eye(order), np.zeros((order, 1))), dt=1, method="zoh")
    got, got_b = legendre_memory(order, theta)
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-11)
    np.testing.assert_allclose(got_b.numpy(), wanted_b[:, 0], atol=1e-11)
    assert np.abs(np.linalg.eigvals(got.numpy())).max() < 1


def test_it_equals_scipys_simulation_under_keras_cell():
    torch.set_default_dtype(torch.float64)
    try:
        cell = create("lmu", I, H, order=6, theta=9.0)
    finally:
        torch.set_default_dtype(torch.float32)
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=0.5)
    with torch.no_grad():
        cell.encoder_hh.zero_()  # so that scipy knows what will be written
        cell.encoder_mh.zero_()
        x = torch.randn(T, B, I).double()
        s = cell.initial_state(B, x)
        ys, ms = [], []
        for x_t in x:
            y, s = cell(x_t, s)
            ys.append(y)
            ms.append(s.m)
        written = (x @ cell.encoder_ih.t())[..., 0].numpy()
        A, B_ = system(6, 9.0)
        continuous = scipy.signal.StateSpace(A, B_, np.eye(6), np.zeros((6, 1)))
        memory = []
        for b in range(B):  # what lsim shows at k + 1 has the input of k in it
            _, _, m = scipy.signal.lsim(continuous, np.append(written[:, b], 0), np.arange(T + 1), interp=False)
            memory.append(torch.from_numpy(m[1:]))
        memory = torch.stack(memory, 1)
        torch.testing.assert_close(torch.stack(ms), memory, rtol=0, atol=1e-11)

        layer = keras.layers.SimpleRNN(H, return_sequences=True, dtype="float64")
        read = torch.cat([memory, x], -1).transpose(0, 1)
        layer.build(read.shape)
        kernel = torch.cat([cell.weight_mh, cell.weight_ih], 1).t()
        layer.set_weights([a.numpy() for a in (kernel, cell.weight_hh.t(), cell.bias_ih)])
        wanted = torch.as_tensor(layer(read)).transpose(0, 1)
        # keras multiplies in float32 on torch, whatever the dtype
        torch.testing.assert_close(torch.stack(ys), wanted, rtol=0, atol=1e-6)

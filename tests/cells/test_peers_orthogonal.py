"""The matrices of the orthogonal cells equal those of torch and scipy, and of numpy's Fourier transform."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torch.nn.utils import parametrizations

from rnnzoo.cells import create

H = 7


def double(name, **constants):
    cell = create(name, 3, H, **constants).double()
    for p in cell.parameters():
        nn.init.normal_(p)
    return cell


@pytest.mark.parametrize(("name", "map_", "scale"), [("orthogonal_rnn", "cayley", -2), ("exprnn", "matrix_exp", 1)])
def test_q_is_that_of_torchs_parametrization(name, map_, scale):
    # torch's Cayley map is (I - A/2)^-1 (I + A/2)
    cell = double(name)
    linear = parametrizations.orthogonal(nn.Linear(H, H).double(), "weight", map_, use_trivialization=False)
    with torch.no_grad():
        linear.parametrizations.weight.original.copy_(scale * cell.skew_symmetric())
    torch.testing.assert_close(cell.matrix(), linear.weight, rtol=0, atol=1e-12)


def test_q_of_exprnn_is_the_exponential_of_scipy():
    cell = double("exprnn")
    cell.base.copy_(torch.linalg.qr(torch.randn(H, H).double())[0])
    with torch.no_grad():
        wanted = cell.base.numpy() @ scipy.linalg.expm(cell.skew_symmetric().numpy())
        np.testing.assert_allclose(cell.matrix().numpy(), wanted, atol=1e-12)


def test_u_is_the_product_of_its_dense_factors():
    cell = double("unitary_rnn")
    phases, v = cell.phases.detach().numpy(), cell.reflections.detach().numpy()
    D = [np.diag(np.exp(1j * phase)) for phase in phases]
    R = [np.eye(H) - 2 * np.outer(z, z.conj()) / np.vdot(z, z) for z in v[:, 0] + 1j * v[:, 1]]
    F = np.fft.fft(np.eye(H), norm="ortho")
    P = np.eye(H)[cell.permutation.numpy()]
    wanted = D[2] @ R[1] @ F.conj().T @ D[1] @ P @ R[0] @ F @ D[0]
    np.testing.assert_allclose(cell.matrix().detach().numpy(), wanted, atol=1e-12)
    np.testing.assert_allclose(wanted.conj().T @ wanted, np.eye(H), atol=1e-12)

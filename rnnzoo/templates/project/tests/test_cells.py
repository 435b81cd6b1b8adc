"""The cells are consistent: shapes, gradients, single steps, batches, compiled kernels."""

import pytest
import torch
from my_project.cells import UpdateGated

from rnnzoo.cells import Hidden
from rnnzoo.testing import check_cell


@pytest.mark.parametrize("keep", [0.0, 2.0])
def test_the_cell_is_consistent(keep):
    check_cell(UpdateGated(3, 5, keep=keep))


def test_a_state_is_kept_where_the_gate_is_open():
    wx, rh, h = torch.zeros(2, 10), torch.zeros(2, 10), torch.randn(2, 5)
    torch.testing.assert_close(UpdateGated(3, 5, keep=100.0).update(wx, rh, Hidden(h)).h, h)

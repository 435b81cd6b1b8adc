"""Every identity between cells holds."""

import pytest
import torch
from identities import IDENTITIES


@pytest.mark.parametrize("claim", IDENTITIES)
def test_an_identity_between_cells_holds(claim):
    sides, tolerance = IDENTITIES[claim]
    got, wanted = sides()
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)

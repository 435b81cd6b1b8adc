"""No registered cell is left to the loop in Python, and the table of cells says what runs each of them."""

import pytest
import torch
from oracles import ORACLES

from rnnzoo import RNN
from rnnzoo.cells import list_cells


@pytest.mark.compiler
@pytest.mark.parametrize("name", list_cells())
def test_a_compiled_kernel_or_a_scan_runs_every_cell_and_the_class_says_where_fused_does_not(name):
    cls = list_cells()[name]
    inputs = {n: make(7, 3).float() for n, make in ORACLES[name].inputs.items()}
    rows = RNN(name, 3, 8, kernel="reference").explain(torch.randn(7, 3, 3), **inputs).rows
    reasons = {row.kernel: row.why_not for row in rows}
    assert (reasons["fused"] is None) == (cls.not_fused is None), reasons["fused"]
    assert None in (reasons["fused"], reasons["linear_scan"], reasons["native"])

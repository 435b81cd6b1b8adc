"""Conformance: what every cell passes, ours or a user's. ``check_cell(MyCell(3, 5))`` runs it.

These checks derive from the cell, so they prove that it is consistent, never that it is the cell in a paper: with
input and forget gate swapped an LSTM passes them all. For that, write the equations once more, as scalar loops.
"""

from rnnzoo.testing.case import Case
from rnnzoo.testing.causes import Cause, find_causes
from rnnzoo.testing.suite import Result, Skip, check_cell, checks, report, run_checks

__all__ = ["Case", "Cause", "Result", "Skip", "check_cell", "checks", "find_causes", "report", "run_checks"]

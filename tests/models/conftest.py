"""Tests of what stands around the layers compile none of them."""

import pytest


@pytest.fixture(autouse=True)
def _nothing_compiled(nothing_compiled: None) -> None:
    pass

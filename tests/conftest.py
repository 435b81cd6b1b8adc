"""What all tests share: one thread, a seed, Triton's interpreter, and a word on what needs a GPU."""

import os

import pytest
import torch

if not torch.cuda.is_available():  # Triton reads it when it is imported, which torch does for a trace
    os.environ.setdefault("TRITON_INTERPRET", "1")

# tensors are small here, and where other processes run, threads that wait for each other take ten times as long
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device, and torch finds none on this machine")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)

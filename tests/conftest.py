"""What all tests share: one thread, a seed, Triton's interpreter, and a word on what needs a GPU or a C compiler."""

import os
from collections.abc import Generator
from functools import partial

import pytest
import torch

if not torch.cuda.is_available():  # Triton reads it when it is imported, which torch does for a trace
    os.environ.setdefault("TRITON_INTERPRET", "1")

# tensors are small here, and where other processes run, threads that wait for each other take ten times as long
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is compiled: what stands around the layers is the same by every kernel, and each has tests of its own."""
    from rnnzoo.kernels.fused.kernel import Fused

    for question in ("why_not", "likely_why_not"):
        monkeypatch.setattr(Fused, question, lambda self, work: "this test compiles nothing")


def _why_no_compiler() -> str | None:
    from rnnzoo.kernels.fused.build import BuildError, compiler

    try:
        compiler()
    except BuildError as error:
        return str(error)
    return None


NO_COMPILER = _why_no_compiler()
COMPILED = ("test_fused", "test_products")  # modules of tests of what is compiled, and of nothing else


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _check_groups(config, items)
    if NO_COMPILER:
        for item in items:
            if item.path.name.startswith(COMPILED) or "compiler" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=NO_COMPILER))
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device, and torch finds none on this machine")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: some tests wait for processes of their own, or for a signal."""
    return (os.cpu_count() or 1) + 1


def _check_groups(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fails a test where pytest-xdist keeps no group on one worker: each would compile all that the group needs."""
    if getattr(config.option, "loadgroup", False):  # in a worker
        spread = [item for item in items if "xdist_group" in item.keywords and "@" not in item.nodeid]
        why = f"--dist loadgroup has no effect with pytest {pytest.__version__}: this test is in no group"
        for item in spread[:1]:
            item.runtest = partial(pytest.fail, why)  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that asks for the kernel `fused` where nothing can be compiled is skipped, not failed."""
    report = yield
    if NO_COMPILER and report.failed and call.excinfo is not None and NO_COMPILER in str(call.excinfo.value):
        report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1] or 0, f"Skipped: {NO_COMPILER}")
    return report

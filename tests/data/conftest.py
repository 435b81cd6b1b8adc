"""No test here asks the network, or writes to the caches of who runs it."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported, which reads it once


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "datasets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("RNNZOO_CACHE", str(folder / "rnnzoo"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str], str]:
    """Writes a file and returns its path."""

    def _write(name: str, content: bytes | str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return _write


@pytest.fixture
def process() -> Callable[..., SimpleNamespace]:
    """What the data modules read of a trainer: one process of several."""

    def _process(world_size: int, rank: int, injects: bool = False) -> SimpleNamespace:
        connector = SimpleNamespace(use_distributed_sampler=injects)
        return SimpleNamespace(world_size=world_size, global_rank=rank, _accelerator_connector=connector)

    return _process

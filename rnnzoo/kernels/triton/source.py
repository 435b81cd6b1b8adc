"""Generated modules: Triton reads a kernel's source from a file, so they lie in the user's cache folder."""

import hashlib
import importlib.util
import threading
from functools import cache
from pathlib import Path
from types import ModuleType

from rnnzoo.cache import written_aside
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.fused.build import kernel_folder

_lock = threading.Lock()


def module(source: str) -> ModuleType:
    """`source` imported; the same module for the same source."""
    with _lock:
        return _module(source)


@cache
def _module(source: str) -> ModuleType:
    name = f"triton_{hashlib.sha256(source.encode()).hexdigest()[:24]}"
    path = kernel_folder(f"{name}.py") / f"{name}.py"
    if not _whole(path, source):
        with written_aside(path) as made:
            made.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RnnZooError(f"{path} cannot be imported")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def _whole(path: Path, source: str) -> bool:
    try:
        return path.read_text() == source
    except OSError:
        return False

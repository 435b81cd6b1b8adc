"""The C compiler, and libraries in the user's cache folder: keyed by source, compiler and processor.

A library is written aside and renamed, so that many processes share a folder; a checksum behind its last byte tells
whether it is whole.
"""

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from rnnzoo.cache import cache_folder, is_full, process_folder, written_aside
from rnnzoo.errors import RnnZooError


class BuildError(RnnZooError):
    """The compiler failed; its text is what it said."""


class _Unwritable(BuildError):
    """There was no room for what it makes, or no permission."""


@cache
def compiler() -> tuple[str, str]:
    """The path of gcc and its version, or BuildError: looked for once a process."""
    for name in (os.environ.get("CC"), "gcc", "cc"):
        path = shutil.which(name) if name else None
        if path:
            version = _run([path, "--version"]).split("\n")[0]
            if "clang" not in version:
                return path, version
    raise BuildError("no C compiler (gcc) is on PATH")


class Source(NamedTuple):
    """C in two parts: what many libraries begin with, and a library's own; the names of its functions end in `tag`,
    which no other has."""

    head: str
    own: str
    tag: str


def library(source: str, *more: str) -> ctypes.CDLL:
    """`source` compiled, with `more` flags, from the cache where it is there and whole.

    Raises:
        BuildError: no compiler, or one that fails.
    """
    target = _target(source, more)
    if read_whole(target) is not None:
        try:
            return ctypes.CDLL(str(target))
        except OSError:
            pass  # built where other libraries stand: build it again
    target = _build(source, more, target)
    try:
        return ctypes.CDLL(str(target))
    except OSError as error:
        raise BuildError(f"what the C compiler made cannot be loaded: {error}") from error


def compile_together(sources: Iterable[Source], *more: str) -> None:
    """Sees to it that `library` finds the sources in the cache: those that begin alike are compiled in one run, which
    takes three quarters of the time of many, and are one file by several names.

    Raises:
        BuildError: no compiler, or one that fails.
    """
    missing: dict[str, dict[Path, str]] = {}
    for source in sources:
        target = _target(source.head + source.own, more)
        if read_whole(target) is None:
            missing.setdefault(source.head, {})[target] = source.own
    for head, own in missing.items():
        first, *others = own
        built = _build(head + "".join(own.values()), more, first)
        for other in others:
            # in the same folder: where the cache is full, that is one of this process
            try:
                with written_aside(built.with_name(other.name)) as made:
                    try:
                        os.link(built, made)
                    except OSError:  # a file system without links
                        shutil.copyfile(built, made)
            except OSError:
                pass  # no room for it: `library` makes it when it is asked for


def _target(source: str, more: Sequence[str]) -> Path:
    """Where the library of a source is or is to be kept."""
    told = [source, compiler()[1], processor(), *_flags(), *more, *_libraries()]
    name = f"fused-{hashlib.sha256(chr(10).join(told).encode()).hexdigest()[:24]}.so"
    return kernel_folder(name) / name


def _build(source: str, more: Sequence[str], target: Path) -> Path:
    """Compiles to `target`, or, where that cannot be written, to a file of its name in a folder of this process."""
    try:
        _compile(source, more, target)
    except _Unwritable as error:
        if target.parent == process_folder():
            raise
        target = _give_up(target.parent, str(error)) / target.name
        _compile(source, more, target)
    return target


def _compile(source: str, more: Sequence[str], target: Path) -> None:
    try:
        with written_aside(target) as made:
            code = made.with_name("kernel.c")
            code.write_text(source, encoding="utf-8")
            _run([compiler()[0], *_flags(), *more, str(code), "-o", str(made), *_libraries()])
            with made.open("ab") as file:
                file.write(checksum(made.read_bytes()))
    except OSError as error:
        raise _Unwritable(f"{target.parent} cannot be written: {error}") from error


def kernel_folder(name: str) -> Path:
    """The folder where the file `name` is or is to be kept; one of this process where the cache cannot be written."""
    folder = cache_folder() / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if reason := _of_others(folder):
            return _give_up(folder, reason)
        if (folder / name).exists():
            return folder
        if not os.access(folder, os.W_OK):
            return _give_up(folder, f"{folder} cannot be written")
        if is_full(folder):
            return _give_up(folder, f"the disk of {folder} is full")
    except OSError as error:
        return _give_up(folder, str(error))
    return process_folder() if folder in _GIVEN_UP else folder


def _of_others(folder: Path) -> str:
    """Why what lies in a folder may be somebody else's, or "": it is code, which this process would run.

    A folder of this user's own to which others could write is closed to them.
    """
    if not hasattr(os, "geteuid"):
        return ""
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0):
        return f"{folder} belongs to another user"
    if found.st_mode & 0o022:
        if found.st_uid != os.geteuid():
            return f"others can write to {folder}"
        folder.chmod(found.st_mode & 0o7755)
    return ""


_GIVEN_UP: set[Path] = set()  # folders that could not be written, of which a warning was given


def _give_up(folder: Path, reason: str) -> Path:
    """A folder of this process, in place of one that cannot be written."""
    if folder not in _GIVEN_UP:
        warnings.warn(f"compiled kernels are not kept for the next run: {reason}", stacklevel=2)
        _GIVEN_UP.add(folder)
    return process_folder()


def checksum(content: bytes) -> bytes:
    """What stands behind the content of a kept file."""
    return hashlib.sha256(content).digest()


def read_whole(path: Path) -> bytes | None:
    """The content of a kept file, or None where there is none, or a damaged one."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content[:-32] if checksum(content[:-32]) == content[-32:] else None


def _run(command: list[str]) -> str:
    try:
        # its messages in English, and not in the encoding that a user's language asks for
        spoken = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=spoken, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the C compiler {command[0]} cannot be run: {error}") from error
    if done.returncode:
        if full := next((line for line in done.stderr.split("\n") if re.search("No space|quota exceeded", line)), None):
            raise _Unwritable(f"the C compiler {command[0]} fails: {full}")
        said = next((line for line in done.stderr.split("\n") if "error" in line), done.stderr.strip().split("\n")[0])
        raise BuildError(f"the C compiler {command[0]} fails: {said}")
    return done.stdout


@cache
def _flags() -> tuple[str, ...]:
    """Never -ffast-math: linked into a library it flushes denormals in the whole process, and it loses NaN."""
    wide = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()
    tune = ("-O3", "-march=native", *wide, "-fno-math-errno", "-fno-trapping-math", "-fopenmp")
    return (*tune, "-w", "-shared", "-fPIC")


@cache
def _libraries() -> tuple[str, ...]:
    """Torch's own OpenMP, so that there is one pool of threads; libm, and its vector functions where there are some."""
    folder = Path(torch.__file__).parent / "lib"
    own = sorted(folder.glob("libgomp*.so*"))
    openmp = (f"-L{folder}", f"-l:{own[0].name}", f"-Wl,-rpath,{folder}") if own else ()
    vector = ("-lmvec",) if platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc" else ()
    return ("-Wl,--no-as-needed", *openmp, *vector, "-lm")


@cache
def processor() -> str:
    """What -march=native stands for: the processor's name and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].split("\n")
        told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    except OSError:
        told = []
    return "\n".join([platform.machine(), platform.processor(), *told])

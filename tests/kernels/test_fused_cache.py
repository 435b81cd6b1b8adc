"""Compiled libraries: in the cache folder, shared by processes, rebuilt when broken; and no compiler at all."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import sys, time, torch
from rnnzoo import RNN
from rnnzoo.kernels.fused import build

calls, run = [], build._run
build._run = lambda command: (calls.append(command), run(command))[1]
rnn = RNN("janet", 3, 5)
x = torch.randn(70, 4, 3)
chosen = rnn.explain(x).chosen
start = time.perf_counter()
rnn(x)[0].sum().backward()
print(chosen, sum("-shared" in c for c in calls), time.perf_counter() - start)
"""


def start(folder, **more):
    env = os.environ | {"RNNZOO_CACHE": str(folder), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        [sys.executable, "-c", RUN], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def answer(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    chosen, compiled, seconds = out.split()
    return chosen, int(compiled), float(seconds), err


def libraries(folder):
    return sorted((Path(folder) / "kernels").iterdir())


def test_the_second_process_compiles_nothing_and_a_broken_library_is_built_again(tmp_path):
    began = time.perf_counter()
    chosen, compiled, _, _ = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 2)  # the cell's, and the products that all cells share
    assert time.perf_counter() - began < 60
    first = libraries(tmp_path)
    assert [f.suffix for f in first] == [".so", ".so"]
    chosen, compiled, _, _ = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 0)
    content = first[0].read_bytes()
    first[0].write_bytes(content[: len(content) // 2])
    first[1].write_bytes(b"")
    chosen, compiled, _, _ = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 2)
    assert libraries(tmp_path) == first


def test_processes_that_start_at_once_share_a_folder(tmp_path):
    running = [start(tmp_path) for _ in range(2)]
    for process in running:
        assert answer(process)[0] == "fused"
    assert [f.suffix for f in libraries(tmp_path)] == [".so", ".so"]


def test_without_a_compiler_auto_goes_on_and_says_so_once_in_one_line(tmp_path):
    chosen, compiled, _, err = answer(start(tmp_path, PATH=str(tmp_path), CC=""))
    assert (chosen, compiled) == ("reference", 0)
    assert err.count("no C compiler (gcc) is on PATH") == 1


def test_a_compiler_that_fails_is_no_compiler(tmp_path):
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\ncase $1 in --version) echo gcc 99;; *) echo error: no headers >&2; exit 1;; esac\n")
    broken.chmod(0o755)
    chosen, _, _, err = answer(start(tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin", CC=""))
    assert chosen == "reference"
    assert err.count("fails: error: no headers") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path):
    tmp_path.chmod(0o500)
    chosen, compiled, _, err = answer(start(tmp_path))
    assert (chosen, compiled) == ("fused", 2)
    assert err.count("compiled kernels are not kept for the next run") == 1


def test_a_path_that_is_no_folder_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    chosen, compiled, _, err = answer(start(tmp_path / "file"))
    assert (chosen, compiled) == ("fused", 2)
    assert err.count("compiled kernels are not kept for the next run") == 1

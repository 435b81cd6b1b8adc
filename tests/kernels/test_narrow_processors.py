"""Processors narrower than this one, and machines without a C compiler: in processes of their own, which are told to do
without the instructions that they lack. What they are told only lowers what there is."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = {  # of oneDNN, of ATen, of MKL, of gcc
    "avx2": ("AVX2", "avx2", "AVX2", "x86-64-v3"),
    "avx512": ("AVX512_CORE", "avx512", "AVX512", "x86-64-v4"),
}
X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the levels are those of x86")
WORDS = "What is told here is told to be learned, and learned to be told again. " * 60


def held_to(level, folder):
    """What a process is told so that it goes no further than `level`, libraries that it compiles included."""
    onednn, aten, mkl, gcc = LEVELS[level]
    compiler = folder / "cc"
    compiler.write_text(f'#!/bin/sh\nexec gcc "$@" -march={gcc} -mprefer-vector-width=256\n')
    compiler.chmod(0o755)
    told = {"ONEDNN_MAX_CPU_ISA": onednn, "ATEN_CPU_CAPABILITY": aten, "MKL_ENABLE_INSTRUCTIONS": mkl}
    return told | {"CC": str(compiler), "RNNZOO_CACHE": str(folder)}


def run(*arguments, cwd=ROOT, **told):
    env = {n: a for n, a in os.environ.items() if not n.startswith("PYTEST_XDIST")} | told
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False)


@X86
@pytest.mark.slow
@pytest.mark.parametrize("level", ["avx2", "avx512"])
def test_what_torchs_kernels_can_do_is_known_there_too(level, tmp_path):
    told = held_to(level, tmp_path) | {"CC": "", "PATH": str(tmp_path)}  # what fused can do hangs on none of it
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/test_vendor.py", "-k", "not fused", **told
    )
    assert done.returncode == 0, done.stdout[-3000:]


SAME = """
import itertools, sys, torch
from rnnzoo import RNN
torch.manual_seed(0)
for name, (dtype, narrow), lengths in itertools.product(
    ("lstm", "gru", "janet", "mingru"),
    [(torch.float32, None), (torch.float64, None), (torch.bfloat16, None), (torch.float16, None),
     (torch.float32, torch.bfloat16), (torch.float32, torch.float16)],
    (None, [7, 3, 1, 2]),
):
    rnn, x = RNN(name, 3, 5, 2, bidirectional=True, dtype=dtype), torch.randn(7, 4, 3)
    with torch.autocast("cpu", narrow, enabled=narrow is not None):
        y = rnn(x.to(dtype), lengths=lengths)[0]
    y.float().sum().backward()
    rnn.double().kernel = "reference"
    wide = rnn(x.double(), lengths=lengths)[0]
    exact = narrow is None and dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(y.double(), wide, rtol=1e-5 if exact else 0.05, atol=1e-5 if exact else 0.05)
    assert all(p.grad.isfinite().all() for p in rnn.parameters())
print("all alike")
"""


@X86
@pytest.mark.parametrize("level", [pytest.param(level, marks=pytest.mark.slow) for level in LEVELS])
def test_auto_runs_every_dtype_there(level, tmp_path):
    done = run("-c", SAME, **held_to(level, tmp_path))
    assert done.stdout.strip() == "all alike", done.stderr[-3000:]


def test_auto_runs_every_dtype_without_a_c_compiler(tmp_path):
    longer = "\nRNN('janet', 3, 5)(torch.randn(90, 4, 3)), RNN('mgu', 3, 5)(torch.randn(90, 4, 3))"
    done = run("-c", SAME + longer, CC="", PATH=str(tmp_path))
    assert done.stdout.strip() == "all alike", done.stderr[-3000:]
    said = [line for line in done.stderr.splitlines() if "is left out" in line]
    assert len(said) == 1
    assert said[0].endswith("kernel 'fused' is left out, and loops are slower: no C compiler (gcc) is on PATH")


@pytest.mark.slow
def test_auto_runs_on_a_machine_that_is_not_known(tmp_path):
    code = "import platform; platform.machine = lambda: 'riscv128'\n" + SAME
    done = run("-c", code, RNNZOO_CACHE=str(tmp_path))
    assert done.stdout.strip() == "all alike", done.stderr[-3000:]


def fit(folder, *more, **told):
    (folder / "words.txt").write_text(WORDS)
    tiny = ["--data.dataset=words.txt", "--trainer.max_steps=3", "--trainer.limit_val_batches=2"]
    tiny += ["--trainer.limit_test_batches=2", "--data.batch_size=4", "--data.sequence_length=16"]
    config = ROOT / "configs" / "char_lm.yaml"
    return run("-m", "rnnzoo", "fit", "--config", str(config), *tiny, *more, cwd=folder, **told)


@X86
@pytest.mark.parametrize(
    "precision",
    ["bf16-mixed", *(pytest.param(p, marks=pytest.mark.slow) for p in ("16-mixed", "bf16-true", "32-true"))],
)
def test_the_readmes_precisions_train_with_avx2_alone(precision, tmp_path):
    told = held_to("avx2", tmp_path) | {"CC": "", "PATH": str(tmp_path)}  # compiled, it would take its time
    done = fit(tmp_path, f"--trainer.precision={precision}", **told)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert "held-out bits per character" in done.stdout


@X86
@pytest.mark.slow
def test_they_train_with_what_is_compiled_for_avx2(tmp_path):
    done = fit(tmp_path, "--trainer.precision=bf16-mixed", **held_to("avx2", tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "runs by kernel 'fused'" in done.stdout

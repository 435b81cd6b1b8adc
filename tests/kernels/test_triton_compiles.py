"""What `triton` prints is compiled for a GPU by Triton's own compiler, which needs none; the interpreter takes more."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

COMPILE = """
import sys
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rnnzoo import RNN
from rnnzoo.kernels.fused.prepared import known
from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.triton.printer import narrow_of
from rnnzoo.kernels.triton.program import GpuProgram

name, bits = sys.argv[1], sys.argv[2]
dtype = torch.float64 if bits == "64" else torch.float32
cell = RNN(name, 3, 40, dtype=dtype).layers[0][0]
found = known(cell, dtype, 2, (), None)
program = GpuProgram(PROGRAMS[found.key], torch.bfloat16 if bits == "16" else None)
for loop, bodies in program.bodies.items():
    for body in bodies.values():
        kernel = getattr(program.kernels, body.name)
        pointers = {n: "*bf16" if n.endswith("_narrow") else f"*fp{64 if bits == '64' else 32}" for n in body.buffers}
        pointers |= {f"c{k}": f"*fp{64 if bits == '64' else 32}" for k in body.constants}
        source = ASTSource(kernel, pointers | {"at": "i32", "old": "i32", "BLOCK": "constexpr"}, {"BLOCK": 64})
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
        assert made.asm["cubin"], body.name
        print(body.name)
"""


@pytest.mark.parametrize(
    ("cell", "bits"),
    [("lstm", "32"), ("lstm", "16"), ("janet", "64"), pytest.param("layernorm_lstm", "32", marks=pytest.mark.slow)],
)
def test_every_kernel_is_compiled_for_a_gpu(cell, bits, tmp_path):
    env = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE, cell, bits], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = done.stdout.split()
    assert {name.rsplit("_", 1)[0] for name in made} >= {"forward", "backward", "padded_forward", "padded_backward"}

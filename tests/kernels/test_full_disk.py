"""A disk without room under the caches: it is a small one in memory that is mounted, for the process alone."""

import os
import re
import shutil
import subprocess
import sys

import pytest

MOUNT = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-ec"]


def can_mount():
    if not shutil.which("unshare"):
        return False
    done = subprocess.run([*MOUNT, "mount -t tmpfs -o size=1m none /mnt"], capture_output=True, check=False)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not can_mount(), reason="this system lets no test mount a small disk")


def run(script, folder, room, **more):
    """A script that keeps things on a disk of a megabyte, of which `room` bytes are left."""
    fill = f"mount -t tmpfs -o size=1m none {folder}; head -c {(1 << 20) - room} /dev/zero > {folder}/fill || true"
    env = os.environ | {"RNNZOO_CACHE": f"{folder}/rnnzoo", "HF_DATASETS_CACHE": f"{folder}/datasets"} | more
    done = subprocess.run(
        [*MOUNT, f"{fill}; exec {sys.executable} -c '{script}'"],
        env={**env, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


FUSED = """
import tempfile, torch, rnnzoo
from pathlib import Path
from rnnzoo.kernels.fused import build
{prelude}
rnn, x = rnnzoo.RNN("mgu", 3, 5, kernel="fused"), torch.randn(6, 4, 3)
y = rnn(x)[0]
y.sum().backward()
other = rnnzoo.RNN("mgu", 3, 5, kernel="reference")
other.load_state_dict(rnn.state_dict())
torch.testing.assert_close(other(x)[0], y)
made = list(Path(tempfile.gettempdir()).glob("rnnzoo-*/*.so"))
print(len(made))
"""


@pytest.mark.parametrize(
    ("room", "prelude", "reason"),
    [
        (0, "", "the disk of .* is full"),
        (60_000, "build.is_full = lambda folder: False", "No space left"),  # the compiler, or the linker, finds out
        (0, "build.is_full = lambda folder: False", "No space left|cannot be written"),
    ],
)
def test_a_full_disk_under_the_kernels_costs_a_warning(room, prelude, reason, tmp_path):
    disk, temporary = tmp_path / "disk", tmp_path / "tmp"
    disk.mkdir()
    temporary.mkdir()
    out, err = run(FUSED.format(prelude=prelude), disk, room, TMPDIR=str(temporary))
    assert int(out) >= 2
    assert err.count("compiled kernels are not kept for the next run") == 1
    assert re.search(reason, err)
    assert not list(temporary.iterdir())  # gone with the process


DATA = """
from rnnzoo.data import CharTextData, SeriesData, encoding
encoding.WORTH_KEEPING = 1
for kind in ("csv", "parquet", "jsonl"):
    print(len(SeriesData("{folder}/a." + kind, horizon=2, context=3, season=4).series))
print(len(CharTextData("{folder}/a.txt").text()))
"""


def test_a_full_disk_under_the_data_costs_a_warning(tmp_path):
    from datasets import Dataset

    rows = Dataset.from_dict({"y": [k * 0.7 % 5 for k in range(100)]})
    for kind, save in (("csv", rows.to_csv), ("parquet", rows.to_parquet), ("jsonl", rows.to_json)):
        save(str(tmp_path / f"a.{kind}"))
    (tmp_path / "a.txt").write_text("a text " * 99)
    (tmp_path / "disk").mkdir()
    out, err = run(DATA.format(folder=tmp_path).replace("'", '"'), tmp_path / "disk", 0)
    assert out.split() == ["100", "100", "100", "693"]
    assert "what `datasets` prepares is not kept for the next run" in err
    assert "the encoded text is not kept for the next run" in err
    assert "(the disk is full)" in err

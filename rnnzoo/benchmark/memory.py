"""Peak memory on a CPU: of one call, in a process that lives for it alone.

python -m rnnzoo.benchmark.memory '{"setting": {...}, "name": "reference"}'
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from rnnzoo.benchmark.setting import Setting

_PROC = Path("/proc/self")


def peak_in_a_process(setting: Setting, name: str) -> float | None:
    """MiB that a call takes at its peak beyond what its layer and its data hold; None where its process fails."""
    spec = json.dumps({"setting": dataclasses.asdict(setting), "name": name})
    # the working directory, where a user's own cells lie, is searched by -m
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-m", "rnnzoo.benchmark.memory", spec],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    return float(done.stdout) if done.returncode == 0 else None


def resident_peak() -> float:
    """MiB, the most that this process has held since `forget_peak`, or else since it began."""
    with contextlib.suppress(OSError):
        for line in (_PROC / "status").read_text().split("\n"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    import resource  # ru_maxrss as the last resort: on Linux a process starts with its parent's

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak() -> None:
    """The peak is what is held now, where the system can be told so."""
    with contextlib.suppress(OSError):
        (_PROC / "clear_refs").write_text("5")


def main() -> None:
    import torch

    from rnnzoo.benchmark.measure import Job, contender_of

    given = json.loads(sys.argv[1])
    setting = Setting(**given["setting"])
    torch.set_num_threads(setting.threads)
    # libraries are loaded, and a kernel compiled, by a call that needs little
    contender_of(Job(dataclasses.replace(setting, B=1, T=2), given["name"])).start()
    contender = contender_of(Job(setting, given["name"]))
    forget_peak()
    before = resident_peak()
    contender.start()
    print(resident_peak() - before)


if __name__ == "__main__":
    main()

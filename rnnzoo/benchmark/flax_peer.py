"""flax in a process of its own, so that its threads and its allocator are not ours; it takes turns with the others."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rnnzoo.benchmark.rounds import Contender
from rnnzoo.benchmark.setting import Setting


class FlaxProcess(Contender):
    """Runs `flax_process.py`, which times itself when it is told to."""

    def __init__(self, setting: Setting):
        self.setting = setting

    def start(self) -> None:
        script = Path(__file__).with_name("flax_process.py")
        spec = json.dumps({**dataclasses.asdict(self.setting), "vendor": self.setting.vendor})
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        # -P: the modules beside the script are not to be found by their bare names
        command = [sys.executable, "-P", str(script), spec]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, bufsize=1
        )
        self.first = self._answer()

    def sample(self, number: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().strip().split("\n")[-1]
            raise RuntimeError(f"its process ended: {said}")
        return float(line)

    def close(self) -> None:
        if not hasattr(self, "process"):
            return
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()

"""A ``rnnzoo fit`` in a moment: one parameter, whose loss falls towards (log10(rate) + 2)², an evaluation at a time.

Data settings say what it does besides: ``data.evaluations``, ``data.pause`` in seconds, ``data.fails`` and
``data.child``, which starts a process of its own.
"""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

from rnnzoo.tuning.guard import end_with_worker

end_with_worker()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[2:])
folder = Path(given["trainer.logger.init_args.save_dir"], given["trainer.logger.init_args.version"])
if "data.fails" in given:
    print("rnnzoo: error: learning_rate=-1 must be above 0", file=sys.stderr)
    sys.exit(2)
if "data.child" in given:
    subprocess.Popen([sys.executable, "-c", f"import time; {given['data.child']!r}; time.sleep(600)"])
folder.mkdir(parents=True)
(folder / "config.yaml").write_text(f"trainer: {{}}\nmodel: {{learning_rate: {given['model.learning_rate']}}}\n")
ends_at = (math.log10(float(given["model.learning_rate"])) + 2) ** 2
with (folder / "metrics.csv").open("w") as file:
    file.write("epoch,step,val_loss\n")
    for k in range(int(given.get("data.evaluations", 3))):
        file.write(f"{k},{k},{ends_at + 1 / (k + 1)}\n")
        file.flush()
        time.sleep(float(given.get("data.pause", 0)))
(folder / "run.json").write_text(json.dumps({"state": "finished", "parameters": 1, "steps": 3, "seconds": 1.5}))

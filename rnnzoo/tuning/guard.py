"""``python -m rnnzoo.tuning.guard``: ``rnnzoo``, in a process that ends with the one that started it.

Its standard input is a pipe whose other end the worker holds. Where the worker dies, of whatever, the pipe ends, and
the whole group of processes with it: the ranks that Lightning starts, and the loaders of data.
"""

import os
import signal
import sys
import threading

from rnnzoo.cli.main import main


def end_with_worker() -> None:
    """Ends this group of processes once standard input ends."""

    def watch() -> None:
        while True:
            try:
                if not os.read(0, 1):
                    os.killpg(os.getpgrp(), signal.SIGKILL)
            except InterruptedError:
                continue
            except OSError:
                return

    threading.Thread(target=watch, daemon=True, name="guard").start()


if __name__ == "__main__":
    end_with_worker()
    sys.exit(main())

"""``python -m rnnzoo``, the same as ``rnnzoo``."""

import sys

from rnnzoo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""The command ``rnnzoo``."""

from rnnzoo.cli.main import main

__all__ = ["main"]

"""The parser of the plain commands."""

import argparse
import re
from typing import NoReturn

from rnnzoo.errors import RnnZooError, did_you_mean


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"unrecognized arguments: (-\S+)", message):
            options = [option for action in self._actions for option in action.option_strings]
            near = did_you_mean(found[1].partition("=")[0].replace("_", "-"), options)
            raise RnnZooError(f"{self.prog.split()[-1]}: unknown option {found[1]}{near} see `{self.prog} --help`")
        raise RnnZooError(f"{self.prog.split()[-1]}: {message}; see `{self.prog} --help`")

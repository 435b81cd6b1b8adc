"""``rnnzoo init PROJECT``: a folder with a config, a cell, a task, a test and a README that run as they are."""

import importlib.util
import keyword
import os
import tempfile
from pathlib import Path

from rnnzoo.cli.parser import Parser
from rnnzoo.cli.shipped import PACKAGE
from rnnzoo.errors import RnnZooError

TEMPLATES = PACKAGE / "templates" / "project"
NAME = "my_project"  # of the package in the templates
_TAKEN = ("tests", "runs")  # what else the folder has


def run(args: list[str]) -> int:
    """Writes the project, and says what to try."""
    parser = Parser(
        prog="rnnzoo init", description="Start a project: a config, a cell, a test and a README, to change."
    )
    parser.add_argument("project", help="the folder to make; its name is that of the package in it")
    given = parser.parse_args(args).project
    if not given:
        raise RnnZooError("project name is empty; give that of a folder to make, as my_project is")
    folder = Path(given)
    name = project_name(folder)
    try:
        write_project(folder, name)
    except OSError as error:
        raise RnnZooError(f"project {str(folder)!r} cannot be written: {error.strerror}") from error
    shown = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {', '.join(shown)}")
    print("\nTry next:")
    here = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    for command in (
        " && ".join([*here, "pytest"]),
        "rnnzoo fit --config config.yaml",
        f"rnnzoo check {name}.cells.UpdateGated",
    ):
        print(f"  {command}")
    return 0


def project_name(folder: Path) -> str:
    """The name of a project in this folder.

    Raises:
        RnnZooError: it is no name of a package, or the folder cannot be had.
    """
    name = folder.resolve().name
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        raise RnnZooError(f"project name {name!r} must be a name in Python: letters, digits and _, as my_project is")
    if folder.is_dir():
        if inside := sorted(path.name for path in folder.iterdir()):
            raise RnnZooError(f"folder {str(folder)!r} is not empty (it has {inside[0]!r}); give the name of a new one")
    elif folder.exists() or folder.is_symlink():
        raise RnnZooError(f"{str(folder)!r} exists and is no folder; give the name of a new one")
    elif not folder.parent.is_dir():
        raise RnnZooError(f"folder {str(folder.parent)!r}, for the project {name!r}, does not exist")
    if name in _TAKEN:
        raise RnnZooError(f"project name {name!r} is that of a folder in the project; give another, as my_project is")
    found = importlib.util.find_spec(name)
    if found is not None and found.origin is not None:  # without an origin: a folder of that name, as the project is
        raise RnnZooError(f"project name {name!r} is taken by a package that Python finds already; give another")
    return name


def write_project(folder: Path, name: str) -> None:
    """Makes the project aside, and puts it in its place when it is whole."""
    new = not folder.exists()
    with tempfile.TemporaryDirectory(prefix=".rnnzoo-", dir=folder.parent if new else folder) as aside:
        made = Path(aside) / name
        for template in sorted(path for path in TEMPLATES.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            path = made / str(template.relative_to(TEMPLATES)).replace(NAME, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template.read_text(encoding="utf-8").replace(NAME, name), encoding="utf-8")
        for source, target in [(made, folder)] if new else [(path, folder / path.name) for path in made.iterdir()]:
            os.rename(source, target)

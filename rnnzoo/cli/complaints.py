"""One line for what Lightning, jsonargparse, OmegaConf or YAML say of a user's settings."""

import importlib
import re
import traceback
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from rnnzoo.cli.classes import NOT_TO_SET, import_class, parameters_of, subclasses
from rnnzoo.cli.unknown import GROUPS, command, explain_unknown, option_without_value
from rnnzoo.errors import did_you_mean

_BASES = ("LightningModule", "LightningDataModule", "Callback", "Logger", "Optimizer", "LRScheduler")
_CLASS_PATH = r"class_path'?[=:] ?'([\w.]+)'"
_UNION = r"does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors.*?Given value: ?(.*?)( -|$)"


def explain_parsing(error: BaseException) -> str | None:
    """One line for an error in a user's settings; None for anything else."""
    text = str(error)
    if isinstance(error, ArgumentError):
        return explain_setting(text)
    if isinstance(error, OmegaConfBaseException):
        return _explain_interpolation(text)
    if isinstance(error, UnicodeDecodeError):  # data and cells have messages of their own
        return f"config: not UTF-8 text ({text})"
    if _module_of(error).startswith("jsonargparse."):  # it wraps what a class raises while it is made
        if re.search(r"Problem with given class_path '[\w.]+':\s+(?:No module named|.*pip install)", text):
            return explain_setting(text)
        cause = next(filter(_is_said_of_a_setting, _causes(error)), None)
        if cause is None or "Problem with given class_path" in text:
            return None if cause is None else explain_setting(text)
        return _explain_lightning(" ".join(str(cause).split()), _module_of(cause))
    if _is_said_of_a_setting(error):
        return _explain_lightning(" ".join(text.split()), _module_of(error))
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What was raised before `error`, of a chain of errors that wrap each other."""
    inner = error.__cause__ or error.__context__
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


def _module_of(error: BaseException) -> str:
    """The module that raised."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1] if frames else ""


def _is_said_of_a_setting(error: BaseException) -> bool:
    """Whether Lightning or torch.optim itself says that a setting is wrong, rather than something that they call."""
    module = _module_of(error)
    theirs = module.startswith("torch.optim") or module.partition(".")[0] in ("lightning", "torchmetrics")
    if isinstance(error, ImportError):
        return theirs or module.startswith(("jsonargparse.", "importlib."))
    return isinstance(error, MisconfigurationException) or (theirs and isinstance(error, ValueError | RuntimeError))


def _explain_lightning(text: str, module: str) -> str:
    if found := re.search(r"conditioned on metric `(.*?)` which is not available.*?following: (.*)", text):
        return no_such_metric("EarlyStopping", found[1], re.findall(r"`(.*?)`", found[2]))
    if found := re.search(r"`ModelCheckpoint\(monitor='(.*?)'\)` could not find .*?metrics: \[(.*?)\]", text):
        return no_such_metric("ModelCheckpoint", found[1], re.findall(r"'(.*?)'", found[2]))
    if "not in bounds, numpy accepts" in text:
        return f"seed_everything: {text}"
    if module.startswith("torch.optim.lr_scheduler"):
        return f"lr_scheduler: {text}"
    return f"optimizer: {text}" if module.startswith("torch.optim") else text


def no_such_metric(callback: str, monitor: Any, names: list[str]) -> str:
    """What to say of a callback that watches a metric which nothing logs."""
    return f"{callback} monitors {monitor!r}, which is not logged{did_you_mean(str(monitor), names)} there are: " + (
        ", ".join(names)
    )


# ---- one setting


def explain_setting(text: str) -> str:
    """What jsonargparse says of a setting, without its account of every type that the setting could have had."""
    flat = " ".join(text.split())
    key = found[1] if (found := re.search(r'Parser key "([\w.]+)":', flat)) else ""
    if found := re.search(r"Problems parsing config: (.*)", flat):
        return f"config: {found[1]}"
    if found := re.search(r'Parser key "config": File does not exist: (.*)', flat):
        return f"--config {found[1]} does not exist"
    if found := re.search(r"Unexpected config: ?(.*)", flat):
        holds = repr(found[1][:60]) if found[1] else "nothing"
        return f"--config must be a file of settings, as configs/char_lm.yaml is, but it holds {holds}"
    if found := re.search(r"arguments are required: ((?:\w+\.)?(?:model|data)\b.*)", flat):
        missing = " and ".join(sorted({f"--{name.rpartition('.')[2]}" for name in found[1].split(", ")}, reverse=True))
        if command() != "fit":
            path = "<run>/checkpoints/best.ckpt"
            return f"{command()} needs a checkpoint, --ckpt_path {path}, or a config ({missing} missing)"
        return f"{missing} missing: give a config, such as --config configs/char_lm.yaml"
    if found := re.search(r"does not accept option '([\w.]+)'", flat):
        name = found[1].partition(".")[0]
        return f"config key {found[1]!r} is unknown{did_you_mean(name, GROUPS)} there are: {', '.join(GROUPS)}"
    if found := re.search(r"unrecognized arguments: ?(.*)", text, re.DOTALL):
        return explain_unknown(found[1].split())
    if found := re.search(r"argument (\S+): expected one argument", flat):
        return f"{option_without_value(found[1])} needs a value"
    return _explain_class(text, key) or _explain_types(flat, key)


def _explain_class(text: str, key: str) -> str | None:
    """What is wrong with a class, its name or its arguments; None where it is something else."""
    flat = " ".join(text.split())
    given = found[1] if (found := re.search(r"Given value: (.*)", text)) else ""
    if found := re.search(r"does not correspond to a subclass of (\w+)", flat):
        path = named[1] if (named := re.search(r"Import path ([\w.]+) does", flat)) else given
        path = named[1] if (named := re.search(_CLASS_PATH, path)) else path
        if "the following arguments are required" not in flat:
            return _another_kind(key, path, found[1])
    problem = re.search(r"Problem with given class_path '([\w.]+)':\s*(.*?)(?= - (?:Expected|Problem|Not)|$)", flat)
    if problem is None:
        if "Expected a dot import path string" in flat:
            return _no_such_class(key, named[1] if (named := re.search(_CLASS_PATH, given)) else given, text)
        return None
    path, said = problem[1], problem[2].partition(" Given value type:")[0].partition(" - Import path")[0].strip()
    name, of = path.rpartition(".")[2], f"{key}: " if key else ""
    if found := re.search(r"(?:Key|Option) '([\w.]+)' is not accepted", said):
        return _no_such_setting(path, found[1], key)
    if found := re.search(r'Parser key "([\w.]+)": (.*)', said):
        if found[2].startswith(('Parser key "', "Problem with")):
            return _explain_types(said, key)
        return _explain_types(f'Parser key "{key}.{found[1]}": {flat[flat.index(found[2]) :]}', f"{key}.{found[1]}")
    if found := re.search(r"the following arguments are required: (.*)", said):
        return f"{of}{name} needs a value for {found[1]}"
    if "has no attribute" in said or re.search(rf"No module named '{re.escape(path.partition('.')[0])}", said):
        return _no_such_class(key, path, text)
    if found := re.search(r"No module named '([\w.]+)'", said):
        return f"{of}{name} needs the package {found[1]!r}, which is not installed: pip install {found[1]}"
    if found := re.search(r"pip install (?:-U )?'?([\w\-]+)'?", said):
        return f"{of}{name} needs the package {found[1]!r}, which is not installed: pip install {found[1]}"
    return f"{of}{name}: {said}"


def _no_such_setting(path: str, setting: str, key: str) -> str:
    name = path.rpartition(".")[2]
    if name in _BASES and key:
        option = f"--{key}+=" if key == "trainer.callbacks" else f"--{key} "
        classes = list(subclasses(import_class(path)))
        ours = [cls.__name__ for cls in classes if cls.__module__.startswith("rnnzoo.")] or [classes[0].__name__]
        those = ", ".join(ours) + " or another" * (len(ours) < len(classes))
        return (
            f"{key}.{setting} is given, but no class that has it: give a --config, {option}CLASS before it,"
            f" or class_path in a config ({those})"
        )
    cls = import_class(path)
    # an optimizer's and a schedule's first, which Lightning gives
    theirs = () if issubclass(cls, LightningModule) else ("params", "optimizer")
    takes = [n for n in parameters_of(cls) if n not in (*NOT_TO_SET, *theirs)]
    return f"{path} has no setting {setting!r}{did_you_mean(setting, takes)} it has: {', '.join(takes)}"


def _no_such_class(key: str, given: str, text: str) -> str:
    """A class that cannot be imported; with those that there are, where it may be misspelt."""
    bases = re.search(r"Subtypes: \[(.*)\]", text)
    kinds = [import_class(path) for path in re.findall(r"<class '([\w.]+\.[\w.]+)'>", bases[1] if bases else "")]
    names = sorted({cls.__name__ for kind in kinds for cls in subclasses(kind)})
    module, _, name = given.rpartition(".")
    what = f"{key} {given!r} is no class that can be imported"
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            what = f"{key} {given!r} cannot be imported: {error}"
        else:
            what = f"{key} {given!r} does not exist: module {module!r} has no {name!r}"
    few = (
        f" there are: {', '.join(names)}"
        if len(names) < 25
        else " one of your own goes by its path, as my_lab.mine.Mine"
    )
    return f"{what}{did_you_mean(name, names)}{few}"


def _another_kind(key: str, path: str, base: str) -> str:
    cls = import_class(path)
    kind = "class" if isinstance(cls, type) else type(cls).__name__
    return f"{key} {path!r} is a {kind}, but not a {base}"


def _explain_types(flat: str, key: str) -> str:
    if several := re.search(_UNION, flat, re.IGNORECASE):
        return f"{key} is {_shortened(several[2])}; it takes {plain_types(several[1])}"
    if found := re.search(
        r"Expected an? (.*?)\. Got value: ?(.*?)(?= ?- (?:Expected|Problem|Not a)| Given value|$)", flat
    ):
        takes = plain_types(found[1])
        brackets = ", written [a,b]" if takes in ("list", "tuple") else ""
        return f"{key} is {_shortened(found[2])}; it takes {takes}{brackets}"
    return plain_types(re.sub(r'Parser key "([\w.]+)"', r"\1", flat))


def _shortened(value: str) -> str:
    value = value.partition("- Expected")[0].removesuffix(" Given value type:").strip()
    if not value:
        return "empty"
    return repr(value if len(value) <= 80 else value[:77] + "...")


def plain_types(text: str) -> str:
    """Python's and jsonargparse's names of types as a user reads them."""
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    text = re.sub(r"(?:typing|collections\.abc)\.Literal(\[.*?\])", r"one of \1", text)
    text = re.sub(r"\b(?:lightning|torch|rnnzoo|typing|collections)(?:\.\w+)*\.([A-Z]\w+)", r"\1", text)
    return text.replace("NoneType", "null")


def _explain_interpolation(text: str) -> str:
    where = found[1] if (found := re.search(r"full_key: (?:\w+?\.)?((?:model|data|trainer)\S*)", text)) else ""
    if found := re.search(r"Interpolation key '\.*([\w.]+)' not found", text):
        return f"config: ${{{found[1]}}}, which {where or 'a setting'} refers to, is not found"
    return f"config: {' '.join(text.split())}"

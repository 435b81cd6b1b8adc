"""Cases, drawn by hypothesis: settings, configs, data files and checkpoints, whole and broken."""

import inspect
import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from hypothesis import strategies as st
from judge import CONFIGS, Case
from recipes import QUIET, RECIPES

from rnnzoo.cli.classes import NOT_TO_SET, import_class, import_known, parameters_of
from rnnzoo.training.checkpoint_files import write_with_digest

# what would take other processes or other machines, write elsewhere, or never end
_NOT_DRAWN = ("devices", "num_nodes", "strategy", "accelerator", "max_epochs", "default_root_dir", "num_workers")
_VALUES = (
    *(
        "null",
        "0",
        "1",
        "-1",
        "2",
        "0.5",
        "-0.1",
        "1e300",
        "nan",
        "inf",
        "true",
        "false",
        "'3'",
        "99999999999999999999",
    ),
    *("", "x", "lstm", "[]", "[1]", "[1,2,3]", "[x]", "[null]", "[[1]]", "{}", "{a: 1}", "{1: 2}", "{a: null}"),
    *(
        "${model.init_args.hidden_size}",
        "${no.where}",
        "[",
        "{",
        "é\u202e",
        "*",
        "&a",
        "!!python/name:os.system",
        "2020-01-01",
    ),
)
_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.floats(width=16)
    | st.sampled_from(_VALUES)
    | st.text(max_size=6)
)
_ANY = st.recursive(
    _PLAIN, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=5), of, max_size=3), max_leaves=4
)


@cache
def options_of(name: str) -> list[str]:
    """The options of a recipe's model, data, trainer and the rest."""
    from lightning.pytorch import Trainer

    import_known()
    config = yaml.safe_load((CONFIGS / f"{RECIPES[name].config}.yaml").read_text())
    found = ["seed_everything", "optimizer", "lr_scheduler", "logger", "tune", "compare", "ckpt_path", "weights_only"]
    found += ["checkpoint.every_n_steps", "checkpoint.every_minutes", "model", "data", "trainer", "trainer.callbacks"]
    found += [f"trainer.{option}" for option in inspect.signature(Trainer).parameters if option not in _NOT_DRAWN]
    for part in ("model", "data"):
        kind = import_class(config[part]["class_path"])
        found += 2 * [f"{part}.{n}" for n in parameters_of(kind) if n not in (*NOT_TO_SET, *_NOT_DRAWN)]
    return found


@st.composite
def settings(draw: st.DrawFn) -> Case:
    """A training with one to three settings of any value."""
    name = draw(st.sampled_from(sorted(RECIPES)))
    recipe = RECIPES[name]
    file = draw(st.sampled_from(sorted(recipe.files))) if recipe.files else None
    drawn = draw(
        st.lists(st.tuples(st.sampled_from(options_of(name)), st.sampled_from(_VALUES)), min_size=1, max_size=3)
    )
    more = draw(st.sampled_from(([], [], [], ["--print_config"], ["--trainer.fast_dev_run=true"])))
    files = {file: recipe.files[file]} if file else {}
    return Case([*recipe.command(file), *(f"--{option}={value}" for option, value in drawn), *more], files)


@st.composite
def configs(draw: st.DrawFn) -> Case:
    """A training by a config that was changed: values, keys, or the text of it."""
    name = draw(st.sampled_from(sorted(RECIPES)))
    recipe = RECIPES[name]
    file = draw(st.sampled_from(sorted(recipe.files))) if recipe.files else None
    text = (CONFIGS / f"{recipe.config}.yaml").read_text()
    how = draw(st.sampled_from(("values", "values", "values", "text", "bytes", "any")))
    if how == "values":
        content = yaml.safe_load(text)
        for _ in range(draw(st.integers(1, 3))):
            _change(draw, content)
        made = yaml.safe_dump(content, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")
    elif how == "any":
        made = yaml.safe_dump(draw(_ANY)).encode("utf-8", "surrogatepass")
    else:
        made = damaged(draw, text.encode())
    args = [a.replace(f"CONFIGS/{recipe.config}.yaml", "config.yaml") for a in recipe.command(file)]
    more = draw(st.sampled_from(([], [], [], ["--print_config"])))
    return Case([*args, *more], {"config.yaml": made} | ({file: recipe.files[file]} if file else {}))


def _change(draw: st.DrawFn, content: Any) -> None:
    """Changes one value or one key of a config, somewhere."""
    while True:
        keys = sorted(content, key=str) if isinstance(content, dict) else list(range(len(content)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(content[key], dict | list) and content[key] and draw(st.integers(0, 9)):
            content = content[key]
            continue
        if isinstance(content, dict) and not draw(st.integers(0, 3)):
            content[draw(st.text(max_size=5) | st.integers(-1, 1) | st.none())] = content.pop(key)
        elif key not in _NOT_DRAWN:
            content[key] = draw(_ANY)
        return


_PIECES = (
    *(
        b"",
        b"\0",
        b"\0" * 64,
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xe9",
        b"\xc3",
        b"\r",
        b"\n",
        b"\n\n",
        b"\r\n",
        b'"',
        b"'",
    ),
    *(
        b",",
        b"\t",
        b" ",
        b"NaN",
        b"inf",
        b"-inf",
        b"1e400",
        b"9" * 40,
        b"null",
        b"{",
        b"}",
        b"[",
        b"\\u0000",
        b"\\ud800",
    ),
    *(b"x" * 100_000, b"1," * 5_000, b"B-", b"-", b"#", "é\u202e\u2028".encode(), b"2020-13-41", b"1-2", b"1.1"),
)


def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content of a file after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(at + draw(st.integers(1, 64)), len(content))
        how = draw(
            st.sampled_from(("cut", "head", "flip", "zero", "insert", "replace", "remove", "twice", "encode", "more"))
        )
        if how == "cut":
            content = content[:at]
        elif how == "head":
            content = content[at:]
        elif how == "flip" and content:
            content = content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
        elif how == "zero":
            content = content[:at] + bytes(end - at) + content[end:]
        elif how == "insert":
            content = content[:at] + draw(st.sampled_from(_PIECES)) + content[at:]
        elif how == "replace":
            content = content[:at] + draw(st.sampled_from(_PIECES)) + content[end:]
        elif how == "remove":
            content = content[:at] + content[end:]
        elif how == "twice":
            content += content
        elif how == "more":
            content += draw(st.binary(max_size=40))
        elif how == "encode":
            text = content.decode("utf-8", "replace")
            content = text.encode(draw(st.sampled_from(("utf-16", "utf-32", "latin-1", "utf-7", "cp037"))), "replace")
    return content


@st.composite
def data_files(draw: st.DrawFn) -> Case:
    """A training on a data file that was damaged."""
    recipe = RECIPES[draw(st.sampled_from([name for name in sorted(RECIPES) if RECIPES[name].files]))]
    file = draw(st.sampled_from(sorted(recipe.files)))
    streams = ["--data.streaming=true"] if recipe.config in ("word_lm", "text_classification", "translation") else []
    more = streams if streams and not draw(st.integers(0, 3)) else []
    return Case([*recipe.command(file), *more], {file: damaged(draw, recipe.files[file])})


# ---- checkpoints

USES = (
    *(["test", "--ckpt_path=last.ckpt"], ["validate", "--ckpt_path=last.ckpt"], ["predict", "--ckpt_path=last.ckpt"]),
    *(["fit", "--ckpt_path=last.ckpt", "--trainer.max_steps=2"], ["fit", "pretrained"], ["generate", "last.ckpt"]),
)


@st.composite
def checkpoints(draw: st.DrawFn, made: dict[str, bytes]) -> Case:
    """The use of a checkpoint that was damaged, or that is whole but for what it says.

    Args:
        made: the checkpoint of each recipe.
    """
    name = draw(st.sampled_from(sorted(made)))
    recipe, whole = RECIPES[name], made[name]
    file = sorted(recipe.files)[0] if recipe.files else None
    how = draw(st.sampled_from(("content", "content", "content", "bytes", "members", "other")))
    if how == "content":
        content = torch.load(io.BytesIO(whole), weights_only=True)
        for _ in range(draw(st.integers(1, 2))):
            _change_content(draw, content)
        changed = archive(content)
    elif how == "bytes":
        changed = damaged(draw, whole)
    elif how == "members":
        changed = _members(draw, whole)
    else:
        things = ([], {}, None, 3, "x", {"rnnzoo": None}, {"rnnzoo": {}}, {"state_dict": {}}, torch.zeros(2))
        changed = archive(draw(st.sampled_from(things)))
    use = draw(st.sampled_from(USES))
    args = [*use, QUIET] if use[0] != "generate" else ["generate", "last.ckpt", "--length=3"]
    if use == ["fit", "pretrained"]:
        args = [*recipe.command(file), "--model.pretrained=last.ckpt"]
    return Case(args, {"last.ckpt": changed} | ({file: recipe.files[file]} if file else {}))


def archive(content: Any) -> bytes:
    """A checkpoint with a digest that holds."""
    out = io.BytesIO()
    write_with_digest(content, out)
    return out.getvalue()


def _change_content(draw: st.DrawFn, content: Any) -> None:
    """Takes away or changes something that a checkpoint holds."""
    odd = _ANY | st.sampled_from(
        (-1, 2**40, 2**70, float("nan"), [], {}, torch.zeros(0), torch.full((2,), float("nan")))
    )
    while True:
        keys = sorted(content, key=str) if isinstance(content, dict) else list(range(len(content)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(content[key], dict | list) and content[key] and draw(st.integers(0, 5)):
            content = content[key]
            continue
        if draw(st.booleans()) and isinstance(content, dict):
            del content[key]
        else:
            content[key] = draw(odd)
        return


def _members(draw: st.DrawFn, whole: bytes) -> bytes:
    """An archive that is whole, with a member that is missing, changed, or in the place of another."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        one, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        how = draw(st.sampled_from(("swap", "remove", "change", "add")))
        for name in names:
            content = old.read({one: other, other: one}.get(name, name) if how == "swap" else name)
            if how == "remove" and name == one:
                continue
            new.writestr(name, damaged(draw, content) if how == "change" and name == one else content)
        if how == "add":
            new.writestr(draw(st.sampled_from((one, "x", "../x", "archive/data.pkl"))), b"more")
    return out.getvalue()


def make_checkpoints(
    folder: Path, names: tuple[str, ...] = ("characters", "labels", "tags", "pairs", "series", "memory")
) -> dict[str, bytes]:
    """A checkpoint of each of these recipes, trained for a step."""
    from judge import fault_of

    made = {}
    for name in names:
        recipe = RECIPES[name]
        file = sorted(recipe.files)[0] if recipe.files else None
        at = folder / name
        at.mkdir(parents=True)
        case = Case(recipe.command(file), {file: recipe.files[file]} if file else {})
        if fault := fault_of(case, at):
            raise RuntimeError(f"the training of {name} fails: {fault}")
        made[name] = next(at.rglob("last.ckpt")).read_bytes()
    return made

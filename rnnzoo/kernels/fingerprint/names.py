"""What the code of a function can reach by name, and the code itself in words."""

import dis
import hashlib
import types
from functools import lru_cache
from typing import Any, NamedTuple


class Loaded(NamedTuple):
    """Names that code loads; those that it only sets are not among them."""

    attributes: frozenset[str]
    globals: frozenset[str]
    imports: frozenset[str]


@lru_cache(maxsize=4096)
def loaded(code: types.CodeType) -> Loaded:
    """The names that `code` and the functions inside it load."""
    attributes, global_names, imports = set(), set(), set()
    for instruction in dis.get_instructions(code):
        operation = instruction.opname
        if instruction.opcode not in dis.hasname or operation.startswith(("STORE", "DELETE")):
            continue
        if operation == "IMPORT_NAME":
            imports.add(instruction.argval)
        elif "GLOBAL" in operation or operation == "LOAD_NAME":
            global_names.add(instruction.argval)
        else:
            attributes.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = loaded(constant)
            attributes |= inner.attributes
            global_names |= inner.globals
            imports |= inner.imports
    return Loaded(frozenset(attributes), frozenset(global_names), frozenset(imports))


@lru_cache(maxsize=4096)
def code_digest(code: types.CodeType) -> str:
    """A digest of what `code` does: the same wherever it stands in a file."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    words = repr((code.co_name, counts, names, code.co_code)) + "".join(map(_constant, code.co_consts))
    return hashlib.sha256(words.encode()).hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return code_digest(value)
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(_constant, value))) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_constant, value)) + ")"
    return f"{type(value).__name__} {value!r}"

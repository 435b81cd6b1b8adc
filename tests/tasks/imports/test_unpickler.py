"""Pickles and torch files: what is harmless is read, anything else is refused by its name, and nothing is run."""

import collections
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.tasks.imports.unpickler import Record, read_bytes, read_pickle, read_torch

FILES = Path(__file__).parent / "files"


class Trap:
    """Whatever is given, called when it is unpickled."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def saved(content, path, **how):
    torch.save(content, path, **how)
    return path.read_bytes()


def complaint(read, *args):
    with pytest.raises(RnnZooError) as error:
        read(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read_in_both_formats_and_by_every_protocol(tmp_path, zipped, protocol):
    shared = torch.arange(12.0).reshape(3, 4)
    content = {
        "state": torch.nn.Linear(3, 2).state_dict(),
        "view": shared[1:, ::2],
        "parameter": torch.nn.Parameter(torch.ones(2, dtype=torch.float64)),
        "half": torch.ones(3, dtype=torch.float16),
        "numbers": [1, 2.5, None, True, (3, "é"), b"\xff\x00", {"a": {1, 2}}],
    }
    how = {"_use_new_zipfile_serialization": zipped, "pickle_protocol": protocol}
    read = read_torch(saved(content, tmp_path / "a.pt", **how), "a.pt")
    assert list(read["state"]) == ["weight", "bias"]
    for name, tensor in content["state"].items():
        assert torch.equal(read["state"][name], tensor)
    for name in ("view", "parameter", "half"):
        assert torch.equal(read[name], content[name])
        assert read[name].dtype == content[name].dtype
        assert type(read[name]) is torch.Tensor
        assert not read[name].requires_grad
    assert read["numbers"] == content["numbers"]


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_of_words_is_read(protocol):
    words = ["xxunk", "the", "é", "\n"]
    assert read_pickle(pickle.dumps(words, protocol), "itos.pkl") == words


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("touch {}",), f"{os.system.__module__}.system"),
        (eval, ("open({!r}, 'w')",), "builtins.eval"),
        (shutil.copyfile, (__file__, "{}"), "shutil.copyfile"),
        (getattr, (os, "system"), "builtins.getattr"),
        (collections.Counter, ("aab",), "collections.Counter"),
    ],
)
@pytest.mark.parametrize("how", ["pickle", "zip", "legacy"])
def test_a_file_that_holds_code_is_refused_with_the_name_and_nothing_is_run(tmp_path, function, args, name, how):
    mark = tmp_path / "mark"
    filled = tuple(a.format(str(mark)) if isinstance(a, str) else a for a in args)
    if function is getattr:
        filled = (Trap(__import__, "os"), "system")
    content = {"weight": torch.ones(2), "trap": Trap(function, *filled)}
    if how == "pickle":
        said = complaint(read_pickle, pickle.dumps(content["trap"]), "a.pkl")
    else:
        file = saved(content, tmp_path / "a.pt", _use_new_zipfile_serialization=how == "zip")
        said = complaint(read_torch, file, "a.pt")
    assert repr(name) in said
    assert "is refused" in said
    assert "nothing in it is run" in said
    assert not mark.exists()


def test_the_trap_is_one_so_that_the_tests_above_could_fail(tmp_path):
    mark = tmp_path / "mark"
    script = f"import pickle, sys; pickle.loads({pickle.dumps(Trap(os.system, f'touch {mark}'))!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert mark.exists()


@pytest.mark.parametrize("how", [b"cos\nsystem\n.", b"cbuiltins\nexec\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."])
def test_code_that_is_named_and_not_called_is_refused_as_well(how):
    assert "is refused" in complaint(read_pickle, how, "a.pkl")


def test_a_known_function_cannot_be_changed_by_a_pickle():
    name = b"ctorch._utils\n_rebuild_tensor_v2\n"
    before = torch._utils._rebuild_tensor_v2.__defaults__
    for state in (b"N}S'__defaults__'\n(I1\nts\x86b.", b"}S'__defaults__'\n(I1\ntsb.", b"N}S'_function'\nNs\x86b."):
        assert complaint(read_pickle, name + state, "a.pkl")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_a_class_of_others_becomes_a_record_of_this_file_alone():
    made = b"cflair.data\nDictionary\n)\x81}S'idx2item'\n]S'a'\nasb."
    record, other = (read_pickle(b"\x80\x02" + made, "a.pkl") for _ in range(2))
    assert isinstance(record, Record)
    assert record.state == {"idx2item": ["a"]}
    assert type(record) is not type(other)
    assert "flair.data" not in sys.modules


def test_numbers_of_numpy_and_counters_do_no_harm():
    content = {"rate": np.float64(0.5), "ids": collections.defaultdict(int, {"a": 3})}
    read = read_pickle(pickle.dumps(content), "a.pkl")
    assert isinstance(read["rate"], Record)
    assert read["ids"] == {"a": 3}
    assert "is refused" in complaint(read_pickle, pickle.dumps(np.ones(3)), "a.pkl")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["flair_forward.pt", "stanza_forward.pt", "fastai_words.pkl"])
def test_a_truncated_file_is_one_line(name, share):
    content = (FILES / name).read_bytes()
    read = read_pickle if name.endswith(".pkl") else read_torch
    assert "cannot be read: truncated, or no" in complaint(read, content[: int(share * len(content))], name)


@pytest.mark.parametrize("content", [b"a text", b"\x89PNG\r\n\x1a\n", b"\x00" * 100, b"PK\x03\x04 and no more"])
def test_a_file_of_another_kind_is_one_line(content):
    assert complaint(read_torch, content, "a.pt").startswith("'a.pt' cannot be read: truncated, or no file of torch (")


def test_a_zip_that_is_no_file_of_torch_and_a_program_are_one_line(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "text")
    assert "no file of torch" in complaint(read_torch, path.read_bytes(), "a.zip")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), path)
    assert "a TorchScript program, which is code" in complaint(read_torch, path.read_bytes(), "a.zip")


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(torch.arange(4.0), path)
    wider = tmp_path / "b.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(wider, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                assert content.count(b"K\x04\x85") == 1  # its size, (4,)
                content = content.replace(b"K\x04\x85", b"K\x63\x85")
            new.writestr(name, content)
    assert "storage that is not resizable" in complaint(read_torch, wider.read_bytes(), "b.pt")


def test_a_path_that_is_none_is_one_line(tmp_path):
    assert "does not exist" in complaint(read_bytes, tmp_path / "a.pt")
    assert "is a folder" in complaint(read_bytes, tmp_path)

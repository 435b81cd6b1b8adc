"""`rnnzoo import`: another library's model, from its file to a checkpoint that is written with, tested and trained."""

import os
import pickle
import shlex
import shutil
from pathlib import Path

import pytest
import torch

FILES = Path(__file__).parents[1] / "tasks" / "imports" / "files"
KINDS = {"flair": ["flair_forward.pt"], "stanza": ["stanza_deep.pt"], "fastai": ["fastai_tied.tgz"]}
FAST = [
    "--data.batch_size=2",
    "--data.sequence_length=16",
    "--trainer.max_epochs=1",
    "--data.baseline=false",
    "--model.kernel=reference",
]


@pytest.fixture
def text():
    Path("text.txt").write_text("".join(f"Ein Tanz, the king; not {k % 7}.\n" for k in range(60)), encoding="utf-8")
    return "text.txt"


def commands(out):
    """What is suggested, as words."""
    lines = out.partition("Try next:\n")[2].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("  rnnzoo ")]


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_import_suggests_works_as_it_is_printed(zoo, kind, text):
    answer = zoo("import", kind, *(FILES / name for name in KINDS[kind]), "--output", "my model.ckpt")
    assert answer.status == 0, answer.err
    assert answer.out.startswith(f"{kind}: ")
    assert "\ncheckpoint: my model.ckpt\n" in answer.out
    write, evaluate, fine_tune = commands(answer.out)
    assert (write[0], evaluate[0], fine_tune[0]) == ("generate", "test", "fit")
    assert zoo(*write).out.strip()
    tested = zoo(*[text if word == "FILE" else word for word in evaluate])
    assert "test_bpc " in tested.out, tested.err
    before = float(tested.out.split("test_loss ")[1].split()[0])
    fitted = zoo(*[text if word == "FILE" else word for word in fine_tune], *FAST, "--model.learning_rate=0.02")
    assert fitted.status == 0, fitted.err
    after = zoo("test", "--ckpt_path", fitted.checkpoint, *FAST[:2])
    assert float(after.out.split("test_loss ")[1].split()[0]) < before


def test_a_backward_model_is_tested_and_writes_what_stands_before_a_prompt(zoo, text):
    assert zoo("import", "flair", FILES / "flair_backward.pt", "--output", "back.ckpt").status == 0
    written = zoo("generate", "back.ckpt", "--prompt", "tanz;", "--length", 30)
    assert written.status == 0, written.err
    assert written.out.endswith("tanz;\n")
    assert len(written.out) == 30 + len("tanz;\n")
    forward = zoo("test", "--ckpt_path", "back.ckpt", "--data.dataset", text).out
    Path("turned.txt").write_text(Path(text).read_text(encoding="utf-8")[::-1], encoding="utf-8")
    turned = zoo("test", "--ckpt_path", "back.ckpt", "--data.dataset", "turned.txt").out
    assert "test_bpc" in forward
    assert forward != turned
    said = zoo("test", "--ckpt_path", "back.ckpt", "--data.dataset", text, "--data.streaming", "true").complaint
    assert "streaming=true has no end of the text" in said


def test_words_of_ones_own_text_are_learned_from_the_words_that_the_model_knows(zoo, text):
    assert zoo("import", "fastai", FILES / "fastai_tied.tgz", "--output", "awd.ckpt").status == 0
    own = ["--data.tokenizer=words", "--data.lowercase=true", "--model.weight_drop=0.1"]
    config = ["--config=configs/word_lm.yaml", "--model.pretrained=awd.ckpt", f"--data.dataset={text}"]
    answer = zoo("fit", *config, *FAST, *own)
    assert answer.status == 0, answer.err
    assert "knows 6 of 19 tokens; the others start at their mean" in answer.out


def test_two_files_belong_together(zoo):
    paths = [FILES / "fastai_tied.pth", FILES / "fastai_words.pkl"]
    assert zoo("import", "fastai", *paths, "--output", "awd.ckpt").status == 0
    assert Path("awd.ckpt").is_file()


def test_an_output_that_exists_is_kept(zoo):
    Path("awd.ckpt").write_text("mine")
    said = zoo("import", "fastai", FILES / "fastai_tied.tgz", "--output", "awd.ckpt").complaint
    assert said == "output 'awd.ckpt' exists: give another name, or remove it first"
    assert Path("awd.ckpt").read_text() == "mine"


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


def trap(path):
    torch.save({"state_dict": {}, "dictionary": Trap()}, path)


def half(path):
    content = (FILES / "flair_forward.pt").read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (trap, f"is refused: it names '{os.system.__module__}.system', and nothing in it is run"),
        (half, "cannot be read: truncated, or no file of torch"),
        (lambda path: path.write_text("a text"), "cannot be read: truncated, or no file of torch"),
        (lambda path: path.write_bytes(pickle.dumps([1])), "cannot be read: truncated, or no file of torch"),
        (lambda path: shutil.copy(FILES / "stanza_deep.pt", path), "is no language model of flair"),
        (lambda path: path.mkdir(), "is a folder; give a file of weights"),
        (lambda path: None, "does not exist; give a file of weights"),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_one_line_and_nothing_is_written(zoo, make, says):
    make(Path("model.pt"))
    assert says in zoo("import", "flair", "model.pt", "--output", "out.ckpt").complaint
    assert {path.name for path in Path().iterdir()} <= {"model.pt"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["fasti", "x.tgz", "--output", "a.ckpt"], "unknown kind 'fasti'; did you mean 'fastai'? there are: fastai, "),
        (["flair", "x.pt"], "the checkpoint to write is missing: --output FILE"),
        (["--output", "a.ckpt", "fasti", "x.pt"], "invalid choice: 'fasti' (choose from 'fastai', 'flair', "),
        (["flair", "--output", "a.ckpt"], "the path of the flair model is missing"),
        ([], "the following arguments are required: kind, path"),
        (["flair", "x.pt", "--output", "no/a.ckpt"], "output 'no/a.ckpt': the folder 'no' does not exist"),
        (["flair", "x.pt", "--outptu", "a.ckpt"], "did you mean '--output'?"),
        (["flair", "x.pt", "y.pt", "--output", "a.ckpt"], "flair takes one path, a .pt file, not 2: 'x.pt', 'y.pt'"),
    ],
)
def test_what_is_typed_wrong_is_one_line(zoo, args, says):
    assert says in zoo("import", *args).complaint


def test_the_command_is_found_by_another_name(zoo):
    assert "did you mean 'import'?" in zoo("convert").complaint

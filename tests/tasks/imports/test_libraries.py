"""Models of flair, stanza and fastai, written by these libraries (make_*.py), answer here what they answered there."""

import json
import pickle
import tarfile
from pathlib import Path

import pytest
import torch

from rnnzoo import RnnZooError, load
from rnnzoo.tasks.imports import import_model, write_checkpoint
from rnnzoo.tasks.imports.words import words_tokenizer

pytestmark = pytest.mark.usefixtures("nothing_compiled")

FILES = Path(__file__).parent / "files"
CHARACTERS = [
    *(("flair", f"flair_{name}") for name in ("forward", "projected", "gru", "backward")),
    *(("stanza", f"stanza_{name}") for name in ("forward", "deep", "backward")),
]


def expected(name):
    return torch.load(FILES / f"{name}.logits.pt", weights_only=True)


def imported(kind, *paths):
    return import_model(kind, [FILES / path for path in paths])


def answers(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids]))[0][0]


def complaint(kind, *paths):
    with pytest.raises(RnnZooError) as error:
        import_model(kind, list(paths))
    assert "\n" not in str(error.value)
    return str(error.value)


def resaved(path, change, to):
    """A file of theirs with its content changed; read without their library, so that records stand for its classes."""
    from rnnzoo.tasks.imports.unpickler import read_torch

    content = read_torch((FILES / path).read_bytes(), path)
    for name, value in list(content.items()):
        if name == "dictionary":
            content[name] = {"idx2item": value.state["idx2item"]}
    change(content)
    torch.save(content, to)
    return to


@pytest.mark.parametrize(("kind", "name"), CHARACTERS)
def test_a_character_model_reads_the_same_characters_and_gives_the_same_logits(kind, name):
    theirs, model = expected(name), imported(kind, f"{name}.pt").task
    assert model.text.tokenizer.encode([theirs["text"]]) == [theirs["ids"]]
    torch.testing.assert_close(answers(model, theirs["ids"]), theirs["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("paths", [["fastai_tied.pth", "fastai_words.pkl"], ["fastai_tied.tgz"]])
def test_an_awd_lstm_gives_the_same_logits_from_two_files_and_from_an_archive(paths):
    theirs, model = expected("fastai_tied"), imported("fastai", *paths).task
    torch.testing.assert_close(answers(model, theirs["ids"]), theirs["logits"], rtol=0, atol=1e-5)
    assert model.model.head.weight is model.model.embedding.weight
    assert model.rnn.hidden_size == (11, 11, 6)


def test_an_awd_lstm_saved_with_its_optimizer_and_without_a_bias_gives_the_same_logits():
    theirs, model = expected("fastai_trained"), imported("fastai", "fastai_trained.pth", "fastai_words.pkl").task
    torch.testing.assert_close(answers(model, theirs["ids"]), theirs["logits"], rtol=0, atol=1e-5)


def test_a_folder_of_fastai_is_read_where_it_holds_one_model(tmp_path):
    for name in ("fastai_tied.pth", "fastai_words.pkl"):
        (tmp_path / name).write_bytes((FILES / name).read_bytes())
    assert import_model("fastai", [tmp_path]).task.description.vocabulary[9] == "the"
    (tmp_path / "other.pth").write_bytes(b"")
    assert "there are several .pth files" in complaint("fastai", tmp_path)


def test_a_checkpoint_that_flairs_trainer_wrote_is_the_same_model():
    one, other = (imported("flair", f"flair_{name}.pt").task for name in ("training", "backward"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize(
    ("kind", "paths"),
    [("flair", ["flair_gru.pt"]), ("stanza", ["stanza_deep.pt"]), ("fastai", ["fastai_tied.tgz"])],
)
def test_the_checkpoint_alone_is_the_model_with_its_tokenizer(kind, paths, tmp_path):
    given = imported(kind, *paths)
    write_checkpoint(given, kind, tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=True)
    model = load(tmp_path / "model.ckpt")
    assert not model.training
    assert list(model.text.tokenizer.vocabulary) == list(given.task.text.tokenizer.vocabulary)
    ids = [3, 1, 4, 1, 5]
    assert torch.equal(answers(model, ids), answers(given.task, ids))
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


@pytest.mark.parametrize("name", ["flair_backward", "stanza_backward"])
def test_a_backward_model_reads_texts_from_their_end(name):
    tokenizer = imported(name.partition("_")[0], f"{name}.pt").task.text.tokenizer
    (ids,) = tokenizer.encode(["a,\n "])
    assert [tokenizer.vocabulary[k] for k in ids] == list("a,\n ")[::-1]
    assert tokenizer.decode(ids) == "a,\n "


def test_what_was_read_is_said():
    assert imported("flair", "flair_projected.pt").lines == [
        "flair: a forward character language model, lstm, 2 x 11 units, 16 characters, embeddings of 6,"
        " a projection to 5 taken into the head"
    ]
    assert imported("stanza", "stanza_backward.pt").lines == [
        "stanza: a backward character language model, lstm, 1 x 8 units with a learned initial state, 16 characters,"
        " embeddings of 6"
    ]
    assert imported("fastai", "fastai_tied.tgz").lines == [
        "fastai: an AWD-LSTM, lstm of 11, 11, 6 units, 19 words, embeddings of 6"
    ]


# ---- fastai's words


def test_words_are_split_and_marked_as_fastai_marks_them():
    words = ["xxunk", "xxup", "xxmaj", "the", "king", "i", "god", "do", "n't", "’s", ",", ".", "1,000", "\n", "a4"]
    tokenizer = words_tokenizer(words)
    (ids,) = tokenizer.encode(["The KING’s God, I don't 1,000.\nA4 McDonald"])
    first = ["xxmaj", "the", "king", "’s", "xxmaj", "god", ",", "i", "do", "n't", "1,000", ".", "\n"]
    assert [words[k] for k in ids] == [*first, "xxup", "a4", "xxunk"]
    assert tokenizer.unknown == 0


def test_words_are_those_that_fastai_and_spacy_make_of_a_text():
    theirs = json.loads((FILES / "fastai_tokens.json").read_text())
    words = ["xxunk", *sorted({word for text in theirs["tokens"] for word in text})]
    ours = words_tokenizer(words).encode(theirs["texts"])
    assert [[words[k] for k in text] for text in ours] == theirs["tokens"]


def test_a_list_of_words_without_marks_takes_text_in_small_letters():
    tokenizer = words_tokenizer(["the", "king"])
    assert tokenizer.encode(["The KING"]) == [[0, 1]]


# ---- bad input


@pytest.mark.parametrize(("kind", "name"), [("flair", "stanza_forward.pt"), ("stanza", "flair_forward.pt")])
def test_a_model_of_another_library_is_named(kind, name):
    assert f"language model of {kind}" in complaint(kind, FILES / name)
    assert f"is no {'language' if kind == 'flair' else 'character language'} model" in complaint(kind, FILES / name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["state_dict"].pop("rnn.bias_hh_l0"), "it has no 'rnn.bias_hh_l0'"),
        (lambda c: c["state_dict"].pop("decoder.weight"), "it is half a language model"),
        (lambda c: c["state_dict"].pop("rnn.weight_hh_l0"), "it has no 'rnn.weight_hh_l0'"),
        (lambda c: c["state_dict"].update(more=torch.ones(1)), "has more than a model of flair is read with: more"),
        (lambda c: c["state_dict"].update({"decoder.bias": torch.ones(3)}), "'decoder.bias' must be (16), not (3,)"),
        (lambda c: c["state_dict"].update({"decoder.bias": [1.0]}), "'decoder.bias' must hold numbers, not list"),
        (lambda c: c.update(recurrent_type="QRNN"), "has layers of 'qrnn'; flair's are lstm or gru"),
        (lambda c: c.update(dictionary={"idx2item": "abc"}), "a dictionary without idx2item"),
        (lambda c: c["dictionary"]["idx2item"].pop(), "'encoder.weight' must be (15, any), not (16, 7)"),
        (lambda c: c.update(state_dict=[1]), "holds no weights by their names"),
        (lambda c: c["dictionary"]["idx2item"].__setitem__(3, b"E"), "must be distinct, and 'E' is there twice"),
        (
            lambda c: c["state_dict"].update({"rnn.weight_hh_l0": torch.ones(3)}),
            "'rnn.weight_hh_l0' must be (any, any)",
        ),
        (lambda c: c["state_dict"].update({"rnn.weight_hh_l0": torch.ones(3, 2)}), "must be (8, 7), not (52, 7)"),
    ],
)
def test_a_model_that_is_not_whole_is_one_line(tmp_path, change, says):
    assert says in complaint("flair", resaved("flair_forward.pt", change, tmp_path / "changed.pt"))


def test_fastais_files_that_do_not_belong_together_are_one_line(tmp_path):
    weights, words = FILES / "fastai_tied.pth", tmp_path / "words.pkl"
    for content, says in (
        (["a", "b"], "has embeddings of 19 words, but"),
        (["a", "a"], "has 'a' twice"),
        ({"a": 1}, "must be a list of words"),
    ):
        words.write_bytes(pickle.dumps(content))
        assert says in complaint("fastai", weights, words)
    assert "there is no .pkl file" in complaint("fastai", weights)
    assert "there is no .pth file" in complaint("fastai", FILES / "fastai_words.pkl")
    assert "flair takes one path" in complaint("flair", weights, words)


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_truncated_archive_is_one_line(tmp_path, share):
    content = (FILES / "fastai_tied.tgz").read_bytes()
    path = tmp_path / "wt103-fwd.tgz"
    path.write_bytes(content[: int(share * len(content))])
    assert "cannot be read: truncated, or no archive" in complaint("fastai", path)


def test_an_archive_is_read_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda *_: pytest.fail("unpacked"))
    imported("fastai", "fastai_tied.tgz")
    assert not list(tmp_path.iterdir())


def test_an_output_that_exists_stays_as_it_is_and_nothing_half_written_is_left(tmp_path, monkeypatch):
    given, path = imported("flair", "flair_gru.pt"), tmp_path / "model.ckpt"
    path.write_text("mine")
    with pytest.raises(RnnZooError, match=r"model.ckpt' exists: give another name"):
        write_checkpoint(given, "flair", path)
    assert path.read_text() == "mine"
    with pytest.raises(RnnZooError, match=r"the folder .* does not exist"):
        write_checkpoint(given, "flair", tmp_path / "no" / "model.ckpt")

    def fail(content, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RnnZooError, match="cannot be written: No space left on device"):
        write_checkpoint(given, "flair", tmp_path / "other.ckpt")
    assert [one.name for one in tmp_path.iterdir()] == ["model.ckpt"]


def test_an_unknown_kind_is_one_line():
    assert complaint("flare").startswith("unknown kind 'flare'; did you mean 'flair'? there are: fastai, flair, ")

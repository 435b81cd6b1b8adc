"""Vectors of others as the start of an embedding: files of word2vec and GloVe, and tables of transformers' models."""

import gzip
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rnnzoo import Description, RnnZooError
from rnnzoo.data.tokenizers import train
from rnnzoo.models.word_vectors import WordVectors, read_word_vectors, start_embedding
from rnnzoo.tasks import LanguageModel, SequenceTask, TextClassifier

TOKENS = ["<unk>", "the", "The", "cat", "new york", "zebra"]
LINES = ["the 0.5 -1 2e-1", "cat 1 2 3", "new york 4 5 6", "dog 7 8 9", "1 3/4 7 7 7"]
EXPECTED = {"the": [0.5, -1, 0.2], "The": [0.5, -1, 0.2], "cat": [1, 2, 3], "new york": [4, 5, 6]}


def check(vectors, expected=EXPECTED):
    assert {token for token, there in zip(TOKENS, vectors.found.tolist(), strict=True) if there} == set(expected)
    for token, row in zip(TOKENS, vectors.rows, strict=True):
        torch.testing.assert_close(row, torch.tensor(expected.get(token, [0, 0, 0]), dtype=torch.float32))


@pytest.mark.parametrize("header", ["", "5 3\n"])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])
def test_files_with_a_first_line_of_counts_and_without_are_read(tmp_path, header, end):
    path = tmp_path / "vectors.txt"
    path.write_text(header + "".join(line + end for line in LINES), newline="")
    check(read_word_vectors(str(path), TOKENS))


def test_a_compressed_file_is_read(tmp_path):
    path = tmp_path / "vectors.vec.gz"
    path.write_bytes(gzip.compress("\n".join(["5 3", *LINES]).encode()))
    check(read_word_vectors(str(path), TOKENS))


@pytest.mark.parametrize("lines", [["The 1 1 1", "the 2 2 2"], ["the 2 2 2", "The 1 1 1"]])
def test_what_is_written_alike_wins_over_lower_case_wherever_it_stands(tmp_path, lines):
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(lines))
    check(read_word_vectors(str(path), TOKENS), {"the": [2, 2, 2], "The": [1, 1, 1]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("the 1 2 3\ncat 1 2\n", "line 2 has 2 numbers behind its word, but 3 are due"),
        ("the 1 2 3\ndog 1 2\n", "line 2 has 2 numbers"),  # of a word that nobody wants
        ("the 1 2 3\ncat 1 2 3 4\n", "line 2 has 4 numbers behind its word, but 3 are due"),
        ("2 4\nthe 1 2 3 4\ncat 1 2 3\n", "line 3 has 3 numbers behind its word, but 4 are due"),
        ("3 3\nthe 1 2 3\ncat 1 2 3\n", "says in line 1 that it has 3 words, but 2 lines follow: is it truncated"),
        ("the 1 two 3\n", "line 1 has something else than numbers"),
        ("the 1 nan 3\n", "line 1 has something else than numbers"),
        ("word\n", "is no file of word vectors: line 1 is 'word'"),
        ("", "is an empty file"),
        ("dog 1 2 3\n", "has none of the 6 tokens of the vocabulary"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_with_the_number_of_its_line(tmp_path, text, says):
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(RnnZooError, match=says) as caught:
        read_word_vectors(str(path), TOKENS)
    assert "\n" not in str(caught.value)


def test_tokens_without_a_vector_start_like_those_that_have_one():
    found = torch.arange(4000) % 2 == 0
    rows = torch.randn(4000, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 10.0, -3.0])
    weight = torch.zeros(4000, 3)
    said = start_embedding(weight, WordVectors(rows * found[:, None], found), "some.vec")
    assert said == "embeddings: some.vec has 2,000 of the 4,000 tokens (50.0%)"
    assert torch.equal(weight[found], rows[found])
    torch.testing.assert_close(weight[~found].mean(0), rows[found].mean(0), rtol=0.1, atol=0.1)
    torch.testing.assert_close(weight[~found].std(0), rows[found].std(0), rtol=0.1, atol=0)


def model_folder(path, name="bert.embeddings.word_embeddings.weight", kind="safetensors"):
    path.mkdir()
    tokenizer = train("unigram", ["the cat sat on a mat, the catamaran", "a cat a mat"] * 20, 30)
    tokenizer.backend.save(str(path / "tokenizer.json"))
    table = torch.randn(len(tokenizer), 5)
    weights = {"other.weight": torch.zeros(2, 2), name: table}
    if kind == "safetensors":
        save_file(weights, path / "model.safetensors")
    elif kind == "shards":
        save_file({name: table}, path / "model-00002-of-00002.safetensors")
        of = {"other.weight": "model-00001-of-00002.safetensors", name: "model-00002-of-00002.safetensors"}
        index = {"weight_map": of}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        torch.save(weights, path / "pytorch_model.bin")
    return tokenizer, table


@pytest.mark.parametrize("kind", ["safetensors", "shards", "bin"])
@pytest.mark.parametrize("name", ["bert.embeddings.word_embeddings.weight", "model.embed_tokens.weight", "wte.weight"])
def test_a_models_table_gives_a_token_the_mean_of_its_pieces(tmp_path, kind, name):
    tokenizer, table = model_folder(tmp_path / "model", name, kind)
    piece = next(token for token in tokenizer.vocabulary if token.startswith("▁") and len(token) > 1)
    tokens = ["<unk>", "cat", piece, "catamaran", "Ω"]
    rows, found = read_word_vectors(str(tmp_path / "model"), tokens)
    place = {token: k for k, token in enumerate(tokenizer.vocabulary)}
    assert found.tolist() == [True, True, True, True, False]
    torch.testing.assert_close(rows[2], table[place[piece]])
    for k, word in ((1, "cat"), (3, "catamaran")):
        pieces = [place[token] for token in tokenizer.backend.encode(f" {word}").tokens]
        exact = place.get(word)
        torch.testing.assert_close(rows[k], table[pieces].mean(0) if exact is None else table[exact])


def test_a_model_of_transformers_itself_is_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer, _ = model_folder(tmp_path / "model")
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertModel(config)
    model.save_pretrained(tmp_path / "model")
    rows, found = read_word_vectors(str(tmp_path / "model"), tokenizer.vocabulary)
    assert found.all()
    torch.testing.assert_close(rows, model.get_input_embeddings().weight.detach())


def test_models_that_cannot_be_read_are_one_line(tmp_path):
    model_folder(tmp_path / "unknown", "what.kernel")
    model_folder(tmp_path / "cut")
    content = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(content[:-40])
    model_folder(tmp_path / "none")
    (tmp_path / "none" / "model.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    for folder, says in {
        "unknown": "has no embedding table that is known",
        "cut": "model.safetensors cannot be read",
        "none": "the folder has none of model.safetensors, pytorch_model.bin",
        "empty": "there is no such tokenizer",
        "missing.vec": "no such file or folder",
    }.items():
        with pytest.raises(RnnZooError, match=says):
            read_word_vectors(str(tmp_path / folder), TOKENS)


def test_any_task_with_an_embedding_starts_from_a_file(tmp_path, capsys):
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(["a 1 2 3", "b 4 5 6"]))
    about = Description(vocabulary=["a", "b", "c"], classes=2)
    for kind in (TextClassifier, LanguageModel):
        task = kind(about, embedding_size=3, embeddings=str(path))
        weight = task.model.embedding.weight.detach().numpy()
        np.testing.assert_array_equal(weight[:2], [[1, 2, 3], [4, 5, 6]])
        assert np.isfinite(weight).all()
        assert "embeddings" not in task.hparams
        assert "has 2 of the 3 tokens (66.7%)" in capsys.readouterr().out
    with pytest.raises(RnnZooError, match=r"has 3 numbers a word, but embedding_size is 4: give --model\.emb"):
        TextClassifier(about, embedding_size=4, embeddings=str(path))
    about = Description(input_size=2, classes=0)
    with pytest.raises(RnnZooError, match="has no effect: SequenceTask embeds no tokens"):
        SequenceTask(about, embeddings=str(path))

"""Text as tokens: its parts, its streams, the characters of each token, and what is kept on the disk."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.data import TokenTextData
from rnnzoo.data.encoded_tokens import encode_pieces, encode_tokens, record
from rnnzoo.data.streams import TokenStreams
from rnnzoo.data.tokenizers import train

WORDS = "the cat sat on a mat and naïve 日本 dogs ran far away in heaven above earth".split()  # noqa: SIM905


def lines(count=300, seed=0):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) + draw.choice([".", ",  x", ""]) for _ in range(count)]


@pytest.fixture
def text_file(write):
    return write("some.txt", "\n".join(lines()))


KINDS = {"words": None, "bpe": 300, "unigram": 60, "characters": None, "bytes": None}


@pytest.mark.parametrize("kind", KINDS)
def test_the_characters_of_the_tokens_add_up_to_the_text_and_each_is_told_once(kind):
    text = [f"{line}\n" for line in lines()]
    tokenizer = train(kind, text, KINDS[kind])
    tokens = np.concatenate(list(encode_pieces(tokenizer, text)))
    assert tokens["id"].tolist() == [k for ids in tokenizer.encode(text) for k in ids]
    assert tokens["characters"].sum() == sum(map(len, text))
    place = 0
    for k, count in zip(tokens["id"].tolist(), tokens["characters"].tolist(), strict=True):
        place += count
        if kind in ("words", "characters"):
            whole = "".join(text)[place - count : place]
            assert whole.endswith(tokenizer.vocabulary[k])
            assert whole.removesuffix(tokenizer.vocabulary[k]).strip(" ") == ""


def test_characters_before_the_first_token_of_a_batch_count_for_it(monkeypatch):
    monkeypatch.setattr("rnnzoo.data.encoded_tokens._AT_ONCE", 1)  # a batch for each text
    tokenizer = train("words", ["a b c"])
    tokens = np.concatenate(list(encode_pieces(tokenizer, ["a b  ", "   ", " c", " a "])))
    assert tokens["characters"].tolist() == [1, 2, 7, 2]  # what is behind the last one is of none


def test_an_unknown_word_has_its_letters_and_one_for_its_end_to_be_spelled():
    tokenizer = train("words", ["a b c"])
    tokens = np.concatenate(list(encode_pieces(tokenizer, ["a xyz b", " naïve", "c"])))
    assert tokens["spelled"].tolist() == [0, 4, 0, 6, 0]
    assert tokens["characters"].tolist() == [1, 4, 2, 6, 1]


def test_streams_of_tokens_hold_what_each_target_stands_for():
    tokens = np.zeros(24, record(10))
    tokens["id"], tokens["characters"], tokens["spelled"] = np.arange(24) % 10, np.arange(24) * 3, np.arange(24) * 5
    streams = TokenStreams(tokens, 4, 4)  # 23 targets: 5, 6, 6 and 6
    batches = [streams[k] for k in range(len(streams))]
    told = {}
    for batch in batches:
        for b in range(4):
            for t in range(batch.inputs.shape[1]):
                place = int(batch.positions[b]) + t
                if batch.targets[b, t] == -100:
                    assert (batch.characters[b, t], batch.spelled[b, t]) == (0, 0)
                    continue
                assert place not in told
                told[place] = (int(batch.inputs[b, t]), int(batch.targets[b, t]))
                assert (batch.characters[b, t], batch.spelled[b, t]) == (3 * place, 5 * place)
    assert told == {k: ((k - 1) % 10, k % 10) for k in range(1, 24)}
    assert all(a.dtype == torch.int64 for a in batches[0])


def test_encoded_tokens_come_from_the_disk_and_are_made_again_where_the_file_is_damaged(tmp_path):
    tokenizer, text = train("words", lines()), [f"{line}\n" for line in lines(50)]
    path, read = tmp_path / "deep" / "tokens.bin", []

    def pieces():
        read.append(1)
        return text

    first = encode_tokens(tokenizer, pieces, path, pytest.fail)
    assert isinstance(first, np.memmap)
    expected = np.array(first)
    again = encode_tokens(tokenizer, pieces, path, pytest.fail)
    assert (len(read), again.tolist()) == (1, expected.tolist())
    content = path.read_bytes()
    for damaged in (content[:-1], content[:40] + b"\xff" + content[41:], b"", content[6:]):
        path.write_bytes(damaged)
        assert encode_tokens(tokenizer, pieces, path, pytest.fail).tolist() == expected.tolist()
    assert len(read) == 5
    assert encode_tokens(tokenizer, pieces, None, pytest.fail).tolist() == expected.tolist()


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    said = []
    tokens = encode_tokens(train("words", ["a b"]), lambda: ["a b a"], tmp_path / "file" / "tokens.bin", said.append)
    assert tokens["id"].tolist() == [3, 4, 3]
    assert "is not kept for the next run" in said[0]


def test_large_vocabularies_have_larger_records():
    assert record(1 << 16)["id"].itemsize == 2
    assert record((1 << 16) + 1)["id"].itemsize == 4


# ---- parts


def test_a_text_file_is_cut_in_order_at_line_ends_and_nothing_is_lost(text_file):
    data = TokenTextData(text_file, split=(0.7, 0.2, 0.1), batch_size=2)
    parts = [data.text(part) for part in ("train", "validation", "test")]
    assert "".join(parts) == data.text() == Path(text_file).read_text(encoding="utf-8") + "\n"
    assert [part.count("\n") for part in parts] == [210, 60, 30]
    (ids,) = data.tokenizer.encode([parts[2]])
    assert data.tokens("test")["id"].tolist() == ids


def test_a_seed_draws_lines_and_groups_keep_theirs_together(write):
    rows = "\n".join(f"{k // 5},line{k}" for k in range(100))
    path = write("rows.csv", f"chapter,text\n{rows}\n")
    plain = TokenTextData(path, text_column="text", split=(0.6, 0.2, 0.2))
    assert plain.rows("validation")["text"] == [f"line{k}" for k in range(60, 80)]
    drawn = TokenTextData(path, text_column="text", split=(0.6, 0.2, 0.2), split_seed=3)
    assert sorted(drawn.rows("test")["text"]) != [f"line{k}" for k in range(80, 100)]
    grouped = TokenTextData(path, text_column="text", split=(0.6, 0.2, 0.2), group_column="chapter")
    chapters = [set(grouped.rows(part)["chapter"]) for part in ("train", "validation", "test")]
    assert [len(c) for c in chapters] == [12, 4, 4]
    assert len(set.union(*chapters)) == 20
    assert grouped.rows("test")["text"] == sorted(grouped.rows("test")["text"], key=lambda line: int(line[4:]))


def test_the_tokenizer_is_trained_on_the_training_part_alone(write):
    data = TokenTextData(write("some.txt", "a b\n" * 8 + "c a\n" + "d a\n"), split=(0.8, 0.1, 0.1), batch_size=1)
    assert data.description.vocabulary == ["<unk>", "<s>", "</s>", "\n", "a", "b"]
    assert data.tokens("test")["id"].tolist() == [0, 4, 3]
    assert data.description.characters == 4  # a, b, a space, a line end


def test_each_process_has_its_share_of_the_streams(text_file, process):
    def batches(world_size, rank):
        data = TokenTextData(text_file, batch_size=4, sequence_length=10)
        data.trainer = process(world_size, rank)
        return list(data.train_dataloader())

    whole, halves = batches(1, 0), [batches(2, rank) for rank in (0, 1)]
    for one, *two in zip(whole, *halves, strict=True):
        for field, parts in zip(one, zip(*two, strict=True), strict=True):
            assert torch.equal(field, torch.cat(parts))


def test_the_kneser_ney_trigram_is_judged_on_the_test_part_in_both_units(text_file):
    data = TokenTextData(text_file, split=(0.7, 0.1, 0.2), vocabulary_size=12)
    figures = data.baselines()
    tokens = data.tokens("test")
    assert (tokens["spelled"] > 0).any()
    perplexity, bpc = figures.values()
    nats = math.log(perplexity) * (len(tokens) - 1)
    spelling = int(tokens["spelled"][1:].sum()) * math.log2(data.description.characters + 1)
    assert bpc == pytest.approx((nats / math.log(2) + spelling) / int(tokens["characters"][1:].sum()))


# ---- bad input


def test_what_is_wrong_is_said_in_a_line(write, text_file):
    numbers = write("numbers.csv", "count,size\n" + "1,2\n" * 40)
    for options, said in [
        ({"dataset": numbers, "text_column": "count"}, "text_column='count' must hold text, but its type is int64"),
        ({"dataset": numbers}, "no column holds text, for text_column: there are 'count' of int64, 'size' of int64"),
        ({"dataset": write("two.csv", "a,b\n" + "x,y\n" * 40)}, "text_column must be given: a, b all hold text"),
        ({"dataset": write("one.txt", "one line\n")}, "too few, split leaves none for validation"),
        ({"dataset": write("empty.txt", "")}, "is an empty file"),
        ({"dataset": text_file, "tokenizer": "wrods"}, "tokenizer 'wrods' is unknown; did you mean 'words'?"),
        ({"dataset": text_file, "batch_size": 9999}, "too few for batch_size=9999 streams of sequence_length=64"),
        ({"dataset": text_file, "sequence_length": 0}, "sequence_length=0 must be at least 1"),
        ({"dataset": "nobody/nothing"}, "is no file or folder here"),
    ]:
        with pytest.raises(RnnZooError) as error:
            TokenTextData(**options).train_dataloader()
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_a_saved_tokenizer_is_taken_as_it_is(text_file, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    saved = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "the": 2}, unk_token="[UNK]"))
    saved.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # line ends are no tokens of it
    saved.save(str(tmp_path / "tokenizer.json"))
    for name in (str(tmp_path / "tokenizer.json"), str(tmp_path)):
        data = TokenTextData(text_file, tokenizer=name, batch_size=2)
        assert data.description.vocabulary == ["[UNK]", "cat", "the"]
        tokens, words = data.tokens("test"), data.text("test").split()
        assert tokens["id"].tolist() == [{"cat": 1, "the": 2}.get(word, 0) for word in words]
        assert tokens["spelled"].tolist() == [0 if word in ("cat", "the") else len(word) + 1 for word in words]
        assert tokens["characters"].sum() == len(data.text("test").rstrip())

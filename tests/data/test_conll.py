"""CoNLL-U and plain columns: what is read of them, and which line is wrong."""

import gzip

import pytest

from rnnzoo import RnnZooError
from rnnzoo.data.conll import conll_files, read_conll


def universal(*lines: str) -> str:
    """Lines of CoNLL-U; of a word its ID, form and UPOS are given, and the rest is unknown."""
    whole = []
    for line in lines:
        fields = line.split()
        if line.startswith("#") or len(fields) != 3:
            whole.append(line)
        else:
            whole.append("\t".join([fields[0], fields[1], "_", fields[2], *["_"] * 6]))
    return "\n".join(whole) + "\n"


def read(tmp_path, text, name="some.conllu"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_conll([tmp_path / name]).to_pydict()


def complaint(tmp_path, text, name="some.conllu") -> str:
    with pytest.raises(RnnZooError) as error:
        read(tmp_path, text, name)
    message = str(error.value)
    assert "\n" not in message
    assert name in message
    return message


FRENCH = (
    "# sent_id = fr-1\n# text = Il va au parc\n"
    "1\tIl\til\tPRON\tPRP\tNumber=Sing\t2\tnsubj\t_\t_\n"
    "2\tva\taller\tVERB\tVB\t_\t0\troot\t_\t_\n"
    "3-4\tau\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "3\tà\tà\tADP\tIN\t_\t5\tcase\t_\t_\n"
    "4\tle\tle\tDET\tDT\t_\t5\tdet\t_\t_\n"
    "4.1\tgrand\tgrand\tADJ\tJJ\t_\t_\t_\t5:amod\t_\n"
    "5\tparc\tparc\tNOUN\tNN\t_\t2\tobl\t_\tSpaceAfter=No\n\n"
)


def test_every_field_of_every_word_is_read_and_ranges_and_empty_nodes_are_no_words(tmp_path):
    columns = read(tmp_path, FRENCH)
    assert columns == {
        "sent_id": ["fr-1"],
        "text": ["Il va au parc"],
        "tokens": [["Il", "va", "à", "le", "parc"]],
        "lemma": [["il", "aller", "à", "le", "parc"]],
        "upos": [["PRON", "VERB", "ADP", "DET", "NOUN"]],
        "xpos": [["PRP", "VB", "IN", "DT", "NN"]],
        "feats": [["Number=Sing", "_", "_", "_", "_"]],
        "head": [["2", "0", "5", "5", "2"]],
        "deprel": [["nsubj", "root", "case", "det", "obl"]],
        "deps": [["_"] * 5],
        "misc": [["_", "_", "_", "_", "SpaceAfter=No"]],
    }


def test_an_underscore_is_a_form_and_a_lemma_and_an_unknown_tag(tmp_path):
    """A lemma of _ joins a word to no other: a treebank in inflectional groups has one row for each of them."""
    columns = read(tmp_path, universal("1 ev NOUN", "2 _ X", "3 di _"))
    assert columns["tokens"] == [["ev", "_", "di"]]
    assert columns["lemma"] == [["_", "_", "_"]]
    assert columns["upos"] == [["NOUN", "X", None]]
    assert "text" not in columns


def test_sentences_may_have_comments_or_not_and_the_last_needs_no_empty_line(tmp_path):
    text = "\ufeff# newdoc\n" + universal("1 a X", "", "", "# text = b c", "# x", "1 b Y", "2 c Z").replace(
        "\n", "\r\n"
    )
    columns = read(tmp_path, text.rstrip())
    assert columns["tokens"] == [["a"], ["b", "c"]]
    assert columns["text"] == [None, "b c"]


def test_a_form_may_have_blanks_between_tabs(tmp_path):
    assert read(tmp_path, universal("1 a X").replace("\ta\t", "\t10 000\t"))["tokens"] == [["10 000"]]


def test_a_file_that_names_its_columns_has_those(tmp_path):
    text = "# global.columns = ID FORM UPOS PARSEME:MWE\n1\ta\tX\t1\n2\tb\tY\t*\n"
    assert read(tmp_path, text) == {"tokens": [["a", "b"]], "upos": [["X", "Y"]], "parseme_mwe": [["1", "*"]]}
    assert "FORM must be among them" in complaint(tmp_path, "# global.columns = ID UPOS\n1\tX\n")


def test_files_may_be_compressed_and_come_one_behind_the_other(tmp_path):
    (tmp_path / "b.conllu.gz").write_bytes(gzip.compress(FRENCH.encode()))
    (tmp_path / "a.conllu").write_text(universal("1 a X"))
    columns = read_conll([tmp_path / "a.conllu", tmp_path / "b.conllu.gz"]).to_pydict()
    assert columns["upos"] == [["X"], ["PRON", "VERB", "ADP", "DET", "NOUN"]]
    assert columns["sent_id"] == [None, "fr-1"]
    (tmp_path / "c.conll").write_text("a X\n")
    with pytest.raises(RnnZooError, match="the files of a part must be alike"):
        read_conll([tmp_path / "a.conllu", tmp_path / "c.conll"])


CONLL_2003 = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n\n\n"


def test_plain_columns_are_those_of_conll_2003(tmp_path):
    assert read(tmp_path, CONLL_2003, "eng.conll") == {
        "tokens": [["EU", "rejects"], ["Peter"]],
        "pos_tags": [["NNP", "VBZ"], ["NNP"]],
        "chunk_tags": [["B-NP", "B-VP"], ["B-NP"]],
        "ner_tags": [["B-ORG", "O"], ["B-PER"]],
    }


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a X\nb Y\n", {"tokens": [["a", "b"]], "tags": [["X", "Y"]]}),
        ("New York\tLOC\n \nb\tO\n", {"tokens": [["New York"], ["b"]], "tags": [["LOC"], ["O"]]}),
        ("a N X\n", {"tokens": [["a"]], "column_2": [["N"]], "tags": [["X"]]}),
        ("a\nb\n", {"tokens": [["a", "b"]]}),
        ("a\n-DOCSTART- -X-\nb\n", {"tokens": [["a"], ["b"]]}),
    ],
)
def test_other_plain_columns_get_names_too(tmp_path, text, columns):
    assert read(tmp_path, text, "some.conll") == columns


def test_a_hash_is_a_comment_before_a_sentence_and_a_word_where_it_has_a_tag(tmp_path):
    text = "# id 17 domain=en\n# a = b\n# one two three\n#tag X\n# O\n\n# id = 3\n5 X\n# Y\n"
    assert read(tmp_path, text, "some.conll") == {
        "tokens": [["#tag", "#"], ["5", "#"]],
        "tags": [["X", "O"], ["X", "Y"]],
    }


def test_ten_fields_of_tabs_are_those_of_conll_u_whatever_the_name(tmp_path):
    assert read(tmp_path, FRENCH, "old.conll")["upos"] == [["PRON", "VERB", "ADP", "DET", "NOUN"]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (universal("# x", "1 a X", "2\tb"), "line 3 has 2 fields, not 10 with tabs between: '2\\tb'"),
        (universal("1 a X", "", "1 b Y").replace("Y", ""), "line 3 has nothing in its field 4"),
        (universal("1 a X", "3 b Y"), "line 2 has the ID 3 where 2 comes next"),
        (universal("1 a X", "2 b Y", "", "2 b Y"), "line 4 has the ID 2 where 1 comes next"),
        (universal("1 a X", "x b Y"), "line 2 has the ID 'x'"),
        (universal("1 a X", "2.1 b Y"), "line 2 has the empty node 2.1 behind word 1, not 2"),
        (universal("1-3 ab _", "1 a X", "2 b Y"), "line 1 begins a sentence of 2 words with a range to 3"),
        (
            universal("1-2 ab _", "1 a X", "2-3 b _"),
            "line 3 has the range 2-3, which is empty or begins within another",
        ),
        (universal("1-2 ab _", "2 b Y"), "line 2 has the ID 2 where 1 comes next"),
        (universal("0.1 a X"), "line 1 begins a sentence without a word"),
        (universal("1 a X", "# late", "2 b Y"), "line 2 is a comment within a sentence"),
        (universal("1 a X").replace("_\t_\t_\t_\n", "two\t_\t_\t_\n"), "line 1 has the HEAD 'two'"),
        ("# only\n\n", "has no sentences in its 2 lines"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path, text, says):
    assert says in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a X\nb\n", "line 2 has 1 fields, not 2 with white space between: 'b'"),
        ("a\tX\nb\t\n", "line 2 has nothing in its field 2"),
        ("a\tX\nb Y\n", "line 2 has 1 fields, not 2 with tabs between"),
        ("-DOCSTART-\n\n", "has no sentences"),
    ],
)
def test_a_broken_line_of_plain_columns_is_named_too(tmp_path, text, says):
    assert says in complaint(tmp_path, text, "some.conll")


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "some.conllu").write_bytes(universal("1 a X").encode() + b"\xff")
    with pytest.raises(RnnZooError, match="is not UTF-8: byte 0xff"):
        read_conll([tmp_path / "some.conllu"])


def test_the_files_of_a_folder_belong_to_the_split_that_their_names_say(tmp_path):
    for name in (
        "tr-ud-dev.conllu",
        "tr-ud-train-b.conllu",
        "tr-ud-train-a.conllu.gz",
        "tr-ud-test.conllu",
        "README.md",
    ):
        (tmp_path / name).write_text("")
    found = {split: [path.name for path in paths] for split, paths in conll_files(tmp_path).items()}
    assert found == {
        "dev": ["tr-ud-dev.conllu"],
        "test": ["tr-ud-test.conllu"],
        "train": ["tr-ud-train-a.conllu.gz", "tr-ud-train-b.conllu"],
    }
    (tmp_path / "more.conllu").write_text("")
    with pytest.raises(RnnZooError, match=r"has more\.conllu beside files whose names say train, dev or test"):
        conll_files(tmp_path)


def test_files_without_a_split_in_their_names_are_one(tmp_path):
    assert conll_files(tmp_path) == {}
    for name in ("b.conll", "a.conll"):
        (tmp_path / name).write_text("")
    assert [path.name for path in conll_files(tmp_path)["train"]] == ["a.conll", "b.conll"]

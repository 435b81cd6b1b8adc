"""CSV files as people have them: what does not fit its header is refused with the line, and text stays text."""

import bz2
import csv
import gzip
import io
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rnnzoo.data import CharTextData, SeriesData
from rnnzoo.data.numbers import as_numbers
from rnnzoo.errors import RnnZooError

Write = Callable[[str, bytes | str], str]

SMALL: dict[str, Any] = {"horizon": 2, "context": 3, "season": 2, "batch_size": 2}
Y = [200.1 + k % 7 + k / 100 for k in range(60)]
TIMES = [f"2019-06-{1 + k // 24:02} {k % 24:02}:00:00" for k in range(60)]


def german(value: float) -> str:
    return f"{value:.2f}".replace(".", ",")


def test_an_export_with_semicolons_and_decimal_commas_is_understood(write: Write) -> None:
    rows = [f"{time};{german(y)}" for time, y in zip(TIMES, Y, strict=True)]
    path = write("a.csv", "\ufeffDatum;kW\r\n" + "\r\n".join(rows) + "\r\n")
    for options in ({}, {"column": "kW"}, {"column": "kW", "time_column": "Datum"}):
        assert SeriesData(path, **SMALL, **options).series.tolist() == [round(y, 2) for y in Y]


LINES = [f"{time},{y:.2f}" for time, y in zip(TIMES, Y, strict=True)]


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "folder"])
@pytest.mark.parametrize("column", [None, "kW", "time"])
@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({0: LINES[0].replace(".", ",")}, 2),  # a decimal comma
        ({41: LINES[41] + ","}, 43),  # a trailing one
        ({41: TIMES[41] + ",1,234.5"}, 43),  # of thousands
        ({41: TIMES[41]}, 43),  # too few
        ({k: line + "," for k, line in enumerate(LINES)}, 2),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused_with_the_line(
    changed: dict[int, str], line: int, column: str | None, kind: str, write: Write, tmp_path: Path
) -> None:
    text = "\n".join(["time,kW", *(changed.get(k, LINES[k]) for k in range(60))]) + "\n"
    text = text.replace(",", "\t") if kind == "tsv" else text
    content = gzip.compress(text.encode()) if kind == "csv.gz" else text.encode()
    path = write("train.csv" if kind == "folder" else f"a.{kind}", content)
    path = str(tmp_path) if kind == "folder" else path
    message = f"does not fit its header: line {line} has [123] fields and the header 2, separated by "
    with pytest.raises(RnnZooError, match=message):
        SeriesData(path, column=column, **SMALL).setup()
    with pytest.raises(RnnZooError, match=message):
        CharTextData(path, column=column or "kW").setup()


def test_a_decimal_comma_does_not_pass_for_a_separator(write: Write) -> None:
    rows = "".join(f"{time};{german(y)}\n" for time, y in zip(TIMES, Y, strict=True))
    data = SeriesData(write("a.csv", f"Datum;kW, in all\n{rows}"), **SMALL)
    assert data.series.tolist() == [round(y, 2) for y in Y]
    with pytest.raises(RnnZooError, match="line 2 has 2 fields and the header 1, separated by ','"):
        SeriesData(write("b.csv", "kW\n" + "".join(f"{german(y)}\n" for y in Y)), **SMALL).setup()


def test_a_line_is_counted_in_lines_of_the_file(write: Write) -> None:
    path = write("a.csv", 'text,n\n"a\nb\nc",1\n"d\ne",2,3\n')
    with pytest.raises(RnnZooError, match="line 5 has 3 fields"):
        CharTextData(path).setup()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("seed", range(5))
def test_what_pythons_writer_writes_comes_back(separator: str, seed: int, write: Write) -> None:
    draw = random.Random(seed)
    pieces = [
        "NA",
        "null",
        "None",
        "nan",
        "N/A",
        "",
        "a,b",
        'say "hi"',
        "x;y",
        "1",
        "\n",
        "\r\n",
        "\t",
        "é😀",
        " a ",
        "|",
    ]
    rows = ["".join(draw.choices(pieces, k=draw.randint(0, 3))) for _ in range(300)] + ["text"]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator)
    writer.writerows([["id", "text"], *([k, row] for k, row in enumerate(rows))])
    path = write("a.tsv" if separator == "\t" else "a.csv", file.getvalue())
    assert CharTextData(path, separator="\x00").text().split("\x00") == rows


def test_words_that_others_take_for_nothing_are_text(write: Write, tmp_path: Path) -> None:
    words = ["NA", "null", "None", "", "nan", "N/A", "n/a", "NULL", "<NA>", "#N/A", "-", "True", "2019-01-01"]
    write("d/train.csv", "text,id\n" + "\n".join(f"{word},{k}" for k, word in enumerate(words)))
    for path in (tmp_path / "d" / "train.csv", tmp_path / "d"):
        assert CharTextData(str(path)).text() == "\n".join(words)
    assert CharTextData(write("one.csv", "text\n" + "\n".join(words) + "\n\n\n")).text() == "\n".join(words)


@pytest.mark.parametrize(
    ("first", "others", "named"),
    [
        ("200.28", [f"{y:.2f}" for y in Y], "200.28"),
        ("-1e3", [f"{y:.2f}" for y in Y], "-1e3"),
        ("2019-06-01 00:00:00,1.5", LINES, "2019-06-01 00:00:00"),
        ("2019-06-01;200,28", [f"2019-06-{k % 28 + 1:02};{german(y)}" for k, y in enumerate(Y)], "2019-06-01"),
        ("01.06.2019;200,28", [f"{k % 28 + 1:02}.06.2019;{german(y)}" for k, y in enumerate(Y)], "01.06.2019"),
        ("a,3", [f"b,{k}" for k in range(60)], "3"),
    ],
)
def test_a_table_without_a_header_does_not_lose_its_first_row(
    first: str, others: list[str], named: str, write: Write
) -> None:
    path = write("a.csv", "\n".join([first, *others]) + "\n")
    with pytest.raises(
        RnnZooError, match=f"^the first line of .* has '{named}' where the name of a column should stan"
    ):
        SeriesData(path, **SMALL).setup()


def test_a_name_that_is_a_number_is_one_if_it_is_asked_for(write: Write) -> None:
    wide = write("a.csv", "country,2019,2020\n" + "".join(f"x{k},{k},{y}\n" for k, y in enumerate(Y)))
    assert SeriesData(wide, column="2020", **SMALL).series.tolist() == Y
    assert CharTextData(wide, column="country").text().startswith("x0\nx1\n")
    pandas = write("b.csv", ",0\n" + "".join(f"{k},{y}\n" for k, y in enumerate(Y)))
    assert SeriesData(pandas, column="0", **SMALL).series.tolist() == Y


def test_spreadsheets_leave_empty_columns_lines_and_a_word_on_their_separator(write: Write) -> None:
    rows = "".join(f"{time};{german(y)};;\r\n" for time, y in zip(TIMES, Y, strict=True))
    path = write("a.csv", f"sep=;\r\nDatum;kW;;\r\n{rows}\r\n\r\n")
    assert SeriesData(path, **SMALL).series.tolist() == [round(y, 2) for y in Y]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,a\n1,2,3\n", "more than one column called 'a'"),
        ('text,n\n"open,1\nb,2\n', "cannot be read at line 2: unexpected end of data"),
        ('text,n\nb,2\n"a"b,1\n', "cannot be read at line 3: .* expected after"),
        ("value,text\n1\x002,a\n", "must hold numbers, but row 0 .* has '1\\\\x002'"),
        ("value,text\n1,a\n\n2,b\n", "has 2 values: too few"),
        ('value,text\n"1,234",a\n"999",a\n', "has '1,234' in row 0 .*, where a comma or point may be"),
        ("value;text\n1.234;a\n987;a\n", "has numbers like '1.234', whose point may be"),
        ("value;text\n1,5;a\n1.5;a\n", "has '1,5' in row 0 .*, where a comma or point may be"),
        ("value;text\n1,5;a\nn/k;a\n", "must hold numbers, but row 1 .* has 'n/k'"),
        ("value,text\nx" + "y" * 99 + ",a\n", r"has 'xy{59}\.\.\.'$"),
        ("value,text\n,a\n,a\n", "column='value' of .* is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(content: str, message: str, write: Write) -> None:
    with pytest.raises(RnnZooError, match=message) as caught:
        SeriesData(write("a.csv", content), column="value", **SMALL).setup()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "semicolons", "expected"),
    [
        (["1", "+2", "NA", None], False, [1, 2, None, None]),
        (["1.5", ".5", "5.", "1e5", "-inf"], False, [1.5, 0.5, 5.0, 1e5, -np.inf]),
        (["9007199254740993", "-1"], False, [9007199254740993, -1]),
        (["200,10", "3,5", "-4"], False, [200.1, 3.5, -4.0]),
        (["1.234,5", "1.234", "2"], False, [1234.5, 1234.0, 2.0]),
        (["1,234.5", "1,234", "2"], False, [1234.5, 1234.0, 2.0]),
        (["1,234,567", "2"], False, [1234567, 2]),
        (["1.234.567", "2"], False, [1234567, 2]),
        (["1 234,5", "1\u202f234,5", "1'234"], False, [1234.5, 1234.5, 1234.0]),
        (["0,234", "1,234"], False, [0.234, 1.234]),
        (["1,234", "2,345"], True, [1.234, 2.345]),
        (["1,234", "2,345"], False, None),
        (["1,234", "999"], True, None),
        (["1.234", "999"], True, None),
        (["1.234", "999"], False, [1.234, 999.0]),
        (["1,5", "1.5"], True, None),
        (["0x1F"], False, None),
        (["1_000"], False, None),
        (["-"], False, None),
        (["12", "text"], False, None),
        (["", None], False, None),
    ],
)
def test_numbers_are_read_as_people_write_them_or_not_at_all(
    cells: list[str | None], semicolons: bool, expected: list[float] | None
) -> None:
    numbers = as_numbers(
        pa.chunked_array([pa.array(cells[:1], pa.string()), pa.array(cells[1:], pa.string())]), semicolons
    )
    assert (numbers if numbers is None else numbers.to_pylist()) == expected


def zstandard(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard,
}


@pytest.mark.parametrize("name", ["notes.txt.{}", "notes.{}", "notes.txt"])
@pytest.mark.parametrize("how", PACK)
def test_compressed_text_is_read_whatever_its_name(how: str, name: str, write: Write) -> None:
    content = b"caf\xc3\xa9 au lait\r\n" * 99
    assert CharTextData(write(name.format(how), PACK[how](content))).text().encode() == content
    rows = "time,kW\n" + "\n".join(LINES)
    assert SeriesData(write(f"a.csv.{how}", PACK[how](rows.encode())), **SMALL).series.tolist() == [
        round(y, 2) for y in Y
    ]


@pytest.mark.parametrize("how", PACK)
def test_compressed_text_that_was_cut_off_is_refused(how: str, write: Write) -> None:
    content = random.Random(0).randbytes(9999).hex().encode()
    path = write(f"notes.txt.{how}", PACK[how](content)[:-2000])
    with pytest.raises(RnnZooError, match="cannot be read"):
        CharTextData(path).setup()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(99), "is a zip archive: unpack it"),
        (gzip.compress(bytes(257) + b"ustar" + bytes(999), mtime=0), "is a tar archive: unpack it"),
        ("In the beginning".encode("utf-16"), "is UTF-16, not UTF-8: .* iconv -f UTF-16 -t UTF-8"),
        ("In the beginning".encode("utf-16-le"), "is UTF-16, not UTF-8"),
        ("In the beginning".encode("utf-32"), "is UTF-32, not UTF-8"),
        (b"BZhang wrote \xff", "is not UTF-8: byte 0xff at offset 13"),
        (gzip.compress(b"abc\xff", mtime=0), "is not UTF-8: byte 0xff at offset 3"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_what_is_no_text_is_named(name: str, content: bytes, message: str, write: Write) -> None:
    with pytest.raises(RnnZooError, match=message):
        CharTextData(write(name, content)).setup()


def test_a_text_may_begin_like_something_else(write: Write) -> None:
    for text in (
        "BZh91AY is no archive",
        "Rar, but well done: a text",
        "PK\x03 and so on, and on, and on",
        "\x00 zeros \x00 in a text \x00",
    ):
        assert CharTextData(write("a.txt", text)).text() == text

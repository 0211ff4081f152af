from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_tokens.errors import FileError
from core_tokens.plot_files import parse
from core_tokens.tables import csv_text, plain
from core_tokens.vocabulary import shown

WHERE = Path("data/tiny/plots/shells.csv")


def test_numbers_are_numbers_and_the_rest_is_text() -> None:
    content = b"ulp,part,tokens,note\n0,core,852,7\n-1.5,halo,1e3,\n"
    assert parse(WHERE, content, ("ulp", "tokens")) == [
        {"ulp": 0, "part": "core", "tokens": 852, "note": "7"},
        {"ulp": -1.5, "part": "halo", "tokens": 1000, "note": ""},
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("0", 0), ("-0", 0), ("2212", 2212), ("3.0", 3), ("2.5", 2.5),
        ("1e-45", 1e-45), ("3.4028235e+38", 3.4028235e38), ("1000000000000000", 1e15),
    ],
)  # fmt: skip
def test_whole_numbers_are_integers_and_an_empty_cell_is_none(
    text: str, value: float | None
) -> None:
    ((found,),) = [row.values() for row in parse(WHERE, f'n\n"{text}"\n'.encode(), ("n",))]
    assert found == value
    assert type(found) is type(value)


def test_table_without_rows_has_none() -> None:
    assert parse(WHERE, b"class,script,part,tokens\n", ("tokens",)) == []


def test_columns_may_stand_in_any_order_and_there_may_be_more() -> None:
    assert parse(WHERE, b"more,b,a\nx,2,1\n", ("a", "b")) == [{"more": "x", "b": 2, "a": 1}]


def test_text_with_commas_quotes_and_line_ends_comes_back() -> None:
    text = 'a, "b"\r\n\u00e9\U0001f600'
    assert parse(WHERE, csv_text(("text", "n"), [(text, 1)]).encode(), ("n",)) == [
        {"text": text, "n": 1}
    ]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_what_the_tables_hold_comes_back(values: list[float]) -> None:
    content = csv_text(("n",), [(plain(value),) for value in values]).encode()
    assert [row["n"] for row in parse(WHERE, content, ("n",))] == values


@given(st.lists(st.tuples(st.binary().map(shown), st.integers(-(10**14), 10**14)), max_size=5))
def test_text_as_tokens_show_it_comes_back(rows: list[tuple[str, int]]) -> None:
    assert parse(WHERE, csv_text(("text", "n"), rows).encode(), ("n",)) == [
        {"text": text, "n": n} for text, n in rows
    ]


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no column n"),
    "another column": (b"m\n1\n", "no column n"),
    "a column in other letters": (b"N\n1\n", "no column n"),
    "text": (b"n\nthree\n", "'three'"),
    "text behind a number": (b"n\n3 ulp\n", "'3 ulp'"),
    "two numbers": (b'n\n"1,000"\n', "'1,000'"),
    "NaN": (b"n\nnan\n", "nan as a number"),
    "infinity": (b"n\n-inf\n", "-inf as a number"),
    "too large": (b"n\n1e999\n", "1e999 as a number"),
    "not UTF-8": (b"n,text\n1,\xff\n", "utf-8"),
    "an open quote": (b'n,text\n1,"x\n', "end of data"),
    "text behind a quote": (b'n,text\n1,"x"y\n', "expected after"),
    "a row that is cut short": (b"text,n\nx\n", ""),
    "a row that is too long": (b"text,n\nx,1,2\n", ""),
    "a Parquet file": (b"PAR1\x15\x04\x15\x10", "no column n"),
}


@pytest.mark.parametrize(("content", "mention"), BAD.values(), ids=BAD)
def test_other_tables_are_refused_in_one_line(content: bytes, mention: str) -> None:
    with pytest.raises(FileError) as error:
        parse(WHERE, content, ("n",))
    line = str(error.value)
    assert line.startswith("data/tiny/plots/shells.csv: found no table of a plot (")
    assert "; expected that of `analyse`" in line
    assert mention in line
    assert "\n" not in line


def test_the_first_missing_column_is_named_whatever_their_order() -> None:
    for numbers in (("b", "a"), ("a", "b")):
        with pytest.raises(FileError, match="no column a"):
            parse(WHERE, b"c\n1\n", numbers)

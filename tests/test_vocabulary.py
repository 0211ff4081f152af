import json
import re
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from core_tokens.errors import FileError
from core_tokens.tables import tokens_table
from core_tokens.vocabulary import (
    CLASSES,
    HIDDEN,
    Token,
    check_covers,
    counts,
    read,
    read_texts,
    shown,
    to_json,
)

TOKENS = [
    Token("special", "<s>"),
    Token("ordinary", " the"),
    Token("ordinary", ' "中文" ü'),
    Token("byte", r"\xE4"),
    Token("unreachable", r"\n\\"),
    Token("padding", None),
]
FILE = r"""[
{"class": "special", "text": "<s>"},
{"class": "ordinary", "text": " the"},
{"class": "ordinary", "text": " \"中文\" ü"},
{"class": "byte", "text": "\\xE4"},
{"class": "unreachable", "text": "\\n\\\\"},
{"class": "padding", "text": null}
]
"""


def kept(folder: Path, content: bytes) -> Path:
    path = folder / "vocab.json"
    path.write_bytes(content)
    return path


def lists_of_tokens() -> st.SearchStrategy[list[Token]]:
    texts = st.none() | st.binary(max_size=12).map(shown) | st.text(max_size=5).map(displayed)
    return st.lists(st.builds(Token, st.sampled_from(CLASSES), texts))


def displayed(text: str) -> str:
    return shown(text.encode("utf-8", "surrogatepass"))


# The file.


def test_the_classes_are_these() -> None:
    assert CLASSES == ("ordinary", "special", "byte", "unreachable", "padding")


def test_the_file_has_a_token_per_line_and_characters_as_themselves() -> None:
    assert to_json(TOKENS) == FILE.encode()


def test_no_tokens_are_an_empty_list() -> None:
    assert to_json([]) == b"[]\n"


@given(lists_of_tokens())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory,
                                 tokens: list[Token]) -> None:  # fmt: skip
    content = to_json(tokens)
    assert read(kept(tmp_path_factory.getbasetemp(), content)) == tokens
    assert [(entry["class"], entry["text"]) for entry in json.loads(content)] == [
        (token.kind, token.text) for token in tokens
    ]
    assert len(content.decode().splitlines()) == (len(tokens) + 2 if tokens else 1)


@pytest.mark.parametrize("content", [b"[]", b"[]\n", b" [ ] "])
def test_an_empty_list_is_unknown(tmp_path: Path, content: bytes) -> None:
    assert read(kept(tmp_path, content)) == read(tmp_path / "vocab.json", 7) == []


def test_a_missing_file_is_unknown(tmp_path: Path) -> None:
    assert read(tmp_path / "vocab.json") == read(tmp_path / "no" / "vocab.json", 7) == []


def one(entry: str) -> str:
    return f'[{{"class": "byte", "text": null}}, {entry}]'


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "truncated"),
        (b"[", "truncated"),
        (b"nonsense", "invalid character"),
        (b"NaN", "invalid character"),
        (b"\xef\xbb\xbf[]", "invalid character"),
        (b"[] []", "trailing characters"),
        (b"null", "got `null`"),
        (b"{}", "got `object`"),
        (b'"[]"', "got `str`"),
        (b"[null]", "got `null`"),
        (b'["a"]', "got `str`"),
        (b"[" * 100_000, "got `array`"),
        (b'{"a":' * 100_000, "got `object`"),
        (one("{}"), "missing required field `class`"),
        (one('{"class": "byte"}'), "missing required field `text`"),
        (one('{"text": "a"}'), "missing required field `class`"),
        (one('{"kind": "byte", "text": "a"}'), "unknown field `kind`"),
        (one('{"class": "byte", "text": "a", "id": 1}'), "unknown field `id`"),
        (one('{"class": "bytes", "text": "a"}'), r"'bytes' - at `$[1].class`"),
        (one('{"class": null, "text": "a"}'), r"got `null` - at `$[1].class`"),
        (one('{"class": "byte", "text": 1}'), r"got `int` - at `$[1].text`"),
        (one('{"class": "byte", "text": ["a"]}'), r"got `array` - at `$[1].text`"),
        (one('{"x": ' + "[" * 100_000), "unknown field `x`"),
        (one('{"class": "byte", "text": "' + "\x00" + '"}'), "invalid character"),
        (one(r'{"class": "byte", "text": "\ud800"}'), "no list of tokens"),
        (b'[{"class": "byte", "text": "\xff"}]', "can't decode byte 0xff"),
        (b'[{"class": "byte", "text": "\xed\xa0\x80"}]', "can't decode byte 0xed"),
    ],
)
def test_anything_else_is_refused_in_one_line(
    tmp_path: Path, content: bytes | str, found: str
) -> None:
    path = kept(tmp_path, content.encode() if isinstance(content, str) else content)
    with pytest.raises(FileError) as caught:
        read(path)
    assert found in caught.value.found
    assert str(caught.value).startswith(f"{path}: found no list of tokens (")
    assert str(caught.value).endswith('; expected [{"class": …, "text": …}, …]')
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x7f", "\u200b", "\u202e", "\ufeff"])
def test_text_that_would_not_show_as_itself_is_refused(tmp_path: Path, text: str) -> None:
    path = kept(tmp_path, to_json([Token("byte", None), Token("ordinary", text)]))
    with pytest.raises(FileError) as caught:
        read(path)
    assert str(caught.value) == (
        rf"{path}: token 1: found {text!a}; expected such characters escaped, as \u200B"
    )


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="found a folder or a device; expected a file that can"):
        read(tmp_path)


# What it is for.


def test_a_token_for_each_row_or_none() -> None:
    check_covers([], 7)
    check_covers(TOKENS, 6)
    for rows in (5, 7):
        with pytest.raises(FileError) as caught:
            check_covers(TOKENS, rows)
        assert str(caught.value) == (
            f"vocab.json: found 6 tokens; expected {rows}, one for each row of W, or []"
        )


def test_reading_names_the_file_that_does_not_fit(tmp_path: Path) -> None:
    path = kept(tmp_path, FILE.encode())
    assert read(path, 6) == TOKENS
    with pytest.raises(FileError, match=r"vocab\.json: found 6 tokens; expected 9, one for each"):
        read(path, 9)


def test_counts_are_per_class_and_name_all_of_them() -> None:
    assert counts(TOKENS, np.array([1, 2, 3, 5])) == {
        "ordinary": 2, "special": 0, "byte": 1, "unreachable": 0, "padding": 1,
    }  # fmt: skip
    assert list(counts(TOKENS, [])) == list(CLASSES)
    assert counts({7: TOKENS[0]}, [7])["special"] == 1


def test_of_unknown_tokens_there_are_no_counts() -> None:
    assert counts([], np.array([1, 2, 3])) == {}


@given(lists_of_tokens().filter(bool), st.data())
def test_counts_sum_to_the_ids(tokens: list[Token], data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(tokens) - 1)))
    found = counts(tokens, np.array(ids, np.int64))
    assert sum(found.values()) == len(ids)
    assert all(found[kind] == [tokens[i].kind for i in ids].count(kind) for kind in CLASSES)


# Bytes as text.

PLAIN = [
    " the",
    "!~",
    "naïve",
    "中文",
    "العربية",
    "हिन्दी",
    "👍🏽",
    "\N{REPLACEMENT CHARACTER}",
    "'\"|<>&",
]
ESCAPED = [
    (b"", ""),
    (b"\\", r"\\"),
    (b"\\n", r"\\n"),
    (b"\n\r\t", r"\n\r\t"),
    (b"\x00\x1b\x7f", r"\x00\x1B\x7F"),
    (b"\xe4", r"\xE4"),
    (b"\xc0\xc1\xf5\xff", r"\xC0\xC1\xF5\xFF"),
    (b"\xe4\xb8", r"\xE4\xB8"),
    (b" \xb8\xad!", r" \xB8\xAD!"),
    (b"\xc0\x80", r"\xC0\x80"),  # overlong
    (b"\xed\xa0\x80", r"\xED\xA0\x80"),  # a surrogate
    (b"\xf4\x90\x80\x80", r"\xF4\x90\x80\x80"),  # beyond Unicode
    ("\x80\x9f\xa0\xad".encode(), r"\u0080\u009F\u00A0\u00AD"),
    ("a\u200db\u3000".encode(), r"a\u200Db\u3000"),
    ("\u202e\ufeff\ufffe".encode(), r"\u202E\uFEFF\uFFFE"),
    ("\U000e0041\U0010ffff".encode(), r"\U000E0041\U0010FFFF"),
]


def bytes_shown_as(text: str) -> bytes:
    """The inverse of ``shown``, escape by escape."""
    short = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
    data = b""
    for token in re.findall(r"\\x..|\\u....|\\U........|\\.|[^\\]", text):
        if token[:2] == "\\x":
            data += bytes([int(token[2:], 16)])
        elif token[:2] in ("\\u", "\\U"):
            data += chr(int(token[2:], 16)).encode()
        else:
            data += (short[token[1]] if token[0] == "\\" else token).encode()
    return data


@pytest.mark.parametrize("text", PLAIN)
def test_what_can_be_seen_is_shown_as_itself(text: str) -> None:
    assert shown(text.encode()) == text


@pytest.mark.parametrize(("data", "text"), ESCAPED)
def test_what_cannot_be_seen_is_escaped(data: bytes, text: str) -> None:
    assert shown(data) == text


def some_bytes() -> st.SearchStrategy[bytes]:
    """Bytes, characters of which many are hidden, and text that looks like an escape."""
    hidden = st.sampled_from(HIDDEN).flatmap(lambda ends: st.integers(*ends)).map(chr)
    pieces = st.one_of(
        st.binary(max_size=4),
        (st.characters() | hidden).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"\\", b"\\n", b"\\xE4", b"\\u00AD", b"x41", b"E4", b"n"]),
    )
    return st.lists(pieces, max_size=8).map(b"".join)


@given(some_bytes())
@example(b"\\xE4")
@example(b"\\\xe4")
def test_different_bytes_are_shown_differently(data: bytes) -> None:
    assert bytes_shown_as(shown(data)) == data


@cache
def hidden() -> frozenset[int]:
    """Every code point that is not shown as itself; what it is shown as is ASCII."""
    texts = {code: displayed(chr(code)) for code in range(0x110000)}
    found = frozenset(code for code, text in texts.items() if text != chr(code))
    assert all(texts[code].isascii() for code in found)
    return found


def test_the_hidden_characters_are_these() -> None:
    must = {*range(0x20), 0x5C, *range(0x7F, 0xA1), 0xAD, 0x1680, *range(0x2000, 0x2010)}
    must |= {*range(0x2028, 0x2030), 0x205F, *range(0x2060, 0x2070), 0x3000, 0xFEFF}
    must |= {*range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE1000), *range(0xD800, 0xE000)}
    must |= {*range(0xFDD0, 0xFDF0)}
    must |= {plane * 0x10000 + low for plane in range(17) for low in (0xFFFE, 0xFFFF)}
    also = {0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164}
    also |= {*range(0xFE00, 0xFE10), 0xFFA0, *range(0xFFF0, 0xFFF9)}
    also |= {*range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B)}
    assert hidden() == must | also


@pytest.mark.parametrize("category", ["Cc", "Zs", "Zl", "Zp", "Cs"])  # in which nothing is added
def test_controls_separators_and_surrogates_are_hidden(category: str) -> None:
    found = {code for code in range(0x110000) if unicodedata.category(chr(code)) == category}
    assert found - hidden() == ({0x20} if category == "Zs" else set())


# Weight.


def test_it_loads_neither_numpy_nor_the_tokenizers_library() -> None:
    code = "import core_tokens.vocabulary, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "tokenizers"} & {name.split(".")[0] for name in done.stdout.split()}


# ---- tokens.csv ------------------------------------------------------------------------------


def test_a_table_of_tokens_is_read_as_it_was_written(tmp_path: Path) -> None:
    tokens = [Token("special", "<s>"), Token("ordinary", ' a,"b" '), Token("padding", None)]
    path = tmp_path / "tokens.csv"
    path.write_text(tokens_table(np.array([2, 0, 1]), tokens), encoding="utf-8")
    assert read_texts(path, [0, 1, 2]) == dict(enumerate(tokens))


def test_a_table_without_rows_or_none_at_all_knows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    assert read_texts(path, [1]) is None
    path.write_text(tokens_table(np.array([1]), []))
    assert read_texts(path, [1]) is None
    assert counts(None, []) == counts([], []) == {}


def test_a_table_of_no_tokens_is_known_and_counts_none(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text(tokens_table(np.empty(0, np.int64), [Token("ordinary", "a")]))
    assert read_texts(path, []) == {}
    assert counts({}, []) == dict.fromkeys(CLASSES, 0)


@pytest.mark.parametrize(
    ("content", "mention"),
    [
        (b"token,class,text\n1,ordinary,a\n", "no token 2"),
        (b"token,class\n1,ordinary\n", "no table of tokens"),
        (b"token,class,text\n", "no token 2"),
        (b"token,class,text\nx,ordinary,a\n", "no table of tokens"),
        (b"token,class,text\n2,odd,a\n", "no table of tokens"),
        (b"token,class,text\n2\n", "no table of tokens"),
        (b'token,class,text\n2,ordinary,"a\n', "no table of tokens"),
        (b"token,class,text\n2,ordinary,\xff\n", "no table of tokens"),
        (b"token,class,text\n2,ordinary,\x1b[2J\n", "token 2: found '\\x1b[2J'"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path: Path, content: bytes, mention: str) -> None:
    path = tmp_path / "tokens.csv"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read_texts(path, [2])
    assert mention in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("text", ["</script>", "</SCRIPT ", "<!--", "a</script"])
def test_what_would_end_a_script_element_is_escaped(text: str, tmp_path: Path) -> None:
    """DVC puts the text of tables into a script element as it is."""
    written = shown(text.encode())
    assert "<" not in written
    assert written.replace(r"\x3C", "<") == text
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps([{"class": "ordinary", "text": text}]))
    with pytest.raises(FileError, match="such characters escaped"):
        read(path)


@pytest.mark.parametrize("text", ["<", "</s>", "<s>", "<|im_start|>", "<script>", "<!-"])
def test_other_markup_is_shown_as_it_is(text: str) -> None:
    assert shown(text.encode()) == text

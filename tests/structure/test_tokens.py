import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_tokens.structure.tokens import Kinds, kinds, script_of
from core_tokens.vocabulary import HIDDEN, Kind, Token, shown

KINDS: tuple[Kind, ...] = get_args(Kind)
LETTERS = {
    "Latin": "aZéßŁ",
    "Han": "中文日々",
    "Cyrillic": "яЖё",
    "Arabic": "مرح",
    "Hangul": "한국ㅎ",
    "Greek": "λΩ",
    "Hebrew": "שע",
    "Devanagari": "हद",
    "Hiragana": "のあ",
    "Katakana": "カナ",
    "Thai": "ไท",
}
"""Script -> letters of it and of no other."""
SHARED = "0 9.,!-…€😀½\u0301"
"""Digits, punctuation, symbols, a mark that any letter may bear: of no one script."""
ESCAPED = [r"\x1B", r"\xE4", r"\u00AD", r"\U000E0041", r"\\", r"\n", r"\r", r"\t"]
"""What `shown` writes for what is not shown as itself."""


def ordinary(text: str) -> str:
    """The script of an ordinary token."""
    return script_of(Token("ordinary", text))


# ---- scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("the", "Latin"),
        (" the", "Latin"),
        ("naïve", "Latin"),
        ("e\u0301", "Latin"),  # the mark is inherited
        ("x1", "Latin"),
        ("don't", "Latin"),
        ("\uff21", "Latin"),  # full width
        ("中文", "Han"),
        ("中文。", "Han"),
        ("привет", "Cyrillic"),
        ("مرحبا", "Arabic"),
        ("한국", "Hangul"),
        ("हिन्दी", "Devanagari"),  # vowel signs and the virama too
        ("𐌀", "Old_Italic"),  # the name as Unicode writes it
        ("ᦀ", "New_Tai_Lue"),
        ("\u07cb", "Nko"),
        ("12", "Common"),
        ("+-=", "Common"),
        ("   ", "Common"),
        ("", "Common"),
        ("😀", "Common"),
        ("ー", "Common"),  # of Hiragana and Katakana alike
        ("\u0301", "Common"),
        ("\u0378", "Common"),  # unassigned
        ("\ue000", "Common"),  # for private use
        ("日本の", "Mixed"),
        ("aя", "Mixed"),
        ("a中b", "Mixed"),
        ("1aя中", "Mixed"),
    ],
)
def test_the_script_of_a_text(text: str, script: str) -> None:
    assert ordinary(text) == script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        *((escape, "Common") for escape in ESCAPED),
        ("".join(ESCAPED), "Common"),
        *((f"{escape}я", "Cyrillic") for escape in ESCAPED),
        *((f"中{escape}", "Han") for escape in ESCAPED),
        (r"\x1B[0m", "Latin"),
        (r"\\n", "Latin"),  # a backslash and an n
        (r"\\x41", "Latin"),
        (r"\\\n", "Common"),  # a backslash and a line end
        (r"\\\\", "Common"),
        (r"\u00ADb", "Latin"),
        (r"\xE4A", "Latin"),
        (r"\U000E00411", "Common"),
        (r"\nя", "Cyrillic"),
        ("n", "Latin"),
        ("x1B", "Latin"),
    ],
)
def test_the_letters_of_an_escape_are_no_letters_of_the_text(text: str, script: str) -> None:
    assert ordinary(text) == script


def test_of_any_hidden_character_and_stray_byte_no_script_is_told() -> None:
    ends = [chr(end) for ends in HIDDEN for end in ends if not 0xD800 <= end <= 0xDFFF]
    assert len(ends) > 70
    for character in [*ends, "\\"]:
        text = shown(character.encode())
        assert text.startswith("\\")
        assert ordinary(text) == "Common", text
        assert ordinary(shown(f"{character}я".encode())) == "Cyrillic", text
    for byte in range(0x80, 0x100):
        assert ordinary(shown(bytes([byte]))) == "Common"


@given(
    st.lists(
        st.sampled_from([*LETTERS.items(), ("", SHARED)]).flatmap(
            lambda pair: st.tuples(st.just(pair[0]), st.sampled_from(pair[1]))
        )
        | st.sampled_from(ESCAPED).map(lambda escape: ("", escape))
    )
)
def test_a_text_is_of_its_letters_script_of_several_or_of_none(
    parts: list[tuple[str, str]],
) -> None:
    scripts = {script for script, _ in parts if script}
    expected = "Mixed" if len(scripts) > 1 else next(iter(scripts), "Common")
    assert ordinary("".join(text for _, text in parts)) == expected


@pytest.mark.parametrize("name", ["CYRILLIC", "GREEK", "HEBREW", "HANGUL", "THAI"])
def test_letters_are_of_the_script_that_their_names_say(name: str) -> None:
    letters = [
        character
        for character in map(chr, range(0x370, 0xD7A4))
        if unicodedata.name(character, "").startswith(f"{name} ")
        and unicodedata.category(character) in ("Lu", "Ll", "Lo")
    ]
    assert len(letters) > 20
    assert {ordinary(letter) for letter in letters} == {name.capitalize()}


@pytest.mark.parametrize("kind", ["special", "byte", "padding"])
@pytest.mark.parametrize("text", ["the", "中", "12", r"\xE4", "", None])
def test_what_is_no_writing_has_no_script(kind: Kind, text: str | None) -> None:
    assert script_of(Token(kind, text)) == "none"


@pytest.mark.parametrize("kind", ["ordinary", "unreachable"])
def test_what_is_writing_has_a_script_unless_its_text_is_unknown(kind: Kind) -> None:
    assert script_of(Token(kind, "the")) == "Latin"
    assert script_of(Token(kind, None)) == "none"


# ---- counts ----------------------------------------------------------------------------------

TOKENS = [
    Token("ordinary", "the"),
    Token("ordinary", "中"),
    Token("unreachable", "я"),
    Token("byte", r"\xE4"),
    Token("ordinary", "of"),
    Token("special", "<s>"),
    Token("padding", None),
    Token("unreachable", "я1"),
    Token("unreachable", "to"),
    Token("ordinary", "…"),
    Token("ordinary", "aя"),
]


def test_the_kinds_of_an_example() -> None:
    found = kinds(TOKENS)
    assert list(found.counts.items()) == [
        (("byte", "none"), 1),
        (("ordinary", "Common"), 1),
        (("ordinary", "Han"), 1),
        (("ordinary", "Latin"), 2),
        (("ordinary", "Mixed"), 1),
        (("padding", "none"), 1),
        (("special", "none"), 1),
        (("unreachable", "Cyrillic"), 2),
        (("unreachable", "Latin"), 1),
    ]
    assert list(found.classes.items()) == [
        ("byte", 1), ("ordinary", 5), ("padding", 1), ("special", 1), ("unreachable", 3),
    ]  # fmt: skip
    assert list(found.scripts.items()) == [
        ("Common", 1), ("Cyrillic", 2), ("Han", 1), ("Latin", 3), ("Mixed", 1),
    ]  # fmt: skip


def test_of_no_tokens_there_are_no_kinds() -> None:
    assert kinds([]) == Kinds({})
    assert kinds([]).classes == kinds([]).scripts == {}


tokens = st.builds(
    Token,
    st.sampled_from(KINDS),
    st.none() | st.text(st.sampled_from("".join(LETTERS.values()) + SHARED), max_size=4),
)


@given(st.lists(tokens))
def test_the_sums_agree(some: list[Token]) -> None:
    found = kinds(iter(some))
    assert sum(found.counts.values()) == sum(found.classes.values()) == len(some)
    written = [t for t in some if t.kind in ("ordinary", "unreachable") and t.text is not None]
    assert sum(found.scripts.values()) == len(written)
    assert list(found.counts) == sorted(found.counts)
    assert list(found.classes) == sorted({token.kind for token in some})
    assert list(found.scripts) == sorted({script_of(token) for token in written})
    for kind, count in found.classes.items():
        assert count == sum(token.kind == kind for token in some) > 0


@given(st.lists(tokens), st.lists(tokens))
def test_the_kinds_of_two_parts_add_up(first: list[Token], second: list[Token]) -> None:
    parts, whole = (kinds(first), kinds(second)), kinds([*second, *first])
    for at in whole.counts:
        assert whole.counts[at] == sum(part.counts.get(at, 0) for part in parts)
    assert whole.counts.keys() == parts[0].counts.keys() | parts[1].counts.keys()

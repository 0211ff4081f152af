import base64
import collections
import json
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer

from checkpoints import real_checkpoints
from core_tokens.errors import FileError
from core_tokens.tokenizer import BYTE_ALPHABET, MEMORY, SECONDS, classified, tokens_of
from core_tokens.vocabulary import CLASSES, Token
from tokenizers_made import (
    BYTE_LEVEL,
    FALLBACKS,
    GPT_2_ORDER,
    TEXT,
    TRAINED,
    added,
    alphabet_of,
    bpe,
    byte_level,
    llama_parts,
    written,
)

PADDING = Token("padding", None)


@cache
def trained(name: str) -> bytes:
    return TRAINED[name]()


def by_name(tokenizer_json: bytes) -> dict[str, Token]:
    """Every token of a tokenizer under its name in the file."""
    vocab = Tokenizer.from_buffer(tokenizer_json).get_vocab()
    tokens = classified(tokenizer_json, max(vocab.values()) + 1)
    return {name: tokens[row] for name, row in vocab.items()}


def ordinary(text: str) -> Token:
    return Token("ordinary", text)


def unreachable(text: str) -> Token:
    return Token("unreachable", text)


def word_pieces(*names: str) -> dict[str, Any]:
    """A WordPiece model, whose unknown token need not be there."""
    return {"type": "WordPiece", "vocab": {name: row for row, name in enumerate(names)},
            "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100}  # fmt: skip


def llama(*names: str, merges: tuple[str, ...] = ()) -> bytes:
    """BPE with byte fallback; an unknown token, the bytes and U+2581 come first."""
    model = bpe(["<unk>", *FALLBACKS, "▁", *names], *merges, unk_token="<unk>", byte_fallback=True)
    return written(model, **llama_parts(), added_tokens=[added(0, "<unk>", special=True)])


# Byte-level BPE.


def test_the_byte_alphabet_is_that_of_gpt_2() -> None:
    assert sorted(BYTE_ALPHABET) == GPT_2_ORDER
    assert sorted(BYTE_ALPHABET.values()) == list(range(256))
    for character in map(chr, [*range(0x3000), 0x4E2D, 0xFFFD, 0x1F44D, 0x10FFFF]):
        written_as = alphabet_of(character)
        assert bytes(BYTE_ALPHABET[letter] for letter in written_as) == character.encode()


def test_in_the_order_of_gpt_2_these_rows_never_occur_in_utf_8() -> None:
    tokens = classified(byte_level(), 256)
    never = {124: 0xC0, 125: 0xC1, **{177 + at: 0xF5 + at for at in range(11)}}
    for row, byte in never.items():
        assert tokens[row] == Token("byte", f"\\x{byte:02X}")


def test_of_the_bytes_alone_only_ascii_are_characters() -> None:
    tokens = classified(byte_level(), 256)
    assert collections.Counter(token.kind for token in tokens) == {"byte": 128, "ordinary": 128}
    texts = {BYTE_ALPHABET[name]: tokens[row].text for row, name in enumerate(GPT_2_ORDER)}
    assert texts[0x20] == " "
    assert texts[0x41] == "A"
    assert texts[0x5C] == r"\\"
    assert (texts[0x00], texts[0x0A], texts[0x1B], texts[0x7F]) == (
        r"\x00",
        r"\n",
        r"\x1B",
        r"\x7F",
    )
    assert all(texts[byte] == f"\\x{byte:02X}" for byte in range(0x80, 0x100))


@pytest.mark.parametrize(
    "text", ["中文", "العربية", "👍🏽", " naïve", "हिन्दी", " the", "  ", "\ufffd"]
)
def test_a_token_is_shown_in_its_own_script_with_its_space(text: str) -> None:
    assert by_name(byte_level(text))[alphabet_of(text)] == ordinary(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\n\n", r"\n\n"), (" \t\n", r" \t\n"), ("\\n", r"\\n"), ("a\u200b", r"a\u200B"),
     ("\u3000\u3000", r"\u3000\u3000"), ("\r\n", r"\r\n")],
)  # fmt: skip
def test_a_token_that_cannot_be_seen_is_escaped(text: str, shown: str) -> None:
    assert by_name(byte_level(text))[alphabet_of(text)] == ordinary(shown)


def test_parts_of_characters_are_bytes() -> None:
    tokens = by_name(byte_level("中文"))
    letters = alphabet_of("中文")
    assert [tokens[letters[:end]] for end in range(2, 7)] == [
        Token("byte", r"\xE4\xB8"),
        ordinary("中"),
        Token("byte", r"中\xE6"),
        Token("byte", r"中\xE6\x96"),
        ordinary("中文"),
    ]


def test_a_token_across_two_characters_is_bytes() -> None:
    across = alphabet_of("中文")[1:4]
    assert by_name(byte_level(beside=[across]))[across] == Token("byte", r"\xB8\xAD\xE6")


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": None},
        {"decoder": None},
        {"pre_tokenizer": None, "decoder": {"type": "Sequence", "decoders": [
            {"type": "Fuse"}, {"type": "Sequence", "decoders": [BYTE_LEVEL]},
        ]}},
        {"decoder": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, BYTE_LEVEL,
        ]}},
        {"decoder": None, "pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "ByteLevel"},
        ]}},
    ],
    ids=["decoder", "pre-tokenizer", "decoders", "pre-tokenizers", "normalizers"],
)  # fmt: skip
def test_byte_level_is_known_by_any_part(parts: dict[str, Any]) -> None:
    tokens, letters = by_name(byte_level("中文", **parts)), alphabet_of("中文")
    assert tokens[letters].text == "中文"
    assert tokens[letters[:5]] == Token("byte", r"中\xE6\x96")


def test_what_is_not_in_the_byte_alphabet_is_itself_and_unreachable() -> None:
    tokens = by_name(byte_level(beside=["中", "a b", "Ġ中"]))
    assert tokens["中"] == unreachable("中")
    assert tokens["a b"] == unreachable("a b")
    assert tokens["Ġ中"] == unreachable("Ġ中")


# What no text leads to.


def test_a_token_without_merges_is_unreachable() -> None:
    tokens = by_name(byte_level("the", beside=["then", "Ġthe"]))
    assert tokens["the"] == ordinary("the")
    assert tokens["then"] == unreachable("then")
    assert tokens["Ġthe"] == unreachable(" the")


def test_a_token_without_merges_is_reached_where_whole_words_need_none() -> None:
    model = bpe([*GPT_2_ORDER, "then"], ignore_merges=True)
    tokens = by_name(written(model, pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL))
    assert tokens["then"] == ordinary("then")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("The", {"normalizer": {"type": "Lowercase"}}),
        ("\N{LATIN SMALL LIGATURE FI}", {"normalizer": {"type": "NFKC"}}),
        ("e\N{COMBINING ACUTE ACCENT}", {"normalizer": {"type": "NFC"}}),
        ("12", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, BYTE_LEVEL | {"use_regex": False},
        ]}}),
        ("a b", {"pre_tokenizer": BYTE_LEVEL}),
        ("  the", {"pre_tokenizer": BYTE_LEVEL}),
    ],
    ids=["lower case", "ligature", "composed", "digits", "words", "spaces"],
)  # fmt: skip
def test_what_is_normalized_or_split_away_is_unreachable(text: str, part: dict[str, Any]) -> None:
    assert by_name(byte_level(text))[alphabet_of(text)] == ordinary(text)
    assert by_name(byte_level(text, **part))[alphabet_of(text)] == unreachable(text)


def test_a_token_is_reached_behind_the_space_that_is_always_put_in_front() -> None:
    always = BYTE_LEVEL | {"add_prefix_space": True}
    tokens = by_name(byte_level("the", " the", pre_tokenizer=always))
    assert tokens["the"] == ordinary("the")
    assert tokens["Ġthe"] == ordinary(" the")


def test_text_with_a_special_token_in_it_is_unreachable() -> None:
    tokens = by_name(byte_level("<s>", " <s>"))
    assert (tokens["<s>"], tokens["Ġ<s>"]) == (ordinary("<s>"), ordinary(" <s>"))
    marked = [added(999, "<s>", special=True)]
    tokens = by_name(byte_level("<s>", " <s>", added_tokens=marked))
    assert (tokens["<s>"], tokens["Ġ<s>"]) == (Token("special", "<s>"), unreachable(" <s>"))


def test_chance_plays_no_part() -> None:
    dropped = bpe([*GPT_2_ORDER, "ab"], "a b", dropout=1.0)
    content = written(dropped, pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL)
    assert by_name(content)["ab"] == ordinary("ab")


def test_what_is_cut_filled_up_or_put_around_plays_no_part() -> None:
    around = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}
    cut = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 10}
    filled = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
              "pad_id": 256, "pad_type_id": 0, "pad_token": "x"}  # fmt: skip
    parts = {"post_processor": around, "truncation": cut, "padding": filled}
    beside = ["then"]  # row 256
    assert classified(byte_level(beside=beside, **parts), 257) == classified(
        byte_level(beside=beside), 257
    )


def test_text_that_has_no_encoding_at_all_leads_to_nothing() -> None:
    model = word_pieces("a", "##b", "##c", "no", "d e")
    content = written(model, pre_tokenizer={"type": "WhitespaceSplit"})
    with pytest.raises(Exception, match=r"Missing \[UNK\] token"):
        encode(content)("b")
    assert [token.kind for token in classified(content, 5)] == [*["ordinary"] * 4, "unreachable"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("\n", ""), ("a", ""), ("1", ""), (".", ""), ("qz", ""), ("я", ""),
     ("", "a"), ("", "1"), ("", "я"), ("a", "a"), ("я", "я")],
)  # fmt: skip
def test_a_token_is_reached_in_the_only_text_where_it_stays_itself(before: str, after: str) -> None:
    elsewhere = rf"(?<!\A{re.escape(before)})x|x(?!{re.escape(after)}\z)"
    changed = {"type": "Replace", "pattern": {"Regex": elsewhere}, "content": "y"}
    assert classified(written(bpe("x"), normalizer=changed), 1) == [ordinary("x")]


def test_a_token_is_reached_where_the_text_begins_after_the_space_that_is_put_there() -> None:
    letters = ("▁", "\n", "a", "1", ".", "z", "я", "t", "h")
    merges = [f"{letter} ▁" for letter in letters]  # before a space there is none to be had
    names = (*letters[1:], *(f"{letter}▁" for letter in letters), "▁t", "▁th")
    tokens = by_name(llama(*names, merges=(*merges, "▁ t", "▁t h")))
    assert tokens["▁th"] == ordinary(" th")


def test_a_token_is_reached_beside_itself_where_no_other_character_is_known() -> None:
    assert classified(written(word_pieces("[UNK]", "ก", "##ก")), 3)[1:] == [
        ordinary("ก"), ordinary("##ก"),
    ]  # fmt: skip


# Added tokens.


def test_added_tokens_are_their_content_and_special_if_marked_so() -> None:
    content = byte_level(added_tokens=[
        added(256, "<|im_start|>", special=True),
        added(257, "<think>", special=False),
        added(258, "中\n", special=True),
        added(259, " Ġ", special=False),
    ])  # fmt: skip
    assert classified(content, 260)[256:] == [
        Token("special", "<|im_start|>"),
        ordinary("<think>"),
        Token("special", r"中\n"),
        ordinary(" Ġ"),
    ]


def test_an_added_token_that_others_always_break_up_is_unreachable() -> None:
    content = byte_level(added_tokens=[
        added(256, "<a>", special=False), added(257, "Q<a>", special=False, normalized=True),
    ])  # fmt: skip
    assert classified(content, 258)[256:] == [ordinary("<a>"), unreachable("Q<a>")]


def test_the_unknown_token_is_special_only_if_marked_so() -> None:
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1}, "unk_token": "<unk>"}
    marked = written(model, added_tokens=[added(0, "<unk>", special=True)])
    assert classified(written(model), 2) == [ordinary("<unk>"), ordinary("a")]
    assert classified(marked, 2) == [Token("special", "<unk>"), ordinary("a")]


# Rows and ids.


def test_rows_without_a_token_are_padding_and_tokens_without_a_row_are_dropped() -> None:
    content = byte_level("the")
    tokens = classified(content, 258)
    assert len(tokens) == 258
    assert classified(content, 300) == [*tokens, *[PADDING] * 42]
    assert classified(content, 256) == tokens[:256]
    assert classified(content, 0) == []


def test_holes_among_the_ids_are_padding() -> None:
    model = bpe({"a": 1, "b": 3, "ab": 6}, "a b")
    assert classified(written(model), 8) == [
        PADDING, ordinary("a"), PADDING, ordinary("b"), PADDING, PADDING, ordinary("ab"), PADDING,
    ]  # fmt: skip


def test_an_absurd_id_takes_no_memory() -> None:
    model = bpe({"a": 0, "b": 4_294_967_295, "c": 1_000_000_000})
    assert classified(written(model), 3) == [ordinary("a"), PADDING, PADDING]


def test_of_tokens_with_one_id_the_first_in_order_is_shown_always() -> None:
    vocab = {f"{at}": 0 for at in range(9, 0, -1)}
    assert {classified(written(bpe(vocab)), 1)[0] for _ in range(8)} == {ordinary("1")}


def test_of_a_token_with_two_ids_one_is_unreachable() -> None:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["a", -1.0]]}
    tokens = classified(written(model), 3)
    assert sorted(tokens[1:], key=str) == [ordinary("a"), unreachable("a")]


# SentencePiece and others.


def test_byte_fallbacks_are_bytes_in_their_notation() -> None:
    tokens = classified(llama(), 257)
    assert tokens == [Token("special", "<unk>"), *(Token("byte", name) for name in FALLBACKS)]


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("decoder", [None, {"type": "ByteFallback"}, {"type": "Fuse"}])
def test_byte_fallback_is_known_by_the_model_or_the_decoder(
    byte_fallback: bool, decoder: dict[str, Any] | None
) -> None:
    vocab = [["<unk>", 0.0], ["<0x0A>", 0.0]]
    model = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": byte_fallback}
    known = byte_fallback or decoder == {"type": "ByteFallback"}
    token = classified(written(model, decoder=decoder), 2)[1]
    assert token == Token("byte" if known else "ordinary", "<0x0A>")


def test_only_two_digits_are_a_byte() -> None:
    others = ["<0xE>", "<0xE4F>", "<0xG0>", "0xE4", "<0xE4> "]
    tokens = by_name(llama(*others))
    assert {tokens[name].kind for name in others} == {"unreachable"}
    assert [tokens[name].text for name in others] == others


def test_sentencepiece_tokens_keep_their_space_and_are_reached_in_the_middle_of_words() -> None:
    merges = ("t h", "▁ th", "▁th e", "i n", "in g", "▁ ▁")
    names = ("t", "h", "e", "i", "n", "g", "th", "▁th", "▁the", "in", "ing", "▁▁", "the", "中")
    tokens = by_name(llama(*names, merges=merges))
    assert tokens["▁the"] == ordinary(" the")
    assert tokens["ing"] == ordinary("ing")
    assert tokens["▁▁"] == ordinary("  ")
    assert tokens["▁"] == ordinary(" ")
    assert tokens["中"] == ordinary("中")
    assert tokens["the"] == unreachable("the")  # no merge of th and e


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_metaspace_tokens_keep_their_space(scheme: str) -> None:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [
        ["<unk>", 0.0], ["▁", -5.0], ["▁the", -1.0], ["ing", -1.0], ["▁▁", -3.0],
    ]}  # fmt: skip
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    content = written(model, pre_tokenizer=metaspace, decoder=metaspace)
    assert classified(content, 5)[1:] == [
        ordinary(" "), ordinary(" the"), ordinary("ing"), ordinary("  "),
    ]  # fmt: skip


def test_an_old_metaspace_keeps_its_space() -> None:
    old = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    content = written(bpe(["▁", "a", "▁a"], "▁ a"), pre_tokenizer=old, decoder=old)
    assert classified(content, 3) == [ordinary(" "), ordinary("a"), ordinary(" a")]


def test_a_unigram_token_that_never_wins_is_unreachable() -> None:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [
        ["<unk>", 0.0], ["a", -1.0], ["b", -1.0], ["ab", -9.0],
    ]}  # fmt: skip
    assert classified(written(model), 4)[3] == unreachable("ab")


def test_wordpiece_tokens_are_as_they_are_and_reached_inside_words() -> None:
    names = ["[UNK]", "a", "sing", "##ing", "##s", "#", "中", "##中", "Sing", "##", "before", "."]
    content = written(
        word_pieces(*names),
        normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                    "strip_accents": None, "lowercase": True},
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        added_tokens=[added(0, "[UNK]", special=True)],
    )  # fmt: skip
    tokens = by_name(content)
    assert {name: tokens[name].text for name in names} == {name: name for name in names}
    kinds = {name: tokens[name].kind for name in names}
    # Every Chinese character is a word, every # too, and no word has capital letters.
    assert [name for name in names if kinds[name] == "unreachable"] == ["##中", "Sing", "##"]
    assert [name for name in names if kinds[name] == "special"] == ["[UNK]"]


def test_wordpiece_tokens_are_not_cleaned_up_and_may_be_nothing_but_the_prefix() -> None:
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    content = written(word_pieces("[UNK]", "##", "a ."), decoder=decoder)
    assert classified(content, 3)[1:] == [ordinary("##"), ordinary("a .")]


def test_the_end_of_a_word_and_its_middle_are_both_reached() -> None:
    names = ["i", "n", "i</w>", "n</w>", "in</w>", "in", "a", "a</w>"]
    model = bpe(names, "i n</w>", "i n", end_of_word_suffix="</w>")
    decoder = {"type": "BPEDecoder", "suffix": "</w>"}
    content = written(model, pre_tokenizer={"type": "WhitespaceSplit"}, decoder=decoder)
    tokens = by_name(content)
    assert (tokens["in"], tokens["in</w>"]) == (ordinary("in"), ordinary("in"))
    assert {token.kind for token in tokens.values()} == {"ordinary"}


def test_the_end_of_a_byte_level_word_stays_in_sight() -> None:
    model = bpe([*GPT_2_ORDER, "n</w>", "in</w>"], "i n</w>", end_of_word_suffix="</w>")
    whole = BYTE_LEVEL | {"use_regex": False}
    tokens = by_name(written(model, pre_tokenizer=whole, decoder=BYTE_LEVEL))
    assert tokens["in</w>"] == ordinary("in</w>")


def test_the_steps_of_a_decoder_keep_their_order() -> None:
    def replace(old: str, new: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": {"String": old}, "content": new}

    inner = {"type": "Sequence", "decoders": [replace("a", "b"), replace("b", "c")]}
    decoder = {"type": "Sequence", "decoders": [inner, replace("c", "d"), replace("d", "x")]}
    assert classified(written(bpe("a"), decoder=decoder), 1) == [ordinary("x")]


def test_without_a_decoder_a_token_is_as_it_is() -> None:
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "▁a": 1, "##b": 2}, "unk_token": "<unk>"}
    content = written(model, pre_tokenizer={"type": "WhitespaceSplit"})
    assert classified(content, 3)[1:] == [ordinary("▁a"), ordinary("##b")]


# Laws.


@cache
def encode(tokenizer_json: bytes) -> Callable[[str], list[int]]:
    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def some_text() -> st.SearchStrategy[str]:
    """Words and pieces of what the tokenizers were trained on, and characters from anywhere."""
    whole = " ".join(TEXT)
    pieces = st.tuples(st.integers(0, len(whole)), st.integers(1, 12)).map(
        lambda cut: whole[cut[0] : sum(cut)]
    )
    others = st.sampled_from([" ", "\n", "  ", "##ing", "<unk>", "[UNK]", "▁", "Ġ", "我", "ß"])
    return st.lists(pieces | others | st.characters(exclude_categories=["Cs"]), max_size=8).map(
        "".join
    )


@pytest.mark.parametrize("name", TRAINED)
@given(text=some_text())
def test_what_an_encoding_holds_is_neither_unreachable_nor_padding(name: str, text: str) -> None:
    tokens = classified_once(name)
    kinds = {tokens[row].kind for row in encode(trained(name))(text)}
    assert kinds <= {"ordinary", "special", "byte"}


@cache
def classified_once(name: str) -> list[Token]:
    return classified(trained(name), 520)


@pytest.mark.parametrize("name", TRAINED)
def test_every_token_of_a_trained_tokenizer_has_a_class_and_a_text(name: str) -> None:
    vocab = Tokenizer.from_buffer(trained(name)).get_vocab()
    tokens = classified(trained(name), len(vocab) + 3)
    assert tokens[-3:] == [PADDING] * 3
    assert all(token.text is not None and token.kind in CLASSES for token in tokens[:-3])
    assert PADDING not in tokens[:-3]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("byte-level", {" the", "thing", "中", r"\xE4", "<|endoftext|>"}),
        ("llama", {" the", "ing", "中", "<0xE4>", "<unk>"}),
        ("unigram", {"ing", "中", "</s>"}),
        ("wordpiece", {"the", "##ing", "中", "[CLS]"}),
        ("word-level", {"the", "中文字符", "."}),
    ],
)
def test_the_tokens_of_trained_tokenizers(name: str, texts: set[str]) -> None:
    assert texts <= {token.text for token in classified(trained(name), 520)}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6))
def test_any_text_that_is_a_token_is_reached(text: str) -> None:
    content = byte_level(text)
    assert by_name(content)[alphabet_of(text)].kind == "ordinary"


# A trained model's.


@pytest.fixture(scope="module")
def real() -> bytes:
    return (real_checkpoints() / "tinystories-656k" / "tokenizer.json").read_bytes()


def test_a_real_tokenizer(real: bytes) -> None:
    tokens = classified(real, 2060)
    assert collections.Counter(token.kind for token in tokens) == {
        "special": 3, "ordinary": 2027, "unreachable": 18, "padding": 12,
    }  # fmt: skip
    assert [token.text for token in tokens[:3]] == ["<unk>", "<|start_story|>", "<|end_story|>"]
    assert set(tokens[2048:]) == {PADDING}
    assert {"day ", " an", ".\\nOne day, ", "ing"} <= {token.text for token in tokens}
    # It was trained on text in which the special token was not one yet.
    dead = {row for row, token in enumerate(tokens) if token.kind == "unreachable"}
    assert dead == {
        row
        for row, token in enumerate(tokens)
        if "<|start_story|>" in str(token.text) and token.kind != "special"
    }


def test_a_real_tokenizer_reads_its_stories(real: bytes) -> None:
    story = "Once upon a time, there was a little girl named Lily.\nShe loved to play."
    tokens, ids = classified(real, 2048), encode(real)(story)
    assert "".join(tokens[row].text or "" for row in ids) == f" {story}".replace("\n", r"\n")
    assert {tokens[row].kind for row in ids} == {"ordinary"}


# The other process.


def test_the_other_process_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    content = trained("byte-level")
    here = classified(content, 520)
    assert tokens_of(content, 520, "x") == here
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert tokens_of(content, 520, "x") == here


def test_a_folder_with_the_name_of_the_library_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tokenizers", "json", "core_tokens"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert tokens_of(byte_level(), 1, "x") == [ordinary("!")]


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="no /proc here")
def test_the_other_process_may_not_take_all_memory_and_time() -> None:
    command = [sys.executable, "-P", "-m", "core_tokens.tokenizer", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        limits = Path(f"/proc/{process.pid}/limits")
        for _ in range(100):
            text = limits.read_text()
            if re.search(rf"Max address space +{MEMORY} ", text):
                break
            time.sleep(0.1)
        process.communicate(b"")
    assert re.search(rf"Max cpu time +{SECONDS} ", text)


@pytest.mark.parametrize(("kind", "most"), [("AS", 300_000_000), ("CPU", 1)])
def test_a_tokenizer_that_takes_too_much_is_one_line(kind: str, most: int) -> None:
    # Under a limit that is lower already, which stays, a token whose text takes longer or more.
    model = json.loads(trained("unigram"))
    model["model"]["vocab"] += [["a" * 3_000_000 + str(n), -1.0] for n in range(20)]
    code = (
        "import resource, sys; from core_tokens.tokenizer import tokens_of; "
        f"resource.setrlimit(resource.RLIMIT_{kind}, ({most}, {most})); "
        "tokens_of(sys.stdin.buffer.read(), 5000, 'x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(model).encode(), capture_output=True
    )
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("core_tokens.errors.FileError: x: found no readable tokenizer (")


def test_this_process_does_not_load_the_library() -> None:
    code = (
        "import sys; from core_tokens.tokenizer import tokens_of; "
        f"tokens_of({byte_level()!r}, 3, 'x'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "tokenizers"} & {name.split(".")[0] for name in done.stdout.split()}
    assert done.stderr == ""


# What is no tokenizer.


def charsmap(data: bytes) -> bytes:
    encoded = base64.b64encode(data).decode()
    normalizer = {"type": "Precompiled", "precompiled_charsmap": encoded}
    return written(bpe("ab"), normalizer=normalizer)


HOSTILE = {
    "nothing": (b"", "EOF while parsing"),
    "no JSON": (b"\x80\x04\x95", "expected value"),
    "half a file": (byte_level()[:-5], "EOF while parsing"),
    "bad UTF-8": (written(bpe(["a"])).replace(b'"a"', b'"\xff"'), "invalid unicode"),
    "a lone surrogate": (written(bpe(["a"])).replace(b'"a"', rb'"\ud800"'), "hex escape"),
    "a list": (b"[]", "invalid type: sequence"),
    "deep": (b"[" * 100_000, "invalid type: sequence"),
    "deep inside": (b'{"model":' * 100_000, "recursion limit"),
    "no model": (b"{}", "Model missing"),
    "no tokenizer": (b'{"architectures": ["LlamaForCausalLM"]}', "expected `,` or `}`"),
    "a later version": (b'{"version": "9.0"}', "Unknown tokenizer version '9.0'"),
    "a model of another kind": (written({"type": "Tekken", "vocab": {}}), "ModelUntagged"),
    "a negative id": (written(bpe({"a": -1})), "invalid value: integer `-1`"),
    "an id beyond 32 bits": (written(bpe({"a": 2**32})), "invalid value: integer `4294967296`"),
    "a merge of nothing": (written(bpe("ab", "a c")), "Token `c` out of vocabulary"),
    "a terminal's escape": (written(bpe("ab", "a \x1b[2J")), r"Token `\x1B[2J` out of vocabulary"),
    "no pattern": (written(bpe("ab"), pre_tokenizer={
        "type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False,
    }), "Oniguruma error"),
    "no decoder": (written(bpe("ab"), decoder={"type": "Nonsense"}), "PyDecoderWrapper"),
    # The library panics over these,
    "an empty table": (charsmap(b""), "Cannot parse precompiled_charsmap"),
    "a wild table": (charsmap(struct.pack("<I", 4) + b"\xff" * 4), "index out of bounds"),
    "pieces of nothing": (
        written(bpe("ab"), pre_tokenizer={"type": "FixedLength", "length": 0}), "chunk size",
    ),
    "an endless pattern": (written(bpe(["x" * 40]), pre_tokenizer={
        "type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False,
    }), "retry-limit"),
    "a prefix too long": (
        written(bpe("ab", "a b", continuing_subword_prefix="####")), "out of range",
    ),
    # and ends the process over this one.
    "a prefix that cuts": (
        written(bpe("aé", "a é", continuing_subword_prefix="#")), "the library ended with code -6",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "found"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_tokenizer_is_refused_in_one_line(
    content: bytes, found: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUST_BACKTRACE", "full")
    with pytest.raises(FileError) as caught:
        tokens_of(content, 3, "a/tokenizer.json")
    message = str(caught.value)
    assert message.startswith("a/tokenizer.json: found no readable tokenizer (")
    assert message.endswith("); expected the tokenizer.json of a model")
    assert found in message
    assert "Cannot instantiate" not in message
    assert message.isprintable()
    assert len(message) < 400
    assert capfd.readouterr() == ("", "")


def test_where_may_be_a_path() -> None:
    with pytest.raises(FileError, match=r"^b/tokenizer\.json: found no readable tokenizer"):
        tokens_of(b"", 3, Path("b/tokenizer.json"))


@given(st.data())
@settings(max_examples=20)  # each is a process
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    content = llama("▁t", "t", merges=("▁ t",))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 40, len(content))))
    damaged = content[:start] + data.draw(st.binary(max_size=3)) + content[end:]
    try:
        tokens = tokens_of(damaged, 300, "x")
    except FileError as error:
        assert str(error).startswith("x: found no readable tokenizer (")  # noqa: PT017
    else:
        assert len(tokens) == 300

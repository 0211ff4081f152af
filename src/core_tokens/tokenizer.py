"""What does tokenizer.json say of each row: which text is it, and does any text lead to it?

Over some files the tokenizers library panics, or aborts the process it is in. It reads them in one
of its own: whatever happens there is one line here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from core_tokens.errors import FileError
from core_tokens.vocabulary import Token, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tokenizers import Tokenizer

CONTEXTS = (
    ("", ""), ("\n", ""), ("a", ""), ("1", ""), (".", ""), ("qz", ""), ("я", ""),
    ("", "a"), ("", "1"), ("", "я"), ("a", "a"), ("я", "я"),
)  # fmt: skip
"""What is put before and after a token's text: it may be only ever in the middle of a word, or
behind a space that is always there. In two scripts, as hardly any token spans both."""


def tokens_of(tokenizer_json: bytes, rows: int, where: str | Path) -> list[Token]:
    """The text and the class of every row of a matrix, as ``classified`` says.

    Args:
        tokenizer_json: the content of the file.
        rows: of the matrix. Tokens beyond are dropped, rows without a token are padding.
        where: the file, for messages.

    Raises:
        FileError: the library cannot read it, or fails over it.
    """
    # -P: a folder called tokenizers where this is run is not the library.
    command = [sys.executable, "-P", "-m", "core_tokens.tokenizer", str(rows)]
    done = subprocess.run(command, input=tokenizer_json, capture_output=True, check=False)
    if done.returncode == 0:
        return msgspec.json.decode(done.stdout, type=list[Token])
    reason = shown(done.stdout[:200]) or f"the library ended with code {done.returncode}"
    raise FileError(where, f"no readable tokenizer ({reason})", "the tokenizer.json of a model")


MEMORY, SECONDS = 8 << 30, 600
"""What reading a tokenizer may take, of address space and of the processors' time: a hundred times
of what the largest of models take."""


def main() -> None:
    """Write what ``classified`` makes of stdin, or the reason why it fails and exit 1."""
    import resource

    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        soft, hard = resource.getrlimit(kind)
        with suppress(OSError, ValueError):  # not every system can limit each
            if soft == resource.RLIM_INFINITY or soft > most:
                resource.setrlimit(kind, (most, hard))
    try:
        answer = msgspec.json.encode(classified(sys.stdin.buffer.read(), int(sys.argv[1])))
    except BaseException as error:  # a panic is no Exception
        reason = str(error).removeprefix("Cannot instantiate Tokenizer from buffer: ")
        sys.stdout.buffer.write(reason.encode("utf-8", "replace"))
        sys.exit(1)
    sys.stdout.buffer.write(answer)


def classified(tokenizer_json: bytes, rows: int) -> list[Token]:
    """``tokens_of`` in this process, with whatever the library raises.

    Text: of a byte fallback its notation, ``<0xE4>``; of any other token what it stands for, its
    leading space included, or the token as it is where no rule says what it stands for (``##ing``).

    Class, the first that applies: padding, no token; special, an added token marked so; byte, a
    byte fallback or no whole characters; unreachable, in no encoding of its text in CONTEXTS nor in
    another that was made on the way; ordinary.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = None
    model = tokenizer.model
    if isinstance(model, BPE):
        model.dropout = None  # chance would decide what is reachable
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    added = tokenizer.get_added_tokens_decoder()
    falls_back = _falls_back(tokenizer, tokenizer_json)
    bytes_of = _bytes_of(tokenizer)

    tokens: list[Token] = []
    texts: dict[int, str] = {}
    for row, name in enumerate(_names(tokenizer, rows)):
        if row in added and added[row].special:
            token = Token("special", shown(added[row].content.encode()))
        elif name is not None and falls_back and re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", name):
            token = Token("byte", name)
        elif row in added:
            texts[row] = added[row].content
            token = Token("ordinary", shown(texts[row].encode()))
        elif name is None:
            token = Token("padding", None)
        else:
            token = Token("ordinary", shown(bytes_of(name)))
            inner = name.removeprefix(prefix).removesuffix(suffix) or name
            try:
                texts[row] = bytes_of(inner).decode()
            except UnicodeDecodeError:
                token = Token("byte", token.text)
        tokens.append(token)
    for row in texts.keys() - _reached(tokenizer, texts):
        tokens[row] = Token("unreachable", tokens[row].text)
    return tokens


def _names(tokenizer: Tokenizer, rows: int) -> list[str | None]:
    """The token of each row in the vocabulary of the model, added tokens apart.

    Of several with one id, the first in the order of code points.
    """
    names: list[str | None] = [None] * rows
    for name, row in tokenizer.get_vocab(with_added_tokens=False).items():
        if row < rows:
            other = names[row]
            names[row] = name if other is None else min(name, other)
    # A token that stands several times in a Unigram model has only its last id there.
    by_id = tokenizer.model.id_to_token
    return [by_id(row) if name is None else name for row, name in enumerate(names)]


class _Model(msgspec.Struct):
    byte_fallback: bool | None = None


class _File(msgspec.Struct):
    model: _Model


def _falls_back(tokenizer: Tokenizer, tokenizer_json: bytes) -> bool:
    """Do tokens like <0xE4> stand for bytes?"""
    if any(step["type"] == "ByteFallback" for step in _steps(tokenizer.decoder)):
        return True
    return msgspec.json.decode(tokenizer_json, type=_File).model.byte_fallback is True


def _bytes_of(tokenizer: Tokenizer) -> Callable[[str], bytes]:
    """From a token to the bytes that it stands for."""
    from tokenizers import Tokenizer

    decoder = _steps(tokenizer.decoder)
    others = _steps(tokenizer.normalizer) + _steps(tokenizer.pre_tokenizer)
    types = {step["type"] for step in decoder + others}
    if "ByteLevel" in types:
        return _from_byte_alphabet
    if "WordPiece" in types:
        return str.encode
    # The decoder of this file, but for what takes the space from the first token of a text.
    kept = [
        step | {"prepend_scheme": "never"} if step["type"] == "Metaspace" else step
        for step in decoder
        if step["type"] != "Strip"
    ]
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    changed = {"model": empty, "decoder": {"type": "Sequence", "decoders": kept}}
    spaced = Tokenizer.from_str(json.dumps(changed)).decoder
    return lambda name: spaced.decode([name]).encode()


def _steps(component: Any) -> list[dict[str, Any]]:
    """A normalizer, pre-tokenizer or decoder as JSON, its sequences taken apart; [] for None."""
    waiting = [] if component is None else [json.loads(component.__getstate__())]
    steps = []
    while waiting:
        step = waiting.pop()
        if step["type"] == "Sequence":
            inner = next(value for value in step.values() if isinstance(value, list))
            waiting += reversed(inner)
        else:
            steps.append(step)
    return steps


def _byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level BPE, since GPT-2, writes the 256 bytes.

    A byte that is a visible character of Latin-1 is that character; the others are in their order
    the characters from U+0100.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {
        chr(0x100 + at): byte for at, byte in enumerate(hidden)
    }


BYTE_ALPHABET = _byte_alphabet()


def _from_byte_alphabet(name: str) -> bytes:
    """The bytes of a byte-level token; one that is not written in the alphabet as it is."""
    try:
        return bytes(BYTE_ALPHABET[character] for character in name)
    except KeyError:
        return name.encode()


def _reached(tokenizer: Tokenizer, texts: Mapping[int, str]) -> set[int]:
    """The ids in the encodings of some texts, each put in a context until its row is among them."""
    seen: set[int] = set()
    for row, text in texts.items():
        for candidate in _in_contexts(text):
            if row in seen:
                break
            # Without an unknown token, text beyond the vocabulary has no encoding.
            with suppress(Exception):
                seen.update(tokenizer.encode(candidate, add_special_tokens=False).ids)
    return seen


def _in_contexts(text: str) -> Iterator[str]:
    yield from (before + text + after for before, after in CONTEXTS)
    yield text.removeprefix(" ")  # which is put in front where a text begins
    yield text + text


if __name__ == "__main__":
    main()

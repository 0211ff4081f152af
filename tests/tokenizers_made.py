"""Small tokenizers of every kind: some written by hand, some trained by the library itself."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any
from unittest.mock import patch

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXT = [
    "the quick brown fox jumps over the lazy dog, the end",
    "thing, nothing, something; in the beginning the king was singing",
    "The year 2024 had 12 months. It's 3.14 or so!\n\nNew paragraph\n",
    "中文字符,中文标点。العربية جميلة 👍🏽👍 naïve café",
] * 3
GPT_2_ORDER = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTE_LEVEL: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
FALLBACKS = [f"<0x{byte:02X}>" for byte in range(256)]


def written(model: Mapping[str, Any], **parts: Any) -> bytes:
    """A tokenizer.json of one model and whatever parts there are."""
    content = {"version": "1.0", "added_tokens": [], **parts, "model": model}
    return json.dumps(content, ensure_ascii=False).encode()


def added(row: int, content: str, *, special: bool, **how: bool) -> dict[str, Any]:
    """An entry of added_tokens."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": row, "content": content, "special": special, **plain, **how}


def bpe(vocab: Iterable[str] | Mapping[str, int], *merges: str, **settings: Any) -> dict[str, Any]:
    """A BPE model; a vocabulary without ids is numbered."""
    ids = vocab if isinstance(vocab, Mapping) else {name: row for row, name in enumerate(vocab)}
    return {"type": "BPE", "vocab": ids, "merges": [list(map(str, m.split(" "))) for m in merges],
            **settings}  # fmt: skip


def byte_level(*words: str, beside: Iterable[str] = (), **parts: Any) -> bytes:
    """Byte-level BPE: the bytes in GPT-2's order, then words, each reached by merges.

    Args:
        words: real text. What is merged on the way, from the left, is a token, too.
        beside: tokens in the byte alphabet to which no merge leads.
        parts: of the tokenizer; by default only a decoder and a pre-tokenizer that splits nothing.
    """
    vocab = list(GPT_2_ORDER)
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = list(alphabet_of(word))
        for pair in merges:
            pieces = _merged(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merged(pieces, merges[-1])
            vocab.append("".join(merges[-1]))
    names = list(dict.fromkeys([*vocab, *beside]))
    defaults = {"pre_tokenizer": BYTE_LEVEL | {"use_regex": False}, "decoder": BYTE_LEVEL}
    return written(bpe(names, *map(" ".join, merges)), **(defaults | parts))


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """One merge, wherever it fits, from the left."""
    done: list[str] = []
    for piece in pieces:
        if done and (done[-1], piece) == pair:
            done[-1] += piece
        else:
            done.append(piece)
    return done


def alphabet_of(text: str) -> str:
    """Text in the characters that stand for its bytes, as the library writes it."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(piece for piece, _ in splitter.pre_tokenize_str(text))


def trained_byte_level() -> bytes:
    """Like GPT-2: a space is put in front, words are split by its pattern."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"], show_progress=False,
    ))  # fmt: skip


def trained_llama() -> bytes:
    """Like Llama's: no pre-tokenizer, spaces as U+2581, bytes for what is unknown."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # lest whole sentences be merged
    content = json.loads(_trained(tokenizer, trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", *FALLBACKS], show_progress=False,
    )))  # fmt: skip
    content |= llama_parts()
    content["pre_tokenizer"] = None
    content["added_tokens"] = [added(0, "<unk>", special=True)]
    return json.dumps(content).encode()


def llama_parts() -> dict[str, Any]:
    """Normalizer and decoder of Llama's tokenizer."""
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    steps = [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]
    return {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, space,
        ]},
        "decoder": {"type": "Sequence", "decoders": steps},
    }  # fmt: skip


def trained_unigram() -> bytes:
    """Like T5's and XLM-R's: Unigram behind Metaspace, which puts a space in front."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer(
        vocab_size=150, unk_token="<unk>", special_tokens=["<unk>", "</s>"], show_progress=False,
    ))  # fmt: skip


def trained_wordpiece() -> bytes:
    """Like BERT's, uncased."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _trained(tokenizer, trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False,
    ))  # fmt: skip


def trained_word_level() -> bytes:
    """Whole words, and no decoder."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _trained(
        tokenizer, trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False)
    )


def _trained(tokenizer: Tokenizer, trainer: Any) -> bytes:
    """Without threads: a later fork in the same process would warn of them."""
    with patch.dict(os.environ, TOKENIZERS_PARALLELISM="false"):
        tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer.to_str().encode()


TRAINED = {
    "byte-level": trained_byte_level,
    "llama": trained_llama,
    "unigram": trained_unigram,
    "wordpiece": trained_wordpiece,
    "word-level": trained_word_level,
}

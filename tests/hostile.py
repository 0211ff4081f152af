"""Files that were made to harm: a seed -> a file, and what becomes of it, in time and memory.

``python tests/hostile.py FIRST LAST`` runs the cases of these seeds, so that one can be seen again.
"""

import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from core_tokens.checkpoint import locate
from core_tokens.errors import CoreTokensError
from core_tokens.folder import Folder
from project import Done, Project, made_project

READERS = {
    "W.safetensors": "cluster",
    "cluster_tokens.safetensors": "measure",
    "measurements.safetensors": "extract",
    "core_tokens.safetensors": "analyse",
}
"""File -> the stage that reads it."""
SECONDS = 10
MEMORY = 3 << 30
"""Address space, most of it of the libraries."""
BAD_NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 7, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30,
    -(2**63), 0.5, 1e308, "3", None, True, [], {},
)  # fmt: skip
BAD_NAMES = (
    "", "W", "__metadata__", "\x00", "\x1b[2J", "a\nb", "../../etc/passwd", "é" * 100, "W" * 70_000,
    "\u202e", "$(touch pwned)",
)  # fmt: skip
BAD_DTYPES = ("BF17", "", "F32\n", "I4", "F4", "U64", "C64", "bf16", "BOOL", "F8_E8M0")


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A file with one to three things wrong."""
    header, data = split(content)
    text: bytes | None = None
    length: int | None = None
    for _ in range(chance.randint(1, 3)):
        tensors = [name for name, entry in header.items() if isinstance(entry, dict)]
        entry = header[chance.choice(tensors)] if tensors else {}
        what = chance.randrange(14)
        if what == 0:
            entry["data_offsets"] = [chance.choice(BAD_NUMBERS), chance.choice(BAD_NUMBERS)]
        elif what == 1 and entry.get("data_offsets"):
            entry["data_offsets"] = entry["data_offsets"][::-1]
        elif what == 2:
            entry["shape"] = [chance.choice(BAD_NUMBERS) for _ in range(chance.randint(0, 5))]
        elif what == 3:
            entry["dtype"] = chance.choice((*BAD_DTYPES, "F32", "F64", "I64", "U8", 3, None))
        elif what == 4 and len(tensors) > 1:
            entry["data_offsets"] = header[chance.choice(tensors)].get("data_offsets")  # overlap
        elif what == 5:
            header[chance.choice(BAD_NAMES)] = chance.choice((entry, {}, [], 3, None, "x"))
        elif what == 6 and tensors:
            header.pop(chance.choice(tensors))
        elif what == 7:
            header["__metadata__"] = chance.choice(({"a": 1}, {"a": "b"}, [], 3, {"a": {"b": "c"}}))
        elif what == 8:
            entry[chance.choice(("extra", "dtype", "shape"))] = chance.choice(BAD_NUMBERS)
        elif what == 9:
            data = data[: chance.randrange(len(data) + 1)]
        elif what == 10:
            data += bytes(chance.randrange(1, 99))
        elif what == 11:
            length = chance.choice((0, 1, 7, 2**20, 2**31, 2**40, 2**63, 2**64 - 1))
        elif what == 12:
            text = harmed_text(chance, json.dumps(header).encode())
        else:
            spot = chance.randrange(len(data) + 1)
            data = data[:spot] + chance.randbytes(min(8, len(data) - spot)) + data[spot + 8 :]
    whole = joined(text if text is not None else json.dumps(header).encode(), data, length)
    if chance.random() < 0.1:
        whole = whole[: chance.randrange(len(whole))]
    return whole


def harmed_text(chance: random.Random, text: bytes) -> bytes:
    """JSON that is none, is too much, or says a thing twice."""
    spot = chance.randrange(len(text))
    first = text[1:-1]
    return chance.choice((
        b"\xef\xbb\xbf" + text,
        text.decode().encode("utf-16"),
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"{" + first + b"," + first + b"}",  # every name twice
        text[:spot] + bytes([chance.randrange(256)]) + text[spot + 1 :],
        text[:spot],
        text + b" " * 1000,
        text + text,
        text.replace(b"[", b"[NaN,", 1),
        text.replace(b"0", b"1e400", 1),
        text.replace(b"0", b"-0", 1),
        b"null", b"3", b'"x"', b"[]", b"{}", b"", b"\x00" * 64,
        b'{"W":' + b"9" * 10_000 + b"}",
    ))  # fmt: skip


def mutated_json(chance: random.Random, content: bytes) -> bytes:
    """An index, a configuration or a tokenizer with something wrong."""
    document = json.loads(content)

    def harm(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict) and value and (depth == 0 or chance.random() < 0.7):
            name = chance.choice(list(value))
            return value | {name: harm(value[name], depth + 1)}
        if isinstance(value, list) and value and chance.random() < 0.7:
            at = chance.randrange(len(value))
            return [*value[:at], harm(value[at], depth + 1), *value[at + 1 :]]
        return chance.choice((*BAD_NUMBERS, *BAD_NAMES, "/etc/passwd", "../W.safetensors", [[]]))

    if chance.random() < 0.3:
        return harmed_text(chance, content)
    return json.dumps(harm(document)).encode()


def check(done: Done, path: Path) -> str:
    """What is wrong with how a command ended: nothing, if well, or in one line."""
    if (done.code, done.out, done.err) == (0, "", ""):
        return ""
    one_line = done.err.startswith("error: ") and done.err.count("\n") == 1
    if done.code != 1 or done.out or not one_line or "Traceback" in done.err:
        return f"{path.name}: {done}"
    if not done.err[:-1].isprintable() or len(done.err) > 3000:
        return f"{path.name}: a line that no terminal should get: {done.err[:300]!a}"
    return ""


def run(seed: int, made: Project, folder: Path) -> str:
    """One case; what is wrong, empty if nothing."""
    chance = random.Random(seed)
    if seed % 5 == 4:
        return run_checkpoint(chance, folder)
    name = chance.choice(list(READERS))
    path = made.data / name
    good = path.read_bytes()
    path.write_bytes(mutated(chance, good))
    before = {name: content for name, (content, _) in made.snapshot().items()}
    try:
        done = made.stage_here(READERS[name], "tiny")
        wrong = check(done, path)
        after = {name: content for name, (content, _) in made.snapshot().items()}
        if done.code and after != before:
            wrong = f"{name}: something was written all the same"
        return wrong
    finally:
        for name, content in before.items():
            if (made.folder / name).is_file():
                (made.folder / name).write_bytes(content)
        path.write_bytes(good)


def run_checkpoint(chance: random.Random, folder: Path) -> str:
    """A folder of shards, of which one or a file beside them is harmed."""
    name = chance.choice([path.name for path in sorted(folder.iterdir())])
    path = folder / name
    good = path.read_bytes()
    path.write_bytes((mutated_json if path.suffix == ".json" else mutated)(chance, good))
    try:
        locate(Folder(folder), None, "unembedding")
    except CoreTokensError as error:
        return check(Done(1, "", f"error: {error}\n"), path)
    finally:
        path.write_bytes(good)
    return ""


def make_checkpoint(folder: Path, made: Project) -> None:
    """The matrix of ``tiny`` in one of two shards."""
    folder.mkdir()
    header, data = split((made.data / "W.safetensors").read_bytes())
    for name, shard in (("lm_head.weight", "1.safetensors"), ("norm.weight", "2.safetensors")):
        (folder / shard).write_bytes(joined(json.dumps({name: header["W"]}).encode(), data))
    index = {"lm_head.weight": "1.safetensors", "norm.weight": "2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": False, "vocab_size": 9}))


def alarmed(run: Callable[[], str]) -> str:
    """Run a case; what is wrong, a time or a memory without bounds, or an error of Python's too."""

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        return run()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def main(first: int, last: int) -> int:
    """Run the cases of some seeds; print those that went wrong."""
    place = Path(tempfile.mkdtemp())
    try:
        (place / "project").mkdir()
        made = made_project(place / "project", "cluster", "measure", "extract", "analyse")
        make_checkpoint(place / "checkpoint", made)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        cases = {
            seed: alarmed(partial(run, seed, made, place / "checkpoint"))
            for seed in range(first, last)
        }
    finally:
        shutil.rmtree(place)
    wrong = {seed: found for seed, found in cases.items() if found}
    for seed, found in wrong.items():
        print(f"seed {seed}: {found}")
    print(f"{last - first} cases, {len(wrong)} went wrong")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))

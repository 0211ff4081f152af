"""Three hundred params.yaml that were made to harm, and cluster files that fit no matrix."""

import random
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from core_tokens import params
from core_tokens.errors import CoreTokensError, FileError
from project import PARAMS, Project, check_refusal, make_project

CASES = 300
VALUES = (
    "", "null", "~", "true", "no", "-1", "0", "1e400", "-.inf", ".nan", "0x10", "1_000", "9" * 400,
    "1" * 5000, "[]", "{}", "[[]]", "{a: {b: c}}", "'", '"', "!!python/object:os.system [x]",
    "!!binary aGk=", "!!float abc", "!!set {a}", "&a [*a]", "*nothing", "<<: {a: b}", "| text",
    "0x" + "f" * 5000, '"\\ud800"', "!!bool x", "!!timestamp x", "!!omap [a: 1]", '"": {}', "? {}",
    "{a: &a [1], b: &b [*a, *a], c: [*b, *b]}", "2026-11-25", "@x", "`x`",
    "%x", "\x00", "\x1b[2J", "\t", "\u202e", "é",
    "a: b: c", "- - - a", "? a", "# only a comment", "/etc/passwd", "$(touch pwned)",
)  # fmt: skip
WHOLE = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf" + PARAMS.encode(), PARAMS.encode("utf-16"),
    PARAMS.encode().replace(b"tiny", b"t\xefny"), b"[" * 600, b"{a: " * 600,
    b"- " * 600 + b"a", b"? " * 600, b"a: &a [1]\n" * 2, PARAMS.encode() * 2,
    b"---\n" + PARAMS.encode() + b"---\n" + PARAMS.encode(), b"null", b"3", b"- models", b"!!str x",
    b"%YAML 9.9\n---\n" + PARAMS.encode(), b"a" * 100_000, b"#" * 100_000,
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    ),  # a billion words in a line of nine
    b"a0: &a0 {x: 1}\n"
    + b"".join(b"a%d: &a%d {<<: [*a%d, *a%d]}\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
    PARAMS.encode() + b"#" * (1 << 20),
)  # fmt: skip


def mutated(seed: int) -> bytes:
    """params.yaml with something wrong."""
    chance = random.Random(seed)
    if chance.random() < 0.3:
        return chance.choice(WHOLE)
    lines = PARAMS.splitlines()
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        what = chance.randrange(6)
        if what <= 2:
            lines[at] = f"{key}{colon} {chance.choice(VALUES)}"
        elif what == 3:
            lines.insert(at, lines[at])  # a key twice, or a block
        elif what == 4:
            lines[at] = chance.choice(("\t", "  ", "-", "? ")) + lines[at]
        else:
            lines[at] = f"{chance.choice(VALUES)}: 1"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_hostile_params_are_valid_or_refused_in_one_line(made: Project, first: int) -> None:
    before = sorted(made.folder.rglob("*"))
    for seed in range(first, first + 50):
        path = made.folder / "params.yaml"
        path.write_bytes(mutated(seed))
        try:
            settings = params.load(path)
        except CoreTokensError as error:
            line = str(error)
            assert line.isprintable(), seed
            assert len(line) < 3000, seed
            check_refusal(made.stage_here("extract", "tiny"), "params.yaml")
        else:
            assert all(params.is_slug(name) for name in settings.names), seed
            assert 0 <= settings.extract.radius < np.inf, seed
    assert sorted(made.folder.rglob("*")) == before


def test_a_hostile_file_is_one_line_from_a_process_too(made: Project) -> None:
    for content in (b"[" * 2_000, WHOLE[-1], b"models: !!python/object:os.system [x]\n"):
        (made.folder / "params.yaml").write_bytes(content)
        check_refusal(made.command_process("summary"), "params.yaml")


IDS = {
    "negative": np.array([1, -1]),
    "beyond the vocabulary": np.array([1, 12]),
    "far beyond it": np.array([1, 2**62]),
    "the smallest there is": np.array([-(2**63), 1]),
    "one twice": np.array([3, 3]),
    "all the same": np.zeros(10_000, np.int64),
    "floats": np.array([1.0, 2.0]),
    "not a number": np.array([np.nan]),
    "32 bits": np.array([1, 2], np.int32),
    "unsigned": np.array([1, 2], np.uint64),
    "truth values": np.array([True, False]),
    "bfloat16": np.array([1, 2], ml_dtypes.bfloat16),
    "two dimensions": np.array([[1, 2]]),
    "no dimension": np.array(1),
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_a_cluster_file_that_fits_no_matrix_is_refused(
    tmp_path: Path, ids: NDArray[np.int64]
) -> None:
    made = make_project(tmp_path)
    made.write_cluster(ids)
    done = made.stage_here("measure", "tiny")
    check_refusal(done, "cluster_tokens.safetensors")
    assert re.search(r"cluster_token_ids|no token", done.err)


def test_ids_in_any_order_are_no_fault(tmp_path: Path) -> None:
    made = make_project(tmp_path)
    made.write_cluster([7, 3, 5])
    assert made.stage_here("measure", "tiny").code == 0


def test_a_cluster_file_without_the_ids_is_refused_with_what_is_there(tmp_path: Path) -> None:
    made = make_project(tmp_path)
    made.write_tensors("cluster_tokens.safetensors", {"ids": np.array([1])})
    check_refusal(made.stage_here("measure", "tiny"), "cluster_token_ids", "ids")
    with pytest.raises(FileError):
        params.load(made.folder / "nothing.yaml")

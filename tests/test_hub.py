"""The files of a model over HTTP: what the real client asks of real servers on loopback."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_tokens import hub as ours
from hub_client import Client
from hub_server import (
    Break,
    Fault,
    Filler,
    Garbage,
    Header,
    Hub,
    IgnoreRange,
    Long,
    RedirectLoop,
    Repo,
    Response,
    Short,
    Stall,
    Status,
    WrongRange,
    sharded_checkpoint,
)

MIB = 1 << 20
BYTES = np.random.default_rng(0).bytes(7 * MIB)
PLAIN, SMALL, LARGE = "org/plain", "data.json", "data.safetensors"
"""A repository with the same kind of bytes from the hub itself and from the CDN."""
FILES = {SMALL: BYTES[:3_000], LARGE: BYTES, "empty.json": b"", "below/data.json": b"{}"}
HEAD, EMBEDDING = (np.full((40, 6), value, np.float32) for value in (1, 2))
WAITS = list(ours.WAITS)


def header_of(length: int) -> bytes:
    """A safetensors file whose header has so many bytes."""
    content: dict[str, Any] = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    return length.to_bytes(8, "little") + json.dumps(content).encode().ljust(length) + bytes(8)


def many_tensors() -> bytes:
    """A file whose header is longer than what is read of it at first."""
    arrays = {f"model.layers.{n}.weight": np.full(2, n, np.float32) for n in range(2_000)}
    return safetensors.numpy.save({**arrays, "lm_head.weight": HEAD})


BOUNDARIES = [ours.HEADER_BYTES - 8 + off for off in (-1, 0, 1)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    shards: list[dict[str, NDArray[Any] | Filler]] = [
        {"model.embed_tokens.weight": EMBEDDING, "norm": np.ones(5)},
        {"gap": Filler("BF16", (50_000, 2)), "lm_head.weight": HEAD},
    ]
    folder = tmp_path_factory.mktemp("files") / "sharded"
    return sharded_checkpoint(folder, shards, {"tie_word_embeddings": False}, b'{"a": 1}')


@pytest.fixture(scope="module")
def running(checkpoint: dict[str, Path]) -> Iterator[Hub]:
    repos: dict[str, dict[str, bytes | Path]] = {
        PLAIN: dict(FILES),
        "org/sharded": dict(checkpoint),
        "org/headers": {f"{length}.safetensors": header_of(length) for length in BOUNDARIES},
        "org/wide": {"model.safetensors": many_tensors()},
        "org/private": {"config.json": b"{}"},
        "org/gated": {"config.json": b"{}"},
        "org/granted": {"config.json": b"{}", "model.safetensors": BYTES[:1_000]},
        "org/empty": {},
    }
    with Hub(
        repos, access={"org/private": "private", "org/gated": "gated", "org/granted": "granted"}
    ) as hub:
        yield hub


@pytest.fixture(scope="module")
def client(running: Hub, home: Path) -> Iterator[Client]:
    with Client({**running.environment(home), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}) as client:
        yield client


@pytest.fixture
def hub(running: Hub) -> Hub:
    running.faults.clear()
    running.reset()
    return running


def files(hub: Hub, repo: str = PLAIN) -> str:
    """The expression for the files of a repository."""
    return f"Hub({repo!r}, {hub.commit(repo)!r})"


def requests(hub: Hub, server: str = "cdn") -> list[tuple[str | None, int]]:
    """The ranges that were asked for, and with which status they were answered."""
    return [(each.range, each.status) for each in hub.log if each.server == server]


# ---- which commit ----------------------------------------------------------------------------


def test_a_revision_leads_to_its_commit(hub: Hub, client: Client) -> None:
    first = hub.commit(PLAIN)
    hub.repos[PLAIN].refs |= {"v1": first, "a/b": first, "refs/pr/1": first}
    second = hub.push(PLAIN, FILES, ref="later", commit="0123456789" * 4)
    revisions = [None, "main", "v1", "a/b", "refs/pr/1", first, "later", second]
    found = client.ask(*(f"commit_of({PLAIN!r}, {revision!r})" for revision in revisions))
    assert found == [first] * 6 + [second] * 2
    assert [request.server for request in hub.log] == ["hub"] * len(revisions)


@pytest.mark.parametrize(
    "revision", ["no", "01234567", "0" * 40, "A" * 40, "x?y=1#z", "../../etc", "%2e", "é"]
)
def test_a_revision_that_is_not_there_is_refused(hub: Hub, client: Client, revision: str) -> None:
    assert client.ask(f"commit_of({PLAIN!r}, {revision!r})") == [
        f"FileError: hf://{PLAIN}@{revision}: found no such revision; "
        "expected a branch, a tag or a commit of the model"
    ]
    assert len(hub.log) == 1


@pytest.mark.parametrize(
    "repo", ["../x", "org/..", "org/a--b", "-/x", "org/x.git", "o" * 97 + "/m"]
)
def test_what_is_no_name_of_a_model_is_never_asked_for(hub: Hub, client: Client, repo: str) -> None:
    assert client.ask(f"commit_of({repo!r}, None)") == [
        f"FileError: hf://{repo}: found no name of a model; expected hf://org/model"
    ]
    assert hub.log == ()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"<html>", b"\xff\xfe\x00", b"null", b"[]", b"5", b"{}", b"[" * 100_000,
        b'{"id": "x"}', b'{"sha": "main"}', b'{"id": "x", "sha": null}',
        b'{"id": "x", "sha": "main"}', b'{"id": "x", "sha": 5}', b'{"id": "x", "siblings": [{}]}',
    ],
    ids=lambda body: repr(body[:30]),
)  # fmt: skip
def test_an_answer_without_a_commit_is_one_line(hub: Hub, client: Client, body: bytes) -> None:
    hub.faults.add("/api/models/*", Garbage(body), times=None)
    (found,) = client.ask(f"commit_of({PLAIN!r}, None)")
    assert found.startswith(f"FileError: hf://{PLAIN}: found ")
    assert "; expected a hub " in found
    assert len(hub.log) == 1


# ---- which revisions -------------------------------------------------------------------------


def revisions(repo: str = PLAIN) -> str:
    """The expression for the branches and tags of a repository."""
    return f"sources.revisions(sources.Model({repo!r}, None))"


def test_branches_and_tags_are_listed_in_order_and_each_once(hub: Hub, client: Client) -> None:
    commit = hub.commit("org/wide")
    refs = {
        "main": commit, "step9": commit, "refs/tags/v1": commit, "refs/tags/step9": commit,
        "a/b": commit, "refs/pr/1": commit, "größe": commit, "hidden\x1b[2J": commit,
    }  # fmt: skip
    hub.repos["org/refs"] = Repo("public", hub.repos["org/wide"].commits, refs)
    names = ["a/b", "größe", "main", "step9", "v1"]
    assert client.ask(revisions("org/refs")) == [sorted(names)]
    assert [(each.server, each.path) for each in hub.log] == [("hub", "/api/models/org/refs/refs")]


def test_each_revision_that_is_listed_leads_to_a_commit(hub: Hub, client: Client) -> None:
    hub.repos["org/empty"].refs["refs/tags/v1.0"] = hub.commit("org/empty")
    (names,) = client.ask(revisions("org/empty"))
    assert names == ["main", "v1.0"]
    found = client.ask(*(f"commit_of('org/empty', {name!r})" for name in names))
    assert found == [hub.commit("org/empty")] * 2


@pytest.mark.parametrize(
    ("repo", "found"),
    [
        ("org/nothing", "hf://org/nothing: found no such model, or a private one; expected "),
        ("org/private", "hf://org/private: found no such model, or a private one; expected "),
        ("../x", "hf://../x: found no name of a model; expected hf://org/model"),
    ],
)
def test_the_revisions_of_no_model_are_refused(
    hub: Hub, client: Client, repo: str, found: str
) -> None:
    (answer,) = client.ask(revisions(repo))
    assert answer.startswith(f"FileError: {found}")
    assert len(hub.log) == (0 if repo == "../x" else 1)


def test_the_revisions_of_a_gated_model_are_public_and_of_a_private_one_for_the_token(
    hub: Hub, client: Client
) -> None:
    assert client.ask(revisions("org/gated")) == [["main"]]
    assert client.ask(revisions("org/private"), HF_TOKEN=hub.token) == [["main"]]


def of_one(name: object) -> bytes:
    """An answer with one branch, whatever it is called."""
    refs = {"branches": [{"name": name, "ref": "x", "targetCommit": "y"}], "tags": []}
    return json.dumps({**refs, "converts": []}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"<html>", b"\xff\xfe\x00", b"null", b"[]", b"{}", b"[" * 100_000,
        b'{"branches": [], "tags": []}', b'{"branches": 5, "tags": [], "converts": []}',
        b'{"branches": [{}], "tags": [], "converts": []}', of_one(5), of_one(None), of_one([]),
        of_one({}),
    ],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
def test_an_answer_without_revisions_is_one_line(hub: Hub, client: Client, body: bytes) -> None:
    hub.faults.add("/api/models/*/refs", Garbage(body), times=None)
    (found,) = client.ask(revisions())
    assert found.startswith(f"FileError: hf://{PLAIN}: found an answer that is not the hub's")
    assert len(hub.log) == 1


def test_revisions_are_asked_for_patiently(hub: Hub, client: Client) -> None:
    hub.faults.add("/api/models/*/refs", Status(503), times=2)
    found, waits = client.ask_and_wait(revisions())
    assert "main" in found[0]
    assert waits == WAITS[:2]


# ---- which files -----------------------------------------------------------------------------


def test_the_files_at_the_top_are_named(hub: Hub, client: Client) -> None:
    where = f"hf://{PLAIN}@{hub.commit(PLAIN)}"
    at = files(hub)
    assert client.ask(f"{at}.names()", f"{at}.at('')", f"{at}.at('x.json')", f"{at}.file") == [
        [SMALL, LARGE, "empty.json"], where, f"{where}/x.json", "",
    ]  # fmt: skip


def test_names_and_sizes_are_asked_for_once(hub: Hub, client: Client) -> None:
    at = files(hub)
    expression = f"[at := {at}, at.names(), at.names(), at.read({SMALL!r}), at.names()][-1]"
    assert client.ask(expression) == [[SMALL, LARGE, "empty.json"]]
    assert [request.path.split("/")[1] for request in hub.log] == ["api", "org"]


def test_a_model_on_the_hub_and_its_copy_in_a_folder_are_the_same_files(
    hub: Hub, client: Client, checkpoint: dict[str, Path]
) -> None:
    here = f"Folder(Path({str(checkpoint['config.json'].parent)!r}))"
    there = files(hub, "org/sharded")
    names = json.dumps(list(checkpoint))
    shards = [name for name in checkpoint if name.endswith(".safetensors")]
    assert len(shards) == 2
    assert client.ask(
        f"{there}.names() == {here}.names() == {names}",
        f"[{there}.read(name) == {here}.read(name) for name in {names}]",
        f"[{there}.header(name) == {here}.header(name) for name in {shards}]",
        f"[locate({there}, None, which).entry for which in ('unembedding', 'embedding')] =="
        f" [locate({here}, None, which).entry for which in ('unembedding', 'embedding')]",
    ) == [True, [True] * 5, [True] * 2, True]


@pytest.mark.parametrize("name", ["no.json", "below/data.json", "", "../data.json"])
def test_a_file_that_is_not_there_is_refused_with_those_that_are(
    hub: Hub, client: Client, name: str
) -> None:
    (found,) = client.ask(f"{files(hub)}.read({name!r})")
    assert ": found no such file; expected one of data.json, data.safetensors" in found
    assert [request.path.split("/")[1] for request in hub.log] == ["api"]


def forged(hub: Hub, size: object, commit: str = "") -> Garbage:
    """What the hub says of a repository with one file, which need not be true."""
    siblings = [{"rfilename": SMALL, "size": size}, {"rfilename": LARGE, "size": size}]
    answer = {"id": PLAIN, "sha": commit or hub.commit(PLAIN), "siblings": siblings}
    return Garbage(json.dumps(answer).encode())


@pytest.mark.parametrize("size", [1_000, 2_999, 3_001, 10**6])
def test_a_size_that_is_not_true_is_noticed(hub: Hub, client: Client, size: int) -> None:
    hub.faults.add("/api/models/*", forged(hub, size), times=None)
    for found in client.ask(f"{files(hub)}.read({SMALL!r})", f"{files(hub)}.header({LARGE!r})"):
        assert found.startswith("FileError: hf://org/plain@")
        assert "the range 'bytes 0-" in found


def test_a_file_too_large_to_be_read_whole_is_not_begun(hub: Hub, client: Client) -> None:
    hub.faults.add("/api/models/*", forged(hub, 1 << 29))
    (found,) = client.ask(f"{files(hub)}.read({SMALL!r})")
    assert f"/{SMALL}: found 536,870,912 bytes; expected at most 268,435,456" in found
    assert len(hub.log) == 1


@pytest.mark.parametrize("size", [None, "five", [], -5, 0])
def test_a_size_that_is_none_is_one_line(hub: Hub, client: Client, size: object) -> None:
    hub.faults.add("/api/models/*", forged(hub, size))
    (found,) = client.ask(f"{files(hub)}.header({LARGE!r})")
    assert found.startswith("FileError: hf://org/plain@")
    assert hub.bytes_sent("*") == 0


# ---- headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", BOUNDARIES)
def test_a_header_is_read_in_one_piece_or_two(hub: Hub, client: Client, length: int) -> None:
    name = f"{length}.safetensors"
    assert client.ask(f"{files(hub, 'org/headers')}.header({name!r}).entries['w'].offset") == [
        length + 8
    ]
    first, more = min(length + 16, ours.HEADER_BYTES), max(0, length + 8 - ours.HEADER_BYTES)
    assert hub.bytes_sent(name) == first + more
    assert len(requests(hub)) == (2 if more else 1)


def test_a_header_of_many_tensors_is_read_to_its_end_and_no_further(
    hub: Hub, client: Client
) -> None:
    content = many_tensors()
    length = int.from_bytes(content[:8], "little")
    assert length > 2 * ours.HEADER_BYTES
    at = files(hub, "org/wide")
    expression = (
        f"[at := {at}, place := locate(at), at.header('model.safetensors'), place.key,"
        " len(at.header('model.safetensors').entries)][-2:]"
    )
    assert client.ask(expression) == [["lm_head.weight", 2_001]]
    assert hub.bytes_sent("model.safetensors") == 8 + length
    assert requests(hub) == [("bytes=0-65535", 206), (f"bytes=65536-{8 + length - 1}", 206)]


# ---- ranges ----------------------------------------------------------------------------------


def test_what_is_asked_for_is_what_comes_and_nothing_else(hub: Hub, client: Client) -> None:
    spans = [(0, 1), (5, 100), (0, 3_000), (2_999, 1), (1_000, 0), (3_000, 0)]
    for name in (SMALL, LARGE):
        hub.reset()
        found = client.ask(*(f"{files(hub)}.chunks({name!r}, {a}, {n})" for a, n in spans))
        assert found == [BYTES[a : a + n].decode("latin-1") for a, n in spans]
        assert hub.bytes_sent(name) == sum(n for _, n in spans)
    assert {request.method for request in hub.log} == {"GET"}


def test_an_empty_file_is_empty_without_a_request(hub: Hub, client: Client) -> None:
    assert client.ask(f"{files(hub)}.read('empty.json')") == [""]
    assert hub.bytes_sent("*") == 0


def test_the_last_bytes_of_a_file_are_read(hub: Hub, client: Client) -> None:
    start = len(BYTES) - 1_000
    assert client.ask(f"{files(hub)}.chunks({LARGE!r}, {start}, 1_000)") == [
        BYTES[start:].decode("latin-1")
    ]
    assert hub.bytes_sent(LARGE) == 1_000


def test_pieces_are_small(hub: Hub, client: Client) -> None:
    expression = f"[len(each) for each in {files(hub)}.chunks({LARGE!r}, 0, {len(BYTES)})]"
    (lengths,) = client.ask(expression)
    assert sum(lengths) == len(BYTES)
    assert max(lengths) <= MIB


@dataclass(frozen=True)
class ShortChunks:
    """The last bytes are missing from a body that announces no length, and ends as it should."""

    by: int

    def __call__(self, response: Response) -> Response:
        return Long(0, chunked=True)(Short(self.by)(response))


@st.composite
def broken_ranges(draw: st.DrawFn) -> tuple[str, int, int, list[Fault]]:
    """A file, a range of it, and what breaks one answer after the other."""
    name = draw(st.sampled_from([SMALL, LARGE]))
    start = draw(st.integers(0, 2_999))
    length = left = draw(st.integers(1, 3_000 - start))
    faults: list[Fault] = []
    kinds = st.sampled_from(["break", "short", "chunks", "status"])
    for kind in draw(st.lists(kinds, max_size=len(WAITS))):
        if kind == "status":
            faults.append(Status(draw(st.sampled_from(sorted(ours.PASSING)))))
        elif kind == "short":  # of which nothing is taken
            faults.append(Short(draw(st.integers(1, left))))
        else:
            brought = draw(st.integers(0, left - 1))
            faults.append(Break(brought) if kind == "break" else ShortChunks(left - brought))
            left -= brought
    return name, start, length, faults


@settings(max_examples=40)
@given(broken_ranges())
def test_any_range_arrives_whole_however_the_connections_break(
    running: Hub, client: Client, case: tuple[str, int, int, list[Fault]]
) -> None:
    name, start, length, faults = case
    running.faults.clear()
    running.reset()
    for fault in faults:
        running.faults.add(name, fault)
    found, waits = client.ask_and_wait(f"{files(running)}.chunks({name!r}, {start}, {length})")
    assert found == [BYTES[start : start + length].decode("latin-1")]
    assert waits == WAITS[: len(faults)]
    bodies = [each for each in running.log if each.file == name and each.status != 302]
    assert [each.faults for each in bodies] == [*((fault,) for fault in faults), ()]
    last = f"-{start + length - 1}"
    assert all(each.range and each.range.endswith(last) for each in bodies)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_connection_is_taken_up_where_it_broke(hub: Hub, client: Client, reset: bool) -> None:
    hub.faults.add(LARGE, Break(700_000, reset=reset))
    expression = f"{files(hub)}.chunks({LARGE!r}, 100_000, 900_000)"
    found, waits = client.ask_and_wait(expression)
    assert found == [BYTES[100_000:1_000_000].decode("latin-1")]
    assert waits == WAITS[:1]
    (_, first), (again, second) = requests(hub)
    assert (first, second) == (206, 206)
    assert again
    begun = int(again.removeprefix("bytes=").partition("-")[0])
    # A reset may take with it what was sent and not read yet.
    assert begun == 800_000 or (reset and 100_000 <= begun < 800_000)


def test_tries_are_counted_anew_where_there_was_progress(hub: Hub, client: Client) -> None:
    for _ in range(6):
        hub.faults.add(LARGE, Break(MIB + 1))
    found, waits = client.ask_and_wait(f"{files(hub)}.chunks({LARGE!r}, 0, {len(BYTES)})")
    assert found == [BYTES.decode("latin-1")]
    assert waits == WAITS[:1] * 6


def test_a_connection_that_brings_little_is_given_up(hub: Hub, client: Client) -> None:
    hub.faults.add(LARGE, Break(1_000), times=None)
    (found,), waits = client.ask_and_wait(f"{files(hub)}.chunks({LARGE!r}, 0, {len(BYTES)})")
    assert found.startswith(f"FileError: hf://{PLAIN}@{hub.commit(PLAIN)}/{LARGE}: found ")
    assert waits == WAITS
    starts = [range_ for range_, _ in requests(hub)]
    assert starts == [f"bytes={at}-{len(BYTES) - 1}" for at in range(0, 4_000, 1_000)]


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        *((Status(status), WAITS) for status in (408, 429, 500, 502, 503, 504)),
        (Break(0), WAITS),
        (Break(0, reset=True), WAITS),
        (Short(3_000), WAITS),
        (ShortChunks(3_000), WAITS),
        (Stall(60), WAITS),
        *((Status(status), []) for status in (400, 401, 403, 404, 410, 416, 418, 451)),
        (Long(), []),
        (Long(10**6), []),
        (Long(chunked=True), []),
        (WrongRange(shift=1), []),
        (WrongRange(shift=-1), []),
        (WrongRange(total=1), []),
        (Header("Content-Range", None), []),
        (Header("Content-Range", "bytes */3000"), []),
        (Header("Content-Range", "junk"), []),
        (RedirectLoop(), []),
    ],
    ids=str,
)
def test_what_does_not_pass_ends_in_one_line_after_few_tries(
    hub: Hub, client: Client, fault: Fault, waits: list[float]
) -> None:
    hub.faults.add(SMALL, fault, times=None)
    (found,), waited = client.ask_and_wait(f"{files(hub)}.chunks({SMALL!r}, 0, 3_000)")
    assert found.startswith(f"FileError: hf://{PLAIN}@{hub.commit(PLAIN)}/{SMALL}: found ")
    assert "; expected " in found
    assert waited == waits
    tries = [request for request in hub.log if request.file == SMALL]
    assert len(tries) == len(waits) + 1


@pytest.mark.parametrize("start", [0, 1])
def test_a_whole_file_is_taken_only_where_the_whole_file_was_asked_for(
    hub: Hub, client: Client, start: int
) -> None:
    hub.faults.add(SMALL, IgnoreRange(), times=None)
    (found,) = client.ask(f"{files(hub)}.chunks({SMALL!r}, {start}, {3_000 - start})")
    if start:
        assert "found status 200 in answer to a range; expected a server that sends parts" in found
        assert len(requests(hub, "hub")) == 2
    else:
        assert found == BYTES[:3_000].decode("latin-1")


def test_a_whole_file_is_not_taken_where_a_part_is_left(hub: Hub, client: Client) -> None:
    hub.faults.add(SMALL, Break(1_000))
    hub.faults.add(SMALL, IgnoreRange())
    (found,) = client.ask(f"{files(hub)}.read({SMALL!r})")
    assert "found status 200 in answer to a range" in found


@pytest.mark.parametrize("value", ['"new"', None])
@pytest.mark.parametrize("broken", [False, True], ids=["later", "taken up"])
def test_another_version_of_a_file_is_not_mixed_with_the_first(
    hub: Hub, client: Client, value: str | None, broken: bool
) -> None:
    if broken:
        hub.faults.add(SMALL, Break(1_000))
    hub.faults.add(SMALL, Header("ETag", value), skip=0 if broken else 1)
    at = files(hub)
    calls = [f"at.chunks({SMALL!r}, {a}, 1_500)" for a in (0, 1_500)]
    (found,) = client.ask(f"[at := {at}, b''.join({calls[0]}), b''.join({calls[1]})][1:]")
    assert f"/{SMALL}: found another version (ETag)" in found


def test_a_file_that_is_replaced_under_way_is_refused(hub: Hub, client: Client) -> None:
    commit = hub.commit(PLAIN)

    def replace(answer: Response) -> Response:
        hub.push(PLAIN, {**FILES, LARGE: bytes(len(BYTES))}, commit=commit)
        return Break(2 * MIB)(answer)

    hub.faults.add(LARGE, replace)
    try:
        (found,) = client.ask(f"{files(hub)}.chunks({LARGE!r}, 0, {len(BYTES)})")
    finally:
        hub.push(PLAIN, FILES, commit=commit)
    assert f"/{LARGE}: found another version (ETag)" in found
    assert [status for _, status in requests(hub)] == [206, 206]


@pytest.mark.parametrize(("name", "pattern"), [(SMALL, SMALL), (LARGE, f"/*/resolve/*/{LARGE}")])
def test_an_answer_of_another_commit_is_refused(
    hub: Hub, client: Client, name: str, pattern: str
) -> None:
    hub.faults.add(pattern, Header("X-Repo-Commit", "0" * 40), times=None)
    commit = hub.commit(PLAIN)
    assert client.ask(f"{files(hub)}.chunks({name!r}, 0, 100)") == [
        f"FileError: hf://{PLAIN}@{commit}/{name}: found the commit '{'0' * 40}' in the answer; "
        f"expected {commit}"
    ]


def test_an_answer_that_says_no_commit_is_taken(hub: Hub, client: Client) -> None:
    hub.faults.add(SMALL, Header("X-Repo-Commit", None), times=None)
    assert client.ask(f"{files(hub)}.read({SMALL!r})") == [BYTES[:3_000].decode("latin-1")]


def test_an_answer_of_fewer_bytes_than_its_range_is_never_mixed_in(
    hub: Hub, client: Client
) -> None:
    """Content-Range promises all of it, Content-Length announces less: something is wrong."""
    hub.faults.add(LARGE, Garbage(b"<html>not the file</html>"))
    assert client.ask(f"{files(hub)}.chunks({LARGE!r}, 0, 1_000)") == [
        BYTES[:1_000].decode("latin-1")
    ]


# ---- patience --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("pattern", ["/api/models/*", SMALL], ids=["model info", "file"])
def test_a_server_that_asks_for_seconds_gets_them(
    hub: Hub, client: Client, status: int, pattern: str
) -> None:
    expression = f"len({files(hub)}.read({SMALL!r}))"
    for wanted, waited in [("7", 7.0), ("60", 60.0), ("0", 0.5), ("-1", 0.5), ("junk", 0.5)]:
        hub.faults.add(pattern, Status(status, retry_after=wanted))
        assert client.ask_and_wait(expression) == ([3_000], [waited])


def test_every_try_waits_at_least_as_long_as_it_would_anyway(hub: Hub, client: Client) -> None:
    hub.faults.add(SMALL, Status(429, retry_after=1), times=3)
    assert client.ask_and_wait(f"len({files(hub)}.read({SMALL!r}))") == ([3_000], [1.0, 2.0, 8.0])


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_a_server_may_ask_for_patience_by_a_date(hub: Hub, client: Client) -> None:
    expression = f"len({files(hub)}.read({SMALL!r}))"
    hub.faults.add(SMALL, Status(429, retry_after=in_seconds(50)))
    found, (waited,) = client.ask_and_wait(expression)
    assert found == [3_000]
    assert 20 < waited <= 50
    hub.faults.add(SMALL, Status(429, retry_after=in_seconds(-50)))
    assert client.ask_and_wait(expression) == ([3_000], [0.5])


@pytest.mark.parametrize("pattern", ["/api/models/*", SMALL, f"/*/resolve/*/{SMALL}"])
@pytest.mark.parametrize("wait", [61, 3_600])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_too_much_patience_is_taken_at_its_word(
    hub: Hub, client: Client, pattern: str, wait: int, status: int
) -> None:
    hub.faults.add(pattern, Status(status, retry_after=wait), times=None)
    (found,), waits = client.ask_and_wait(f"{files(hub)}.read({SMALL!r})")
    assert f"found status {status}; expected " in found
    assert status != 429 or found.endswith(f"in {wait} seconds")
    assert waits == []


def test_too_much_patience_by_a_date_is_named_in_seconds(hub: Hub, client: Client) -> None:
    hub.faults.add(SMALL, Status(429, retry_after=in_seconds(7_200)), times=None)
    (found,), waits = client.ask_and_wait(f"{files(hub)}.read({SMALL!r})")
    assert "found status 429; expected patience: in 7" in found
    assert found.endswith(" seconds")
    assert waits == []


ERROR_BODIES = [
    b"", b"<html>busy</html>", b"[]", b'"busy"', b'{"error": 5}', b'{"errors": [1]}',
    b"\xff\xfe\x00", b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_whatever_stands_in_a_refusal_is_never_quoted_and_never_in_the_way(
    hub: Hub, client: Client, name: str
) -> None:
    expression = f"{files(hub)}.chunks({name!r}, 0, 100)"
    wrong = {}
    for body in ERROR_BODIES:
        hub.faults.clear()
        hub.faults.add(name, Status(403), Garbage(body))
        hub.faults.add(name, Status(503), Garbage(body))
        refused, passed = client.ask(expression, expression)
        status = "found status 403; expected a token" in refused
        if not status or "busy" in refused or passed != BYTES[:100].decode("latin-1"):
            wrong[body[:20]] = (refused[:200], passed[:200])
    assert wrong == {}


def test_whatever_stands_in_a_refusal_to_name_a_commit_is_one_line(
    hub: Hub, client: Client
) -> None:
    for body in ERROR_BODIES:
        hub.faults.clear()
        hub.faults.add("/api/models/*", Status(403), Garbage(body))
        (found,) = client.ask(f"commit_of({PLAIN!r}, None)")
        assert found.startswith(f"FileError: hf://{PLAIN}: found "), body[:20]
        assert "busy" not in found


# ---- no hub ----------------------------------------------------------------------------------


def asked_with(environment: dict[str, str], hub: Hub, home: Path) -> tuple[str, list[float]]:
    with Client({**hub.environment(home), **environment}) as client:
        (found,), waits = client.ask_and_wait(f"commit_of({PLAIN!r}, None)")
        assert isinstance(found, str)
        return found, waits


def test_a_hub_that_is_down_is_one_line_after_a_few_tries(hub: Hub, home: Path) -> None:
    found, waits = asked_with({"HF_ENDPOINT": "http://127.0.0.1:9/"}, hub, home)
    assert found == (
        f"FileError: hf://{PLAIN}: found no connection to the hub (ConnectError); "
        "expected a hub at HF_ENDPOINT"
    )
    assert waits == WAITS


def test_an_address_that_is_none_of_a_hub_is_one_line(hub: Hub, home: Path) -> None:
    found, _ = asked_with({"HF_ENDPOINT": "garbage"}, hub, home)
    assert found.startswith(f"FileError: hf://{PLAIN}: found no connection to the hub ")


def test_another_server_than_a_hub_is_one_line(hub: Hub, home: Path) -> None:
    for endpoint in (hub.cdn_url, f"{hub.url}/nowhere"):
        found, waits = asked_with({"HF_ENDPOINT": endpoint}, hub, home)
        assert found.startswith(f"FileError: hf://{PLAIN}: found status 40")
        assert waits == []


def test_the_network_is_left_alone_where_it_is_forbidden(hub: Hub, home: Path) -> None:
    with Client({**hub.environment(home), "HF_HUB_OFFLINE": "1"}) as client:
        found, waits = client.ask_and_wait(
            f"commit_of({PLAIN!r}, None)", f"{files(hub)}.read({SMALL!r})"
        )
    assert waits == []
    assert hub.log == ()
    for each in found:
        assert each.startswith(f"FileError: hf://{PLAIN}")
        assert "HF_HUB_OFFLINE" in each


@pytest.mark.parametrize(("call", "after"), [("commit_of", None), ("names", 5)])
def test_a_hub_that_falls_silent_is_asked_again(
    hub: Hub, client: Client, call: str, after: int | None
) -> None:
    commit = hub.commit(PLAIN)
    expression, expected = {
        "commit_of": (f"commit_of({PLAIN!r}, None)", commit),
        "names": (f"{files(hub)}.names()", [SMALL, LARGE, "empty.json"]),
    }[call]
    hub.faults.add("/api/models/*", Stall(60, after=after))
    assert client.ask_and_wait(expression) == ([expected], WAITS[:1])


# ---- tokens ----------------------------------------------------------------------------------

MISSING = "no such model, or a private one; expected org/model, or a token that may read it"
GATED = "a gated model; expected access granted on its page, and a token that may read it"
WRONG = "status 401; expected a token that may read it"


def outcomes(hub: Hub, client: Client, **environment: str) -> dict[str, str]:
    """What comes of reading a file of each repository: its bytes, or what was found instead."""
    repos = ("private", "gated", "granted", "no")
    commit = hub.commit("org/private")
    expressions = [
        f"[commit_of('org/{repo}', None), Hub('org/{repo}', {commit!r}).read('config.json')][1:]"
        if repo != "granted"
        else f"{files(hub, 'org/granted')}.read('config.json')"
        for repo in repos
    ]
    found = client.ask(*(f"b''.join({each})" if "[" in each else each for each in expressions),
                       **environment)  # fmt: skip
    kept = [each.partition(": found ")[2].partition(" (HF_TOKEN")[0] or each for each in found]
    return dict(zip(repos, kept, strict=True))


def test_without_a_token_what_is_not_public_is_refused(hub: Hub, client: Client) -> None:
    assert outcomes(hub, client) == {
        "private": MISSING, "gated": GATED, "granted": GATED, "no": MISSING,
    }  # fmt: skip
    assert not any(request.authorized for request in hub.log)


def test_a_wrong_token_is_called_wrong(hub: Hub, client: Client) -> None:
    assert outcomes(hub, client, HF_TOKEN="hf_wrong") == dict.fromkeys(
        ("private", "gated", "granted", "no"), WRONG
    )


@pytest.mark.parametrize("by_file", [False, True], ids=["HF_TOKEN", "a file in HF_HOME"])
def test_the_right_token_opens_what_it_may(
    hub: Hub, client: Client, tmp_path: Path, by_file: bool
) -> None:
    expected = {"private": "{}", "gated": GATED, "granted": "{}", "no": MISSING}
    if by_file:
        (tmp_path / "huggingface").mkdir()
        (tmp_path / "huggingface" / "token").write_text(hub.token + "\n")
        with Client(hub.environment(tmp_path)) as logged_in:
            assert outcomes(hub, logged_in) == expected
    else:
        assert outcomes(hub, client, HF_TOKEN=hub.token) == expected
    assert all(request.authorized for request in hub.log)


def test_the_token_never_reaches_the_cdn(hub: Hub, client: Client) -> None:
    for fault in (None, Status(503), Break(10), Break(10, reset=True)):
        if fault:
            hub.faults.add("model.safetensors", fault)
        at = files(hub, "org/granted")
        found = client.ask(f"{at}.chunks('model.safetensors', 0, 1000)", HF_TOKEN=hub.token)
        assert found == [BYTES[:1_000].decode("latin-1")]
    assert {request.authorized for request in hub.log if request.server == "cdn"} == {False}
    assert {request.authorized for request in hub.log if request.server == "hub"} == {True}


@pytest.mark.parametrize("token", ["hf_é", "hf_模", "Bearer hf_x", "hf_a b", "hf_a\x01"])
def test_a_token_that_cannot_be_one_is_said_to_be_the_fault(client: Client, token: str) -> None:
    (found,), waits = client.ask_and_wait(f"commit_of({PLAIN!r}, None)", HF_TOKEN=token)
    assert found.startswith(f"FileError: hf://{PLAIN}: found ")
    assert "token" in found
    assert token not in found
    assert waits == []


def test_an_empty_token_is_none(hub: Hub, client: Client) -> None:
    for token in ("", " ", "\n"):
        assert client.ask(f"commit_of({PLAIN!r}, None)", HF_TOKEN=token) == [hub.commit(PLAIN)]
    assert not any(request.authorized for request in hub.log)


def test_spaces_around_a_token_do_not_count(hub: Hub, client: Client) -> None:
    commits: Sequence[str] = client.ask(
        "commit_of('org/private', None)", HF_TOKEN=f" {hub.token}\n"
    )
    assert commits == [hub.commit("org/private")]

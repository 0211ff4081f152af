import hashlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from hub_server import (
    Access,
    Break,
    Fault,
    Filler,
    Flip,
    Garbage,
    Header,
    Hub,
    IgnoreRange,
    Long,
    RedirectLoop,
    Request,
    Short,
    Stall,
    Status,
    WrongRange,
    sharded_checkpoint,
    write_safetensors,
)

LARGE = np.random.default_rng(0).bytes(20_000)
CONFIG = b'{"tie_word_embeddings": true}\n'
FILES = {
    "config.json": CONFIG,
    "model.safetensors": LARGE,
    "onnx/quantized/model.onnx": b"small",
    "onnx/README.md": b"",
}
SHARED = "org/model"
RESOLVE = f"/{SHARED}/resolve/main/"


def make_hub(**more: Any) -> Hub:
    """A hub with a repository for each kind of access, all with the same files."""
    access: dict[str, Access] = {
        "org/private": "private",
        "org/gated": "gated",
        "org/granted": "granted",
    }
    return Hub(dict.fromkeys([SHARED, *access], FILES), access=access, **more)


# ---- the real client -------------------------------------------------------------------------

CLIENT = """\
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download

def seek(path, start, count):
    with HfFileSystem().open(path, block_size=64, cache_type="none") as file:
        file.seek(start)
        return file.read(count)

def found(expression):
    try:
        value = eval(expression)
    except Exception as error:
        return type(error).__name__
    return value.decode("latin-1") if isinstance(value, bytes) else value

print(json.dumps([found(expression) for expression in sys.argv[1:]]))
"""


def ask(hub: Hub, home: Path, *expressions: str, token: str = "") -> list[Any]:
    """What the real client finds, each bytes as latin-1, or the name of the error it raises."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *expressions],
        env=hub.environment(home) | ({"HF_TOKEN": token} if token else {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_the_client_finds_commits_branches_and_tags(tmp_path: Path) -> None:
    with make_hub() as hub:
        first = hub.commit(SHARED)
        hub.repos[SHARED].refs["v1"] = first
        second = hub.push(SHARED, {"config.json": b"{}"}, commit="0123456789" * 4)
        hub.push(SHARED, {}, ref="a/b")
        found = ask(
            hub,
            tmp_path,
            "HfApi().model_info('org/model').sha",
            "HfApi().model_info('org/model', revision='v1').sha",
            f"HfApi().model_info('org/model', revision={first!r}).sha",
            "[file.rfilename for file in HfApi().model_info('org/model').siblings]",
            "HfApi().list_repo_files('org/model', revision='v1')",
            "HfApi().list_repo_files('org/model', revision='a/b')",
            "HfFileSystem().cat_file('org/model@v1/config.json')",
            "HfFileSystem().cat_file('org/model/config.json')",
        )
    names = ["config.json", "model.safetensors", "onnx/README.md", "onnx/quantized/model.onnx"]
    assert found == [second, first, first, ["config.json"], names, [], CONFIG.decode(), "{}"]


def test_the_same_files_are_the_same_commit() -> None:
    def commit(**files: bytes) -> str:
        return Hub({SHARED: files}).commit(SHARED)

    assert commit(a=b"1", b=b"2") == commit(b=b"2", a=b"1")
    assert len({commit(a=b"1", b=b"2"), commit(a=b"2", b=b"1"), commit(a=b"1")}) == 3
    assert len(bytes.fromhex(commit())) == 20


def test_the_client_finds_names_and_sizes_and_hashes(tmp_path: Path) -> None:
    with make_hub() as hub:
        found = ask(
            hub,
            tmp_path,
            "HfFileSystem().ls('org/model', detail=False)",
            "HfFileSystem().find('org/model/onnx')",
            "HfFileSystem().info('org/model/onnx')['type']",
            "HfFileSystem().info('org/model/onnx/quantized/model.onnx')['size']",
            "HfFileSystem().info('org/model/model.safetensors')['lfs'].sha256",
            "[file.path for file in HfApi().get_paths_info('org/model', ['config.json', 'onnx'])]",
            "[s.size for s in HfApi().model_info('org/model', files_metadata=True).siblings]",
            "HfApi().verify_repo_checksums('org/model', local_dir=snapshot_download('org/model',"
            " local_dir='" + str(tmp_path / "local") + "')).mismatches",
        )
    assert found == [
        ["org/model/config.json", "org/model/model.safetensors", "org/model/onnx"],
        ["org/model/onnx/README.md", "org/model/onnx/quantized/model.onnx"],
        "directory",
        5,
        hashlib.sha256(LARGE).hexdigest(),
        ["config.json", "onnx"],
        [len(CONFIG), len(LARGE), 0, 5],
        [],
    ]


def test_the_client_reads_ranges_and_whole_files_and_every_byte_is_counted(tmp_path: Path) -> None:
    with make_hub() as hub:
        large, small, middle = ask(
            hub,
            tmp_path,
            "HfFileSystem().open('org/model/model.safetensors').read()",
            "seek('org/model/config.json', 3, 4)",
            "seek('org/model/model.safetensors', 10_000, 1_000)",
        )
        assert hub.bytes_sent("model.safetensors") == 20_000 + 1_000
        assert hub.bytes_sent("config.json") == 4
        assert hub.bytes_sent("*.*") == 21_004
        bodies = [request for request in hub.log if request.file and request.status != 302]
        ranges = [request.range for request in bodies]
    assert large.encode("latin-1") == LARGE
    assert middle.encode("latin-1") == LARGE[10_000:11_000]
    assert small == "ie_w"
    assert ranges == [None, "bytes=3-6", "bytes=10000-10999"]
    assert [request.server for request in bodies] == ["cdn", "hub", "cdn"]


def test_the_client_downloads_files_and_snapshots(tmp_path: Path) -> None:
    with make_hub() as hub:
        small, large = ask(
            hub,
            tmp_path / "files",
            "Path(hf_hub_download('org/model', 'onnx/quantized/model.onnx')).read_bytes()",
            "Path(hf_hub_download('org/model', 'model.safetensors')).read_bytes()",
        )
        assert (small, large.encode("latin-1")) == ("small", LARGE)
        assert {request.method for request in hub.log} == {"HEAD", "GET"}
        hub.reset()
        assert hub.log == ()
        (folder,) = ask(hub, tmp_path / "snapshot", "snapshot_download('org/model')")
        assert Path(folder).name == hub.commit(SHARED)
        assert {name: (Path(folder) / name).read_bytes() for name in FILES} == FILES
        assert hub.bytes_sent("*") == sum(map(len, FILES.values()))


WHAT_A_CLIENT_TRIES = (
    "HfApi().model_info('org/REPO').id",
    "HfFileSystem().ls('org/REPO', detail=False)[0]",
    "HfFileSystem().cat_file('org/REPO/model.safetensors')",
    "hf_hub_download('org/REPO', 'config.json') and 'found'",
)
LISTED = ["org/REPO", "org/REPO/config.json"]
READ = [*LISTED, LARGE.decode("latin-1"), "found"]
NOT_LET_IN = [*LISTED, "GatedRepoError", "GatedRepoError"]
MISSING = [
    "RepositoryNotFoundError",
    "FileNotFoundError",
    "FileNotFoundError",
    "RepositoryNotFoundError",
]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (
            "",
            {
                "model": READ,
                "private": MISSING,
                "gated": NOT_LET_IN,
                "granted": NOT_LET_IN,
                "nothing": MISSING,
            },
        ),
        (
            "hf_TheTokenOfATester",
            {
                "model": READ,
                "private": READ,
                "gated": NOT_LET_IN,
                "granted": READ,
                "nothing": MISSING,
            },
        ),
        ("hf_wrong", dict.fromkeys(("model", "private", "nothing"), ["HfHubHTTPError"] * 4)),
    ],
    ids=["no token", "the token", "a wrong token"],
)
def test_the_client_may_read_what_its_token_allows(
    tmp_path: Path, token: str, expected: dict[str, list[str]]
) -> None:
    tries = [text.replace("REPO", repo) for repo in expected for text in WHAT_A_CLIENT_TRIES]
    outcome = [text.replace("REPO", repo) for repo in expected for text in expected[repo]]
    with make_hub() as hub:
        assert ask(hub, tmp_path, *tries, token=token) == outcome
        asked = {
            server: {request.authorized for request in hub.log if request.server == server}
            for server in ("hub", "cdn")
        }
    assert asked["hub"] == {bool(token)}
    assert True not in asked["cdn"]


def test_the_client_misses_what_is_not_there(tmp_path: Path) -> None:
    with make_hub() as hub:
        assert ask(
            hub,
            tmp_path,
            "HfApi().model_info('org/model', revision='no').sha",
            "HfFileSystem().ls('org/model@no')",
            "hf_hub_download('org/model', 'config.json', revision='no')",
            "hf_hub_download('org/model', 'no.json')",
            "HfFileSystem().open('org/model/no.json')",
            "HfFileSystem().ls('org/model/no')",
            "list(HfApi().list_repo_tree('org/model', 'no'))",
        ) == [
            "RevisionNotFoundError",
            "FileNotFoundError",
            "RevisionNotFoundError",
            "RemoteEntryNotFoundError",
            "FileNotFoundError",
            "FileNotFoundError",
            "RemoteEntryNotFoundError",
        ]


def test_the_client_tries_again_after_a_fault(tmp_path: Path) -> None:
    with make_hub() as hub:
        hub.faults.add("model.safetensors", Status(503))
        found = ask(hub, tmp_path, "seek('org/model/model.safetensors', 7, 1)")
        assert found == [LARGE[7:8].decode("latin-1")]
        bodies = [request for request in hub.log if request.server == "cdn"]
        assert [(body.status, body.faults) for body in bodies] == [(503, (Status(503),)), (206, ())]
        assert hub.bytes_sent("model.safetensors") == 1


# ---- the bare wire ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came: ``end`` is the error that ended it, if any."""

    status: int
    headers: dict[str, str]
    body: bytes
    end: type[Exception] | None = None


def get(url: str, wanted: str = "", method: str = "GET", token: str = "", body: str = "") -> Answer:
    """One request on a connection of its own; no redirect is followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    headers = {"Range": f"bytes={wanted}"} if wanted else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    end: type[Exception] | None = None
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body or None, headers)
        response = connection.getresponse()
        try:
            text = response.read()
        except http.client.IncompleteRead as error:
            text, end = error.partial, type(error)
        except ConnectionResetError as error:
            text, end = b"", type(error)
        return Answer(response.status, dict(response.getheaders()), text, end)
    except http.client.RemoteDisconnected as error:
        return Answer(0, {}, b"", type(error))
    finally:
        connection.close()


def read(hub: Hub, file: str, wanted: str = "") -> Answer:
    """The content of a file, from wherever the hub says it is."""
    answer = get(hub.url + RESOLVE + file, wanted)
    if answer.status == 302 and answer.headers["Location"].startswith(hub.cdn_url):
        return get(answer.headers["Location"], wanted)
    return answer


@pytest.mark.parametrize("lfs_from", [1, 10**6], ids=["from the CDN", "from the hub"])
@pytest.mark.parametrize(
    ("wanted", "status", "body", "range_"),
    [
        ("", 200, b"0123456789", None),
        ("0-", 206, b"0123456789", "bytes 0-9/10"),
        ("0-0", 206, b"0", "bytes 0-0/10"),
        ("3-5", 206, b"345", "bytes 3-5/10"),
        ("7-", 206, b"789", "bytes 7-9/10"),
        ("7-1000", 206, b"789", "bytes 7-9/10"),
        ("-3", 206, b"789", "bytes 7-9/10"),
        ("-1000", 206, b"0123456789", "bytes 0-9/10"),
        ("10-", 416, b"", "bytes */10"),
        ("0-1,3-4", 200, b"0123456789", None),
        ("x", 200, b"0123456789", None),
    ],
)
def test_ranges(
    tmp_path: Path, lfs_from: int, wanted: str, status: int, body: bytes, range_: str | None
) -> None:
    path = tmp_path / "on disk"
    path.write_bytes(b"0123456789")
    with Hub({SHARED: {"disk": path, "memory": b"0123456789"}}, lfs_from=lfs_from) as hub:
        for file in ("disk", "memory"):
            answer = read(hub, file, wanted)
            assert (answer.status, answer.body) == (status, body)
            assert answer.headers.get("Content-Range") == range_
            assert answer.headers["Content-Length"] == str(len(body))
            assert hub.bytes_sent(file) == len(body)
        last = hub.log[-1]
        where = {1: "cdn", 10**6: "hub"}[lfs_from]
        assert (last.server, last.file, last.sent) == (where, "memory", len(body))


def test_a_large_file_is_somewhere_else_and_its_address_is_signed() -> None:
    with make_hub() as hub:
        answer = get(hub.url + RESOLVE + "model.safetensors", token=hub.token)
        assert (answer.status, answer.body) == (302, b"")
        assert answer.headers["X-Repo-Commit"] == hub.commit(SHARED)
        assert answer.headers["X-Linked-Size"] == "20000"
        assert answer.headers["X-Linked-Etag"] == f'"{hashlib.sha256(LARGE).hexdigest()}"'
        address = answer.headers["Location"]
        assert urlsplit(address).netloc != urlsplit(hub.url).netloc
        assert get(address).body == LARGE
        assert get(address, token=hub.token).status == 200
        assert get(address.partition("?")[0]).status == 403
        assert get(address.replace("Signature=", "Signature=x")).status == 403
        assert [(request.server, request.authorized) for request in hub.log] == [
            ("hub", True),
            ("cdn", False),
            ("cdn", True),
            ("cdn", False),
            ("cdn", False),
        ]


def test_a_tree_is_a_folder_or_all_below_it() -> None:
    with make_hub() as hub:

        def paths(folder: str) -> list[str]:
            answer = get(f"{hub.url}/api/models/{SHARED}/tree/main{folder}")
            return [entry["path"] for entry in json.loads(answer.body)]

        below = ["onnx/README.md", "onnx/quantized", "onnx/quantized/model.onnx"]
        assert paths("") == ["config.json", "model.safetensors", "onnx"]
        assert paths("/onnx") == below[:2]
        assert paths("/onnx%2Fquantized?recursive=false") == below[2:]
        assert paths("/onnx?recursive=true") == below
        assert paths("?recursive=true") == ["config.json", "model.safetensors", "onnx", *below]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "no.json"])
def test_a_head_has_the_headers_of_a_get_and_no_body(file: str) -> None:
    with make_hub() as hub:
        head = get(hub.url + RESOLVE + file, method="HEAD")
        full = get(hub.url + RESOLVE + file)
        assert head.body == b""
        assert hub.log[0].sent == 0
    for answer in (head, full):
        del answer.headers["Date"]
    assert (head.status, head.headers) == (full.status, full.headers)
    assert head.headers["X-Repo-Commit"] == hub.commit(SHARED)


def test_a_refusal_says_why() -> None:
    with make_hub() as hub:

        def why(path: str, token: str = "") -> tuple[int, str | None]:
            answer = get(hub.url + path, token=token)
            assert json.loads(answer.body)["error"] == answer.headers["X-Error-Message"]
            return answer.status, answer.headers.get("X-Error-Code")

        assert why("/api/models/org/no") == (401, "RepoNotFound")
        assert why("/api/models/org/no", hub.token) == (404, "RepoNotFound")
        assert why("/api/models/org/private") == (401, "RepoNotFound")
        assert why("/org/private/resolve/main/config.json") == (401, "RepoNotFound")
        assert why("/org/gated/resolve/main/config.json") == (401, "GatedRepo")
        assert why("/org/gated/resolve/main/config.json", hub.token) == (403, "GatedRepo")
        assert why("/api/models/org/model/revision/no") == (404, "RevisionNotFound")
        assert why("/org/model/resolve/no/config.json") == (404, "RevisionNotFound")
        assert why("/org/model/resolve/main/no.json") == (404, "EntryNotFound")
        assert why("/api/models/org/model/tree/main/no") == (404, "EntryNotFound")
        assert why("/api/models/org/model", "hf_wrong") == (401, None)
        assert why("/api/datasets/org/model") == (404, None)


def test_a_connection_is_kept_alive_and_ends_with_the_hub() -> None:
    with make_hub() as hub:
        connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=30)
        for _ in range(2):
            connection.request("GET", RESOLVE + "config.json")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, CONFIG)
            assert connection.sock is not None
    assert connection.sock.recv(1) == b""
    connection.close()


def test_many_may_ask_at_once() -> None:
    with make_hub() as hub:
        threads = [
            threading.Thread(target=read, args=(hub, "model.safetensors")) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hub.bytes_sent("model.safetensors") == 20 * 20_000
        assert len(hub.log) == 40


def test_the_log_tells_what_was_asked_and_sent() -> None:
    with make_hub() as hub:
        get(hub.url + RESOLVE + "onnx%2Fquantized%2Fmodel.onnx?x=1", "1-2", token=hub.token)
        assert hub.log == (
            Request(
                server="hub",
                method="GET",
                path=RESOLVE + "onnx/quantized/model.onnx",
                range="bytes=1-2",
                authorized=True,
                file="onnx/quantized/model.onnx",
                status=206,
                sent=2,
            ),
        )
        answer = get(hub.url + "/api/models/org/model")
        assert hub.bytes_sent() == 2 + len(answer.body)
        assert hub.bytes_sent("*") == 2
        hub.reset()
        assert (len(hub.log), hub.bytes_sent()) == (0, 0)


def test_a_process_gets_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with make_hub() as hub:
        environment = hub.environment(tmp_path)
    assert {name: value for name, value in environment.items() if name.startswith("HF_")} == {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "huggingface"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


# ---- faults ----------------------------------------------------------------------------------

Check = Callable[[Answer], object]
PART = LARGE[100:200]


def status(code: int, **headers: str | None) -> Check:
    """An answer with this status and these headers, None for one that is not there."""

    def check(answer: Answer) -> bool:
        found = {name: answer.headers.get(name.replace("_", "-")) for name in headers}
        return (answer.status, found) == (code, headers)

    return check


def part(
    body: bytes,
    range_: str | None = "bytes 100-199/20000",
    length: int | None = 100,
    end: type[Exception] | None = None,
) -> Check:
    """A partial answer with this body, Content-Range and Content-Length, that ends so."""
    headers = {
        "Content_Range": range_,
        "Content_Length": None if length is None else str(length),
        "Transfer_Encoding": "chunked" if length is None else None,
    }
    return lambda answer: (
        status(206, **headers)(answer) and (answer.body, answer.end) == (body, end)
    )


FAULTS: dict[str, tuple[tuple[Fault, ...], Check]] = {
    "401": ((Status(401),), status(401)),
    "403": ((Status(403, code="GatedRepo"),), status(403, X_Error_Code="GatedRepo")),
    "404": ((Status(404),), status(404)),
    "429": ((Status(429),), status(429, Retry_After=None)),
    "429, wait": ((Status(429, retry_after=7),), status(429, Retry_After="7")),
    "429, date": ((Status(429, retry_after="Thu"),), status(429, Retry_After="Thu")),
    "500": ((Status(500),), status(500)),
    "502": ((Status(502),), status(502)),
    "503": ((Status(503),), status(503)),
    "broken at once": ((Break(0),), part(b"", end=http.client.IncompleteRead)),
    "broken": ((Break(30),), part(PART[:30], end=http.client.IncompleteRead)),
    "reset": ((Break(30, reset=True),), lambda answer: answer.end is ConnectionResetError),
    "short": ((Short(10),), part(PART[:-10], length=90)),
    "empty": ((Short(100),), part(b"", length=0)),
    "long": ((Long(2),), part(PART + bytes(2), length=102)),
    "long, chunked": ((Long(2, chunked=True),), part(PART + bytes(2), length=None)),
    "shifted": ((WrongRange(shift=1),), part(PART, "bytes 101-200/20000")),
    "another total": ((WrongRange(total=-1),), part(PART, "bytes 100-199/19999")),
    "no range": ((Header("Content-Range", None),), part(PART, None)),
    "range ignored": (
        (IgnoreRange(),),
        lambda answer: status(200, Content_Range=None)(answer) and answer.body == LARGE,
    ),
    "changed": ((Header("ETag", '"new"'),), status(206, ETag='"new"')),
    "stalled": ((Stall(0.01),), part(PART)),
    "stalled inside": ((Stall(0.01, after=50),), part(PART)),
    "first byte wrong": ((Flip(),), part(bytes([PART[0] ^ 255]) + PART[1:])),
    "last byte wrong": ((Flip(99),), part(PART[:-1] + bytes([PART[-1] ^ 255]))),
    "garbage": ((Garbage(b"<html>"),), part(b"<html>", length=6)),
    "loop": ((RedirectLoop(),), status(302, Location="/redirect-loop")),
    "shifted and wrong": (
        (WrongRange(shift=-100), Flip(1), Stall(0.01, after=1)),
        part(PART[:1] + bytes([PART[1] ^ 255]) + PART[2:], "bytes 0-99/20000"),
    ),
    "long and broken": (
        (Long(50), Break(120)),
        part(PART + bytes(20), length=150, end=http.client.IncompleteRead),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_does_on_the_wire_what_it_says(name: str) -> None:
    faults, holds = FAULTS[name]
    with make_hub() as hub:
        hub.faults.add("model.safetensors", *faults)
        bad, good = (read(hub, "model.safetensors", "100-199") for _ in range(2))
        assert holds(bad), bad
        assert part(PART)(good), good
        assert [request.faults for request in hub.log if request.server == "cdn"] == [faults, ()]
        if bad.end is not ConnectionResetError:
            assert hub.log[1].sent == len(bad.body)


def test_a_redirect_loop_never_ends() -> None:
    with make_hub() as hub:
        hub.faults.add("config.json", RedirectLoop())
        address = hub.url + RESOLVE + "config.json"
        for _ in range(30):
            answer = get(address)
            assert answer.status == 302
            address = hub.url + answer.headers["Location"]


@pytest.mark.parametrize(("after", "status", "sent"), [(None, 0, 0), (0, 200, 0), (3, 200, 3)])
def test_a_stall_ends_when_the_client_hangs_up(after: int | None, status: int, sent: int) -> None:
    with make_hub() as hub:
        hub.faults.add("config.json", Stall(3600, after=after))
        address = ("127.0.0.1", urlsplit(hub.url).port)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(f"GET {RESOLVE}config.json HTTP/1.1\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1000):
                pass
        (request,) = hub.log
        assert (request.status, request.sent) == (status, sent)


def test_a_stall_ends_with_the_hub() -> None:
    with make_hub() as hub:
        hub.faults.add("config.json", Stall(3600, after=3))
        connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=30)
        connection.request("GET", RESOLVE + "config.json")
        response = connection.getresponse()
        assert response.read(3) == b'{"t'
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()


def statuses(hub: Hub, path: str, count: int, method: str = "GET") -> list[int]:
    return [get(hub.url + path, method=method).status for _ in range(count)]


def test_a_fault_has_its_turn() -> None:
    with make_hub() as hub:
        path = RESOLVE + "config.json"
        hub.faults.add("config.json", Status(500), skip=1, times=2)
        hub.faults.add("*.json", Status(502))
        hub.faults.add("config.json", Status(503), times=None)
        assert statuses(hub, path, 6) == [502, 500, 500, 503, 503, 503]
        assert statuses(hub, RESOLVE + "onnx/README.md", 1) == [200]
        hub.faults.clear()
        assert statuses(hub, path, 1) == [200]


def test_a_fault_may_be_for_an_address() -> None:
    with make_hub() as hub:
        hub.faults.add("/api/models/*/tree/*", Garbage(b"<html>"), times=None)
        hub.faults.add("/*/resolve/*/m*", Header("X-Repo-Commit", "0" * 40), Stall(0.01))
        hub.faults.add("/*/resolve/*", Status(429), method="HEAD")
        hub.faults.add("*", Status(500), method="POST", times=None)
        assert get(hub.url + "/api/models/org/model/tree/main").body == b"<html>"
        assert get(hub.url + "/api/models/org/model").status == 200
        answer = get(hub.url + RESOLVE + "model.safetensors")
        assert (answer.status, answer.headers["X-Repo-Commit"]) == (302, "0" * 40)
        assert statuses(hub, RESOLVE + "config.json", 2, "HEAD") == [429, 200]
        form = "paths=config.json&paths=no"
        answer = get(hub.url + "/api/models/org/model/paths-info/main", method="POST", body=form)
        assert [entry["path"] for entry in json.loads(answer.body)] == ["config.json"]


def test_a_redirect_is_no_content() -> None:
    with make_hub() as hub:
        hub.faults.add("model.safetensors", Status(500))
        assert statuses(hub, RESOLVE + "model.safetensors", 2) == [302, 302]
        assert statuses(hub, RESOLVE + "no.json", 1) == [404]
        assert read(hub, "model.safetensors").status == 500


def spoil(fault: Fault, error: Exception | None = None) -> None:
    with make_hub() as hub:
        hub.faults.add("config.json", fault)
        assert read(hub, "config.json").end is http.client.RemoteDisconnected
        if error:
            raise error


def test_a_fault_that_makes_no_sense_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="the server failed"):
        spoil(WrongRange(shift=1))
    with pytest.raises(OSError, match="of the test") as caught:
        spoil(Header("Content-Range", None), OSError("of the test"))
    assert "the server failed" in caught.value.__notes__[0]


# ---- checkpoints -----------------------------------------------------------------------------


def test_a_sharded_checkpoint_is_what_its_index_says(tmp_path: Path) -> None:
    head = np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3)
    norm = np.ones(5, np.float32)
    shards: list[dict[str, NDArray[Any] | Filler]] = [
        {"norm": norm, "wide": Filler("BF16", (4, 3))},
        {"gap": Filler("U8", (7,)), "head": head},
    ]
    files = sharded_checkpoint(tmp_path / "new" / "folder", shards, {"a": 1}, b"{}")
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    rest = ["model.safetensors.index.json", "tokenizer.json"]
    assert list(files) == ["config.json", first, second, *rest]
    assert json.loads(files["config.json"].read_bytes()) == {"a": 1}
    assert files["tokenizer.json"].read_bytes() == b"{}"
    index = json.loads(files["model.safetensors.index.json"].read_bytes())
    assert index["weight_map"] == {"gap": second, "head": second, "norm": first, "wide": first}
    assert index["metadata"] == {"total_size": 20 + 24 + 7 + 12}
    loaded = load_file(files[first])
    np.testing.assert_array_equal(loaded["norm"], norm)
    np.testing.assert_array_equal(loaded["wide"], np.zeros((4, 3), ml_dtypes.bfloat16))
    np.testing.assert_array_equal(load_file(files[second])["head"], head)
    assert "tokenizer.json" not in sharded_checkpoint(tmp_path / "plain", shards)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of 64 MiB and some bytes, the last of which is no zero."""
    path = tmp_path / "model.safetensors"
    size = write_safetensors(path, {"filler": Filler("F32", (1 << 12, 1 << 12)), "x": np.ones(1)})
    assert size == (1 << 26) + 8
    assert path.stat().st_blocks * 512 < 1 << 20
    return path


def test_a_large_file_costs_no_memory(large: Path) -> None:
    with Hub({SHARED: {large.name: large}}) as hub:
        url = urlsplit(get(hub.url + RESOLVE + large.name).headers["Location"])
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        connection.request("GET", f"{url.path}?{url.query}")
        response = connection.getresponse()
        tracemalloc.start()
        received = 0
        while chunk := response.read(1 << 20):
            received, last = received + len(chunk), chunk
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        connection.close()
        assert received == large.stat().st_size == hub.bytes_sent(large.name)
    assert last.endswith(np.float64(1).tobytes())
    assert peak < 1 << 24


def test_what_a_client_that_leaves_did_not_get_is_not_counted(large: Path) -> None:
    with Hub({SHARED: {large.name: large}}) as hub:
        url = urlsplit(get(hub.url + RESOLVE + large.name).headers["Location"])
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        connection.request("GET", f"{url.path}?{url.query}")
        connection.getresponse().read(1 << 20)
        connection.close()
        assert 1 << 20 <= hub.bytes_sent(large.name) < 1 << 25

"""A model hub on loopback: what the real client asks for, answered, counted, and spoiled on demand.

    with Hub({"org/model": sharded_checkpoint(tmp_path / "model", [{"w": array}])}) as hub:
        hub.faults.add("*.safetensors", Break(after=100), times=2)
        subprocess.run(command, env=hub.environment(tmp_path / "home"), check=True)
        assert hub.bytes_sent("*.safetensors") == 1234
        assert not any(request.authorized for request in hub.log if request.server == "cdn")

Like the real one it has two servers: the hub knows repositories and tokens and serves small files
itself; large files it redirects to a CDN that knows neither, but wants a signed address.
"""

import hashlib
import json
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from fnmatch import fnmatchcase
from functools import cached_property, reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 20
Access = Literal["public", "private", "gated", "granted"]
"""Who may read a repository: all; who has the token; nobody yet; who has the token and was let in.

Of the last two, the names, sizes and commits are public, as at the real hub.
"""


# ---- what is served --------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """The bytes of a file, in memory or on disk; a file on disk is never read as a whole."""

    source: bytes | Path

    @cached_property
    def size(self) -> int:
        """How many bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """What the hub calls a large file."""
        return self._hash("sha256")

    @cached_property
    def blob(self) -> str:
        """What Git calls a small file."""
        return self._hash("sha1", f"blob {self.size}\0".encode())

    @cached_property
    def pointer(self) -> "Content":
        """What Git has instead of a large file."""
        lines = ["version https://git-lfs.github.com/spec/v1", f"oid sha256:{self.sha256}"]
        return Content("\n".join([*lines, f"size {self.size}", ""]).encode())

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``stop``, at most ``CHUNK`` at once."""
        if isinstance(self.source, bytes):
            yield self.source[start:stop]
            return
        with self.source.open("rb") as file:
            file.seek(start)
            for at in range(start, stop, CHUNK):
                yield file.read(min(CHUNK, stop - at))

    def _hash(self, name: str, before: bytes = b"") -> str:
        made = hashlib.new(name, before)
        for chunk in self.chunks(0, self.size):
            made.update(chunk)
        return made.hexdigest()


Files = dict[str, Content]


@dataclass
class Repo:
    """The commits of a repository, its branches and tags, and who may read it."""

    access: Access = "public"
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


# ---- what is answered ------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A part of a body: the bytes of a content from ``start`` to before ``stop``."""

    content: Content
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[bytes]:
        return self.content.chunks(self.start, self.stop)


Body = tuple[Span | float, ...]
"""What is sent, in order; a number is a pause in seconds."""


@dataclass(frozen=True)
class Response:
    """An answer before it is sent; ``length`` is what it announces, not what ``body`` holds.

    An answer with fewer bytes than it announces ends with the connection.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = ()
    length: int = 0
    file: str = ""  # the file that was asked for
    served: Content | None = None  # that file, if this is all or a part of it
    delay: float = 0.0  # seconds before the status line
    chunked: bool = False  # announces no length at all
    reset: bool = False  # ends by a reset of the connection


def _span(text: bytes) -> Span:
    return Span(Content(text), 0, len(text))


def _cut(body: Body, at: int) -> tuple[Body, Body]:
    """The first ``at`` bytes of a body, and the rest."""
    for nth, part in enumerate(body):
        if not isinstance(part, Span):
            continue
        if at < len(part):
            head, tail = replace(part, stop=part.start + at), replace(part, start=part.start + at)
            return (*body[:nth], head), (tail, *body[nth + 1 :])
        at -= len(part)
    return body, ()


def _json(value: object) -> Response:
    text = json.dumps(value).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Response(200, headers, (_span(text),), len(text))


def _error(status: int, code: str, message: str, **headers: str) -> Response:
    """A refusal, as the hub words it; the name of a header has _ for -."""
    answer = _json({"error": message})
    named = {"X_Error_Code": code, "X_Error_Message": message, **headers}
    more = {name.replace("_", "-"): value for name, value in named.items() if value}
    return replace(answer, status=status, headers={**answer.headers, **more})


def _serve(content: Content, wanted: str | None, headers: Mapping[str, str]) -> Response:
    """All of a content, or the one range that is wanted."""
    size = content.size
    common = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    unit, _, span = (wanted or "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not (first + last).isdigit():
        return Response(200, common, (Span(content, 0, size),), size, served=content)
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return Response(416, common | {"Content-Range": f"bytes */{size}"})
    common["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Response(206, common, (Span(content, start, stop),), stop - start, served=content)


# ---- what goes wrong -------------------------------------------------------------------------

Fault = Callable[[Response], Response]
"""Turns a good answer into a bad one. One that makes no sense for an answer fails the test."""


@dataclass(frozen=True)
class Status:
    """Another status and no content.

    ``retry_after`` is in seconds or an HTTP date; ``code`` the hub's own word, such as GatedRepo.
    """

    status: int
    retry_after: int | str | None = None
    code: str = ""

    def __call__(self, response: Response) -> Response:
        wait = "" if self.retry_after is None else str(self.retry_after)
        made = _error(self.status, self.code, f"Made to fail with {self.status}", Retry_After=wait)
        return replace(made, file=response.file, delay=response.delay)


@dataclass(frozen=True)
class Break:
    """The connection ends after some bytes of the body: closed, or ``reset``."""

    after: int
    reset: bool = False

    def __call__(self, response: Response) -> Response:
        assert self.after < response.length
        return replace(response, body=_cut(response.body, self.after)[0], reset=self.reset)


@dataclass(frozen=True)
class Short:
    """The last bytes are missing, and Content-Length agrees; Content-Range promises them."""

    by: int = 1

    def __call__(self, response: Response) -> Response:
        assert self.by <= response.length
        length = response.length - self.by
        return replace(response, body=_cut(response.body, length)[0], length=length)


@dataclass(frozen=True)
class Long:
    """Zero bytes follow the body: Content-Length agrees, or is missing if ``chunked``."""

    by: int = 1
    chunked: bool = False

    def __call__(self, response: Response) -> Response:
        body = (*response.body, _span(bytes(self.by)))
        length = response.length + self.by
        return replace(response, body=body, length=length, chunked=self.chunked)


@dataclass(frozen=True)
class WrongRange:
    """Content-Range is off: both its ends by ``shift``, the total by ``total``."""

    shift: int = 0
    total: int = 0

    def __call__(self, response: Response) -> Response:
        span, _, total = response.headers["Content-Range"].removeprefix("bytes ").partition("/")
        first, last = (int(end) + self.shift for end in span.split("-"))
        value = f"bytes {first}-{last}/{int(total) + self.total}"
        return replace(response, headers={**response.headers, "Content-Range": value})


@dataclass(frozen=True)
class Header:
    """A header says something else, such as another ETag, or is missing (None)."""

    name: str
    value: str | None

    def __call__(self, response: Response) -> Response:
        assert self.name in response.headers
        headers = {**response.headers, self.name: self.value}
        return replace(response, headers={name: text for name, text in headers.items() if text})


@dataclass(frozen=True)
class IgnoreRange:
    """The whole file, whatever part was asked for."""

    def __call__(self, response: Response) -> Response:
        assert response.served is not None
        headers = {key: text for key, text in response.headers.items() if key != "Content-Range"}
        whole = _serve(response.served, None, headers)
        return replace(whole, file=response.file, delay=response.delay)


@dataclass(frozen=True)
class Stall:
    """Nothing comes for some seconds, not even a status; or only ``after`` bytes of the body."""

    seconds: float
    after: int | None = None

    def __call__(self, response: Response) -> Response:
        if self.after is None:
            return replace(response, delay=response.delay + self.seconds)
        head, tail = _cut(response.body, self.after)
        return replace(response, body=(*head, float(self.seconds), *tail))


@dataclass(frozen=True)
class Flip:
    """All bits of one byte of the body are wrong."""

    at: int = 0

    def __call__(self, response: Response) -> Response:
        head, tail = _cut(response.body, self.at)
        one, rest = _cut(tail, 1)
        (byte,) = b"".join(chunk for span in one if isinstance(span, Span) for chunk in span)
        return replace(response, body=(*head, _span(bytes([byte ^ 0xFF])), *rest))


@dataclass(frozen=True)
class Garbage:
    """Something else than what the status and the content type promise."""

    body: bytes = b'{"sha": "0123'

    def __call__(self, response: Response) -> Response:
        return replace(response, body=(_span(self.body),), length=len(self.body))


@dataclass(frozen=True)
class RedirectLoop:
    """A redirect to an address that redirects to itself, forever."""

    def __call__(self, response: Response) -> Response:
        return Response(302, {"Location": "/redirect-loop"}, file=response.file)


@dataclass
class _Rule:
    method: str
    pattern: str
    faults: tuple[Fault, ...]
    skip: int
    times: int | None


class Faults:
    """Which requests go wrong, and how: a script that requests are taken through, rule by rule."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        pattern: str,
        *faults: Fault,
        skip: int = 0,
        times: int | None = 1,
        method: str = "GET",
    ) -> None:
        """Spoil the next ``times`` requests that match, after ``skip`` good ones; None is forever.

        A pattern is a glob. With a slash in front it is for the path of an address, such as
        ``/api/models/*/tree/*`` or ``/*/resolve/*``; otherwise for the name of a file whenever its
        bytes are served, by hub or CDN. The faults of a rule happen together, the rules one after
        the other: a request that one takes is not seen by those added later.
        """
        with self._lock:
            self._rules.append(_Rule(method, pattern, faults, skip, times))

    def clear(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._rules.clear()

    def take(self, method: str, path: str, file: str | None) -> tuple[Fault, ...]:
        """The faults of a request, which count as used."""
        with self._lock:
            for rule in self._rules:
                name = path if rule.pattern.startswith("/") else file
                if rule.times == 0 or rule.method != method or name is None:
                    continue
                if not fnmatchcase(name, rule.pattern):
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                if rule.times is not None:
                    rule.times -= 1
                return rule.faults
        return ()


# ---- what is recorded ------------------------------------------------------------------------


@dataclass
class Request:
    """What was asked, and what was sent."""

    server: str  # hub or cdn
    method: str
    path: str  # without the query, not quoted
    range: str | None = None
    authorized: bool = False  # it came with an Authorization header
    file: str = ""  # the name of the file that was asked for, if any
    status: int = 0  # 0 if there was no answer at all
    sent: int = 0  # bytes of the body that were written to the socket
    faults: tuple[Fault, ...] = ()


class _Log:
    """Requests in the order in which they came; who reads it waits for those under way."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._open = 0
        self._changed = threading.Condition()

    @contextmanager
    def entry(self, request: Request) -> Iterator[None]:
        """Add a request, which is under way until the block ends."""
        with self._changed:
            self._requests.append(request)
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def read(self, *, clear: bool = False) -> tuple[Request, ...]:
        """All requests so far, which may be forgotten."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, timeout=30), "still answering"
            requests = tuple(self._requests)
            if clear:
                self._requests.clear()
            return requests


# ---- the two servers -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    method: str
    parts: tuple[str, ...]  # of the path, each unquoted
    query: Mapping[str, list[str]]
    headers: Message
    form: Mapping[str, list[str]]


class _Refusal(Exception):  # noqa: N818 - an answer, no error
    """Ends an answer early; raised with the response."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or headers wait for the body
    server: "_Server"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        form = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        asked = _Asked(
            self.command,
            tuple(unquote(part) for part in url.path.split("/")[1:]),
            parse_qs(url.query),
            self.headers,
            parse_qs(form),
        )
        request = Request(
            self.server.name,
            self.command,
            unquote(url.path),
            self.headers["Range"],
            "Authorization" in self.headers,
        )
        with self.server.log.entry(request):
            try:
                good = self.server.answer(asked)
            except _Refusal as refusal:
                (good,) = refusal.args
            file = good.file if good.served else None
            request.faults = self.server.faults.take(request.method, request.path, file)
            response = reduce(lambda made, fault: fault(made), request.faults, good)
            request.file = response.file
            try:
                self._send(response, request)
            except ConnectionError:  # the client has heard enough
                self.close_connection = True

    do_HEAD = do_POST = do_GET  # noqa: N815 - the base's names

    def _send(self, response: Response, request: Request) -> None:
        self._pause(response.delay)
        request.status = response.status
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(response.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        for part in response.body:
            if not isinstance(part, Span):
                self._pause(part)
                continue
            for chunk in part:
                self._write(chunk, request, chunked=response.chunked)
        if request.sent < response.length:
            self.close_connection = True
        elif response.chunked:
            self.wfile.write(b"0\r\n\r\n")
        if response.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _write(self, chunk: bytes, request: Request, *, chunked: bool) -> None:
        """Send, and count byte by byte what the socket takes."""
        if not chunk:
            return
        if chunked:
            self.wfile.write(f"{len(chunk):x}\r\n".encode())
        left = memoryview(chunk)
        while left:
            taken = self.connection.send(left)
            request.sent += taken
            left = left[taken:]
        if chunked:
            self.wfile.write(b"\r\n")

    def _pause(self, seconds: float) -> None:
        """Wait, unless the client hangs up: nothing but the end can be read from it now."""
        if seconds and select.select([self.connection], [], [], seconds)[0]:
            raise ConnectionAbortedError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # close() waits for them
    request_queue_size = 64

    def __init__(
        self, name: str, answer: Callable[[_Asked], Response], faults: Faults, log: _Log
    ) -> None:
        self.name, self.answer, self.faults, self.log = name, answer, faults, log
        self.errors: list[BaseException] = []
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name=name)
        self._thread.start()

    def server_bind(self) -> None:
        """Bind without a look at the host's name, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection: it may be kept alive by a client that never closes it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's
        """Keep what is an error of this file or of a test, and no fault of the client."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)

    def close(self) -> None:
        """End all connections and threads."""
        self.shutdown()
        self._thread.join()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class Hub:
    """The hub and its CDN, while the ``with`` block runs.

    Args:
        repos: The files of each repository ORG/NAME: file name -> its bytes, or where they are.
        access: Repositories that are not public.
        lfs_from: Files of so many bytes come from the CDN, as safetensors files of any size do.
        token: The only one that is valid.
        signature: What the CDN wants to see, and nobody else should.
    """

    def __init__(
        self,
        repos: Mapping[str, Mapping[str, bytes | Path]],
        *,
        access: Mapping[str, Access] | None = None,
        lfs_from: int = 10_000_000,
        token: str = "hf_TheTokenOfATester",
        signature: str = "NobodyButTheCdnShouldSeeThis~",
    ) -> None:
        self.repos = {repo_id: Repo() for repo_id in repos}
        self.lfs_from, self.token, self.signature = lfs_from, token, signature
        self.faults = Faults()
        self._log = _Log()
        for repo_id, files in repos.items():
            self.push(repo_id, files)
        for repo_id, level in (access or {}).items():
            self.repos[repo_id].access = level

    def __enter__(self) -> Self:
        self._hub = _Server("hub", self._answer, self.faults, self._log)
        self._cdn = _Server("cdn", self._answer_of_cdn, self.faults, self._log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in (self._hub, self._cdn):
            server.close()
        for inner in self._hub.errors + self._cdn.errors:
            if error is None:
                raise AssertionError("the server failed") from inner
            error.add_note(f"the server failed: {inner!r}")

    @property
    def url(self) -> str:
        """Where the hub is."""
        return self._hub.url

    @property
    def cdn_url(self) -> str:
        """Where the CDN is."""
        return self._cdn.url

    @property
    def log(self) -> tuple[Request, ...]:
        """The requests so far, in the order in which they came, each answered."""
        return self._log.read()

    def reset(self) -> None:
        """Forget the requests so far."""
        self._log.read(clear=True)

    def bytes_sent(self, file: str | None = None) -> int:
        """Bytes of bodies that were really sent: all, or of files by name, which may be a glob.

        A redirect or a refusal is no byte of a file.
        """
        return sum(
            request.sent
            for request in self.log
            if file is None
            or (request.status in (200, 206) and request.file and fnmatchcase(request.file, file))
        )

    def environment(self, home: Path) -> dict[str, str]:
        """All that a process needs to use this hub and nothing of ours; ``home`` is a folder."""
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "huggingface"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def push(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        ref: str = "main",
        commit: str | None = None,
    ) -> str:
        """Make a commit of these files and move a branch or tag to it; its name, 40 hex digits.

        Without a name given, the same files have the same.
        """
        contents = {name: Content(source) for name, source in sorted(files.items())}
        tree = "".join(f"{name}\0{self._oid(name, each)}\n" for name, each in contents.items())
        commit = commit or hashlib.sha1(tree.encode()).hexdigest()
        repo = self.repos[repo_id]
        repo.commits[commit] = contents
        repo.refs[ref] = commit
        return commit

    def commit(self, repo_id: str, ref: str = "main") -> str:
        """Where a branch or tag is; set ``hub.repos[repo_id].refs[ref]`` to move it."""
        return self.repos[repo_id].refs[ref]

    # ---- the hub

    def _answer(self, asked: _Asked) -> Response:
        match asked.parts:
            case ["redirect-loop"]:
                return Response(302, {"Location": "/redirect-loop"})
            case ["api", "models", org, name]:
                return self._info(asked, f"{org}/{name}", "main")
            case ["api", "models", org, name, "refs"]:
                return self._refs(asked, f"{org}/{name}")
            case ["api", "models", org, name, "revision", revision]:
                return self._info(asked, f"{org}/{name}", revision)
            case ["api", "models", org, name, "tree", revision, *rest]:
                repo, commit = self._look_up(asked, f"{org}/{name}", revision)
                deep = asked.query.get("recursive") == ["true"]
                return _json(self._tree(repo.commits[commit], "/".join(rest), deep, revision))
            case ["api", "models", org, name, "paths-info", revision]:
                repo, commit = self._look_up(asked, f"{org}/{name}", revision)
                entries = self._tree(repo.commits[commit], "", True, revision)
                wanted = asked.form.get("paths", [])
                return _json([entry for entry in entries if entry["path"] in wanted])
            case [org, name, "resolve", revision, *rest]:
                repo, commit = self._look_up(asked, f"{org}/{name}", revision, read=True)
                return self._resolve(asked, f"{org}/{name}", repo, commit, "/".join(rest))
        return _error(404, "", "Sorry, we can't find the page you are looking for.")

    def _look_up(
        self, asked: _Asked, repo_id: str, revision: str = "", *, read: bool = False
    ) -> tuple[Repo, str]:
        """A repository and a commit of it, if they exist and the client may see, or read, them.

        Without a revision, the repository alone.
        """
        header = asked.headers["Authorization"]
        if header not in (None, f"Bearer {self.token}"):
            raise _Refusal(_error(401, "", "Invalid credentials in Authorization header"))
        repo = self.repos.get(repo_id)
        if repo is None or (repo.access == "private" and header is None):
            if header is None:  # what is not there and what is hidden look the same
                raise _Refusal(_error(401, "RepoNotFound", "Invalid username or password."))
            raise _Refusal(_error(404, "RepoNotFound", "Repository not found"))
        if read and (repo.access == "gated" or (repo.access == "granted" and header is None)):
            status, why = (401, "Please log in.") if header is None else (403, "Ask for access.")
            message = f"Access to model {repo_id} is restricted. {why}"
            raise _Refusal(_error(status, "GatedRepo", message))
        tag = repo.refs.get(f"refs/tags/{revision}", revision)
        commit = repo.refs.get(revision, tag)
        if revision and commit not in repo.commits:
            raise _Refusal(_error(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        return repo, commit

    def _info(self, asked: _Asked, repo_id: str, revision: str) -> Response:
        repo, commit = self._look_up(asked, repo_id, revision)
        blobs = "blobs" in asked.query
        siblings: list[dict[str, Any]] = []
        for name, content in repo.commits[commit].items():
            siblings.append({"rfilename": name})
            if blobs:
                siblings[-1] |= {"size": content.size, "blobId": self._oid(name, content)}
            if blobs and self._is_lfs(name, content):
                lfs = {"sha256": content.sha256, "size": content.size}
                siblings[-1]["lfs"] = lfs | {"pointerSize": content.pointer.size}
        return _json({
            "_id": hashlib.sha1(repo_id.encode()).hexdigest()[:24],
            "id": repo_id,
            "modelId": repo_id,
            "author": repo_id.partition("/")[0],
            "sha": commit,
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-02T00:00:00.000Z",
            "private": repo.access == "private",
            "gated": "manual" if repo.access in ("gated", "granted") else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        })  # fmt: skip

    def _refs(self, asked: _Asked, repo_id: str) -> Response:
        """The branches and tags; a ref that is pushed as refs/tags/NAME is a tag."""
        repo, _ = self._look_up(asked, repo_id)
        found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": []}
        for ref, commit in sorted(repo.refs.items()):
            if ref.startswith("refs/pr/"):
                continue  # which are listed to who asks for them alone
            kind = "tags" if ref.startswith("refs/tags/") else "branches"
            name = ref.removeprefix("refs/tags/")
            full = ref if kind == "tags" else f"refs/heads/{name}"
            found[kind].append({"name": name, "ref": full, "targetCommit": commit})
        return _json(found)

    def _tree(self, files: Files, folder: str, deep: bool, revision: str) -> list[dict[str, Any]]:
        """What is in a folder, or everywhere below it."""
        entries: dict[str, dict[str, Any]] = {}
        below = f"{folder}/" if folder else ""
        for name, content in files.items():
            if not name.startswith(below):
                continue
            parts = name.removeprefix(below).split("/")
            for depth in range(1, len(parts) if deep else min(len(parts), 2)):
                path = below + "/".join(parts[:depth])
                oid = hashlib.sha1(path.encode()).hexdigest()
                entries[path] = {"type": "directory", "oid": oid, "size": 0, "path": path}
            if deep or len(parts) == 1:
                oid = self._oid(name, content)
                entries[name] = {"type": "file", "oid": oid, "size": content.size, "path": name}
                if self._is_lfs(name, content):
                    lfs = {"oid": content.sha256, "size": content.size}
                    entries[name]["lfs"] = lfs | {"pointerSize": content.pointer.size}
        if folder and not entries:
            message = f'{folder} does not exist on "{revision}"'
            raise _Refusal(_error(404, "EntryNotFound", message))
        return list(entries.values())

    def _resolve(self, asked: _Asked, repo_id: str, repo: Repo, commit: str, name: str) -> Response:
        """A small file, or where a large one is."""
        content = repo.commits[commit].get(name)
        if content is None:
            raise _Refusal(_error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit))
        if not self._is_lfs(name, content):
            headers = {"ETag": f'"{content.blob}"', "X-Repo-Commit": commit}
            return replace(_serve(content, asked.headers["Range"], headers), file=name)
        signed = urlencode({"Expires": "4070908800", "Signature": self.signature})
        headers = {
            "Location": f"{self.cdn_url}/{repo_id}/{commit}/{quote(name)}?{signed}",
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(content.size),
            "X-Linked-Etag": f'"{content.sha256}"',
        }
        return Response(302, headers, file=name)

    def _is_lfs(self, name: str, content: Content) -> bool:
        return name.endswith(".safetensors") or content.size >= self.lfs_from

    def _oid(self, name: str, content: Content) -> str:
        """What Git calls a file."""
        return (content.pointer if self._is_lfs(name, content) else content).blob

    # ---- the CDN

    def _answer_of_cdn(self, asked: _Asked) -> Response:
        match asked.parts:
            case ["redirect-loop"]:
                return Response(302, {"Location": "/redirect-loop"})
            case [org, name, commit, *rest] if asked.query.get("Signature") == [self.signature]:
                content = self.repos[f"{org}/{name}"].commits[commit]["/".join(rest)]
                # Not the ETag of the hub: a CDN has its own
                headers = {"ETag": f'"{content.sha256[:32]}"'}
                answer = _serve(content, asked.headers["Range"], headers)
                return replace(answer, file="/".join(rest))
        return _error(403, "", "Access Denied")


# ---- checkpoints to serve --------------------------------------------------------------------

DTYPES: dict[str, Any] = {
    "BF16": ml_dtypes.bfloat16,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I64": np.int64,
    "U8": np.uint8,
}


@dataclass(frozen=True)
class Filler:
    """A tensor of zeros that is a hole in its file: it costs no time and no space."""

    dtype: str
    shape: tuple[int, ...]


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any] | Filler]) -> int:
    """Write tensors in the order given; how many bytes they are without the header."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, tensor in tensors.items():
        dtype = tensor.dtype if isinstance(tensor, Filler) else names[tensor.dtype]
        start, end = end, end + int(np.prod(tensor.shape)) * np.dtype(DTYPES[dtype]).itemsize
        header[key] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key, tensor in tensors.items():
            if not isinstance(tensor, Filler):
                file.seek(8 + len(text) + header[key]["data_offsets"][0])
                file.write(tensor.tobytes())
        file.truncate(8 + len(text) + end)
    return end


def sharded_checkpoint(
    folder: Path,
    shards: Sequence[Mapping[str, NDArray[Any] | Filler]],
    config: Mapping[str, Any] | None = None,
    tokenizer: bytes | None = None,
) -> dict[str, Path]:
    """Write a checkpoint as the hub holds it; its files by name, as ``Hub`` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights: dict[str, str] = {}
    total = 0
    for nth, tensors in enumerate(shards, 1):
        name = f"model-{nth:05}-of-{len(shards):05}.safetensors"
        total += write_safetensors(folder / name, tensors)
        weights |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps(config or {}, indent=2) + "\n")
    if tokenizer is not None:
        (folder / "tokenizer.json").write_bytes(tokenizer)
    return {path.name: path for path in sorted(folder.iterdir())}

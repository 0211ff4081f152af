"""The files of a model on the Hugging Face hub at one commit, read by ranges over HTTP.

huggingface_hub brings the address (HF_ENDPOINT), the token (HF_TOKEN, or the one of ``hf auth
login``), redirects and HF_HUB_OFFLINE. What its own file system takes on trust is checked here:
that an answer is of the commit and of the version of the file, holds the range that was asked for,
and is neither short nor long. A connection that breaks is taken up again where it broke.

No message here quotes an answer or an address of the hub: either may hold a secret.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from core_tokens import tensors
from core_tokens.checkpoint import check_small
from core_tokens.errors import FileError

COMMIT = re.compile(r"[0-9a-f]{40}")
HEADER_BYTES = 1 << 16
"""Read at once of a safetensors file: enough for the header of most shards."""
WAITS = (0.5, 2.0, 8.0)
"""Seconds before the second, third and fourth try."""
LONGEST_WAIT = 60.0
"""A server that asks for more patience (Retry-After) is taken at its word: not now."""
PROGRESS_BYTES = 1 << 20
"""What a broken connection must have brought for the tries to be counted anew."""
PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses that may be others at the next try."""

NOT_THE_HUB = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What huggingface_hub raises over answers of another kind than it expects."""

Result = TypeVar("Result")


class _BrokenError(Exception):
    """The body of an answer ended early."""


def commit_of(repo: str, revision: str | None) -> str:
    """The commit that a revision of a model (by default its main branch) stands at now.

    Raises:
        FileError: there is none, or the hub cannot be asked.
    """
    where = f"hf://{repo}" + (f"@{revision}" if revision else "")
    commit = _asked(where, lambda: _info(repo, revision).sha)
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise FileError(where, "no commit in the hub's answer", "a hub that names one")
    return commit


def revisions(repo: str) -> list[str]:
    """The branches and tags of a model, sorted (FileError: see ``commit_of``)."""

    def names() -> set[str]:
        refs = HfApi().list_repo_refs(repo)
        return {ref.name for ref in (*refs.branches, *refs.tags) if ref.name.isprintable()}

    return sorted(_asked(f"hf://{repo}", names))


@dataclass
class Hub:
    """The files of a model at a commit; ``checkpoint.Files`` over HTTP.

    Attributes:
        repo: ``org/model``.
        commit: 40 hexadecimal digits.
        file: always empty; the source names a model, not a file.
    """

    repo: str
    commit: str
    file: str = ""
    _sizes: dict[str, int] | None = None
    _headers: dict[str, tensors.Header] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The names of the files at the top."""
        return sorted(self._files())

    def at(self, name: str) -> str:
        """How a message calls a file."""
        return f"hf://{self._root}/{name}".rstrip("/")

    def read(self, name: str) -> bytes:
        """A small file as a whole."""
        size = self._size(name)
        check_small(self.at(name), size)
        return b"".join(self.chunks(name, 0, size))

    def header(self, name: str) -> tensors.Header:
        """The header of a safetensors file; its data stay where they are."""
        if name not in self._headers:
            size, where = self._size(name), self.at(name)
            start = b"".join(self.chunks(name, 0, min(size, HEADER_BYTES)))
            end = tensors.LENGTH_BYTES + tensors.header_length(where, start, size)
            start += b"".join(self.chunks(name, len(start), max(0, end - len(start))))
            text = start[tensors.LENGTH_BYTES : end]
            self._headers[name] = tensors.parse_header(where, text, size)
        return self._headers[name]

    def chunks(self, name: str, start: int, length: int) -> Iterator[bytes]:
        """Exactly ``length`` bytes of a file from ``start`` on, as they arrive.

        Raises:
            FileError: what the hub refuses, or its answer is of another file, version or range.
        """
        end, waits, counted_from = start + length, iter(WAITS), start
        with _explained(self.at(name)):
            while start < end:
                try:
                    for chunk in self._answer(name, start, end):
                        start += len(chunk)
                        yield chunk
                except (_BrokenError, httpx2.TransportError, HfHubHTTPError) as error:
                    if start - counted_from >= PROGRESS_BYTES:
                        waits, counted_from = iter(WAITS), start
                    _wait(error, next(waits, None))

    def _answer(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The body of one answer, once it is the one that was asked for."""
        size, where = self._size(name), self.at(name)
        headers = build_hf_headers() | {
            "Range": f"bytes={start}-{end - 1}",
            "Accept-Encoding": "identity",
        }
        with get_session().stream(
            "GET", self._url(name), headers=headers, follow_redirects=True,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        ) as response:  # fmt: skip
            _raise_for_status(response)
            whole = response.status_code == httpx2.codes.OK and end - start == size
            if response.status_code != httpx2.codes.PARTIAL_CONTENT and not whole:
                raise FileError(
                    where,
                    f"status {response.status_code} in answer to a range",
                    "a server that sends parts of files",
                )
            given = response.headers.get("Content-Range")
            asked = f"bytes {start}-{end - 1}/{size}"
            if given != asked and not whole:
                raise FileError(where, f"the range {given!r} in the answer", asked)
            for each in [*response.history, response]:
                commit = each.headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
                if commit not in (None, self.commit):
                    raise FileError(where, f"the commit {commit!r} in the answer", self.commit)
            version = response.headers.get("ETag", "")
            if version != self._versions.setdefault(name, version):
                raise FileError(
                    where, "another version (ETag) than a moment ago", "a file that keeps still"
                )
            left = end - start
            announced = response.headers.get("Content-Length")
            if announced is not None and announced.isdecimal() and int(announced) != left:
                if int(announced) < left:
                    raise _BrokenError
                raise FileError(where, f"{int(announced):,} bytes", f"the {left:,} asked for")
            for chunk in response.iter_raw():
                left -= len(chunk)
                if left < 0:
                    raise FileError(
                        where, "more bytes than were asked for", f"{end - start:,} bytes"
                    )
                yield chunk
            if left:
                raise _BrokenError

    @property
    def _root(self) -> str:
        return f"{self.repo}@{self.commit}"

    def _list(self) -> dict[str, int]:
        found = _info(self.repo, self.commit).siblings or []
        sizes = {file.rfilename: file.size for file in found if "/" not in file.rfilename}
        if not all(isinstance(size, int) for size in sizes.values()):
            raise ValueError("a file without a size")
        return {name: size for name, size in sizes.items() if size is not None}

    def _files(self) -> dict[str, int]:
        if self._sizes is None:
            self._sizes = _asked(self.at(""), self._list)
        return self._sizes

    def _size(self, name: str) -> int:
        if name not in self._files():
            raise FileError(self.at(name), "no such file", f"one of {', '.join(self.names())}")
        return self._files()[name]

    def _url(self, name: str) -> str:
        return hf_hub_url(self.repo, name, revision=self.commit)


def _info(repo: str, revision: str | None) -> ModelInfo:
    return HfApi().model_info(
        repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
    )


def _raise_for_status(response: httpx2.Response) -> None:
    """Raise what a refusal means, though its body be anything."""
    try:
        hf_raise_for_status(response)
    except NOT_THE_HUB:
        raise HfHubHTTPError("", response=response) from None


def _asked(where: str, question: Callable[[], Result]) -> Result:
    """The hub's answer to a question about a model, patiently asked."""
    waits = iter(WAITS)
    with _explained(where):
        while True:
            try:
                return question()
            except (httpx2.TransportError, HfHubHTTPError) as error:
                _wait(error, next(waits, None))
            except HFValidationError:
                raise
            except UnicodeEncodeError as error:
                raise FileError(where, "a token beyond ASCII", "one of the hub's") from error
            except NOT_THE_HUB as error:
                raise FileError(
                    where,
                    f"an answer that is not the hub's ({type(error).__name__})",
                    "a hub at HF_ENDPOINT, and a network, a proxy and a token that can be used",
                ) from error


def _wait(error: Exception, seconds: float | None) -> None:
    """Wait before another try, or raise the error if there is none left or it will not pass."""
    if isinstance(error, httpx2.UnsupportedProtocol):
        raise error
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in PASSING:
            raise error
        asked = _retry_after(error)
        if asked > LONGEST_WAIT:
            raise error
        seconds = None if seconds is None else max(seconds, asked)
    if seconds is None:
        raise error
    time.sleep(seconds)


def _retry_after(error: HfHubHTTPError) -> float:
    """The seconds that a server asks to wait, 0 if it does not say."""
    text = error.response.headers.get("Retry-After", "")
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Say in one line of our own what the hub, or the way to it, refused."""
    try:
        yield
    except (HfHubHTTPError, OfflineModeIsEnabled, HFValidationError) as error:
        raise _file_error(where, error) from None
    except (_BrokenError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _file_error(where, error) from None
    except ImportError as error:
        raise FileError(
            where, "a proxy that needs another package", "pip install 'httpx2[socks]'"
        ) from error


def _file_error(where: str, error: Exception) -> FileError:
    token = "a token that may read it (HF_TOKEN, or `hf auth login`)"
    match error:
        case OfflineModeIsEnabled():
            return FileError(where, "offline mode (HF_HUB_OFFLINE)", "it to be unset")
        case GatedRepoError():
            return FileError(where, "a gated model", f"access granted on its page, and {token}")
        case RepositoryNotFoundError():
            return FileError(where, "no such model, or a private one", f"org/model, or {token}")
        case RevisionNotFoundError():
            return FileError(where, "no such revision", "a branch, a tag or a commit of the model")
        case HFValidationError():
            return FileError(where, "no name of a model", "hf://org/model")
        case HfHubHTTPError():
            return _refused(where, error)
        case _BrokenError():
            return FileError(where, "answers that end early", "as many bytes as announced")
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.UnsupportedProtocol():
            found = "no connection to the hub"
        case _:
            found = "a connection to the hub that fails"
    return FileError(where, f"{found} ({type(error).__name__})", "a hub at HF_ENDPOINT")


def _refused(where: str, error: HfHubHTTPError) -> FileError:
    """What a status says to a person."""
    status = error.response.status_code
    match status:
        case 401 | 403:
            right = "a token that may read it (HF_TOKEN, or `hf auth login`)"
        case 404:
            right = "a model, a revision and a file that are there"
        case _ if status in PASSING:
            asked = _retry_after(error)
            right = f"patience: in {asked:.0f} seconds" if asked else "patience: later"
        case _:
            right = "status 200 or 206"
    return FileError(where, f"status {status}", right)

"""Where the results of surveys are kept: one file per key, in a folder or at any fsspec URL."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from core_tokens.errors import FileError
from core_tokens.sources import path_of

DEFAULT = Path(".core-tokens", "results")
"""Below the folder that holds params.yaml; ignored by Git and DVC."""


class StoreError(FileError):
    """The store cannot be read or written: nothing that is done can be kept."""


def key_of(*parts: object) -> str:
    """A key from all that a result depends on: 64 hexadecimal digits."""
    text = "\0".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # names of files


def address(text: str | None, where: str) -> str:
    """The address of a store as every process understands it: a URL, or an absolute path.

    Raises:
        FileError: a URL of an unknown kind, or one that holds a password.
    """
    if not text or "://" not in text:
        return str((path_of(text) if text else DEFAULT).absolute())
    try:
        secret = urlsplit(text).password
    except ValueError as error:
        raise FileError(where, f"{text!r}, no URL ({error})", "a folder, or a URL") from error
    if secret is not None:
        shown = re.sub(r"//.*@", "//…@", text)  # a password may hold one
        raise FileError(where, f"{shown!r}, with a password", "a URL without: keys, or variables")
    return text


class Store:
    """Results by their keys; several processes may write the same one at once."""

    def __init__(self, url: str) -> None:
        """Open a store.

        Args:
            url: see ``address``.

        Raises:
            StoreError: no such kind of URL, or what it needs is not installed.
        """
        self.url = url
        if "://" in url:  # an error is one line of ours
            logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
        from fsspec.core import url_to_fs  # a tenth of a second that only a survey needs to wait

        with self._explained("read"):
            try:
                self._files, self._root = url_to_fs(url)
                # Without the listings that some keep: others write here too. Not all take it as
                # an argument.
                self._files.dircache.use_listings_cache = False
            except (ImportError, ValueError, TypeError) as error:
                right = "a folder, or a URL of a kind that fsspec knows: s3://, ssh://, …"
                raise StoreError(url, str(error), right) from error

    def check(self) -> None:
        """Write a small file and take it away again (StoreError: that is not possible)."""
        path = f"{self._root}/.{os.urandom(8).hex()}.tmp"
        with self._explained("written"):
            self._files.makedirs(self._root, exist_ok=True)
            with self._removed_on_error(path):
                self._files.pipe_file(path, b"core-tokens")
                kept = self._files.cat_file(path)
                self._files.rm_file(path)
        if kept != b"core-tokens":
            raise StoreError(self.url, "other bytes than were written", "a store that keeps them")

    def read(self, key: str) -> bytes | None:
        """What is kept under a key, None if nothing is (StoreError: it cannot be told)."""
        return self._read(self._path(key))

    def write(self, key: str, content: bytes) -> None:
        """Keep something under a key: as a whole, or not at all (StoreError)."""
        self._write(self._path(key), content)

    def _read(self, path: str) -> bytes | None:
        with self._explained("read"):
            try:
                content: bytes = self._files.cat_file(path)
            except FileNotFoundError:
                return None
        return content

    def _write(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.{os.urandom(4).hex()}.tmp"
        with self._explained("written"):
            self._files.makedirs(folder, exist_ok=True)
            with self._removed_on_error(temporary):
                self._files.pipe_file(temporary, content)
                self._files.mv(temporary, path)

    def alias(self, name: str) -> str | None:
        """The key that ``set_alias`` kept under a name, None if it kept none (StoreError)."""
        content = self._read(self._path(name, "key")) if name else None
        key = (content or b"").decode("ascii", "replace")
        return key if re.fullmatch(r"[0-9a-f]{64}", key) else None

    def set_alias(self, name: str, key: str) -> None:
        """Keep a key under another, by which it is found without what it is made of (StoreError).

        An empty name is none.
        """
        if name:
            self._write(self._path(name, "key"), key.encode())

    @contextmanager
    def _removed_on_error(self, path: str) -> Iterator[None]:
        """Leave no half of a temporary file behind, where that can be helped."""
        try:
            yield
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(path)
            raise

    def _path(self, key: str, kind: str = "safetensors") -> str:
        return f"{self._root}/{key[:2]}/{key}.{kind}"

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Say in one line what the file system, or a library in front of it, refused."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # each library has errors of its own
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StoreError(
                self.url, f"a store that cannot be {done} ({reason})", "one that can, with room"
            ) from error

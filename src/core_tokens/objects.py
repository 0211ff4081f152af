"""What DVC keeps, object by object: which there should be, and whether one is what its name says.

DVC trusts what it has seen before: a file whose time has not changed, an object of the cache that
is write-protected, a name that a remote has. Here every byte is read and hashed.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from core_tokens.errors import CoreTokensError, FileError
from core_tokens.params import PATH
from core_tokens.revisions import WORKSPACE, Revision

CHUNK = 1 << 22
DVC, PIPELINE = Path(".dvc"), Path("dvc.yaml")
FOLDER = ".dir"
"""How DVC marks the hash of a folder: that of the list of its files."""


@dataclass(frozen=True)
class Tracked:
    """A file, or the list of the files of a folder, as dvc.lock or a .dvc file names it.

    Attributes:
        path: in the workspace.
        oid: its md5, and ``.dir`` behind it for the list of a folder.
        size: in bytes, None where it is not recorded.
        target: what DVC calls it, STAGE@MODEL or a .dvc file.
        cached: whether DVC keeps it; else Git does.
        listed_in: the oid of the list that names it, None for what is no part of a folder.
    """

    path: Path
    oid: str
    size: int | None
    target: str
    cached: bool
    listed_in: str | None = None

    @property
    def is_list(self) -> bool:
        """Is this the list of a folder?"""
        return self.oid.endswith(FOLDER)

    def state(self) -> str | None:
        """What is wrong with it in the workspace: empty if nothing, None if it is not there."""
        if self.is_list:  # its files are looked at one by one
            if self.path.is_dir():
                return ""
            return "no folder, expected one" if os.path.lexists(self.path) else None
        try:
            if not self.path.is_file() and os.path.lexists(self.path):
                return "no file, expected one"  # and none that is opened: a pipe would wait
            if wrong := _wrong_size(self.path.stat().st_size, self.size):
                return wrong
            with self.path.open("rb") as file:
                return _wrong_hash(file, self.oid)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"{error.strerror}, expected a file that can be read"


class _Entry(msgspec.Struct):
    relpath: str
    md5: str


@dataclass(frozen=True)
class Store:
    """Where objects lie under their hashes: the cache or a remote.

    Attributes:
        name: ``cache``, or ``remote NAME``.
        database: what DVC calls an object database.
    """

    name: str
    database: Any

    @property
    def replaces(self) -> bool:
        """Whether an object can be replaced there: over HTTP DVC only adds, if that."""
        return self.database.fs.protocol not in ("http", "https")

    def path(self, oid: str) -> str:
        """Where an object lies, or would."""
        return str(self.database.oid_to_path(oid))

    def state(self, tracked: Tracked, hear: Callable[[], None] = lambda: None) -> str | None:
        """What is wrong with an object: empty if nothing, None if it is not there.

        ``hear`` is called for each piece that arrives.
        """
        fs, path = self.database.fs, self.path(tracked.oid)
        try:
            if wrong := _wrong_size(fs.info(path)["size"], tracked.size):
                return wrong
            hear()
            with fs.open(path, "rb") as file:
                return _wrong_hash(file, tracked.oid, hear)
        except FileNotFoundError as error:
            if trouble := of_the_web(error):
                raise trouble from None
            return None

    def read_list(self, oid: str) -> list[tuple[str, str]]:
        """The files of a folder, path and oid of each (ValueError: it is no such list)."""
        with self.database.fs.open(self.path(oid), "rb") as file:
            entries = msgspec.json.decode(file.read(), type=list[_Entry])
        return [(entry.relpath, entry.md5) for entry in entries]

    def take(self, oid: str, path: str, fs: Any) -> None:
        """Have a file of ``fs`` as this object, in the place of what there is under its name."""
        if self.database.fs.exists(self.path(oid)):
            self.database.fs.remove(self.path(oid))  # adding an object passes over one that exists
        self.database.add(path, fs, oid)


def tracked(repo: Any, stores: Sequence[Store]) -> Iterator[Tracked]:
    """Everything that dvc.lock and .dvc files name, the files of folders one by one.

    A folder's list is read in the first of ``stores`` that has it as it should be; where none has,
    its files are unknown.
    """
    for out in repo.index.outs:
        info = out.hash_info
        if not info or info.name != "md5" or not out.is_in_repo:
            continue
        path, target = Path(os.path.relpath(out.fs_path)), str(out.stage.addressing)
        cached, oid = bool(out.use_cache), str(info.value)
        whole = Tracked(path, oid, None if info.isdir else out.meta.size, target, cached)
        yield whole
        if not info.isdir:
            continue
        for store in stores:
            try:
                found = store.read_list(oid) if store.state(whole) == "" else None
            except Exception:  # of a remote, whose trouble is told where it is looked at itself
                continue
            if found is not None:
                for name, part in found:
                    yield Tracked(path / name, part, None, target, cached, oid)
                break


@contextmanager
def repository() -> Iterator[Any]:
    """DVC's view of the project here; what it would tell of its work is not printed.

    Raises:
        CoreTokensError: there is none, params.yaml or dvc.yaml is no YAML, another process works on
            it, or what DVC says of it in the block.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    if not DVC.is_dir():  # of which DVC would look in the folders above
        raise FileError(DVC, "no such folder", "the folder of a DVC project (or dvc init)")
    for path in (PATH, PIPELINE):  # of what is refused here DVC might never see the end
        Revision(WORKSPACE).yaml(path)
    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with Repo() as repo:
            yield repo
    except LockError as error:
        raise CoreTokensError(
            str(DVC), "another DVC at work", "this again when it has ended"
        ) from error
    except DvcException as error:
        reason = str(error).partition("\n")[0]
        mend = "what DVC wrote: git checkout dvc.lock" if "dvc.lock" in reason else ""
        raise CoreTokensError(
            "dvc", f"an error ({reason})", mend or "a project that it reads"
        ) from error
    finally:
        logger.setLevel(level)


@contextmanager
def locked(repo: Any) -> Iterator[None]:
    """Keep other processes of DVC away from a project, as its own commands do."""
    from dvc.repo import lock_repo

    with lock_repo(repo):
        yield


def of_the_web(error: FileNotFoundError) -> BaseException | None:
    """What stands behind a file that was not found: of a web server any trouble is called so."""
    from aiohttp import ClientError

    cause = error.__cause__
    web = isinstance(cause, ClientError | TimeoutError) and getattr(cause, "status", 0) != 404
    return cause if web else None


def _wrong_size(size: int | None, expected: int | None) -> str:
    """Empty if a size is as it should be, or one of them is not known."""
    if None in (size, expected) or size == expected:
        return ""
    return f"{size:,} bytes, expected {expected:,}"


def _wrong_hash(file: BinaryIO, oid: str, hear: Callable[[], None] = lambda: None) -> str:
    """Empty if the bytes of a file have this hash."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        hear()
    expected, found = oid.removesuffix(FOLDER), digest.hexdigest()
    return "" if found == expected else f"md5 {found}, expected {expected}"

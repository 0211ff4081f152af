"""A project of anyone, at any revision: what Git has of it, and what DVC brings, hashed.

Of what DVC keeps only the file that is asked for is brought. DVC's own programming interface takes
whatever a remote sends.
"""

import atexit
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core_tokens import yaml_text
from core_tokens.errors import CoreTokensError, FileError, UsageError
from core_tokens.objects import of_the_web
from core_tokens.params import is_slug
from core_tokens.revisions import finite_json

PARAMS, PIPELINE = "params.yaml", "dvc.yaml"


class Project:
    """A project at one revision: what Git has of it, and what DVC brings.

    Attributes:
        name: as the user calls it, with the revision.
        params: params.yaml, as it stands.
        commit: in full; empty for a working tree that differs from it.
    """

    def __init__(self, name: str, fs: Any, remote: str | None) -> None:
        self._name, self._fs, self._remote = name, fs, remote
        self.commit = _commit(fs.repo)
        # Past DVC, which might never see the end of what is refused here.
        self.params = self._yaml(PARAMS)
        self._yaml(PIPELINE)

    def model(self, wanted: str | None) -> str:
        """The model that is meant."""
        models = self.params.get("models")
        names = models if isinstance(models, list) else []
        listed = [name for name in names if isinstance(name, str) and is_slug(name)]
        if wanted in listed:
            return wanted
        if wanted is None and len(listed) == 1:
            return listed[0]
        found = "no model named" if wanted is None else f"the model {wanted!r}"
        there = f"one of: {', '.join(listed)}" if listed else "one, but params.yaml lists none"
        raise UsageError(f"{self._name}: model", found, there)

    def named(self, model: str, name: str) -> str:
        """What a file is called in a message."""
        return f"{self._name}: data/{model}/{name}"

    def metrics(self, model: str, name: str) -> dict[str, Any]:
        """A file of metrics."""
        path = f"data/{model}/{name}"
        return self._mapping(path, self._read(path), finite_json, "what its stage wrote")

    def count(self, metrics: dict[str, Any], model: str, name: str, key: str) -> int:
        """A count, by its dotted key."""
        value: Any = metrics
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, int):
            where = f"{self.named(model, name)}: {key}"
            raise FileError(where, repr(value), "a count: dvc repro")
        return value

    @contextmanager
    def file(self, model: str, name: str) -> Iterator[Path]:
        """Bring one file, and have it for as long as the block lasts."""
        content = self._read(f"data/{model}/{name}")
        with TemporaryDirectory(prefix="core-tokens-") as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            try:
                yield path
            except CoreTokensError as error:
                where = error.where.replace(str(path), self.named(model, name))
                raise type(error)(where, error.found, error.expected) from error

    def _mapping(
        self, path: str, content: bytes, parse: Callable[[bytes], Any], expected: str
    ) -> dict[str, Any]:
        try:
            document = parse(content)
        except (ValueError, RecursionError) as error:
            raise FileError(
                f"{self._name}: {path}", f"no such thing ({error})", expected
            ) from error
        if not isinstance(document, dict):
            raise FileError(f"{self._name}: {path}", type(document).__name__, expected)
        return document

    def _yaml(self, path: str) -> dict[str, Any]:
        """A YAML file that Git has."""
        return self._mapping(path, self._plain(path), yaml_text.parse, "a YAML mapping")

    def _plain(self, path: str) -> bytes:
        """The bytes of a file that Git has."""
        fs = self._fs.repo.fs
        try:
            full = fs.join(self._fs.repo.root_dir, path)
            _check_kind(f"{self._name}: {path}", fs.info(full))
            with fs.open(full, "rb") as file:
                return bytes(file.read())
        except FileNotFoundError as error:
            there = "the folder or the Git URL of a project"
            raise UsageError(self._name, f"no {path}", there) from error

    def _read(self, path: str) -> bytes:
        """The bytes of a file, those that were locked where DVC keeps it."""
        where, info = f"{self._name}: {path}", {}
        try:
            info = self._fs.info(f"/{path}")  # from the top of the project, wherever one is in it
            _check_kind(where, info)
            with self._fs.open(f"/{path}", "rb") as file:
                content = bytes(file.read())
        except FileNotFoundError as error:
            there = "a file that was pushed to a remote, one that is reached from here too"
            found = f"no such file{self._trouble(info)}"
            raise FileError(where, found, there) from error
        except IsADirectoryError as error:
            raise FileError(where, "a folder", "a file") from error
        if info.get("fs_info") is None:  # not of the working tree, where it may be changed at will
            locked = info.get("dvc_info", {}).get("md5")
            found = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if locked is not None and found != locked:
                mend = f"{locked}: core-tokens doctor --fix, where the project is"
                raise FileError(where, f"the md5 {found}", mend)
        return content

    def _trouble(self, info: Mapping[str, Any]) -> str:
        """What a web server says instead of a file: for DVC it is one that is not there."""
        oid = info.get("dvc_info", {}).get("md5")
        if oid is None:
            return ""
        try:
            store = self._fs.repo.cloud.get_remote_odb(self._remote)
            store.fs.info(store.oid_to_path(oid))
        except FileNotFoundError as error:
            trouble = of_the_web(error)
            return f" ({str(trouble) or type(trouble).__name__})" if trouble else ""
        except Exception as error:  # each kind of remote has errors of its own
            return f" ({str(error) or type(error).__name__})"
        return ""


def _check_kind(where: str, info: Mapping[str, Any]) -> None:
    """Refuse a pipe, which would be waited for (FileError)."""
    if info["type"] == "other":
        raise FileError(where, "a device or a pipe", "a file")


@contextmanager
def opened(repo: str | os.PathLike[str], rev: str | None, remote: str | None) -> Iterator[Project]:
    """Open a project; what was cloned for it stays for a next call, until the process ends."""
    from dvc.api import DVCFileSystem
    from dvc.repo.open_repo import clean_repos

    atexit.unregister(clean_repos)
    atexit.register(clean_repos)
    place = os.fspath(repo)
    name = place + (f"@{rev}" if rev else "")
    if ":" not in place and not Path(place).is_dir():
        raise UsageError(
            name, "no such folder", "that of a project, or the URL of its Git repository"
        )
    with _explained(name):
        config = _present_remotes(place) if rev is not None and Path(place).is_dir() else {}
        fs = DVCFileSystem(place, rev=rev, remote=remote, config=config)
        try:
            configured = fs.repo.config["remote"]
            if remote is not None and remote not in configured:  # DVC would take its default
                there = ", ".join(sorted(configured)) or "one to be configured"
                raise UsageError(f"{name}: remote", repr(remote), there)
            yield Project(name, fs, remote)
        finally:
            fs.close()


def _present_remotes(folder: str) -> dict[str, Any]:
    """The remotes of a folder: where a revision had others, they may be gone."""
    from dvc.repo import Repo

    with Repo(folder, uninitialized=True) as repo:
        core = {key: value for key, value in repo.config["core"].items() if key == "remote"}
        return {"core": core, "remote": dict(repo.config["remote"])}


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """What DVC, Git or a remote says, as one line."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.scm import CloneError, RevError

    try:
        yield
    except CoreTokensError:
        raise
    except NotDvcRepoError as error:
        raise UsageError(where, "no DVC project", "the folder or the Git URL of one") from error
    except CloneError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause) or type(cause).__name__
        raise UsageError(where, f"no clone ({reason})", "a Git URL that answers") from error
    except RevError as error:
        raise UsageError(
            where, "no such revision", "a commit, tag, branch or experiment"
        ) from error
    except Exception as error:  # of DVC, or of a remote: each kind has errors of its own
        reason = str(error) or type(error).__name__
        raise CoreTokensError(
            where, f"an error ({reason})", "a project and remote that answer"
        ) from error


def _commit(repo: Any) -> str:
    """The commit of a project opened by DVC; empty for a working tree that differs from it."""
    from dvc.fs import LocalFileSystem
    from dvc.scm import NoSCM

    if not isinstance(repo.fs, LocalFileSystem):
        return str(repo.get_rev())
    if isinstance(repo.scm, NoSCM) or repo.scm.is_dirty(untracked_files=False):
        return ""
    return str(repo.get_rev())

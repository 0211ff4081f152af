"""Is all that dvc.lock names as it should be: in the workspace, the cache and the remotes?"""

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from shutil import copyfile
from threading import Thread
from typing import Any, TypeVar

from tqdm import tqdm

from core_tokens.errors import FileError, UsageError, one_line
from core_tokens.files import TEMPORARY, replacing
from core_tokens.objects import Store, Tracked, locked, repository, tracked
from core_tokens.revisions import Revision

WORKSPACE = "workspace"
FIX = "core-tokens doctor --fix"
GIT_CHECKOUT = "git ls-files -z --deleted data | xargs -0 git checkout --"
"""Brings back what is not here, and leaves what was changed."""
LOCK = Path("dvc.lock")
NOWHERE = Tracked(Path(), "0" * 32, None, "", cached=True)
"""What no remote has, to be asked for."""
READ_AT_ONCE = 4
"""Objects, of which most wait for a disk or a server."""
PATIENCE = 60.0
"""Seconds without a word of a remote: DVC would wait for minutes, or without end."""

NO_ANSWER = "no answer"
"""How the state of an object begins of which nothing is known."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        where: ``workspace``, ``cache`` or ``remote NAME``.
        found: what is there, and what would be right.
        mend: the command that mends it.
        paths: of the files in the workspace; none if it is about the place as a whole.
        harmless: whether nothing is wrong or lost: it is only not here, or not there, yet.
    """

    where: str
    found: str
    mend: str
    paths: tuple[Path, ...] = ()
    harmless: bool = False

    def __str__(self) -> str:
        named = ", ".join(map(str, self.paths[:3]))
        named += f" and {len(self.paths) - 3} more" if len(self.paths) > 3 else ""
        text = ": ".join(filter(None, (self.where, named, self.found)))
        return one_line(f"{text}; to mend it: {self.mend}")


@dataclass(frozen=True)
class Report:
    """What ``examine`` saw.

    Attributes:
        good: place -> how many files or objects were read there and found to be right.
        findings: what was not right, or is not there.
        mended: what was put right, one line each.
    """

    good: dict[str, int]
    findings: tuple[Finding, ...]
    mended: tuple[str, ...]

    @property
    def problems(self) -> int:
        """Findings that are not harmless."""
        return sum(not finding.harmless for finding in self.findings)


def examine(
    remotes: Sequence[str] | None = None, *, fix: bool = False, progress: bool = False
) -> Report:
    """Compare workspace, cache and remotes with what dvc.lock and .dvc files say, byte by byte.

    Args:
        remotes: their names, None for all that are configured.
        fix: put right what can be without a loss. A corrupt object of the cache is brought again,
            from the workspace or a remote where it is as it should be; one of a remote is pushed
            again from here. What differs in the workspace keeps its bytes: it may be meant, also
            where it was a link into the cache.
        progress: show a bar on a terminal.

    Raises:
        CoreTokensError: no DVC project here, one that DVC cannot read, no such remote, or, for a
            fix, one that another process is working on.
    """
    with repository() as repo, locked(repo) if fix else nullcontext():
        return _Examination(repo, _chosen(repo, remotes), fix=fix, progress=progress).report()


@dataclass
class _Seen:
    """The state of everything: what is wrong with it, empty if nothing, None if it is not there."""

    here: dict[Tracked, str | None] = field(default_factory=dict)
    stored: dict[Store, dict[str, str | None]] = field(default_factory=dict)


class _Examination:
    """One look at everything, with what was seen so far."""

    def __init__(self, repo: Any, remotes: Sequence[str], *, fix: bool, progress: bool) -> None:
        self.repo, self.fix, self.progress = repo, fix, progress
        self.cache = Store("cache", repo.cache.local)
        self.grouped: dict[Finding, list[Path]] = {}
        self.mended: list[str] = []
        self.seen = _Seen()
        self.silent = False
        """Whether a remote does not answer."""
        self.remotes = [store for name in remotes if (store := self.remote(name))]

    def report(self) -> Report:
        """Look at all places, then say what is to be said of each."""
        seen = self.seen
        every = list(dict.fromkeys(tracked(self.repo, [self.cache, *self.remotes])))
        # Of what Git keeps the run cache may hold copies. One that is cached stands for its equals.
        kept = list({one.oid: one for one in sorted(every, key=lambda one: one.cached)}.values())
        states = self.each(Tracked.state, every, WORKSPACE)
        seen.here = dict(zip(every, states, strict=True))
        seen.stored[self.cache] = self.look(self.cache, kept)
        for store in self.remotes:  # which have nothing of what Git keeps
            seen.stored[store] = self.look(store, [one for one in kept if one.cached])
        for one in kept:
            self.judge_cache(one)
        for one in every:
            self.judge_workspace(one)
        for store in self.remotes:
            for one in kept:
                self.judge_remote(store, one)
        self.judge_folders()
        self.judge_lock()
        self.judge_leftovers()
        good = {WORKSPACE: sum(state == "" for state in seen.here.values())}
        for store, found in seen.stored.items():
            good[store.name] = sum(state == "" for state in found.values())
        findings = [
            Finding(one.where, one.found, one.mend, tuple(paths), one.harmless)
            for one, paths in self.grouped.items()
        ]
        return Report(good, tuple(findings), tuple(map(one_line, self.mended)))

    # ---- looking -----------------------------------------------------------------------------

    def remote(self, name: str) -> Store | None:
        """A remote that answers; one that is not verified is told."""
        if not self.repo.config["remote"][name].get("verify"):
            own = self.repo.config.read("local").get("remote", {}).get(name, {})
            mend = f"dvc remote modify {'--local ' if 'verify' in own else ''}{name} verify true"
            self.find(f"remote {name}", "not verified: what is corrupt is pulled as it is", mend)
        try:
            store = Store(f"remote {name}", self.repo.cloud.get_remote_odb(name))
            _answered(lambda hear: store.state(NOWHERE, hear))
        except Exception as error:
            # 403 is what some say of an object that is not there.
            if getattr(error, "status", None) != 403:
                self.unreachable(f"remote {name}", error)
                return None
        return store

    def each(
        self, state: Callable[[Tracked], str | None], every: Sequence[Tracked], name: str
    ) -> list[str | None]:
        """Call ``state`` for all, several at once."""
        hidden = None if self.progress else True  # None: where nobody looks, in a file say
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            found = pool.map(state, every)
            return list(tqdm(found, name, len(every), delay=1, disable=hidden, leave=False))

    def look(self, store: Store, asked: Sequence[Tracked]) -> dict[str, str | None]:
        """The state of each object in a store, by its oid."""
        gave_up = False

        def state(one: Tracked) -> str | None:
            nonlocal gave_up
            if store is self.cache:
                return store.state(one)
            if gave_up:
                return f"{NO_ANSWER} in time"
            try:
                return _answered(lambda hear: store.state(one, hear))
            except TimeoutError:
                self.silent = gave_up = True  # not to wait as long for each of the others
                return f"{NO_ANSWER} in time"
            except Exception as error:  # each kind of remote has errors of its own
                self.silent = True
                return f"{NO_ANSWER} ({_reason(error)})"

        states = self.each(state, asked, store.name)
        return {one.oid: found for one, found in zip(asked, states, strict=True)}

    def good_in(self, one: Tracked) -> list[Store]:
        """The remotes where an object is as it should be."""
        return [store for store in self.remotes if self.seen.stored[store].get(one.oid) == ""]

    def copies(self, one: Tracked) -> list[Tracked]:
        """Where the workspace has the bytes of an object."""
        here = self.seen.here.items()
        return [other for other, state in here if state == "" and other.oid == one.oid]

    def pull_from(self, stores: Sequence[Store]) -> str:
        """The command that brings what these remotes have."""
        names = [store.name.removeprefix("remote ") for store in stores]
        default = self.repo.config["core"].get("remote")
        return "dvc pull" if default in names else f"dvc pull --remote {names[0]}"

    # ---- saying what is to be said, and mending what can be mended ------------------------------

    def find(
        self, where: str, found: str, mend: str, path: Path | None = None, *, harmless: bool = False
    ) -> None:
        """Note a finding; those that differ in the file alone are one."""
        paths = self.grouped.setdefault(Finding(where, found, mend, harmless=harmless), [])
        if path is not None:
            paths.append(path)

    def unreachable(self, where: str, error: Exception) -> None:
        """A remote that does not answer."""
        self.silent = True
        reason = _reason(error)
        self.find(where, f"no answer ({reason})", "see how it is set up: dvc config --list")

    def judge_cache(self, one: Tracked) -> None:
        """An object that is corrupt, or not there."""
        states = self.seen.stored[self.cache]
        found, good = states[one.oid], self.good_in(one)
        copies = [] if one.is_list else self.copies(one)
        if found == "" or (found is None and not one.cached):
            return
        if found is None and good and not copies:
            self.find("cache", "not here", self.pull_from(good), one.path, harmless=True)
        elif found is None and not copies and self.silent:
            mend = "dvc pull, when all remotes answer"
            self.find("cache", "in none of the places that answer", mend, one.path, harmless=True)
        elif not good and not copies:
            text = found or "in none of the places looked at"
            self.find("cache", text, _remake(one), one.path)
        elif not self.fix:
            text = found or "in the workspace alone"
            self.find("cache", text, FIX, one.path, harmless=found is None)
        else:
            try:
                self.replace(one, copies, good)
            except Exception as error:  # of a disk, or of a remote
                states[one.oid] = self.cache.state(one)
                text = f"{states[one.oid] or 'not here'} ({_reason(error)})"
                self.find("cache", text, f"{FIX}, when that is mended", one.path)

    def replace(self, one: Tracked, copies: Sequence[Tracked], good: Sequence[Store]) -> None:
        """Put a good object into the cache; what was linked to a corrupt one keeps its bytes.

        Whatever a disk or a remote raises passes through.
        """
        from dvc.fs import localfs

        cached = Path(self.cache.path(one.oid))
        links = [other for other in self.seen.here if _leads_to(other.path, cached)]
        for other in links if cached.exists() else ():
            with replacing(other.path) as (temporary,):
                copyfile(cached, temporary)
        if copies:
            source, path, fs = WORKSPACE, str(copies[0].path.absolute()), localfs
        else:
            source, path, fs = good[0].name, good[0].path(one.oid), good[0].database.fs
        self.cache.take(one.oid, path, fs)
        if wrong := self.cache.state(one):
            raise FileError(self.cache.path(one.oid), wrong, "a disk that keeps what is written")
        self.seen.stored[self.cache][one.oid] = ""
        self.mended.append(f"cache: {one.path}: brought again from {source}")
        for other in links:
            self.seen.here[other] = other.state()

    def judge_workspace(self, one: Tracked) -> None:
        """A file that is not as locked, or not here."""
        found = self.seen.here[one]
        if found:
            back = self.back(one)
            mend = f"dvc repro, or to have it as locked: {back}" if back else "dvc repro"
            self.find(WORKSPACE, found, mend, one.path)
        elif found is None and not one.cached:
            self.find(WORKSPACE, "not here", GIT_CHECKOUT, one.path)
        elif found is None and self.seen.stored[self.cache][one.oid] == "":
            self.find(WORKSPACE, "not here", "dvc checkout", one.path, harmless=True)

    def back(self, one: Tracked) -> str:
        """How to have a file as it is locked; empty where no good one is in reach."""
        path, target = quote(str(one.path)), quote(one.target)
        if not one.cached:
            return f"git checkout {path}"
        remove = f"rm -r {path}" if one.path.is_dir() else f"rm {path}"  # or DVC may believe it
        if self.seen.stored[self.cache][one.oid] == "":
            return f"{remove} && dvc checkout {target}"
        good = self.good_in(one)
        return f"{remove} && {self.pull_from(good)} {target}" if good else ""

    def judge_remote(self, store: Store, one: Tracked) -> None:
        """A corrupt object of a remote, or one that it has not."""
        states, here = self.seen.stored[store], self.seen.stored[self.cache][one.oid] == ""
        found, name = states.get(one.oid), store.name.removeprefix("remote ")
        # Of a folder whose list a remote has, DVC takes all files to be there.
        believed = one.listed_in is not None and states.get(one.listed_in) == ""
        if found is None and believed:
            found = "not there, but DVC takes it to be"
        if found is None:
            push = f"dvc push --remote {name}"
            if here and one.cached:
                self.find(store.name, "not there", push, one.path, harmless=True)
            elif one.cached and (good := self.good_in(one)):
                mend = f"{self.pull_from(good)}, {push}"
                self.find(store.name, "not there", mend, one.path, harmless=True)
        elif found.startswith(NO_ANSWER):  # it may be as it should be
            mend = f"core-tokens doctor --remote {name}, when it answers"
            self.find(store.name, found, mend, one.path)
        elif found and not store.replaces:
            mend = f"{FIX} --remote NAME, of the remote that fills this one"
            self.find(store.name, found, mend, one.path)
        elif found and here and self.fix:
            if failed := self.push_again(store, one):
                mend = f"{FIX} --remote {name}, where a good one is"
                self.find(store.name, f"{found} ({failed})", mend, one.path)
        elif found:
            mend = FIX if here else f"{FIX} --remote {name}, where a good one is"
            self.find(store.name, found, mend, one.path)

    def push_again(self, store: Store, one: Tracked) -> str:
        """Replace an object of a remote; why that failed, empty if it did not."""
        try:
            store.take(one.oid, self.cache.path(one.oid), self.cache.database.fs)
            wrong = store.state(one)
        except Exception as error:
            return _reason(error)
        if wrong == "":
            self.seen.stored[store][one.oid] = ""
            self.mended.append(f"{store.name}: {one.path}: pushed again")
        return "not there" if wrong is None else wrong

    def judge_folders(self) -> None:
        """Files that are not in the list of their folder."""
        listed: dict[str, set[Path]] = {}
        for one in self.seen.here:
            if one.listed_in:
                listed.setdefault(one.listed_in, set()).add(one.path)
        for one in [one for one in self.seen.here if one.oid in listed]:
            for path in sorted(each for each in one.path.rglob("*") if not each.is_dir()):
                if path not in listed[one.oid] and not path.match(".*.tmp"):
                    mend = f"dvc repro, or to have the folder as locked: rm {quote(str(path))}"
                    self.find(WORKSPACE, "not in the list of its folder", mend, path)

    def judge_lock(self) -> None:
        """Outputs of which dvc.lock has no hash: it was cut off, or the stage never ran."""
        missing = [out for out in self.repo.index.outs if not out.hash_info]
        committed = Revision("HEAD", "HEAD").read(LOCK) or b"" if missing else b""
        for out in missing:
            path, stage = Path(os.path.relpath(out.fs_path)), f"\n  {out.stage.addressing}:"
            if stage.encode() in committed or any(dep.hash_info for dep in out.stage.deps):
                self.find(WORKSPACE, "not in dvc.lock", f"git checkout {LOCK}, dvc repro", path)
            else:
                self.find(WORKSPACE, f"not in {LOCK} yet", "dvc repro", path, harmless=True)

    def judge_leftovers(self) -> None:
        """What a killed DVC has left: temporary files, here and in its cache, a lock cut off.

        (Those of a stage or of a command the next command sweeps.)
        """
        cache = Path(self.cache.database.path)
        for path in sorted([*Path("data").rglob(".*.tmp"), *cache.glob("*/.*.tmp")]):
            if not TEMPORARY.fullmatch(path.name):
                path = Path(os.path.relpath(path))
                self.sweep(path, "left by a DVC that was broken off", harmless=True)
        lock = Path(self.repo.tmp_dir, "rwlock")
        try:
            json.loads(lock.read_bytes())
        except FileNotFoundError:
            pass
        except ValueError:
            self.sweep(Path(os.path.relpath(lock)), "cut off, so that DVC stops", harmless=False)

    def sweep(self, path: Path, found: str, *, harmless: bool) -> None:
        """Remove what is of no use to anyone, or say that it could be."""
        if self.fix:
            path.unlink(missing_ok=True)
            self.mended.append(f"{WORKSPACE}: {path}: removed, {found}")
        else:
            self.find(WORKSPACE, found, FIX, path, harmless=harmless)


def _answered(question: Callable[[Callable[[], None]], Result]) -> Result:
    """What is returned or raised; TimeoutError where nothing is heard for long.

    Args:
        question: is given what it is to call whenever it hears something. One that is not waited
            for is left behind.
    """
    answer: Future[Result] = Future()
    heard = time.monotonic()

    def hear() -> None:
        nonlocal heard
        heard = time.monotonic()

    def ask() -> None:
        try:
            answer.set_result(question(hear))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    while (left := heard + PATIENCE - time.monotonic()) > 0:
        if wait([answer], left).done:
            return answer.result()
    raise TimeoutError(f"nothing for {PATIENCE:g} seconds")


def _reason(error: BaseException) -> str:
    """What an error says, or else its kind."""
    return str(error) or type(error).__name__


def _leads_to(path: Path, cached: Path) -> bool:
    """Is a file of the workspace a symbolic link to an object of the cache?"""
    return path.is_symlink() and path.resolve() == cached.resolve()


def _remake(one: Tracked) -> str:
    """How to get an object that is in no place."""
    elsewhere = "dvc push where it is, then dvc pull"
    if one.target.endswith(".dvc"):
        return elsewhere
    return f"dvc repro {quote(one.target)}, or {elsewhere}"


def _chosen(repo: Any, names: Sequence[str] | None) -> list[str]:
    configured = sorted(repo.config["remote"])
    for name in names or ():
        if name not in configured:
            there = ", ".join(configured) or "one to be configured (core-tokens remote add)"
            raise UsageError("core-tokens doctor", f"the remote {name!r}", there)
    return configured if names is None else list(names)

"""The files of the project as they are here, or as they were in a Git revision or an experiment."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from core_tokens.errors import FileError, UsageError
from core_tokens.files import read_bytes

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Revision:
    """Where files are read.

    Attributes:
        name: as the user calls it.
        commit: all 40 digits, empty of the working tree.
    """

    name: str
    commit: str = ""

    def read(self, path: Path) -> bytes | None:
        """The bytes of a file that Git tracks, None if there is none.

        Raises:
            FileError: it cannot be read.
        """
        if self.commit:
            shown = _git("show", f"{self.commit}:./{path.as_posix()}")
            return shown.stdout if shown.returncode == 0 else None
        try:
            return read_bytes(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileError(path, str(error.strerror), "a file that can be read") from error

    @property
    def state(self) -> str:
        """What identifies it: a commit, and whether the working tree differs from it."""
        if self.commit:
            return self.commit
        head = _git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if head.returncode:
            return "no Git commit"
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".").stdout.strip()
        return head.stdout.decode().strip() + (" and changes since" if changed else "")


def resolve(name: str) -> Revision:
    """The revision of a name that Git knows (a commit, a tag, a branch), or of an experiment.

    Raises:
        UsageError: there is no such revision, or no Git repository.
    """
    if not name.startswith(("-", "^")):  # an option, or all but what follows
        experiments = _experiments(name)
        for full in (name, *experiments):
            found = _git("rev-parse", "--verify", "--quiet", f"{full}^{{commit}}")
            if found.returncode == 0 and (full == name or len(experiments) == 1):
                return Revision(name, found.stdout.decode().strip())
        if experiments:
            several = f"{len(experiments)} experiments named {name!r}"
            raise UsageError("--compare", several, f"one of them in full: {experiments[0]}")
    raise UsageError(
        "--compare", f"the revision {name!r}", "a commit, tag, branch or experiment of this project"
    )


def _experiments(name: str) -> list[str]:
    """The references that DVC keeps of an experiment, refs/exps/AB/CDEF…/NAME."""
    listed = _git("for-each-ref", "--format=%(refname)", "refs/exps")
    return [ref for ref in listed.stdout.decode().split() if ref.split("/")[4:] == [name]]


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git", "no such command", "Git to be installed") from error

"""A disk of the test's own, which can be filled up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

REQUIRED = "CORE_TOKENS_REQUIRE_SERVERS"
PAGE = 4096


@dataclass(frozen=True)
class Disk:
    """A mounted file system in memory."""

    folder: Path

    def leave(self, pages: int) -> None:
        """Fill the disk so that this many pages are free."""
        ballast = self.folder / "ballast"
        ballast.unlink(missing_ok=True)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, (self.free() - pages) * PAGE)
        assert self.free() == pages

    def free(self) -> int:
        """How many pages are free."""
        return os.statvfs(self.folder).f_bavail

    def clear(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, megabytes: int = 32) -> Iterator[Disk]:
    """A disk at a folder; where none may be mounted skip, or fail if ``REQUIRED`` is set."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = f"no file system may be mounted here: {done.stderr.strip()}"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but {reason}")
        pytest.skip(reason)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

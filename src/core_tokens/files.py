"""Reading and writing files so that a final name never stands for half a file."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from core_tokens.errors import FileError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
"""What a file is called until it is whole; no two runs choose the same name."""


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Yield a temporary path beside each of ``paths``; on success they take the final names.

    On an exception, an interrupt included, the temporary files are removed and whatever stood
    under the final names is untouched. What a killed run has left in the same folders is removed
    first. A final name that is a link is replaced, never written through, so that a cache it
    points into stays as it is.
    """
    temporary = [path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp") for path in paths]
    with ExitStack() as locks:
        try:
            for folder in dict.fromkeys(path.parent for path in paths):
                folder.mkdir(parents=True, exist_ok=True)
                sweep(folder)
                locks.enter_context(_locked(folder, fcntl.LOCK_SH))
            yield temporary
            for source, target in zip(temporary, paths, strict=True):
                source.stat()  # one that is missing must be noticed before the first is renamed
                if target.is_dir() and not target.is_symlink():
                    raise FileError(target, "a folder", "a file, or nothing, to be replaced")
            for source, target in zip(temporary, paths, strict=True):
                source.replace(target)
        except OSError as error:
            if error.errno is None:
                raise
            final = dict(zip(map(str, temporary), paths, strict=True))
            # A write that fails does not say where, and temporary names say little.
            where = final.get(str(error.filename), error.filename or paths[0])
            # Nor do all libraries use the words of the system.
            raise OSError(error.errno, os.strerror(error.errno), str(where)) from error
        finally:
            for path in temporary:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def sweep(*folders: Path) -> None:
    """Remove the temporary files that killed runs have left in folders where nobody writes now."""
    for folder in folders:
        with suppress(OSError):
            left = [path for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)]
            if left:
                with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
                    for path in left if alone else ():
                        path.unlink()


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Hold a lock on a folder, which ends with the process; False where there is none to be had.

    Whoever has temporary files in a folder shares one; who removes those of others is alone.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, how)
        except OSError:  # held by others, or not known to the file system
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; a FIFO or a device, which might be waited for, is refused (FileError).

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    if path.exists() and not path.is_file():
        raise FileError(path, "a folder or a device", "a file that can be read")
    return path.read_bytes()


def write_all(contents: Mapping[Path, bytes | str]) -> None:
    """Write files together: all are on the disk, and read back equal, before any is renamed.

    Args:
        contents: final path -> bytes, or text to be written as UTF-8.

    Raises:
        FileError: what was read back is not what was written.
    """
    data = {
        path: text.encode() if isinstance(text, str) else text for path, text in contents.items()
    }
    with replacing(*data) as temporary:
        for to, (path, content) in zip(temporary, data.items(), strict=True):
            to.write_bytes(content)
            if to.read_bytes() != content:
                raise FileError(path, "other bytes than were written", "a disk that keeps them")


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make a folder hold these files and nothing else: name -> bytes.

    They are written as by ``write_all``; only then what else was there goes. A link in place of
    the folder is replaced, never written into.
    """
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_all({folder / name: content for name, content in contents.items()})
    for path in folder.iterdir():
        if path.name not in contents and not TEMPORARY.fullmatch(path.name):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        import shutil  # some milliseconds that only a stage which clears a folder needs to pay

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

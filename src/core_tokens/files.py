"""Writing files so that a final name never stands for half a file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from core_tokens.errors import FileError


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Yield a temporary path beside each of ``paths``; on success they take the final names.

    On an exception, an interrupt included, the temporary files are removed and whatever stood
    under the final names is untouched. A final name that is a link is replaced, never written
    through, so that a cache it points into stays as it is.
    """
    temporary = [path.with_name(f".{path.name}.tmp") for path in paths]
    try:
        for path in temporary:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        yield temporary
        for source, target in zip(temporary, paths, strict=True):
            source.stat()  # one that is missing must be noticed before the first is renamed
            if target.is_dir() and not target.is_symlink():
                raise FileError(target, "a folder", "a file, or nothing, to be replaced")
        for source, target in zip(temporary, paths, strict=True):
            source.replace(target)
    except OSError as error:
        if error.filename is None:  # a write that fails does not say where
            raise OSError(error.errno, error.strerror, str(paths[0])) from error
        raise
    finally:
        for path in temporary:
            with suppress(OSError):
                path.unlink(missing_ok=True)


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

    All are written beside, and read back equal, before the folder takes its final name. One that is
    a link is replaced, never written into.
    """
    beside, before = (folder.with_name(f".{folder.name}{end}") for end in (".tmp", ".old.tmp"))
    try:
        for path in (beside, before):
            remove(path)
        beside.mkdir(parents=True)
        write_all({beside / name: content for name, content in contents.items()})
        if folder.is_symlink() or folder.exists():
            folder.replace(before)
        try:
            beside.replace(folder)
        except BaseException:
            if before.is_symlink() or before.exists():
                before.replace(folder)
            raise
    finally:
        for path in (beside, before):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        import shutil  # some milliseconds that only a stage which writes a folder needs to pay

        shutil.rmtree(path, ignore_errors=True)

"""Is there room for it on the disk?"""

import shutil
from contextlib import suppress
from pathlib import Path

from core_tokens.errors import FileError


def check_space(where: str, nbytes: int) -> None:
    """Refuse to start what the disk cannot hold, with DVC's own copy where there will be one.

    Args:
        where: what is to be copied, for the message.
        nbytes: of one copy.

    Raises:
        FileError: less is free.
    """
    free = shutil.disk_usage(".").free
    if free >= 2 * nbytes:
        return
    copies = 1 if _cache_shares_the_copy() else 2
    if free < copies * nbytes:
        times = "" if copies == 1 else ", here and in DVC's cache"
        raise FileError(
            where,
            f"{copies * nbytes:,} bytes to write{times}",
            f"at most {free:,}, all that is free",
        )


def _cache_shares_the_copy() -> bool:
    """Whether DVC's cache is on another disk, or links to its files instead of copying them."""
    # Here, since DVC takes a third of a second that hardly anyone should wait for.
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        cache = Config(str(Path(".dvc").resolve()))["cache"]
    except DvcException:  # a broken configuration is for DVC to explain
        return False
    if folder := cache.get("dir"):
        with suppress(OSError):  # one that is not there yet is taken to be on this disk
            if Path(folder).stat().st_dev != Path().stat().st_dev:
                return True
    types = [kind for kind in cache.get("type") or () if kind != "reflink"]  # which few disks have
    return types[:1] in (["hardlink"], ["symlink"])

"""Bringing a model's own files under data/, tracked with DVC, and taking them out again."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from core_tokens import lockfile, params, params_text, tensors
from core_tokens.checkpoint import Place, Which, locate
from core_tokens.errors import CoreTokensError, FileError, UsageError, in_files
from core_tokens.files import replacing, write_all
from core_tokens.measurements import check_not_empty, measure

COPY_BYTES = 1 << 22


def add(
    name: str,
    checkpoint: Path,
    tensor: str | None = None,
    cluster_tokens: Path | None = None,
    which: Which = "unembedding",
) -> Place:
    """Bring a matrix, and the cluster of it if there is one, in as the model ``name``.

    The matrix is copied as ``data/NAME/W.safetensors`` in its own dtype; without a cluster file
    the model is listed under ``cluster.discover``. Everything is checked before anything is
    written, and a failure on the way leaves nothing behind.

    Args:
        name: a slug that names no model yet.
        checkpoint: a safetensors file, or a folder in the Hugging Face layout.
        tensor: the matrix, where ``checkpoint.locate`` is not to find it.
        cluster_tokens: a file with the tensor ``cluster_token_ids``.
        which: the unembedding, or the input embedding.

    Returns:
        The tensor that was taken.

    Raises:
        CoreTokensError: what is wrong with the name, a file, or the project.
    """
    settings = params.load()
    _check_name("add", name)
    folder = Path("data", name)
    if name in {*settings.models, *settings.fetch, *settings.cluster.discover}:
        raise UsageError(f"core-tokens add {name}", "a model of that name", "a name not in use")
    if folder.exists() or folder.is_symlink():
        raise FileError(
            folder, "something there already", f"nothing: core-tokens remove {name} clears it"
        )
    if not Path(".dvc").is_dir():
        raise FileError(Path(".dvc"), "no such folder", "a DVC project here (dvc init)")
    place = locate(checkpoint, tensor, which)
    matrix = tensors.map_matrix(place.path, place.key)
    if cluster_tokens:
        token_ids = tensors.read(cluster_tokens, tensors.CLUSTER_TOKENS)["cluster_token_ids"]
        with in_files(W=(place.path, place.key), cluster_token_ids=cluster_tokens):
            check_not_empty(token_ids)
            measure(matrix, token_ids)  # what a stage would refuse is refused before it is copied
    _check_space(place.path, matrix.nbytes)
    targets = [folder / "W.safetensors", folder / "vocab.json"]
    targets += [folder / "cluster_tokens.safetensors"] if cluster_tokens else []
    try:
        with replacing(*targets) as (to_matrix, to_vocab, *to_cluster):
            _copy_matrix(place, to_matrix)
            to_vocab.write_text("[]\n", encoding="utf-8")
            if cluster_tokens:
                shutil.copyfile(cluster_tokens, to_cluster[0])
        _dvc_add(targets)
        text = params.PATH.read_bytes().decode()
        text = params_text.listed(text, name, discover=not cluster_tokens)
        write_all({params.PATH: text.encode()})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # data/ itself, where nothing else is in it
            folder.parent.rmdir()
        raise
    return place


def remove(name: str) -> None:
    """Take a model out: its entries in params.yaml and dvc.lock, and the folder data/NAME.

    Also clears what an ``add`` that was killed has left under data/NAME.

    Raises:
        CoreTokensError: neither a model nor a folder of that name, or a file cannot be edited.
    """
    settings = params.load()
    _check_name("remove", name)
    folder = Path("data", name)
    known = name in {*settings.models, *settings.fetch, *settings.cluster.discover}
    if not known and not folder.exists() and not folder.is_symlink():
        listed = ", ".join(settings.models) or "none"
        raise UsageError(f"core-tokens remove {name}", "no model of that name", f"one of: {listed}")
    if not known:
        _check_leftover(folder)
    contents: dict[Path, bytes | str] = {}
    if known:
        text = params.PATH.read_bytes().decode()
        contents[params.PATH] = params_text.unlisted(text, name).encode()
    if (lock := lockfile.without_model(name)) is not None:
        contents[lockfile.PATH] = lock
    write_all(contents)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _check_leftover(folder: Path) -> None:
    """Refuse to clear a folder that holds more than an ``add`` leaves when it is killed."""
    ours = {".gitignore"}
    for name in ("W.safetensors", "vocab.json", "cluster_tokens.safetensors"):
        ours |= {name, f".{name}.tmp", f"{name}.dvc"}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in ours:
            raise FileError(path, "a file of no model", "it to be moved away first")


def _check_name(command: str, name: str) -> None:
    """Refuse a name that is not a slug (UsageError)."""
    if not params.is_slug(name):
        raise UsageError(f"core-tokens {command}", f"the model name {name!r}", params.SLUG)


def _check_space(source: Path, nbytes: int) -> None:
    """Refuse to start a copy that the disk cannot hold, with DVC's own where that is another."""
    # Here, since DVC takes a third of a second that no other command should wait for.
    from dvc.config import Config
    from dvc.exceptions import DvcException

    copies = 2
    with suppress(DvcException):  # a broken configuration is for `dvc add` to explain
        cache = Config(str(Path(".dvc").resolve()))["cache"]
        if cache.get("dir") or {"hardlink", "symlink"} & set(cache.get("type") or ()):
            copies = 1
    free = shutil.disk_usage(".").free
    if free < copies * nbytes:
        times = "" if copies == 1 else ", here and in DVC's cache"
        raise FileError(
            source,
            f"{copies * nbytes:,} bytes to write{times}",
            f"at most {free:,}, all that is free",
        )


def _copy_matrix(place: Place, target: Path) -> None:
    """Copy one tensor into a file of its own, under the name W, in its own dtype."""
    entry = tensors.entries(place.path)[place.key]
    with place.path.open("rb") as reader, target.open("wb") as writer:
        writer.write(tensors.matrix_header(entry.dtype, (entry.shape[0], entry.shape[1])))
        reader.seek(entry.offset)
        left = entry.nbytes
        with tqdm(
            total=left, unit="B", unit_scale=True, desc=f"copying {place.key}", disable=None
        ) as bar:
            while left:
                chunk = reader.read(min(COPY_BYTES, left))
                if not chunk:
                    raise FileError(
                        place.path, "an end before the last row", "a file that keeps still"
                    )
                writer.write(chunk)
                left -= len(chunk)
                bar.update(len(chunk))


def _dvc_add(targets: list[Path]) -> None:
    """Track files with DVC."""
    command = [sys.executable, "-m", "dvc", "add", *map(str, targets)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, printed = process.communicate()
    except BaseException:  # DVC is to let go of its locks before anything else happens
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        reason = printed.partition("Having any troubles?")[0].strip()
        if "Traceback" in reason:
            reason = reason.splitlines()[-1]
        raise CoreTokensError("dvc add", reason or "no message", "files that DVC can track")

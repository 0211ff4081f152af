"""Taking a model up in params.yaml and under data/, and taking it out again."""

import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core_tokens import (
    artifacts_text,
    lockfile,
    params,
    params_text,
    provenance,
    sources,
    tensors,
    vocabulary,
)
from core_tokens.checkpoint import Place, Which, locate
from core_tokens.disk import check_space
from core_tokens.errors import CoreTokensError, FileError, UsageError, in_files
from core_tokens.files import replacing, write_all
from core_tokens.measurements import check_not_empty, check_token_ids, measure

MATRIX, VOCABULARY, CLUSTER = "W.safetensors", "vocab.json", "cluster_tokens.safetensors"
OF_STAGES = (
    "cluster.json", "populations.csv", "measurements.safetensors", "measure.json", "tokens.csv",
    "core_tokens.safetensors", "core.json", "core.csv", "halo.csv", "structure.json", "plots",
    "pictures",
)  # fmt: skip
"""What else lies in the folder of a model."""


@dataclass(frozen=True)
class Added:
    """What ``add`` took.

    Attributes:
        source: as it is written or was read, a model on the hub at a commit.
        place: the tensor there; None of a replica, which is one.
        fetched: whether the stage ``fetch`` is to obtain it.
    """

    source: sources.Source
    place: Place | None
    fetched: bool


def add(
    name: str,
    source: str,
    tensor: str | None = None,
    cluster_tokens: Path | None = None,
    which: Which = "unembedding",
) -> Added:
    """Bring a matrix, and the cluster of it if there is one, in as the model ``name``.

    A file or a folder is copied at once, as ``data/NAME/W.safetensors`` in its own dtype, and
    tracked with DVC. A replica, and a model on the hub at the commit it stands at now, are listed
    under ``fetch``. Without a cluster file the model is listed under ``cluster.discover``.
    Everything is checked before anything is written, and a failure on the way leaves nothing
    behind.

    Args:
        name: a slug that names no model yet.
        source: see ``sources``.
        tensor: the matrix, where ``checkpoint.locate`` is not to find it.
        cluster_tokens: a file with the tensor ``cluster_token_ids``.
        which: the unembedding, or the input embedding.

    Raises:
        CoreTokensError: what is wrong with the name, the source, a file, or the project.
    """
    command, folder = f"core-tokens add {name}", Path("data", name)
    settings = params.load()
    _check_name("add", name)
    if name in settings.names:
        raise UsageError(command, "a model of that name", "a name not in use")
    if folder.exists() or folder.is_symlink():
        raise FileError(
            folder, "something there already", f"nothing: core-tokens remove {name} clears it"
        )
    if not Path(".dvc").is_dir():
        raise FileError(Path(".dvc"), "no such folder", "a DVC project here (dvc init)")
    given = sources.parse(source, command)
    if isinstance(given, sources.Replica) and (tensor is not None or which != "unembedding"):
        raise UsageError(command, "a choice of tensors in a replica", "none: it is one matrix")
    if isinstance(given, sources.Model):
        given = sources.pinned(given)
    files = None if isinstance(given, sources.Replica) else sources.files_of(given)
    place = locate(files, tensor, which) if files else None
    if cluster_tokens:
        _check_cluster(cluster_tokens, given, place)

    fetch: dict[str, str] | None = None
    if not isinstance(given, Path):
        fetch = {"source": str(given)}
        fetch |= {"which": which} if which != "unembedding" else {}
        fetch |= {"tensor": tensor} if tensor is not None else {}

    def with_model() -> dict[Path, bytes | str]:
        text = params.PATH.read_bytes().decode()
        text = params_text.listed(text, name, fetch, discover=not cluster_tokens)
        contents: dict[Path, bytes | str] = {params.PATH: text.encode()}
        if (pipeline := _pipeline()) is not None:
            pipeline = artifacts_text.with_artifact(pipeline, name)
            contents[artifacts_text.PATH] = pipeline.encode()
        return contents

    with_model()  # what cannot be edited is known before anything is copied
    copied = isinstance(given, Path) and files and place
    targets = [folder / MATRIX, folder / VOCABULARY] if copied else []
    targets += [folder / CLUSTER] if cluster_tokens else []
    try:
        with replacing(*targets) as temporary:
            if copied and files and place:
                check_space(files.at(place.file), place.entry.nbytes)
                sources.copy_matrix(files, place, temporary[0])
                tokens = sources.vocabulary_of(files, place.entry.shape[0])
                temporary[1].write_bytes(vocabulary.to_json(tokens))
            if cluster_tokens:
                shutil.copyfile(cluster_tokens, temporary[-1])
        if targets:
            _dvc_add(targets)
        write_all(with_model())
    except BaseException:
        if targets:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # data/ itself, where nothing else is in it
                folder.parent.rmdir()
        raise
    return Added(given, place, fetch is not None)


def _check_cluster(path: Path, source: sources.Source, place: Place | None) -> None:
    """Refuse a cluster file that a stage would refuse, as far as can be said before W is here."""
    token_ids = tensors.read(path, tensors.CLUSTER_TOKENS)["cluster_token_ids"]
    with in_files(cluster_token_ids=path):
        check_not_empty(token_ids)
        if place:
            check_token_ids(token_ids, place.entry.shape[0])
    if place and isinstance(source, Path):
        file = Path(sources.files_of(source).at(place.file))
        with in_files(W=(file, place.key), cluster_token_ids=path):
            measure(tensors.map_matrix(file, place.key), token_ids)


def remove(name: str) -> None:
    """Take a model out of params.yaml, dvc.yaml and dvc.lock, and remove the folder data/NAME.

    Also clears what an ``add`` that was killed has left under data/NAME.

    Raises:
        CoreTokensError: neither a model nor a folder of that name, or a file cannot be edited.
    """
    settings = params.load()
    _check_name("remove", name)
    folder = Path("data", name)
    known = name in settings.names
    if not known and not folder.exists() and not folder.is_symlink():
        listed = ", ".join(settings.models) or "none"
        raise UsageError(f"core-tokens remove {name}", "no model of that name", f"one of: {listed}")
    if not known:
        _check_leftover(folder)
    contents: dict[Path, bytes | str] = {}
    if known:
        text = params.PATH.read_bytes().decode()
        contents[params.PATH] = params_text.unlisted(text, name).encode()
    # A run that was killed may have come as far as params.yaml.
    if (pipeline := _pipeline()) is not None:
        edited = artifacts_text.without_artifact(pipeline, name)
        if edited != pipeline:
            contents[artifacts_text.PATH] = edited.encode()
    if (lock := lockfile.without_model(name)) is not None:
        contents[lockfile.PATH] = lock
    write_all(contents)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _pipeline() -> str | None:
    """dvc.yaml as it stands, None where there is none."""
    try:
        return artifacts_text.PATH.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise FileError(artifacts_text.PATH, "no UTF-8", "the pipeline of this project") from error


def _check_leftover(folder: Path) -> None:
    """Refuse to clear a folder that holds more than what ``add`` and the stages write.

    Such is left by an ``add`` that was killed, or by a branch that has the model.
    """
    ours = {".gitignore"}
    for name in (MATRIX, VOCABULARY, CLUSTER, provenance.NAME, *OF_STAGES):
        ours |= {name, f"{name}.dvc"}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in ours and not path.match(".*.tmp"):  # which DVC leaves too
            raise FileError(path, "a file of no model", "it to be moved away first")


def _check_name(command: str, name: str) -> None:
    """Refuse a name that is not a slug (UsageError)."""
    if not params.is_slug(name):
        raise UsageError(f"core-tokens {command}", f"the model name {name!r}", params.SLUG)


def _dvc_add(targets: list[Path]) -> None:
    """Track files with DVC."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "add", *map(str, targets)]
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

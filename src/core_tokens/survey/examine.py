"""One checkpoint from where it lies to its result in the store: what a worker does."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core_tokens.errors import CoreTokensError, FileError, TensorError, in_files, one_line
from core_tokens.survey import matrices, record
from core_tokens.survey.checkpoints import Checkpoint, shown
from core_tokens.survey.snapshot import VERSION, snapshot
from core_tokens.survey.store import Store, key_of


@dataclass(frozen=True)
class Question:
    """What is asked of every checkpoint.

    Attributes:
        threshold: L2, of the graph whose largest component is the cluster.
        store: the address of the store.
        version: of what is found, as the asking process has it.
    """

    threshold: float
    store: str
    version: int = VERSION


class Outcome(NamedTuple):
    """What became of a checkpoint: a result under its key, or an error.

    Attributes:
        key: of the result, which checkpoints of the same bytes share.
        file: in which the matrix lies, without the folders above; empty for a replica.
        reused: whether the result was there before.
        error: why there is none.
    """

    key: str = ""
    file: str = ""
    reused: bool = False
    error: str = ""


class OtherVersionError(CoreTokensError):
    """A worker would find something else than the process that asks."""


def examine(checkpoint: Checkpoint, question: Question) -> Outcome:
    """Find the cluster of a checkpoint, and keep it in the store.

    What is in the store already is not done again. A tensor that is wrong is an outcome: it will be
    as wrong the next time. Whatever else is wrong is raised, since it may pass: a file that is not
    there, a hub that does not answer.

    Raises:
        StoreError: nothing can be kept, or there is no room for the matrix.
        OtherVersionError: this process has another version.
        CoreTokensError, OSError: the checkpoint cannot be read.
    """
    if question.version != VERSION:
        raise OtherVersionError(
            "a worker", f"version {VERSION} of surveys", f"{question.version}: the same Core Tokens"
        )
    start = time.monotonic()
    store = Store(question.store)
    try:
        found = matrices.find(checkpoint)
        seen = _key(("seen", *found.stamp), question) if found.stamp else ""
        key = _key(found.identity, question) if found.identity else store.alias(seen) or ""
        if key and _is_kept(store, key):
            return Outcome(key, found.file, reused=True)
        matrix, dtype, sha256 = found.load()
        known = found.vocabulary(len(matrix))
        if not found.identity:
            shape = map(str, matrix.shape)
            identity = (sha256, dtype, *shape, found.tensor, known.name)
            key = _key(identity, question)
            if _is_kept(store, key):
                _check_still(checkpoint, found)
                store.set_alias(seen, key)
                return Outcome(key, found.file, reused=True)
        with in_files(W=(checkpoint.name, found.tensor)):
            taken = snapshot(matrix, question.threshold)
    except TensorError as error:
        return Outcome(error=explained(checkpoint, error))
    ids = taken.measured.token_ids.tolist()
    about = record.About(
        commit=found.commit,
        tensor=found.tensor,
        dtype=dtype,
        sha256=sha256,
        vocabulary=known.name,
        figures=taken.figures,
        tokens=[known.tokens[token] for token in ids] if known.tokens else [],
        bytes=matrix.nbytes,
        seconds=time.monotonic() - start,
    )
    _check_still(checkpoint, found)
    store.write(key, record.to_bytes(record.record(taken, about)))
    store.set_alias(seen, key)
    return Outcome(key, found.file)


def _check_still(checkpoint: Checkpoint, found: matrices.Found) -> None:
    """Refuse files that have changed while they were read (FileError)."""
    if found.stamp and matrices.find(checkpoint).stamp != found.stamp:
        raise FileError(str(checkpoint.source), "a file that changed", "one that keeps still")


def explained(checkpoint: Checkpoint, error: BaseException) -> str:
    """An error as one line that is the same wherever the checkpoint is examined."""
    text = str(error) if isinstance(error, CoreTokensError) else _of_another_kind(error)
    if isinstance(checkpoint.source, Path):  # as it was given, not as this machine has it
        text = shown(text).replace(shown(str(checkpoint.source)), checkpoint.path)
    return one_line(text)


def _of_another_kind(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _key(identity: tuple[str, ...], question: Question) -> str:
    return key_of(*identity, float(question.threshold), question.version)


def _is_kept(store: Store, key: str) -> bool:
    """Whether a whole result is there; one that is not is done again."""
    content = store.read(key)
    if content is None:
        return False
    try:
        record.from_bytes(key, content)
    except FileError:
        return False
    return True

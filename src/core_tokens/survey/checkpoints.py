"""Which checkpoints are meant? The sources of a survey -> a list, in the order of the tables.

Nothing is read here but the names in folders and at the hub, and the headers of files that may hold
many matrices. What is missing or broken is for whoever reads it: one line of the tables.
"""

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from core_tokens import sources, tensors
from core_tokens.checkpoint import Which
from core_tokens.errors import CoreTokensError, ParamsError
from core_tokens.params import Sources
from core_tokens.survey import hdf5

REV = "{rev}"
WILD = re.compile(r"[*?\[]")
STEPS = "steps"
"""The tensor or dataset beside many matrices that says at which step of training each was kept."""
INTEGERS = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8")
"""What steps may be kept as, by the names of safetensors."""
NUMBERED = re.compile(
    r"(?<![a-z])(?:steps?|iter(?:ation)?s?|checkpoints?|ckpts?|epochs?|updates?)"
    r"[-_=]?(\d{1,18})(?![\da-z]|\.\d)",
    re.I,
)
"""How names say at which step of training a checkpoint was kept."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, where nothing but its place is known.

    Attributes:
        name: for people, each checkpoint its own.
        step: of training, where that is known.
        source: a model at the hub, a replica, or a path.
        tensor: the name of the matrix, None if it is to be found by name.
        which: see ``checkpoint.locate``.
        index: of the matrix in a tensor [steps, vocab, dims] or a dataset of HDF5.
    """

    name: str
    step: int | None
    source: sources.Source
    tensor: str | None = None
    which: Which = "unembedding"
    index: int | None = None

    @property
    def path(self) -> str:
        """Of a file or folder, as it was given."""
        name, source = self.name, shown(str(self.source))
        for suffix in (f"#{self.tensor or self.which}", f"[{self.index}]"):
            if not source.endswith(name):  # a file may itself be called so
                name = name.removesuffix(suffix)
        return name


def expand(given: Sequence[str | Sources], where: str) -> list[Checkpoint]:
    """All checkpoints of some sources, each once, in their order.

    The revisions and paths that a pattern matches are ordered naturally: step9 before step10.

    Args:
        given: ``survey.NAME.sources`` of params.yaml.
        where: that key, for messages.

    Raises:
        CoreTokensError: a source that is none, or a pattern that matches nothing.
    """
    found: dict[Checkpoint, None] = {}
    for at, each in enumerate(given):
        one = each if isinstance(each, Sources) else Sources(each)
        for checkpoint in _expanded(one, f"{where}[{at}]"):
            found.setdefault(checkpoint)
    times = Counter(checkpoint.name for checkpoint in found)
    return [_told_apart(each) if times[each.name] > 1 else each for each in found]


def _told_apart(checkpoint: Checkpoint) -> Checkpoint:
    """One of several matrices of the same file or model, by which it is."""
    which = checkpoint.tensor or checkpoint.which
    return replace(checkpoint, name=f"{checkpoint.name}#{which}")


def natural(text: str) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts numbers in text by their value; step1 and step01 are told apart."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if nth % 2 else (0, part) for nth, part in enumerate(parts)], text


def shown(name: str) -> str:
    """A name as text that can be written: bytes of it that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def step_in(name: str) -> int | None:
    """The step of training that a name speaks of; the last, if there are several."""
    numbers = [part for part in name.split("/") if re.fullmatch(r"\d{1,18}", part)]
    found = NUMBERED.findall(name) or numbers
    return int(found[-1]) if found else None


def _expanded(one: Sources, where: str) -> Iterator[Checkpoint]:
    if one.source.startswith("hf://"):
        yield from _at_the_hub(one, where)
        return
    if one.rev is not None or REV in one.source:
        raise ParamsError(
            where, f"{one.source!r} with revisions", f"them for hf://org/model@{REV} alone"
        )
    if one.source.startswith(sources.REPLICA):
        source = sources.parse(one.source, f"params.yaml: {where}")
        yield Checkpoint(one.source, None, source)
        return
    if re.match(r"(hf|replica):|[\w+.-]+:/", one.source) or not one.source:
        raise ParamsError(where, repr(one.source), f"{sources.FORMS}, or a pattern of paths")
    if WILD.search(one.source) and not Path(one.source).exists():
        pattern = str(sources.path_of(one.source))
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - may be absolute
        paths = sorted(found, key=natural)
        if not paths:
            raise ParamsError(where, f"{one.source!r}, which matches nothing here", "a path")
    else:
        paths = [str(sources.path_of(one.source))]
    for path in paths:
        yield from _in_path(path, one)


def _at_the_hub(one: Sources, where: str) -> Iterator[Checkpoint]:
    """A model at each of the revisions that are listed, or that a pattern matches."""
    model, at, revision = one.source.removeprefix("hf://").partition("@")
    if (one.rev is not None) != (REV in revision):
        raise ParamsError(
            where,
            f"{one.source!r} and rev: {one.rev!r}",
            f"hf://org/model@{REV} with rev, or neither",
        )
    if isinstance(one.rev, list):
        revisions = [revision.replace(REV, str(each)) for each in one.rev]
        if not revisions:
            raise ParamsError(f"{where}.rev", "an empty list", "at least one revision")
    else:
        revisions = [revision.replace(REV, one.rev or "")]
    for wanted in revisions:
        pattern = WILD.search(wanted) is not None
        text = f"hf://{model}{at}{'main' if pattern else wanted}"
        source = sources.parse(text, f"params.yaml: {where}")
        if not isinstance(source, sources.Model):
            raise ParamsError(where, repr(one.source), "hf://org/model")
        if not pattern:
            yield _of_model(source, one)
            continue
        there = [name for name in sources.revisions(source) if fnmatchcase(name, wanted)]
        if not there:
            raise ParamsError(where, f"no revision of {source.repo} like {wanted!r}", "some")
        for name in sorted(there, key=natural):
            yield _of_model(sources.Model(source.repo, name), one)


def _of_model(source: sources.Model, one: Sources) -> Checkpoint:
    return Checkpoint(str(source), step_in(source.revision or ""), source, one.tensor, one.which)


def _in_path(path: str, one: Sources) -> Iterator[Checkpoint]:
    """The checkpoint of a path, or all those in a file of many."""
    name, source = shown(path), Path(path).absolute()
    found: tuple[int | None, list[int] | None, str | None]
    try:
        if hdf5.is_hdf5(source):
            found = hdf5.matrices(source, one.tensor, STEPS)
        else:
            found = _matrices(source, one.tensor)
    except (CoreTokensError, OSError):  # will be said when it is to be read
        found = None, None, one.tensor
    many, steps, tensor = found
    if not many:
        yield Checkpoint(name, step_in(name), source, tensor, one.which)
        return
    for index in range(many):
        step = steps[index] if steps else None
        yield Checkpoint(f"{name}[{index}]", step, source, tensor, one.which, index)


def _matrices(path: Path, tensor: str | None) -> tuple[int | None, list[int] | None, str | None]:
    """How many matrices a tensor of a safetensors file holds, their steps, and its name.

    None for a checkpoint like any other. Without a name it is the only tensor of rank 3, if all
    others are the steps.
    """
    if not path.is_file():
        return None, None, tensor
    there = tensors.entries(path)
    name = tensor
    if name is None:
        others = [each for each in there if each != STEPS]
        if len(others) != 1:
            return None, None, tensor
        name = others[0]
    if name not in there or len(there[name].shape) != 3:
        return None, None, tensor
    many = there[name].shape[0]
    steps = None
    if STEPS in there and there[STEPS].dtype in INTEGERS and there[STEPS].shape == (many,):
        steps = tensors.read(path, {STEPS: ("|".join(INTEGERS), (many,))})[STEPS].tolist()
        steps = steps if max(steps, default=0) < 1 << 63 else None
    return many, steps, name

"""Coverage-guided fuzzing of everything that reads a file: ``make fuzz``.

Only a CoreTokensError may come out of a reader. Anything else ends the run, and what caused it lies
beside, as fuzz/crash-…: ``python fuzz/readers.py fuzz/crash-…`` runs it again.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris
import numpy as np
from safetensors.numpy import save

with atheris.instrument_imports(include=["core_tokens"]):
    from core_tokens import (
        core_file,
        params,
        params_text,
        plot_files,
        provenance,
        tensors,
        vocabulary,
    )
    from core_tokens.artifacts_text import with_artifact, without_artifact
    from core_tokens.checkpoint import locate
    from core_tokens.errors import CoreTokensError
    from core_tokens.folder import Folder
    from core_tokens.survey import hdf5, record
    from core_tokens.survey.checkpoints import expand
    from core_tokens.survey.snapshot import snapshot

PLACE = Path(tempfile.mkdtemp())
FILE = PLACE / "file"


def header(content: bytes) -> None:
    """The header alone, as it comes over HTTP: of a file as large as its largest number says."""
    numbers = map(int, re.findall(rb"\d{1,15}", content))
    tensors.parse_header("x", content, 8 + len(content) + max(numbers, default=0))


def locate_in(name: str) -> Callable[[bytes], None]:
    """A checkpoint of which one file is the input."""
    folder = PLACE / name.replace(".", "-")
    folder.mkdir()
    weights = save({"lm_head.weight": np.zeros((3, 2), np.float32)})
    (folder / "model.safetensors").write_bytes(weights)

    def read(content: bytes) -> None:
        (folder / name).write_bytes(content)
        locate(Folder(folder), None, "unembedding")

    return read


def of_file(read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """A reader of a path."""

    def run(content: bytes) -> None:
        FILE.write_bytes(content)
        read(FILE)

    return run


def edit_params(content: bytes) -> None:
    """A name in and out of a text that is valid."""
    FILE.write_bytes(content)
    params.load(FILE)
    text = params_text.listed(content.decode(), "fuzzed", None, discover=True)
    params_text.unlisted(text, "fuzzed")


def edit_artifacts(content: bytes) -> None:
    """The same of dvc.yaml."""
    without_artifact(with_artifact(content.decode(errors="replace"), "fuzzed"), "fuzzed")


def trajectory(path: Path) -> None:
    """A file that may hold many matrices, in either format."""
    expand([str(path)], "survey.x.sources")
    if hdf5.is_hdf5(path):
        hdf5.read(path, "W", 0)


READERS: list[Callable[[bytes], object]] = [
    of_file(tensors.entries),
    header,
    of_file(core_file.read),
    of_file(lambda path: tensors.read(path, tensors.MEASUREMENTS)),
    of_file(lambda path: tensors.read(path, tensors.CLUSTER_TOKENS)),
    of_file(params.load),
    of_file(vocabulary.read),
    of_file(vocabulary.read_texts),
    of_file(lambda path: plot_files.read(path, ("rank",), ("text",))),
    of_file(provenance.read),
    locate_in("model.safetensors.index.json"),
    locate_in("config.json"),
    edit_params,
    edit_artifacts,
    lambda content: record.from_bytes("x", content),
    of_file(trajectory),
]
"""The first byte of an input says which of these reads the rest."""


def one(data: bytes) -> None:
    """One input."""
    if not data:
        return
    reader = READERS[data[0] % len(READERS)]
    try:
        reader(data[1:])
    except CoreTokensError as error:
        line = str(error)
    else:
        return
    assert line.isprintable()


def seeds() -> Iterator[bytes]:
    """A good input of each reader."""
    core = {"cluster_token_ids": np.array([1]), "max_core_radius_ulp": np.ones(1, np.float32)}
    measured = {
        "token_ids": np.array([1]), "vector_of_token": np.array([0]),
        "vectors": np.zeros((1, 2), np.float32), "populations": np.array([1]),
        "distance_ulp": np.zeros(1, np.float32), "distance_steps": np.array([0]),
        "distance_l2": np.zeros(1, np.float32), "origin": np.array([0]),
        "ulp": np.ones(1, np.float32),
    }  # fmt: skip
    settings = (
        b"models: [a]\nfetch: {}\ncluster:\n  adjacency_threshold: 0.5\n  discover: [a]\n"
        b"measure: {device: cpu}\nextract: {distance: ulp, radius: 3.0}\n"
        b"draw: {format: svg, theme: light}\n"
        b"survey:\n  s: {sources: [a, {source: b, rev: [1]}], radii: [3], distances: [ulp], "
        b"threshold: 0.002}\n"
    )
    kept = snapshot(np.ones((4, 2), np.float32), 0.5)
    about = record.About("", "W", "F32", "0", "", kept.figures, [], 32, 0.0)
    files = [
        save(core), save(core)[8:], save(core), save(measured), save(core), settings,
        b'[{"class": "ordinary", "text": "a"}, null]', b"token,class,text\n1,ordinary,a\n",
        b"rank,text\n1,a\n", b'{"a": {"W": {"sha256": "0"}}}',
        json.dumps({"weight_map": {"lm_head.weight": "model.safetensors"}}).encode(),
        b'{"tie_word_embeddings": true}', settings, b"artifacts:\n  a:\n    path: b\nstages: {}\n",
        record.to_bytes(record.record(kept, about)), save({"W": np.zeros((2, 3, 2), np.float32)}),
    ]  # fmt: skip
    assert len(files) == len(READERS)
    for number, content in enumerate(files):
        yield bytes([number]) + content


if __name__ == "__main__":
    corpus = PLACE / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds()):
        (corpus / str(number)).write_bytes(content)
    replayed = any(Path(argument).is_file() for argument in sys.argv[1:])
    atheris.Setup([*sys.argv, *([] if replayed else [str(corpus)])], one)
    atheris.Fuzz()

"""Matrices of any size that look like a model's: noise, and in it a cluster of a given size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workspace import MATRIX, write_params
from core_tokens.bits import from_ordered, ordered, round_to_bfloat16
from core_tokens.replica.draws import Draws
from core_tokens.replica.matrix import write_matrix

MODEL = "made"
NORM = 0.25
"""Of the Big One: small enough that a few lattice steps stay below the threshold at any width."""
ORIGIN_SHARE = 0.37
"""Of the cluster's tokens, as in the default model."""


@dataclass(frozen=True)
class Shape:
    """How large a matrix is, and the cluster in it; the defaults are those of the replica."""

    rows: int = 151_936
    dims: int = 2560
    tokens: int = 2212
    vectors: int = 125

    @property
    def nbytes(self) -> int:
        """Of the matrix, in bfloat16."""
        return self.rows * self.dims * 2


@dataclass(frozen=True)
class Model:
    """A folder in which the stages run on such a matrix.

    Attributes:
        folder: what holds params.yaml and ``data/``.
        shape: of the matrix.
        origin: a token whose row is the Big One.
    """

    folder: Path
    shape: Shape
    origin: int

    @property
    def data(self) -> Path:
        """Where its files lie."""
        return self.folder / "data" / MODEL


def make(folder: Path, shape: Shape) -> Model:
    """Write a matrix, seeded; no two ordinary rows alike and all far apart, as in the replica."""
    draws = np.random.default_rng(0)
    token_ids = draws.permutation(shape.rows)[: shape.tokens]
    vector = draws.integers(0, shape.vectors, shape.tokens)
    vector[: int(shape.tokens * ORIGIN_SHARE)] = 0
    vector[-shape.vectors :] = np.arange(shape.vectors)  # each at least once
    vector_of_token = np.full(shape.rows, -1)
    vector_of_token[token_ids] = vector
    model = Model(folder, shape, int(np.flatnonzero(vector_of_token == 0)[0]))
    model.data.mkdir(parents=True)
    write_params(folder, MODEL)
    (model.data / "vocab.json").write_text("[]\n")
    vectors = cluster_vectors(shape.vectors, shape.dims, draws)
    write_matrix(model.data / MATRIX, MODEL, vectors, vector_of_token, Draws(1))
    return model


def cluster_vectors(count: int, dims: int, draws: np.random.Generator) -> NDArray[Any]:
    """The Big One, and others one or two lattice steps away in a sixteenth of the dimensions.

    Hardly any two are neighbours on the lattice, as in the default model.
    """
    centre = round_to_bfloat16(draws.normal(0, NORM / np.sqrt(dims), dims))
    lattice = np.repeat(ordered(centre)[None], count, axis=0)
    for row in lattice[1:]:
        row[draws.choice(dims, dims // 16, replace=False)] += draws.choice(
            np.array([-2, -1, 1, 2], np.int32), dims // 16
        )
    return from_ordered(lattice)

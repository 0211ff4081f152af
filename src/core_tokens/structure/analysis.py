"""All that can be said of the structure of a cluster and of its core, side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.structure.adjacency import Adjacency, adjacency
from core_tokens.structure.cross_section import CrossSection, cross_section
from core_tokens.structure.diversity import Diversity, diversity
from core_tokens.structure.quantization import Quantization, quantization
from core_tokens.structure.shells import Shells, shells


@dataclass(frozen=True)
class Structure:
    """What some distinct vectors look like, one question each."""

    shells: Shells
    diversity: Diversity
    quantization: Quantization
    cross_section: CrossSection
    adjacency: Adjacency


@dataclass(frozen=True)
class Analysis:
    """The structure of all vectors that were measured, and of those in the core."""

    cluster: Structure
    core: Structure


def analyse(
    vectors: NDArray[Any],
    populations: NDArray[np.int64],
    distance_ulp: NDArray[np.float32],
    within: NDArray[np.bool_],
) -> Analysis:
    """Describe the vectors of a cluster, and those of its core.

    Args:
        vectors: float[vectors, dims] of a dtype of ``bits.LATTICES``, finite and distinct.
        populations: int64[vectors], tokens per vector.
        distance_ulp: float32[vectors], from the origin.
        within: bool[vectors], which of them are core.
    """
    neighbours = adjacency(vectors, populations)

    def structure(chosen: NDArray[np.bool_], graphs: Adjacency) -> Structure:
        return Structure(
            shells(distance_ulp[chosen], populations[chosen]),
            diversity(vectors[chosen]),
            quantization(vectors[chosen]),
            cross_section(vectors[chosen], populations[chosen]),
            graphs,
        )

    everything = np.ones(len(vectors), np.bool_)
    return Analysis(structure(everything, neighbours), structure(within, neighbours.among(within)))

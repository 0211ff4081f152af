"""The structure of cluster and core as tables, one per picture.

What a picture shows stands in its table, and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core_tokens.core import RULERS
from core_tokens.tables import csv_text, number, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core_tokens.structure.analysis import Analysis
    from core_tokens.structure.layout import Layout
    from core_tokens.structure.tokens import Kinds
    from core_tokens.vocabulary import Token

MOST_EDGES = 2000
"""So many edges are drawn, the shortest first, and those of the trees in any case."""
MOST_LABELS = 15
"""So many groups are labelled by name in the picture of the populations."""
CORE, HALO = "core", "halo"


@dataclass(frozen=True)
class Vectors:
    """The distinct vectors of a cluster as their pictures need them, and which are core.

    Attributes:
        populations: int64[vectors], tokens per vector.
        distances: ruler -> float32[vectors] or int64[vectors], from the origin.
        within: bool[vectors], which are core.
        first_tokens: int64[vectors], the first token that has the vector.
        texts: the text of that token, empty where it is unknown.
        origin: the most populated one, -1 without any.
        ruler: by which the core was cut.
        radius: at which.
    """

    populations: NDArray[np.int64]
    distances: Mapping[str, NDArray[Any]]
    within: NDArray[np.bool_]
    first_tokens: NDArray[np.int64]
    texts: list[str]
    origin: int
    ruler: str
    radius: np.float32

    def chosen(self, ruler: str) -> str:
        """The radius, where it is one of this ruler."""
        return plain(self.radius) if ruler == self.ruler else ""

    def zero(self, ruler: str) -> str:
        """Where a log axis shows zero: at a third of the smallest positive value on it."""
        there = [*map(number, self.distances[ruler]), float(self.chosen(ruler) or 0)]
        return f"{min((value for value in there if value > 0), default=3.0) / 3:.3g}"

    @property
    def parts(self) -> list[str]:
        """Whether each is core or halo."""
        return [CORE if inside else HALO for inside in self.within]


def vectors_of(
    measured: Mapping[str, NDArray[Any]],
    within: NDArray[np.bool_],
    ruler: str,
    radius: np.float32,
    texts: Mapping[int, Token] | None,
) -> Vectors:
    """Gather what the pictures need.

    Args:
        measured: the tensors of measurements.safetensors.
        within: bool[vectors], which are core.
        ruler: by which the core was cut.
        radius: at which.
        texts: token -> its class and text, None if unknown.
    """
    _, first = np.unique(measured["vector_of_token"], return_index=True)
    first_tokens = measured["token_ids"][first]
    known = [texts[token] if texts else None for token in first_tokens.tolist()]
    return Vectors(
        populations=measured["populations"],
        distances={each: measured[f"distance_{each}"] for each in RULERS},
        within=within,
        first_tokens=first_tokens,
        texts=[token.text or "" if token else "" for token in known],
        origin=int(measured["origin"][0]),
        ruler=ruler,
        radius=radius,
    )


def plot_tables(
    found: Analysis,
    laid_out: Layout,
    matrix: NDArray[Any],
    vectors: Vectors,
    kinds: Mapping[str, Kinds] | None,
) -> dict[str, str]:
    """The table of every picture by its name.

    Args:
        found: what was found.
        laid_out: where the vectors of the graph "L-infinity 1" of the cluster go.
        matrix: float[vectors, dims], the vectors themselves.
        vectors: what else there is to them.
        kinds: of the tokens of "core" and "halo", None where their text is unknown.
    """
    return {
        **{f"curve_{ruler}": curve_table(vectors, ruler) for ruler in RULERS},
        "shells": shells_table(found),
        "populations": populations_table(vectors),
        "rulers": rulers_table(vectors),
        "diversity": diversity_table(found),
        "quantization": quantization_table(found),
        "cross_section": cross_section_table(found, matrix, vectors),
        "adjacency": adjacency_table(found, laid_out, vectors),
        "kinds": kinds_table(kinds),
    }


def curve_table(vectors: Vectors, ruler: str) -> str:
    """curve_RULER.csv: the core at every radius at which it grows, one per distinct distance.

    ``chosen`` repeats the radius in use, where it is one of this ruler; ``zero`` is where a log
    axis shows zero.
    """
    distance = vectors.distances[ruler]
    order = np.argsort(distance, kind="stable")
    last = np.flatnonzero(np.append(distance[order][1:] > distance[order][:-1], True)[: len(order)])
    tokens = np.cumsum(vectors.populations[order])
    more = vectors.chosen(ruler), vectors.zero(ruler)
    rows = [(plain(distance[order[at]]), int(at) + 1, int(tokens[at]), *more) for at in last]
    return csv_text(("radius", "vectors", "tokens", "chosen", "zero"), rows)


def shells_table(found: Analysis) -> str:
    """shells.csv: vectors and tokens of core and halo per whole ulp, rounded half to even."""
    whole, core = found.cluster.shells, found.core.shells
    inside = {
        shell: (int(vectors), int(tokens))
        for shell, vectors, tokens in zip(core.whole, core.vectors, core.tokens, strict=True)
    }
    rows: list[tuple[str, str, int, int]] = []
    for shell, vectors, tokens in zip(whole.whole, whole.vectors, whole.tokens, strict=True):
        of_core = inside.get(shell, (0, 0))
        for part, (n, m) in (
            (CORE, of_core),
            (HALO, (int(vectors) - of_core[0], int(tokens) - of_core[1])),
        ):
            if n:
                rows.append((plain(shell), part, n, m))
    return csv_text(("ulp", "part", "vectors", "tokens"), rows)


def populations_table(vectors: Vectors) -> str:
    """populations.csv: every distinct vector, the most populated first, the large ones labelled."""
    parts, rows = vectors.parts, []
    others = np.arange(len(parts)) != vectors.origin
    order = np.lexsort((vectors.first_tokens, others, -vectors.populations)).tolist()
    for rank, at in enumerate(order, start=1):
        population, token = int(vectors.populations[at]), int(vectors.first_tokens[at])
        named = vectors.texts[at] or str(token)
        label = "the Big One" if at == vectors.origin else named
        shown = label if population > 1 and rank <= MOST_LABELS else ""
        distance = plain(vectors.distances["ulp"][at])
        rows.append((rank, population, parts[at], token, vectors.texts[at], distance, shown))
    names = ("rank", "population", "part", "token", "text", "distance_ulp", "label")
    return csv_text(names, rows)


def diversity_table(found: Analysis) -> str:
    """diversity.csv: dimensions by how many distinct values they take, of cluster and core."""
    rows = [
        (values, of, dimensions)
        for of, structure in (("cluster", found.cluster), ("core", found.core))
        for values, dimensions in structure.diversity.histogram().items()
        if values
    ]
    return csv_text(("distinct", "of", "dimensions"), rows)


OTHER = "other"
"""The bar of the gaps that are no power of two of their quantum."""


def quantization_table(found: Analysis) -> str:
    """quantization.csv: gaps by n, those that are exactly 2**n quanta of their dimension.

    ``nearest`` counts all gaps that are nearest to 2**n, as it was published.
    """
    rows: list[tuple[int | str, str, int, int | str]] = []
    for of, structure in (("cluster", found.cluster), ("core", found.core)):
        exact, nearest = structure.quantization.exponents, structure.quantization.nearest_exponents
        rows += [(n, of, exact.get(n, 0), nearest[n]) for n in nearest]
        others = structure.quantization.gaps - structure.quantization.power_of_two_gaps
        if others:
            rows.append((OTHER, of, others, ""))
    return csv_text(("exponent", "of", "gaps", "nearest"), rows)


def cross_section_table(found: Analysis, matrix: NDArray[Any], vectors: Vectors) -> str:
    """cross_section.csv: the points in the plane of the cluster, those of core and halo apart.

    Args:
        found: what was found.
        matrix: float[vectors, dims], the vectors themselves.
        vectors: what else there is to them.
    """
    chosen = [at for at in found.cluster.cross_section.dimensions if at >= 0]
    chosen = (2 * chosen)[:2] if len(chosen) < 2 else chosen  # of one dimension: a line
    points: dict[tuple[float, float, str], list[int]] = {}
    for at, part in enumerate(vectors.parts):
        x, y = (float(matrix[at, dimension]) + 0.0 for dimension in chosen)
        points.setdefault((x, y, part), []).append(at)
    rows = []
    for (x, y, part), members in sorted(points.items()):
        tokens = int(vectors.populations[members].sum())
        most = max(members, key=lambda at: int(vectors.populations[at]))
        rows.append((
            repr(x), repr(y), part, tokens, len(members), *chosen,
            int(vectors.first_tokens[most]), vectors.texts[most],
        ))  # fmt: skip
    names = ("x", "y", "part", "tokens", "vectors", "dimension_x", "dimension_y", "token", "text")
    return csv_text(names, rows)


def adjacency_table(found: Analysis, laid_out: Layout, vectors: Vectors) -> str:
    """adjacency.csv: a row for each edge that is drawn, and one for each vector.

    ``edges`` repeats how many there are, ``packing`` is the share of all possible face neighbours.

    Args:
        found: what was found.
        laid_out: where the vectors of the graph "L-infinity 1" of the cluster go.
        vectors: what else there is to them.
    """
    graphs, parts = found.cluster.adjacency, vectors.parts
    face, linf, tree = graphs.face, graphs.linf, laid_out.tree
    places = [(plain(round(x, 3)), plain(round(y, 3))) for x, y in laid_out.places.tolist()]
    drawn = np.lexsort((linf.edges[:, 1], linf.edges[:, 0], linf.lengths, ~tree))
    drawn = drawn[: max(MOST_EDGES, int(tree.sum()))]
    rows: list[tuple[Any, ...]] = []
    for at in sorted(drawn, key=lambda at: (-int(linf.lengths[at]), int(at))):  # the longest below
        a, b = linf.edges[at].tolist()
        length, among = int(linf.lengths[at]), len(linf.edges)
        rows.append(("edge", *places[a], *places[b], length, int(tree[at]), among, *[""] * 10))
    packing = face.packing(max(1, len(found.cluster.diversity.distinct)))
    hub = face.hub if len(face.edges) else -1
    for at, (x, y) in enumerate(places):
        rows.append((
            "vector", x, y, *[""] * 5, parts[at], int(vectors.populations[at]), at,
            int(vectors.first_tokens[at]), vectors.texts[at], plain(vectors.distances["ulp"][at]),
            int(face.degrees[at]), int(linf.degrees[at]), plain(round(packing[at], 9)),
            "hub" if at == hub else "",
        ))  # fmt: skip
    return csv_text(
        ("kind", "x", "y", "x2", "y2", "length", "tree", "edges", "part", "population", "vector",
         "token", "text", "distance_ulp", "face_neighbours", "linf_neighbours", "packing", "label"),
        rows,
    )  # fmt: skip


def rulers_table(vectors: Vectors) -> str:
    """rulers.csv: every distinct vector under all rulers.

    ``chosen_…`` repeats the radius in use, ``zero_…`` is where a log axis shows zero.
    """
    shown = {ruler: [plain(value) for value in vectors.distances[ruler]] for ruler in RULERS}
    more = [value(ruler) for value in (vectors.chosen, vectors.zero) for ruler in RULERS[:2]]
    rows = [
        (
            at, part, int(vectors.populations[at]), *(shown[ruler][at] for ruler in RULERS),
            int(vectors.first_tokens[at]), vectors.texts[at], *more,
        )
        for at, part in enumerate(vectors.parts)
    ]  # fmt: skip
    names = (
        "vector", "part", "population", *(f"distance_{ruler}" for ruler in RULERS), "token", "text",
        "chosen_ulp", "chosen_steps", "zero_ulp", "zero_steps",
    )  # fmt: skip
    return csv_text(names, rows)


def kinds_table(kinds: Mapping[str, Kinds] | None) -> str:
    """kinds.csv: tokens of core and halo by class and script; no rows where text is unknown."""
    rows = [
        (kind, script, part, tokens)
        for part in (CORE, HALO)
        if kinds
        for (kind, script), tokens in kinds[part].counts.items()
    ]
    return csv_text(("class", "script", "part", "tokens"), rows)

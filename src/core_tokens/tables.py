"""Results as what people and DVC read: metrics, plot rows and tables.

Metrics are nested objects of numbers (DVC loses lists, nulls and text); a float32 is written with
the fewest digits that give it back, an infinity as the largest float32.
"""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from core_tokens.clusters import Clustering
    from core_tokens.core import Core
    from core_tokens.measurements import Measurements
    from core_tokens.vocabulary import Token

Metrics = dict[str, Any]


def number(value: float | np.floating[Any]) -> float:
    """A finite Python float whose decimals are those that the precision of ``value`` needs."""
    if math.isinf(value):
        value = np.copysign(np.finfo(np.float32).max, value)
    return float(str(value)) if isinstance(value, np.floating) else float(value)


def plain(value: Any) -> str:
    """A number in the fewest digits that give it back, integers without a point."""
    shown = number(value)
    return str(int(shown)) if shown == int(shown) and abs(shown) < 1e15 else repr(shown)


def json_text(metrics: Metrics) -> str:
    """JSON with sorted keys, two spaces and a trailing newline; NaN is refused (ValueError)."""
    return json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a header line and Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


Classes = dict[str, int]
"""Tokens per class, as ``vocabulary.counts`` gives them; empty where the text is unknown."""


def cluster_metrics(
    clustering: Clustering,
    matrix: NDArray[Any],
    threshold: float,
    of_vocab: Classes | None = None,
    of_cluster: Classes | None = None,
) -> Metrics:
    """cluster.json: the census of the vocabulary and the cluster in it.

    Args:
        clustering: what was found.
        matrix: float[vocab, dims]; its shape and dtype are what counts.
        threshold: at which it was found.
        of_vocab: all tokens by class.
        of_cluster: those of the cluster by class.
    """
    sizes = clustering.groups.sizes
    shared = sizes[sizes > 1]
    outsider, within = clustering.nearest_outsider, clustering.within
    return {
        "adjacency_threshold": threshold,
        "cluster": {
            "tokens": len(clustering.token_ids),
            "vectors": clustering.vectors,
            "percent": 100 * len(clustering.token_ids) / clustering.vocab,
            **_by_class(of_cluster),
        },
        "groups": {
            "count": len(shared),
            "largest": int(shared.max(initial=0)),
            "tokens": int(shared.sum()),
        },
        "matrix": {
            "dims": matrix.shape[1],
            "rows": clustering.vocab,
            "unique_rows": len(sizes),
            "zero_rows": clustering.zero_rows,
            **_by_class(of_vocab),
        },
        "cast": {
            "stored_bits": 8 * matrix.dtype.itemsize,
            "changed_rows": clustering.changed_rows,
        },
        "nearest_outsider": {"l2": number(outsider), "thresholds": number(outsider / threshold)},
        "within": {
            ruler: {
                f"{radius:04}": int(tokens)  # zeros first: names are sorted as text
                for radius, tokens in zip(within.radii, getattr(within, ruler), strict=True)
            }
            for ruler in ("ulp", "steps", "l2_in_ulp")
        },
    }


def _by_class(classes: Classes | None) -> Metrics:
    return {"classes": classes} if classes else {}


def populations_table(clustering: Clustering) -> str:
    """populations.csv: every group of two or more identical rows, the largest first."""
    groups = clustering.groups
    inside = clustering.mask
    order = np.lexsort((groups.first, -groups.sizes))
    shared = order[groups.sizes[order] > 1]
    by_group = np.argsort(groups.group_of_row, kind="stable")
    ends = np.cumsum(groups.sizes)
    rows = []
    for rank, group in enumerate(shared.tolist(), start=1):
        members = by_group[ends[group] - groups.sizes[group] : ends[group]]
        sample = " ".join(map(str, members[:3]))
        rows.append((rank, int(groups.sizes[group]), int(inside[members[0]]), sample))
    return csv_text(("rank", "population", "in_cluster", "first_tokens"), rows)


LATTICE_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
"""The dtypes that rows are measured in -> their safetensors names."""


def measure_metrics(measured: Measurements, stored: str, bits: int, tensor: str) -> Metrics:
    """measure.json: what can be said before a radius is chosen.

    Which dtype and which tensor it was stand as keys, since DVC compares numbers alone.

    Args:
        measured: the measurements.
        stored: the safetensors name of the stored dtype.
        bits: its width.
        tensor: what the matrix is called in its checkpoint.
    """
    bits_measured = 8 * measured.vectors.dtype.itemsize
    origin, present = measured.origin, len(measured.token_ids) > 0
    metrics: Metrics = {
        "tokens": len(measured.token_ids),
        "vectors": len(measured.vectors),
        "ulp_exponent": measured.ulp_exponent,
        "origin": {
            "index": origin,
            "population": int(measured.populations[origin]) if present else 0,
            "token": _first_token(measured, origin) if present else -1,
            "norm": number(norm(measured.vectors[origin])) if present else 0.0,
        },
        "cast": {
            "stored_bits": bits,
            "measured_bits": bits_measured,
            "changed_tokens": measured.changed_tokens,
        },
        "matrix": {
            "dtype": {stored: bits},
            "measured": {LATTICE_NAMES[measured.vectors.dtype.name]: bits_measured},
            "tensor": {tensor: 1},
        },
    }
    with np.errstate(over="ignore"):
        in_ulp = np.ldexp(measured.distance_l2, -measured.ulp_exponent)
    metrics["distance_ulp"] = _spread([number(value) for value in measured.distance_ulp])
    metrics["distance_steps"] = _spread(measured.distance_steps.tolist())
    metrics["distance_l2_in_ulp"] = _spread([number(value) for value in in_ulp])
    return metrics


def _spread(values: Sequence[float]) -> Metrics:
    """Largest, mean and median of some distances; zeros where there are none."""
    if not values:
        return {"max": 0, "mean": 0.0, "median": 0.0}
    import statistics  # some milliseconds that only measure needs to pay

    return {
        "max": max(values),
        "mean": math.fsum(values) / len(values),
        "median": statistics.median(values),
    }


def norm(vector: NDArray[Any]) -> np.float32:
    """The Euclidean norm of float[dims], summed exactly."""
    squares = (float(value) * float(value) for value in vector.astype(np.float64))
    with np.errstate(over="ignore"):
        return np.float64(math.sqrt(math.fsum(squares))).astype(np.float32)


def _first_token(measured: Measurements, vector: int) -> int:
    return int(measured.token_ids[np.flatnonzero(measured.vector_of_token == vector)[0]])


def core_metrics(
    core: Core, of_core: Classes | None = None, of_halo: Classes | None = None
) -> Metrics:
    """core.json: the size of core and halo, by class if known, and the radius that made them."""
    total = len(core.token_ids) + len(core.halo_token_ids)
    return {
        "radius": number(core.radius),
        "core": {
            "tokens": len(core.token_ids),
            "vectors": core.vectors,
            "percent": 100 * len(core.token_ids) / total if total else 0.0,
            **_by_class(of_core),
        },
        "halo": {
            "tokens": len(core.halo_token_ids),
            "vectors": core.halo_vectors,
            **_by_class(of_halo),
        },
    }


RULERS = ("distance_ulp", "distance_steps", "distance_l2")


def distances_table(
    token_ids: NDArray[np.int64],
    measured: Mapping[str, NDArray[Any]],
    texts: Mapping[int, Token] | None,
) -> str:
    """core.csv or halo.csv: tokens under all three rulers, with population, class and text.

    Args:
        token_ids: int64[n], of the core or of the halo.
        measured: the tensors of measurements.safetensors.
        texts: token -> its class and text, None if unknown.
    """
    tokens, vectors = (measured[name].tolist() for name in ("token_ids", "vector_of_token"))
    vector_of = dict(zip(tokens, vectors, strict=True))
    shown = ([plain(value) for value in measured[name]] for name in RULERS)
    of_vector = list(zip(*shown, measured["populations"].tolist(), strict=True))
    rows = []
    for token in token_ids.tolist():
        known = texts.get(token) if texts else None
        said = (known.kind, known.text or "") if known else ("", "")
        rows.append((token, *of_vector[vector_of[token]], *said))
    return csv_text(("token", *RULERS, "population", "class", "text"), rows)


def tokens_table(token_ids: NDArray[np.int64], tokens: Sequence[Token]) -> str:
    """tokens.csv: class and text of the tokens that were measured; no such columns if unknown.

    Args:
        token_ids: int64[n].
        tokens: one for each row of the matrix, or none.
    """
    if not tokens:
        return csv_text(("token",), [])
    rows = [(token, tokens[token].kind, tokens[token].text or "") for token in token_ids.tolist()]
    return csv_text(("token", "class", "text"), rows)

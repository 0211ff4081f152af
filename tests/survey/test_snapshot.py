import hashlib
import itertools
import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import imports
import oracle
import project
from core_tokens.clusters import find_cluster
from core_tokens.errors import TensorError
from core_tokens.measurements import measure
from core_tokens.survey.snapshot import NEEDS_CLUSTER, VERSION, Figures, snapshot
from strategies import BFLOAT16, DTYPES, FLOAT32, FLOAT64, NANS, from_bits, matrices, sign_of

NAN, INF = math.nan, math.inf
LARGEST = 3.4028235e38
"""What an infinity is written as: the largest float32, in its decimals."""
VALUES = ("token_ids", "vector_of_token", "vectors", "populations", "distance_ulp",
          "distance_steps", "distance_l2", "origin", "ulp_exponent")  # fmt: skip


def key_of(row: NDArray[Any]) -> tuple[int, ...]:
    """A row as bits, -0 as +0."""
    width = row.dtype.itemsize
    sign = sign_of(row.dtype)
    return tuple(0 if bit == sign else int(bit) for bit in row.view(f"u{width}").tolist())


def radius_of(weighted: list[tuple[float, int]]) -> float:
    """The smallest distance within which nine tenths lie, each tried in turn."""
    total = sum(weight for _, weight in weighted)
    for radius in sorted(distance for distance, _ in weighted):
        if 10 * sum(weight for at, weight in weighted if at <= radius) >= 9 * total:
            return radius
    return 0.0


def graph(steps: list[list[int]], face: bool) -> dict[str, int]:
    """The neighbours on the lattice, pair by pair."""
    edges = []
    for one, other in itertools.combinations(range(len(steps)), 2):
        apart = [abs(a - b) for a, b in zip(steps[one], steps[other], strict=True)]
        if max(apart) <= 1 and (not face or sum(apart) == 1):
            edges.append((one, other))
    label = list(range(len(steps)))
    for one, other in edges:
        label = [label[one] if each == label[other] else each for each in label]
    sizes = Counter(label)
    name = "face" if face else "linf"
    return {
        f"{name}_edges": len(edges),
        f"{name}_isolated": len(set(range(len(steps))) - {end for edge in edges for end in edge}),
        f"{name}_components": len(sizes),
        f"{name}_largest": max(sizes.values(), default=0),
    }


def plainly(matrix: NDArray[Any], threshold: float) -> dict[str, Any]:
    """Every figure from its definition: all pairs, plain loops, torch; distances as float32."""
    keys = [key_of(row) for row in matrix]
    shared = [count for count in Counter(keys).values() if count > 1]
    doubles = matrix.astype(np.float64).tolist()
    inside = oracle.cluster(matrix, threshold)
    outside = len(matrix) - len(inside)
    found: dict[str, Any] = {
        "vocabulary": len(doubles),
        "dims": len(doubles[0]),
        "stored_bits": 8 * matrix.dtype.itemsize,
        "unique_rows": len(set(keys)),
        "zero_rows": sum(all(value == 0 for value in row) for row in doubles),
        "nonfinite_rows": sum(any(not math.isfinite(value) for value in row) for row in doubles),
        "groups": len(shared),
        "grouped_tokens": sum(shared),
        "largest_group": max(shared, default=0),
        "cluster_tokens": len(inside),
        "stored_vectors": len({keys[token] for token in inside}),
        "nearest_outsider_l2": (
            oracle.nearest_outsider(matrix, inside) if inside and outside else None
        ),
        "cluster_vectors": 0, "changed_tokens": 0, "origin_token": None, "origin_population": 0,
        "origin_norm": None, "ulp": None, "distance_ulp_max": None, "distance_steps_max": None,
        "distance_l2_max": None, "r90_tokens": None, "r90_vectors": None, "gap_at": None,
        "constant_dimensions": None, "varying_dimensions": None, **graph([], True),
        **graph([], False),
    }  # fmt: skip
    if not inside:
        return found
    measured = oracle.measure(matrix, np.array(inside, np.int64))
    rounded = oracle.as_bfloat16(matrix).double().tolist()
    vectors, populations = measured.vectors.double(), measured.populations.tolist()
    of_origin = [
        token
        for token, vector in zip(inside, measured.vector_of_token.tolist(), strict=True)
        if vector == measured.origin
    ]
    in_ulp = measured.distance_ulp.tolist()
    shells = {round(distance) if distance < INF else INF for distance in in_ulp}
    distinct = [len(set(column)) for column in vectors.T.tolist()]
    steps = oracle.places(measured.vectors).tolist()
    return found | {
        "cluster_vectors": len(vectors),
        "changed_tokens": sum(rounded[token] != doubles[token] for token in inside),
        "origin_token": min(of_origin),
        "origin_population": len(of_origin),
        "origin_norm": math.sqrt(math.fsum(x * x for x in vectors[measured.origin].tolist())),
        "ulp": 2.0**measured.ulp_exponent,
        "distance_ulp_max": max(in_ulp),
        "distance_steps_max": max(measured.distance_steps.tolist()),
        "distance_l2_max": max(measured.distance_l2),
        "r90_tokens": radius_of(list(zip(in_ulp, populations, strict=True))),
        "r90_vectors": radius_of([(distance, 1) for distance in in_ulp]),
        "gap_at": next(gap for gap in itertools.count() if gap not in shells),
        "constant_dimensions": distinct.count(1),
        "varying_dimensions": len(distinct) - distinct.count(1),
        **graph(steps, True),
        **graph(steps, False),
    }


AS_FLOAT32 = {"origin_norm", "distance_ulp_max", "distance_l2_max", "r90_tokens", "r90_vectors"}
"""Written in the decimals that a float32 needs."""


def check(matrix: NDArray[Any], threshold: float) -> Figures:
    """What is found is what the plain statement says, and of the types that Parquet wants."""
    figures = snapshot(matrix, threshold).figures
    found, expected = asdict(figures), plainly(matrix, threshold)
    assert found.keys() == expected.keys()
    for name, kind in get_type_hints(Figures).items():
        value, wanted = found[name], expected[name]
        if wanted is None:
            assert (value, name in NEEDS_CLUSTER) == (None, True), name
            continue
        assert kind in (type(value), type(value) | None), name
        if name == "nearest_outsider_l2":
            assert value == pytest.approx(min(wanted, LARGEST), rel=1e-6), name
        elif name in AS_FLOAT32:
            with np.errstate(over="ignore"):
                single = np.float32(wanted)
            assert value == (LARGEST if math.isinf(single) else float(str(single))), name
        else:
            assert value == wanted, name
    return figures


@st.composite
def scenes(draw: st.DrawFn) -> tuple[NDArray[Any], float]:
    """Rows of few small whole numbers, many identical or zero, some not finite; a threshold."""
    dtype = draw(st.sampled_from([each for each in DTYPES if each.itemsize > 1]))
    dims = draw(st.integers(1, 4))
    side = draw(st.sampled_from([1, 3]))
    numbers: st.SearchStrategy[float] = st.integers(-side, side).map(float)
    if draw(st.booleans()):
        numbers |= st.sampled_from([-0.0, NAN, INF, -INF])
    if dtype == FLOAT32:  # what rounding to bfloat16 changes
        numbers |= st.sampled_from([1.0009765625, 2.001, -1.0009765625])
    rows = draw(st.lists(st.tuples(*[numbers] * dims), min_size=1, max_size=9))
    order = draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=16))
    matrix = np.array(rows)[order].reshape(len(order), dims)
    threshold = math.sqrt(draw(st.sampled_from([1, 2, 3, 5, 9]))) + 0.25
    return matrix.astype(dtype), threshold


@given(scenes())
def test_every_figure_is_that_of_the_definition(scene: tuple[NDArray[Any], float]) -> None:
    check(*scene)


@given(st.sampled_from([BFLOAT16, np.dtype(np.float16), FLOAT32]).flatmap(matrices))
def test_every_figure_at_the_edges_of_a_dtype_is_that_of_the_definition(
    matrix: NDArray[Any],
) -> None:
    scale = float(np.abs(matrix.astype(np.float64)).max())
    if scale < 1e18:  # beyond, squares of differences leave float64 for the oracle's part
        check(matrix, max(scale / 4, 2.0**-140))


@given(scenes())
def test_the_measurements_are_those_of_the_single_model(
    scene: tuple[NDArray[Any], float],
) -> None:
    matrix, threshold = scene
    alone = measure(matrix, find_cluster(matrix, threshold).token_ids)
    found = snapshot(matrix, threshold).measured
    for name in VALUES:
        one, other = np.asarray(getattr(found, name)), np.asarray(getattr(alone, name))
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes(), name


@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_moves_nothing_but_the_first_token(
    scene: tuple[NDArray[Any], float], random: Any
) -> None:
    matrix, threshold = scene
    sizes = Counter(oracle.component_labels(matrix[matrix.astype(bool).any(axis=1)], threshold))
    largest = [size for size in sizes.values() if size == max(sizes.values())]
    if len(largest) > 1:  # the one with the smallest id is taken
        return
    order = random.sample(range(len(matrix)), len(matrix))
    one = asdict(snapshot(matrix, threshold).figures)
    other = asdict(snapshot(np.ascontiguousarray(matrix[order]), threshold).figures)
    moved = {"origin_token"}
    assert {name for name in one if one[name] != other[name]} <= moved


def test_the_tiny_matrix_in_numbers() -> None:
    found = check(project.tiny_matrix(), 0.002)
    assert found == Figures(
        vocabulary=12, dims=4, stored_bits=16, unique_rows=8, zero_rows=2, nonfinite_rows=0,
        groups=4, grouped_tokens=8, largest_group=2, cluster_tokens=6, cluster_vectors=4,
        stored_vectors=4, changed_tokens=0, nearest_outsider_l2=found.nearest_outsider_l2,
        origin_token=1, origin_population=2, origin_norm=found.origin_norm, ulp=project.UNIT,
        distance_ulp_max=3.0, distance_steps_max=14080, distance_l2_max=found.distance_l2_max,
        r90_tokens=3.0, r90_vectors=3.0, gap_at=4, constant_dimensions=0, varying_dimensions=4,
        face_edges=1, face_isolated=2, face_components=3, face_largest=2,
        linf_edges=1, linf_isolated=2, linf_components=3, linf_largest=2,
    )  # fmt: skip


ALONE: dict[str, list[list[float]]] = {
    "one row": [[1.0, 2.0]],
    "one row of zeros": [[0.0, -0.0]],
    "one row of NaN": [[NAN, 1.0]],
    "zeros alone": [[0.0, 0.0], [-0.0, 0.0], [0.0, 0.0]],
    "NaN alone": [[NAN, NAN]] * 3,
    "infinities alone": [[INF, 1.0]] * 3,
    "all far apart": [[1.0, 0.0], [9.0, 0.0], [0.0, 9.0]],
}


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("rows", ALONE.values(), ids=ALONE)
def test_without_a_cluster_what_needs_one_is_none_and_counts_are_zero(
    rows: list[list[float]], dtype: np.dtype[Any]
) -> None:
    matrix = np.array(rows).astype(dtype)
    found = check(matrix, 0.5)
    assert (found.vocabulary, found.dims) == matrix.shape
    of_matrix = {"vocabulary", "dims", "stored_bits", "unique_rows", "zero_rows",
                 "nonfinite_rows", "groups", "grouped_tokens", "largest_group"}  # fmt: skip
    rest = {name: value for name, value in asdict(found).items() if name not in of_matrix}
    assert {name for name, value in rest.items() if value is None} == set(NEEDS_CLUSTER)
    assert {value for value in rest.values() if value is not None} == {0}
    measured = snapshot(matrix, 0.5).measured
    assert len(measured.token_ids) == len(measured.vectors) == 0
    assert measured.vectors.shape == (0, 2)


def test_where_all_are_inside_the_nearest_outside_is_none_and_the_rest_is_there() -> None:
    found = asdict(check(np.array([[1.0, 2.0]] * 3, np.float32), 0.5))
    assert {name for name, value in found.items() if value is None} == {"nearest_outsider_l2"}
    outside = asdict(check(np.array([[1.0, 2.0]] * 3 + [[9.0, 2.0]], np.float32), 0.5))
    assert None not in outside.values()
    assert outside["nearest_outsider_l2"] == 8


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
def test_rows_that_are_not_finite_are_counted_once_each_wherever_it_stands(
    dtype: np.dtype[Any], wrong: float
) -> None:
    matrix = np.ones((9, 3)).astype(dtype)
    matrix[[4, 6, 8, 8], [0, 2, 0, 1]] = np.array(wrong).astype(dtype)  # E4M3 has only NaN
    found = snapshot(matrix, 0.5).figures
    assert (found.nonfinite_rows, found.cluster_tokens) == (3, 6)


@pytest.mark.parametrize("bits", NANS, ids=hex)
def test_every_kind_of_nan_is_not_finite(bits: int) -> None:
    matrix = np.concatenate([from_bits([[bits, 0x3F80]]), np.ones((2, 2), BFLOAT16)])
    assert snapshot(matrix, 0.5).figures.nonfinite_rows == 1


@pytest.mark.parametrize("rows", [1023, 1024, 1025, 2050])
def test_rows_that_are_not_finite_are_found_at_either_side_of_a_block(rows: int) -> None:
    matrix = np.ones((rows, 2), BFLOAT16)
    matrix[[0, rows - 1], 1] = NAN
    assert snapshot(matrix, 0.5).figures.nonfinite_rows == 2


def test_a_row_of_the_cluster_that_bfloat16_cannot_hold_is_an_error() -> None:
    matrix = np.array([[3.4e38, 1.0], [3.4e38, 1.0], [1.0, 2.0]], np.float32)
    with pytest.raises(TensorError, match=r"inf as bfloat16 at row 0, dimension 0"):
        snapshot(matrix, 0.5)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (0, 4), (4, 0)])
def test_what_is_no_matrix_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(TensorError, match="W: found "):
        snapshot(np.zeros(shape, np.float32), 0.5)


def test_what_is_no_float_is_an_error() -> None:
    with pytest.raises(TensorError, match=r"W: found int32\[2, 2\]"):
        snapshot(np.ones((2, 2), np.int32), 0.5)


def test_a_mapped_matrix_gives_the_same_as_one_in_memory(tmp_path: Path) -> None:
    matrix = project.tiny_matrix()
    (tmp_path / "W").write_bytes(b"odd" + matrix.tobytes())
    flat = np.memmap(tmp_path / "W", np.uint8, "r", offset=3)
    mapped = flat.view(BFLOAT16).reshape(matrix.shape).view(np.ndarray)
    assert snapshot(mapped, 0.002).figures == snapshot(matrix, 0.002).figures


def test_the_measured_vectors_are_those_of_torch() -> None:
    found = snapshot(project.tiny_matrix(), 0.002).measured
    ids = np.array(project.CLUSTER_IDS, np.int64)
    vectors = oracle.measure(project.tiny_matrix(), ids).vectors
    assert torch.equal(oracle.to_torch(found.vectors), vectors)


# ---- the version -----------------------------------------------------------------------------

GOLDEN = project.GOLDEN / "survey_version.json"


def sources_of_snapshot() -> str:
    """A hash of the text of everything that a snapshot comes from."""
    made = hashlib.sha256()
    for name in sorted(imports.all_imports("core_tokens.survey.snapshot")):
        path = imports.path_of(name)
        assert path is not None
        made.update(f"{name}\0{path.read_text(encoding='utf-8')}\0".encode())
    return made.hexdigest()


def test_what_a_snapshot_comes_from_has_not_changed_without_a_thought_of_its_version() -> None:
    found = {"version": VERSION, "sources": sources_of_snapshot()}
    assert found == json.loads(GOLDEN.read_text()), (
        "the source of core_tokens.survey.snapshot, or of a module it imports, has changed. "
        "Results are kept under the version: if the same matrix could now give something else, "
        f"raise VERSION in snapshot.py; then put this into {GOLDEN.name}: {json.dumps(found)}"
    )

import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import oracle
from core_tokens import groups
from core_tokens.bits import round_to_bfloat16
from core_tokens.clusters import Clustering, find_cluster
from core_tokens.measurements import measure
from core_tokens.scan import NOWHERE, RADII, scan
from strategies import BFLOAT16, DTYPES, E4M3, E5M2, FLOAT32, FLOAT64, from_bits

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
NAN, INF = math.nan, math.inf
WIDE_RANGE = [BFLOAT16, FLOAT32, FLOAT64]


def check(matrix: NDArray[Any], threshold: float) -> Clustering:
    """The cluster of a matrix, held to all pairs."""
    found = find_cluster(matrix, threshold)
    expected = oracle.cluster(matrix, threshold)
    assert found.token_ids.tolist() == expected
    assert found.token_ids.dtype == np.int64
    assert np.flatnonzero(found.mask).tolist() == expected
    assert found.mask.shape == (found.vocab,) == (len(matrix),)
    values = matrix.astype(np.float64)
    assert found.zero_rows == int((values == 0).all(axis=1).sum())
    assert found.vectors == len(np.unique(values[expected], axis=0))
    assert found.groups.sizes.sum() == len(matrix)
    if not expected or len(expected) == len(matrix):
        assert found.nearest_outsider == 0
    else:
        assert found.nearest_outsider == oracle.nearest_outsider(matrix, expected)
    check_around(found, matrix)
    return found


def check_around(found: Clustering, matrix: NDArray[Any]) -> None:
    """The tokens within each radius are those whose distance, measured alone, is no larger."""
    rows = round_to_bfloat16(matrix)
    if not (len(found.token_ids) and np.isfinite(rows[found.token_ids]).all()):
        assert found.within is NOWHERE
        return
    measured = measure(matrix, found.token_ids)
    origin = measured.vectors[measured.origin]
    distances = {
        "ulp": scan(matrix, origin, "ulp"),
        "steps": scan(matrix, origin, "steps"),
        "l2_in_ulp": scan(matrix, origin, "l2").astype(np.float64) / 2.0**measured.ulp_exponent,
    }
    for ruler, distance in distances.items():
        expected = [int((distance <= radius).sum()) for radius in RADII]
        assert getattr(found.within, ruler).tolist() == expected


@st.composite
def scenes(draw: st.DrawFn) -> tuple[NDArray[Any], float]:
    """Few rows of few whole numbers, many of them zero or identical, some not finite."""
    shape = (draw(st.integers(1, 14)), draw(st.integers(1, 4)))
    side = draw(st.sampled_from([1, 3, 12]))
    numbers: st.SearchStrategy[float] = st.integers(-side, side).map(float)
    if draw(st.booleans()):
        numbers |= st.sampled_from([-0.0, NAN, INF, -INF])
    distinct = draw(arrays(np.float64, shape, elements=numbers, fill=st.nothing()))
    rows = draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=20))
    dtype = draw(st.sampled_from(DTYPES))
    scale = 2.0 ** (draw(st.sampled_from([-20, 0, 9])) if dtype in WIDE_RANGE else 0)
    threshold = math.sqrt(draw(st.integers(1, 2 * side**2))) * scale
    return (distinct[rows] * scale).astype(dtype), threshold


@given(scenes(), st.sampled_from([1, 24, groups.BLOCK_BYTES]))
def test_the_cluster_is_that_of_all_pairs(scene: tuple[NDArray[Any], float], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCK_BYTES", size)
        check(*scene)


@each_dtype
@pytest.mark.parametrize("seed", range(5))
def test_the_cluster_among_many_rows_is_that_of_all_pairs(dtype: Any, seed: int) -> None:
    draws = np.random.default_rng(seed)
    dims = (1, 2, 5, 12, 40)[seed]
    ordinary = draws.integers(-200, 200, (120, dims))
    dense = 50 + draws.integers(0, 2, (60, dims))
    steps = np.zeros((60, dims), np.int64)
    steps[np.arange(60), np.arange(60) % dims] = 3
    path = -150 + steps.cumsum(axis=0)
    copies = ordinary[draws.integers(0, 4, 50)]
    matrix = np.concatenate([ordinary, dense, path, copies, np.zeros((9, dims), np.int64)])
    matrix = draws.permutation(matrix).astype(dtype)
    sizes = [len(check(matrix, threshold).token_ids) for threshold in (0.5, 1.25, 3, 3.5, 9)]
    assert sizes[-1] >= 60


@each_dtype
def test_a_distance_equal_to_the_threshold_is_not_adjacent(dtype: Any) -> None:
    matrix = np.array([[0.5, 1], [1.0, 1], [1.5, 1], [8, 8]]).astype(dtype)
    assert check(matrix, 0.5).token_ids.tolist() == []
    found = check(matrix, float(np.nextafter(0.5, 1)))
    assert found.token_ids.tolist() == [0, 1, 2]
    assert found.nearest_outsider == pytest.approx(math.hypot(6.5, 7))


def test_the_component_of_most_tokens_wins_not_that_of_most_vectors() -> None:
    matrix = np.array([[1.0], [1.5], [2.0], [9.0], [9.0], [9.0], [9.0]])
    found = check(matrix, 0.6)
    assert found.token_ids.tolist() == [3, 4, 5, 6]
    assert (found.vectors, found.nearest_outsider) == (1, 7)


def test_of_equal_components_the_one_with_the_smallest_id_wins() -> None:
    # In the order of the values the other one comes first; of the last tokens too.
    matrix = np.array([[99.0], [7.0], [1.0], [1.5], [7.5], [50.0]])
    assert check(matrix, 0.6).token_ids.tolist() == [1, 4]
    assert check(matrix[::-1].copy(), 0.6).token_ids.tolist() == [1, 4]
    identical = np.array([[5.0], [3.0], [4.0], [4.0], [3.0], [2.0]])
    assert check(identical, 0.6).token_ids.tolist() == [1, 4]


@each_dtype
def test_tokens_without_a_neighbour_are_no_cluster(dtype: Any) -> None:
    matrix = np.array([[1, 1], [5, 5], [9, 9]]).astype(dtype)
    found = check(matrix, 2.0)
    assert (len(found.token_ids), found.vectors, found.nearest_outsider) == (0, 0, 0)
    assert not found.mask.any()


@each_dtype
def test_a_single_row_is_no_cluster(dtype: Any) -> None:
    for row in ([1.0, 2.0], [0.0, 0.0], [NAN, 1.0]):
        assert len(check(np.array([row]).astype(dtype), 1e6).token_ids) == 0


@each_dtype
def test_identical_rows_are_a_cluster_of_one_vector(dtype: Any) -> None:
    found = check(np.full((5, 3), 0.7).astype(dtype), 0.002)
    assert found.token_ids.tolist() == [0, 1, 2, 3, 4]
    assert (found.vectors, found.zero_rows, found.nearest_outsider) == (1, 0, 0)


@each_dtype
def test_zero_rows_of_either_sign_belong_to_no_cluster(dtype: Any) -> None:
    matrix = np.array([[0.0, -0.0], [0.0, 0.0], [-0.0, -0.0], [0.25, 0], [0, 0.25]]).astype(dtype)
    found = check(matrix, 0.375)
    assert found.token_ids.tolist() == [3, 4]  # their distance is 0.354
    assert (found.zero_rows, found.nearest_outsider) == (3, 0.25)
    assert len(check(matrix[:3], 0.375).token_ids) == 0
    assert check(matrix[:3], 0.375).zero_rows == 3


def test_zero_rows_join_no_components() -> None:
    matrix = np.array([[-0.25], [0.0], [0.25]])
    assert check(matrix, 0.3).token_ids.tolist() == []


@each_dtype
def test_identical_rows_that_are_not_finite_are_no_cluster(dtype: Any) -> None:
    rows = [[NAN, 1], [NAN, 1], [NAN, 1], [1, INF], [1, INF], [1, INF], [3, 3], [3, 3]]
    found = check(np.array(rows).astype(dtype), 1.0)
    assert found.token_ids.tolist() == [6, 7]
    assert len(check(np.array(rows[:6]).astype(dtype), 1.0).token_ids) == 0


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [
        (0x7F81, BFLOAT16), (0x7C01, np.float16), (0x7F800001, np.float32), (0x7FF << 52 | 1, "f8"),
        (0x7F, E4M3), (0x7D, E5M2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("copies", [1, 3])
def test_signalling_nans_are_outside_without_a_warning(bits: int, dtype: Any, copies: int) -> None:
    nans = from_bits([[bits]] * copies, np.dtype(dtype))
    matrix = np.concatenate([nans, np.array([[1.0], [1.0], [4.0]]).astype(dtype)])
    found = find_cluster(matrix, 0.5)
    assert found.token_ids.tolist() == [copies, copies + 1]
    assert found.nearest_outsider == 3


@pytest.mark.parametrize("value", [1e300, 3.5e38, -1e39])
def test_float64_rows_beyond_float32_are_finite(value: float) -> None:
    matrix = np.array([[value, 1.0], [value, 1.0], [1.0, 2.0], [value, 2.0]])
    assert check(matrix, 0.5).token_ids.tolist() == [0, 1]
    assert check(matrix, 1.5).token_ids.tolist() == [0, 1, 3]


def test_distances_are_taken_between_stored_values_not_rounded_ones() -> None:
    matrix = np.array([[1.0], [1.001], [1.0011], [1.0030]], np.float32)
    assert len({*matrix.astype(BFLOAT16).reshape(-1).tolist()}) == 1
    assert check(matrix, 0.0005).token_ids.tolist() == [1, 2]


def test_outsiders_without_any_distance_leave_it_infinite() -> None:
    matrix = np.array([[1.0], [1.0], [NAN], [INF]])
    assert find_cluster(matrix, 0.5).nearest_outsider == INF


def test_a_mapped_matrix_at_an_odd_offset_has_the_cluster_of_one_in_memory(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(-3, 4, (90, 4)) * 0.25
    matrix = values.astype(BFLOAT16)
    (tmp_path / "W").write_bytes(bytes(3) + matrix.tobytes())
    flat = np.memmap(tmp_path / "W", np.uint8, "r", offset=3)
    mapped = flat.view(BFLOAT16).reshape(matrix.shape).view(np.ndarray)
    for threshold in (0.3, 0.4, 0.6):
        assert find_cluster(mapped, threshold).token_ids.tolist() == oracle.cluster(
            matrix, threshold
        )


def test_a_cluster_that_bfloat16_cannot_hold_has_nothing_around() -> None:
    matrix = np.array([[3.4e38, 1.0], [3.4e38, 1.0], [1.0, 2.0]], np.float32)
    found = check(matrix, 0.5)
    assert found.token_ids.tolist() == [0, 1]
    assert found.within is NOWHERE


def test_what_is_around_need_not_be_counted() -> None:
    values = np.random.default_rng(5).integers(-3, 4, (60, 3)) * 0.25
    matrix = values.astype(BFLOAT16)
    whole, less = (find_cluster(matrix, 0.3, around=around) for around in (True, False))
    assert len(whole.token_ids)
    assert whole.within is not NOWHERE
    assert less.within is NOWHERE
    assert less.token_ids.tolist() == whole.token_ids.tolist()
    assert (less.nearest_outsider, less.vectors) == (whole.nearest_outsider, whole.vectors)

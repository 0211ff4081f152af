import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import oracle
from core_tokens import neighbours, sketch
from strategies import BFLOAT16, DTYPES, EIGHT_BITS, FLOAT16, WIDER

Rows = NDArray[np.int64]
Progress = Callable[[list[int]], Iterable[int]]
SIZES = [(8, 512, 1 << 20, 1 << 17), (1, 1, 1, 1), (2, 3, 40, 7)]
"""Of sketch, blocks and slabs, as they are and so small that they cut everywhere."""
SIZED_DTYPES = [(SIZES[0], dtype) for dtype in [BFLOAT16, *WIDER]] + [
    (sizes, WIDER[1]) for sizes in SIZES[1:]
]
each_size_or_dtype = pytest.mark.parametrize(("sizes", "dtype"), SIZED_DTYPES, ids=str)
each_size = pytest.mark.parametrize("sizes", SIZES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


Sizes = tuple[int, int, int, int]


def resize(patch: pytest.MonkeyPatch, sizes: Sizes) -> None:
    dimensions, sample, block, slab = sizes
    patch.setattr(sketch, "DIMENSIONS", dimensions)
    patch.setattr(sketch, "SAMPLE_ROWS", sample)
    patch.setattr(neighbours, "BLOCK_VALUES", block)
    patch.setattr(neighbours, "SLAB_ROWS", slab)


def components(
    matrix: NDArray[Any], rows: Rows, threshold: float, progress: Progress = iter
) -> Rows:
    return neighbours.components(matrix, sketch.sketch(matrix), rows, threshold, progress)


def nearest_outsider(matrix: NDArray[Any], inside: Rows, outside: Rows) -> float:
    return neighbours.nearest_outsider(matrix, sketch.sketch(matrix), inside, outside)


def shuffled(rows: Rows, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).permutation(rows)


# Rows of whole numbers below 256, so that 16 bits hold them and every sum is exact.


def chain(length: int, dims: int, step: int = 3) -> Rows:
    """A path that turns into another dimension at every step: only neighbours are close."""
    rows = np.zeros((length, dims), np.int64)
    for row in range(1, length):
        rows[row] = rows[row - 1]
        rows[row, row % dims] += step
    return rows


def blob(seed: int, count: int, dims: int, side: int, corner: int = 0) -> Rows:
    """Distinct rows within a cube."""
    draws = np.random.default_rng(seed).integers(corner, corner + side, (4 * count, dims))
    return np.unique(draws, axis=0)[:count]


def bridge(gap: int, dims: int = 3) -> Rows:
    """Two cubes whose nearest corners are the only pair ``gap`` apart; all others are further."""
    cube = np.stack(np.meshgrid(*[np.arange(0, 6, 2)] * dims), axis=-1).reshape(-1, dims)
    first = -cube
    far_corner = first[:, 0] == 0  # thin out the face, so that one corner alone sticks out
    first = first[~far_corner | (first == 0).all(axis=1)]
    shift = np.zeros(dims, np.int64)
    shift[0] = gap
    second = cube[(cube[:, 0] != 0) | (cube == 0).all(axis=1)] + shift
    return np.concatenate([first, second]) + 16


def hidden(dims: int = 12) -> Rows:
    """Rows that differ much in eight dimensions and, where they agree there, a little elsewhere."""
    wide = blob(3, 5, 8, 200)
    narrow = np.array([[0, 0], [0, 2], [0, 4], [9, 4], [9, 6], [30, 30]])
    rows = np.zeros((len(wide) * len(narrow), dims), np.int64)
    rows[:, :8] = np.repeat(wide, len(narrow), axis=0)
    rows[:, -2:] = np.tile(narrow, (len(wide), 1))
    return rows


SCENES: dict[str, tuple[Rows, list[float]]] = {
    "a long path": (chain(120, 3), [3, 3.5, 4.25, 6.5]),
    "a path in one dimension": (chain(80, 1), [3, 3.5, 6.5]),
    "a path in twelve dimensions": (chain(120, 12), [3, 3.5, 4.25, 5.2]),
    "a dense blob": (blob(1, 120, 3, 8), [1, 1.5, 2, 20]),
    "a flat blob of many dimensions": (blob(2, 70, 20, 2), [1, 1.5, 2.0, 2.25, 5]),
    "two blobs that touch in one pair": (bridge(3), [2, 2.5, 3, 3.5]),
    "two blobs just too far apart": (bridge(4), [2.5, 4, 4.25]),
    "four blobs": (
        np.concatenate([blob(n, 40, 4, 4, 20 * n) for n in range(4)]), [1.5, 2, 2.75, 30, 40]
    ),
    "a path beside a blob": (
        np.concatenate([chain(60, 2), blob(7, 50, 2, 9, 100)]), [1.5, 3, 3.5, 100]
    ),
    "equal where the tree looks": (hidden(), [1, 2, 2.5, 9, 9.5, 400]),
    "one row": (np.array([[1, 2, 3]]), [1.0]),
    "two rows": (np.array([[1, 2], [4, 6]]), [5, 5.5]),
}  # fmt: skip


@each_size_or_dtype
@pytest.mark.parametrize("scene", SCENES)
def test_components_of_a_scene_are_those_of_all_pairs(
    scene: str, dtype: Any, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize(monkeypatch, sizes)
    rows, thresholds = SCENES[scene]
    matrix = shuffled(rows).astype(dtype)
    assert np.array_equal(matrix.astype(np.int64), shuffled(rows))
    for threshold in thresholds:
        found = components(matrix, np.arange(len(matrix)), threshold)
        assert found.tolist() == oracle.component_labels(matrix, threshold)


def test_the_scenes_are_what_their_names_say() -> None:
    def count(scene: str, threshold: float) -> int:
        return len(set(oracle.component_labels(SCENES[scene][0], threshold)))

    assert [count("a long path", threshold) for threshold in (3, 3.5)] == [120, 1]
    assert [count("two blobs that touch in one pair", threshold) for threshold in (3, 3.5)] == [
        2,
        1,
    ]
    distances = oracle.all_distances(bridge(3))
    first = np.array(oracle.component_labels(bridge(3), 3)) == 0
    assert (distances[np.ix_(first, ~first)] < 3.5).sum() == 1
    assert [count("two blobs just too far apart", threshold) for threshold in (4, 4.25)] == [2, 1]
    assert [count("four blobs", threshold) for threshold in (2.75, 40)] == [4, 1]
    assert count("equal where the tree looks", 2.5) == 5 * 3


@st.composite
def small_scenes(draw: st.DrawFn) -> tuple[NDArray[Any], Rows, float]:
    """Few rows of few whole numbers, scaled by a power of two; some of them, in any order."""
    dims = draw(st.integers(1, 10))
    dtype = draw(st.sampled_from(DTYPES))
    side = draw(st.sampled_from([2, 3, 6] if dtype in EIGHT_BITS else [2, 3, 6, 40]))
    shape = (draw(st.integers(1, 25)), dims)
    values = draw(arrays(np.int64, shape, elements=st.integers(0, side - 1)))
    narrow = dtype in [*EIGHT_BITS, FLOAT16]
    scale = 2.0 ** draw(st.sampled_from([-5, 0, 5] if narrow else [-30, -9, 0, 5]))
    distinct = np.unique(values, axis=0)
    matrix = (distinct * scale).astype(dtype)
    rows = draw(st.permutations(range(len(distinct))))
    square = draw(st.integers(1, 4 * side**2))
    threshold = math.sqrt(square) * scale  # often exactly a distance that occurs
    return matrix, np.array(rows[: draw(st.integers(1, len(rows)))]), threshold


@given(small_scenes(), st.sampled_from(SIZES))
def test_components_of_small_scenes_are_those_of_all_pairs(
    scene: tuple[NDArray[Any], Rows, float], sizes: Sizes
) -> None:
    matrix, rows, threshold = scene
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, sizes)
        found = components(matrix, rows, threshold)
    assert found.tolist() == oracle.component_labels(matrix[rows], threshold)


@each_dtype
def test_a_distance_equal_to_the_threshold_is_not_adjacent(dtype: Any) -> None:
    matrix = np.array([[0.5], [1.0], [1.5]]).astype(dtype)
    assert components(matrix, np.arange(3), 0.5).tolist() == [0, 1, 2]
    above = float(np.nextafter(0.5, 1))
    assert components(matrix, np.arange(3), above).tolist() == [0, 0, 0]
    diagonal = np.array([[0, 0], [0.375, 0.5]]).astype(dtype)
    assert components(diagonal, np.arange(2), 0.625).tolist() == [0, 1]
    assert components(diagonal, np.arange(2), float(np.nextafter(0.625, 1))).tolist() == [0, 0]


@each_size
@each_dtype
def test_a_row_that_is_not_finite_is_alone(
    dtype: Any, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize(monkeypatch, sizes)
    for dims in (1, 2, 12):
        matrix = np.ones((9, dims))
        matrix[:, 0] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
        matrix[1, -1], matrix[4, 0], matrix[6, -1] = np.nan, np.inf, -np.inf
        stored = matrix.astype(dtype)
        labels = components(stored, np.arange(9), 1.5)
        assert labels.tolist() == [0, 1, 2, 2, 4, 5, 6, 7, 7]
        everything = components(stored, np.arange(9), 1e9)
        assert everything.tolist() == [0, 1, 0, 0, 4, 0, 6, 0, 0]


def test_rows_of_float64_that_float32_cannot_tell_apart() -> None:
    matrix = np.array([[1.0], [1.0 + 2.0**-40], [1.0 + 2.0**-39]])
    assert components(matrix, np.arange(3), 2.0**-40).tolist() == [0, 1, 2]
    assert components(matrix, np.arange(3), 1.5 * 2.0**-40).tolist() == [0, 0, 0]


def test_a_threshold_far_below_every_distance_and_one_far_above() -> None:
    matrix = blob(5, 60, 3, 9).astype(np.float32)
    rows = np.arange(len(matrix))
    assert components(matrix, rows, 1e-30).tolist() == rows.tolist()
    assert components(matrix, rows, 3e38).tolist() == [0] * len(rows)


# The nearest outsider.


@each_size_or_dtype
@pytest.mark.parametrize("scene", [name for name, (rows, _) in SCENES.items() if len(rows) > 2])
def test_the_nearest_outsider_of_a_scene_is_that_of_all_pairs(
    scene: str, dtype: Any, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize(monkeypatch, sizes)
    rows, thresholds = SCENES[scene]
    matrix = shuffled(rows, 1).astype(dtype)
    for threshold in thresholds:
        labels = np.array(oracle.component_labels(matrix, threshold))
        inside = labels == np.bincount(labels).argmax()
        if not inside.all():
            found = nearest_outsider(matrix, np.flatnonzero(inside), np.flatnonzero(~inside))
            assert found == oracle.nearest_outsider(matrix, np.flatnonzero(inside).tolist())


@given(small_scenes(), st.sampled_from(SIZES), st.data())
def test_the_nearest_outsider_of_any_rows_is_that_of_all_pairs(
    scene: tuple[NDArray[Any], Rows, float], sizes: Sizes, data: st.DataObject
) -> None:
    matrix = scene[0]
    order = np.array(data.draw(st.permutations(range(len(matrix)))))
    cut = data.draw(st.integers(1, len(matrix)))
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, sizes)
        found = nearest_outsider(matrix, order[:cut], order[cut:])
    assert found == oracle.nearest_outsider(matrix, order[:cut].tolist())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dims", [1, 3, 30])
def test_the_nearest_of_many_outsiders_is_found_past_the_first_visits(seed: int, dims: int) -> None:
    draws = np.random.default_rng(seed)
    inside = draws.integers(0, 12, (40, dims))
    inside[0] = 0  # the anchor in a corner, so that the bounds are poor
    outside = draws.integers(6, 40, (1500, dims))
    matrix = np.concatenate([inside, outside]).astype(np.float32)
    found = nearest_outsider(matrix, np.arange(40), np.arange(40, 1540))
    apart = np.sqrt(((inside[:, None] - outside[None]) ** 2).sum(axis=2))
    assert found == apart.min()


@pytest.mark.parametrize("crowd", [1, 255, 256, 257, 900])
def test_the_nearest_outsider_may_lie_at_the_far_end_behind_a_crowd(crowd: int) -> None:
    inside = np.stack([np.arange(100), np.zeros(100)], axis=1)  # its anchor at the near end
    outside = np.stack([np.full(crowd, -5.0), np.arange(crowd) / 1024], axis=1)
    matrix = np.concatenate([inside, outside, [[99.0, 2.0]]]).astype(np.float32)
    rows = np.arange(len(matrix))
    assert nearest_outsider(matrix, rows[:100], rows[100:]) == 2


@each_dtype
def test_outsiders_that_are_not_finite_have_no_distance(dtype: Any) -> None:
    matrix = np.array([[1, 1], [np.nan, 1], [1, np.inf], [4, 5], [1, np.nan]]).astype(dtype)
    assert nearest_outsider(matrix, np.array([0]), np.array([1, 2, 3, 4])) == 5
    assert nearest_outsider(matrix, np.array([0]), np.array([4, 1, 2])) == math.inf


def test_without_outsiders_the_nearest_is_infinitely_far() -> None:
    matrix = np.ones((2, 2), np.float32)
    assert nearest_outsider(matrix, np.arange(2), np.empty(0, np.int64)) == math.inf


def test_an_outsider_may_lie_at_a_zero_row_closer_than_the_threshold() -> None:
    matrix = np.array([[2.0**-40], [3.0], [0.0], [1.0]], np.float32)
    assert nearest_outsider(matrix, np.array([1, 0]), np.array([3, 2])) == 2.0**-40


@pytest.mark.parametrize("threshold", [2.0, 4.0, 5.5, 7.0])
def test_a_threshold_among_ordinary_distances_is_exact_too(threshold: float) -> None:
    rows = np.random.default_rng(7).standard_normal((400, 16)).astype(np.float32)
    found = components(rows, np.arange(len(rows)), threshold)
    assert found.tolist() == oracle.component_labels(rows, threshold)


def test_progress_sees_every_row_that_may_have_a_neighbour() -> None:
    seen: list[int] = []

    def progress(rows: list[int]) -> Iterator[int]:
        for row in rows:
            seen.append(row)
            yield row

    rows = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    assert components(rows, np.arange(5), 1.0, progress).tolist() == [0, 0, 2, 2, 4]
    assert seen == [0, 1, 2, 3]

"""The second replica at full size: one fetch away, and no part of the default."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML
from safetensors import safe_open

from core_tokens.clusters import Clustering, find_cluster
from core_tokens.measurements import Measurements, measure
from core_tokens.replica import REPLICAS
from core_tokens.tensors import map_matrix

NAME = "qwen2-5-3b-instruct"
ROOT = Path(__file__).parents[1]
THRESHOLD = 0.002
GOLDEN = "969878cc25bd718024c90da246c741c699ae553fe483fd0e0cac15406cbebd44"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("second") / "W.safetensors"
    REPLICAS[NAME](made)
    yield made
    made.unlink()


@pytest.fixture(scope="module")
def matrix(path: Path) -> NDArray[Any]:
    return map_matrix(path)


@pytest.fixture(scope="module")
def found(matrix: NDArray[Any]) -> Clustering:
    return find_cluster(matrix, THRESHOLD)


@pytest.fixture(scope="module")
def measured(matrix: NDArray[Any], found: Clustering) -> Measurements:
    return measure(matrix, found.token_ids)


@pytest.fixture(scope="module")
def tokens_of_row(matrix: NDArray[Any]) -> list[list[int]]:
    """The tokens of every distinct row, counted without the project's own groups."""
    tokens: dict[bytes, list[int]] = {}
    for token, row in enumerate(matrix):
        tokens.setdefault(hashlib.blake2b(row.tobytes()).digest(), []).append(token)
    return list(tokens.values())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_the_file_says_that_it_is_no_model(path: Path) -> None:
    with safe_open(path, "np") as file:
        note = file.metadata()["replica"]
        assert file.get_slice("W").get_shape() == [151936, 2048]
        assert file.get_slice("W").get_dtype() == "BF16"
    assert "Qwen2.5-3B-Instruct" in note
    assert "not its weights" in note


def test_the_census_is_the_published_one(found: Clustering) -> None:
    sizes = found.groups.sizes
    assert found.vocab == 151936
    assert len(sizes) == 149784
    assert (sizes > 1).sum() == 60
    assert sizes.max() == 600
    assert sizes[sizes > 1].sum() == 2212
    assert found.zero_rows == 0


def test_a_census_of_row_bytes_finds_the_same(
    found: Clustering, tokens_of_row: list[list[int]]
) -> None:
    sizes = Counter(map(len, tokens_of_row))
    assert sizes.total() == 149784
    assert sizes.pop(1) == 149784 - 60
    assert max(sizes) == 600
    assert sizes[600] == 1
    assert sum(size * count for size, count in sizes.items()) == 2212
    in_groups = sorted(token for tokens in tokens_of_row if len(tokens) > 1 for token in tokens)
    assert found.token_ids.tolist() == in_groups


def test_the_cluster_holds_the_rows_that_no_text_trains(found: Clustering) -> None:
    assert found.vectors == 60
    assert found.token_ids[:13].tolist() == [124, 125, *range(177, 188)]
    assert set(range(151665, 151936)) <= set(found.token_ids.tolist())


def test_all_tokens_of_the_cluster_are_adjacent_and_none_outside_is(
    matrix: NDArray[Any], found: Clustering, measured: Measurements
) -> None:
    vectors = measured.vectors.astype(np.float64)
    assert np.sqrt(((vectors[:, None] - vectors) ** 2).sum(axis=2)).max() < THRESHOLD
    big_one = vectors[measured.origin]
    reach = np.sqrt(((vectors - big_one) ** 2).sum(axis=1)).max()
    nearest = min(
        np.sqrt(((matrix[start : start + 512].astype(np.float32) - big_one.astype(np.float32)) ** 2)
        .sum(axis=1))[~found.mask[start : start + 512]].min()
        for start in range(0, len(matrix), 512)
    )  # fmt: skip
    assert nearest - reach > 1.5 * THRESHOLD  # from no vector of the cluster is it nearer
    assert nearest - reach <= found.nearest_outsider <= nearest * (1 + 1e-5)
    assert f"{found.nearest_outsider:.3f}" == "0.004"


def test_the_cluster_can_be_measured(measured: Measurements) -> None:
    assert measured.vectors.shape == (60, 2048)
    assert measured.changed_tokens == 0
    assert measured.populations[measured.origin] == 600
    populations = sorted(measured.populations.tolist(), reverse=True)
    assert len(populations) == 60
    assert sum(populations) == 2212
    assert populations[1] < 600
    assert populations[-1] == 2
    assert set(measured.distance_ulp.tolist()) == {0, 1, 2, 4}
    assert measured.distance_l2.max() < THRESHOLD


def test_no_row_is_all_zero(matrix: NDArray[Any]) -> None:
    for start in range(0, len(matrix), 512):
        assert matrix[start : start + 512].any(axis=1).all()


def test_written_twice_it_has_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "W.safetensors"
    REPLICAS[NAME](again)
    assert sha256(again) == sha256(path) == GOLDEN
    again.unlink()


def test_it_is_no_part_of_the_default() -> None:
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_bytes())
    assert params["models"]
    assert NAME not in str(params)

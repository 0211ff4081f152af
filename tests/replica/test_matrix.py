import math
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from core_tokens.bits import BFLOAT16
from core_tokens.replica.draws import Draws, normal_table
from core_tokens.replica.matrix import add_near_rows, write_matrix
from core_tokens.tensors import map_matrix


def test_near_rows_lie_further_and_further_from_the_big_one() -> None:
    vectors = np.array([[0.01] * 256, [0.02] * 256], BFLOAT16)
    vector_of_token = np.full(500, -1)
    vector_of_token[[3, 5, 499]] = [0, 1, 0]
    before = vector_of_token.copy()
    rows, row_of_token = add_near_rows(Draws(4), vectors, vector_of_token, 0.5)
    assert np.array_equal(vector_of_token, before)
    assert np.array_equal(rows[:2], vectors)
    assert np.array_equal(row_of_token[before >= 0], before[before >= 0])
    near = row_of_token[before < 0]
    assert sorted(near[near >= 0].tolist()) == list(range(2, 50)) == list(range(2, len(rows)))
    distances = [math.dist(row, rows[0]) for row in rows[2:].astype(np.float64)]
    assert distances == pytest.approx([0.5 * 1.12**nth for nth in range(48)], rel=0.15)


def test_given_rows_are_where_they_belong_and_all_others_are_noise(tmp_path: Path) -> None:
    rows = np.arange(24).reshape(3, 8).astype(BFLOAT16)
    row_of_token = np.full(2100, -1)
    given = {0: 2, 7: 0, 1023: 1, 1024: 1, 2099: 0}
    row_of_token[list(given)] = list(given.values())
    path = tmp_path / "W.safetensors"
    write_matrix(path, "some-model", rows, row_of_token, Draws(5))
    with safe_open(path, "np") as file:
        assert "some-model; not its weights" in file.metadata()["replica"]
    matrix = map_matrix(path)
    assert matrix.shape == (2100, 8)
    assert matrix.dtype == BFLOAT16
    words = Draws(5).raw(2100 * 2).tolist()
    for token in range(2100):
        table = normal_table(0.016 + 0.001 * (token % 8))
        # Two words of noise per row, the lowest 16 bits first, drawn whether needed or not.
        two = words[2 * token : 2 * token + 2]
        drawn = [word >> bits & 0xFFFF for word in two for bits in (0, 16, 32, 48)]
        expected = rows[given[token]] if token in given else table[drawn]
        assert matrix[token].tolist() == expected.tolist()

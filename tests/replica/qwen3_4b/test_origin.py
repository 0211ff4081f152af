import math

import numpy as np

from core_tokens.bits import median_magnitude, ulp_exponent
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b.origin import make_origin


def test_the_big_one_has_the_published_norm_and_median_for_any_draw() -> None:
    for seed in (0, 1, 2507):
        values = make_origin(Draws(seed)).values
        norm = math.sqrt(math.fsum(float(value) * float(value) for value in values))
        assert f"{norm:.6f}" == "0.370917"
        assert f"{float(median_magnitude(values)):.6e}" == "3.585815e-03"
        assert ulp_exponent(values) == -16
        assert np.median(np.abs(values.astype(np.float64))) == median_magnitude(values)


def test_slots_are_dimensions_by_falling_magnitude() -> None:
    origin = make_origin(Draws(3))
    assert sorted(origin.dimension_of_slot.tolist()) == list(range(2560))
    magnitudes = np.abs(origin.values.astype(np.float64))[origin.dimension_of_slot]
    # The norm is tuned by single lattice steps, which may swap neighbours.
    assert (np.diff(magnitudes) <= magnitudes[:-1] / 64).all()
    assert origin.dimension_of_slot[-1] == 1382


def test_the_special_dimensions_have_their_published_values() -> None:
    values = make_origin(Draws(4)).values.astype(np.float64)
    assert [f"{values[dimension]:.6e}" for dimension in (163, 13)] == [
        "-8.056641e-02", "-4.760742e-02",
    ]  # fmt: skip

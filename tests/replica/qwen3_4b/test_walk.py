import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from core_tokens.bits import BFLOAT16, from_ordered, ordered
from core_tokens.replica.qwen3_4b.walk import Walk

ULP = 2.0**-16
FINEST = 2.0**-26


@st.composite
def components(draw: st.DrawFn) -> float:
    """A component as the Big One has them where a dimension varies: 2 ulp are a step or more."""
    least, most = ordered(np.array([256 * FINEST, 510 * ULP], BFLOAT16)).tolist()
    coarse = from_ordered(np.array([draw(st.integers(least, most))])).astype(np.float64)[0]
    fine = FINEST * draw(st.integers(1, 255))
    return draw(st.sampled_from([-1, 1])) * float(draw(st.sampled_from([coarse, fine])))


@given(components(), st.data())
def test_whatever_the_gaps_all_values_are_bfloat16_within_2_ulp(
    component: float, data: st.DataObject
) -> None:
    walk = Walk(component, 0)
    for side in walk.sides:
        while side.room and len(side.gaps) < 9 and data.draw(st.booleans()):
            side.gaps.append(data.draw(st.integers(1, side.room)))
            side.room -= side.gaps[-1]
        while side.beyond >= 64 and data.draw(st.booleans()):
            side.wide.append(16 * data.draw(st.integers(4, side.beyond // 16)))
            side.beyond -= side.wide[-1]
    values = np.array(walk.values())
    assert np.array_equal(values.astype(BFLOAT16).astype(np.float64), values)
    assert (np.abs(values - component) <= 2 * ULP).all()
    below, above = values[values < component], values[values > component]
    assert [len(below), len(above)] == [len(side.gaps + side.wide) for side in walk.sides]
    for side, away in zip(walk.sides, (component - below, above - component), strict=True):
        gaps = np.diff(away / walk.quantum, prepend=0.0)
        assert gaps[: len(side.gaps)].tolist() == sorted(side.gaps)
        # The first gap where the lattice is sparse may be made a little longer.
        excess = gaps[len(side.gaps) :] - sorted(side.wide)
        assert (excess[1:] == 0).all()
        assert ((excess >= 0) & (excess < 8)).all()


@given(components())
def test_the_room_is_used_up_to_the_last_quantum(component: float) -> None:
    walk = Walk(component, 0)
    for side in walk.sides:
        side.ones = side.room
    values = np.sort([*walk.values(), component])
    assert np.array_equal(values.astype(BFLOAT16).astype(np.float64), values)
    assert (np.diff(values) == walk.quantum).all()


@pytest.mark.parametrize(
    ("component", "count", "offset", "expected"),
    [
        (200, 4, 3.0, [199, 201, 202, 203]),
        (-200, 4, -3.0, [-203, -202, -201, -199]),
        (40, 11, 2.25, [39.5, 39.75, *(40 + step / 4 for step in range(1, 10))]),
        (40, 9, 2.25, [40 + step / 4 for step in range(1, 10)]),
        (40, 8, 2.25, None),  # too few gaps
        (40, 18, 2.25, None),  # too many for the other side
        (200, 3, 2.25, None),  # not on the lattice
        (300, 2, 4.0, [302, 304]),
        (300, 3, 6.0, None),  # more than one value beyond 2 ulp
        (254, 3, 3.0, None),  # beyond 256 the lattice is coarser
        (-254, 3, 3.0, [-253, -252, -251]),
    ],
)
def test_a_walk_may_end_at_an_offset(
    component: float, count: int, offset: float, expected: list[float] | None
) -> None:
    walk = Walk(component * ULP, count)
    assert not walk.is_set
    assert walk.end_at(offset * ULP) == walk.is_set == (expected is not None)
    assert sorted(walk.values()) == [value * ULP for value in expected or []]
    assert not (walk.is_set and walk.end_at(offset * ULP))

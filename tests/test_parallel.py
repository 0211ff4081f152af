import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_tokens import parallel
from core_tokens.parallel import cores, in_order, over_rows


@given(st.integers(0, 50), st.integers(0, 40), st.sampled_from([1, 10, 100, 1 << 25]))
def test_every_row_is_worked_on_once(rows: int, row_bytes: int, part_bytes: int) -> None:
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "PART_BYTES", part_bytes)
        over_rows(lambda start, stop: seen.extend(range(start, stop)), rows, row_bytes)
    assert sorted(seen) == list(range(rows))


def test_many_parts_are_worked_on_by_other_threads_a_single_one_by_this(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[int] = set()

    def work(*_: int) -> None:
        threads.add(threading.get_ident())

    over_rows(work, 1000, 8)
    assert threads == {threading.get_ident()}
    threads.clear()
    monkeypatch.setattr(parallel, "PART_BYTES", 8)
    over_rows(work, 1000, 8)
    assert threads
    assert threading.get_ident() not in threads
    assert len(threads) <= cores()


def test_an_error_in_a_part_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "PART_BYTES", 1)

    def work(start: int, _: int) -> None:
        if start == 7:
            raise ValueError("at seven")

    with pytest.raises(ValueError, match="at seven"):
        over_rows(work, 10, 1)


def test_results_come_in_the_order_of_the_items_whoever_was_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            second_is_done.set()
        elif item == 0 and cores() > 1:
            assert second_is_done.wait(10)
        return item * item

    assert list(in_order(work, range(5))) == [0, 1, 4, 9, 16]
    assert list(in_order(work, [3])) == [9]
    assert list(in_order(work, [])) == []

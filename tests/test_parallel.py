import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_tokens import parallel
from core_tokens.parallel import cores, in_order, limited_to, over_rows


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


# ---- a limit ----------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_in_a_block_no_more_cores_are_used_than_it_says(there: int, most: int, inner: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_available", lambda: there)
        assert cores() == there
        with limited_to(most):
            assert cores() == min(most, there)
            with limited_to(inner):
                assert cores() == min(inner, there)
            assert cores() == min(most, there)
        assert cores() == there


def test_after_an_error_the_limit_is_gone() -> None:
    before = cores()

    def fail() -> None:
        with limited_to(1):
            raise ValueError("in the block")

    with pytest.raises(ValueError, match="in the block"):
        fail()
    assert cores() == before


def test_a_limit_is_that_of_one_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_available", lambda: 8)
    inside, looked = threading.Event(), threading.Event()
    found: list[int] = []

    def limited() -> None:
        with limited_to(3):
            inside.set()
            assert looked.wait(10)
            found.append(cores())

    other = threading.Thread(target=limited)
    other.start()
    assert inside.wait(10)
    found.append(cores())
    looked.set()
    other.join()
    assert found == [8, 3]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_work_over_rows_has_no_more_threads_than_the_limit(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(parallel, "_available", lambda: 8)
    monkeypatch.setattr(parallel, "PART_BYTES", 8)
    threads: set[int] = set()

    def work(*_: int) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.001)  # or the first would have done all

    with limited_to(most):
        over_rows(work, 60, 8)
    assert len(threads) == most

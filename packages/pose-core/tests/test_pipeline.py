"""Stages that overlap: in order, within bounds, stopped from either side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pose_core.inference.pipeline import ahead, in_background


def slowly(count: int, seconds: float = 0.0, done: list[int] | None = None) -> Iterator[int]:
    for number in range(count):
        time.sleep(seconds)
        if done is not None:
            done.append(number)
        yield number


def test_items_keep_their_order_and_all_threads_end() -> None:
    threads = threading.active_count()
    assert list(ahead(ahead(slowly(200), 3), 1)) == list(range(200))
    got: list[int] = []
    with in_background(got.extend, 2) as give:
        for number in range(200):
            give(number)
    assert got == list(range(200))
    assert threading.active_count() == threads


def test_stages_work_at_the_same_time() -> None:
    pause, count = 0.02, 30

    def consume(items: Iterator[int]) -> None:
        for _ in items:
            time.sleep(pause)

    start = time.monotonic()
    with in_background(consume, 2) as give:
        for number in ahead(slowly(count, pause), 2):
            time.sleep(pause)
            give(number)
    # Three stages one after another take 3; half of a stage is slack for a busy machine.
    assert time.monotonic() - start < 2.5 * pause * count


def test_no_more_is_prepared_than_may_wait() -> None:
    done: list[int] = []
    items = ahead(slowly(100, done=done), 4)
    next(items)
    time.sleep(0.2)
    assert len(done) == 1 + 4 + 1, "one taken, four that wait, one in hand"
    items.close()
    assert len(done) <= 7


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise ValueError("broken")

    items = ahead(broken(), 2)
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_closing_ends_the_source_too() -> None:
    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            ended.set()

    items = ahead(ahead(source(), 1), 1)
    next(items)
    items.close()
    assert ended.is_set()


def test_stop_ends_a_source_that_waits() -> None:
    stop, release = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        release.wait(10)
        yield 2

    items = ahead(source(), 4, stop=stop)
    assert next(items) == 1
    threading.Timer(0.1, stop.set).start()
    threading.Timer(0.5, release.set).start()
    assert list(items) == []


def test_a_source_that_does_not_wait_loses_items_instead_of_time() -> None:
    done: list[int] = []
    items = ahead(slowly(50, 0.002, done), 2, drop=True)
    got = []
    for item in items:
        got.append(item)
        time.sleep(0.02)
    assert len(done) == 50
    assert 3 <= len(got) < 30
    assert got == sorted(got)


def test_errors_pass_both_ways_between_a_block_and_its_background() -> None:
    seen: list[BaseException] = []

    def consume(items: Iterator[int]) -> None:
        try:
            for item in ahead(items, 1):
                if item == 3:
                    raise ValueError("three")
        except BaseException as error:
            seen.append(error)
            raise

    def give_all(count: int) -> None:
        with in_background(consume, 1) as give:
            for number in range(count):
                give(number)
            if count < 3:
                raise KeyError("the block")

    with pytest.raises(ValueError, match="three"):
        give_all(1000)
    with pytest.raises(ValueError, match="three"):
        give_all(4)
    seen.clear()
    with pytest.raises(KeyError, match="the block"):
        give_all(2)
    assert len(seen) == 1, "what is half done is not taken for finished"

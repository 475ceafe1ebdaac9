"""Stages that overlap: a thread works on the next items while the caller works on this one, in order, within bounds."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")

_END = object()
_WAIT = 0.1
"""Seconds between two looks at whether the other side has stopped; a waiting side is woken at once by an item."""


class _Aborted(Exception):
    """The items of `in_background` end because its block failed."""


def ahead(
    items: Iterable[T], depth: int, *, stop: threading.Event | None = None, drop: bool = False
) -> Generator[T, None, None]:
    """Yield ``items`` in order, while a thread prepares up to ``depth`` of the next ones.

    An error of ``items`` is raised after the items before it. When ``stop`` is set, the items end. With ``drop``,
    an item that finds no place is left out: for cameras, which do not wait. Closing the generator stops the thread.
    """
    ready: queue.Queue[Any] = queue.Queue(depth)
    closed = threading.Event()
    failure: list[BaseException] = []

    def ended() -> bool:
        return closed.is_set() or (stop is not None and stop.is_set())

    def work() -> None:
        try:
            for item in items:
                if ended():
                    break
                if drop and ready.full():
                    continue
                _put(ready, item, closed)
            if isinstance(items, Generator):
                items.close()
        except BaseException as error:
            failure.append(error)
        _put(ready, _END, closed)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = ready.get(timeout=_WAIT)
            except queue.Empty:
                if stop is not None and stop.is_set():  # a source that waits for data does not see it
                    return
                continue
            if item is _END:
                break
            yield item
        if failure:
            raise failure[0]
    finally:
        closed.set()
        thread.join()  # what it reads from must stay open


@contextmanager
def in_background(consume: Callable[[Iterator[T]], None], depth: int) -> Iterator[Callable[[T], None]]:
    """Run ``consume(items)`` in a thread; the block gets a function that hands it the next item, up to ``depth`` ahead.

    The block ends when everything is consumed. An error of ``consume`` is raised by the function or at the end of the
    block. An error of the block is raised in ``consume`` too, at its next item.
    """
    given: queue.Queue[Any] = queue.Queue(depth)
    finished, aborted = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    def items() -> Iterator[T]:
        while True:
            try:
                item = given.get(timeout=_WAIT)
            except queue.Empty:
                if aborted.is_set():
                    raise _Aborted from None
                continue
            if aborted.is_set():
                raise _Aborted
            if item is _END:
                return
            yield item

    def work() -> None:
        try:
            consume(items())
        except _Aborted:
            pass
        except BaseException as error:
            failure.append(error)
        finally:
            finished.set()

    def give(item: Any) -> None:
        if not _put(given, item, finished):
            raise failure[0] if failure else RuntimeError("the consumer ended before its items did")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield give
        _put(given, _END, finished)
    except BaseException:
        aborted.set()
        raise
    finally:
        thread.join()
    if failure:
        raise failure[0]


def map_ahead(work: Callable[[T], U], items: Iterable[T], pool: Executor, ahead: int) -> Iterator[U]:
    """Yield ``work(item)`` of each item, in order, computed in a pool while at most ``ahead`` results wait."""
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _put(target: queue.Queue[Any], item: object, stopped: threading.Event) -> bool:
    """Put an item into a queue, waiting for a place, unless ``stopped`` is set; return whether it was put."""
    while not stopped.is_set():
        try:
            target.put(item, timeout=_WAIT)
        except queue.Full:
            continue
        return True
    return False

"""Compare the time of several ways to do the same, in interleaved rounds: a drift of the machine meets them all."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

TURN = 0.005
"""Minimum seconds of a contender's turn, in as many calls as needed. A single call of a tenth of a millisecond would
measure the state in which the other contender left the caches."""
LONG_CALL = 2.0
"""Seconds from which the first call of a contender, which is not timed, need not be followed by a second one."""
DRAWS = 2000
"""Bootstrap samples of an interval."""


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and the 95 % interval of that median (bootstrap over rounds)."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: tuple[float, ...]) -> Spread:
        """Summarize the figures of the rounds."""
        if len(figures) < 2:
            return cls(figures[0], figures[0], figures[0])
        draw = random.Random(0)
        medians = [median(draw.choices(figures, k=len(figures))) for _ in range(DRAWS)]
        cuts = quantiles(medians, n=40, method="inclusive")
        return cls(median(figures), cuts[0], cuts[-1])


@dataclass(frozen=True)
class Times:
    """Seconds of one call of each contender, in each round."""

    rounds: Mapping[str, tuple[float, ...]]

    def seconds(self, name: str) -> float:
        """Return the median seconds of a contender."""
        return median(self.rounds[name])

    def shortest(self, name: str) -> float:
        """Return the shortest seconds of a contender: other processes on the machine only add to them."""
        return min(self.rounds[name])

    def ratio(self, first: str, second: str) -> Spread:
        """Return the time of ``first`` over that of ``second``, compared within each round."""
        pairs = zip(self.rounds[first], self.rounds[second], strict=True)
        return Spread.of(tuple(one / other for one, other in pairs))


def compare(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int | Callable[[float], int] = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Time each contender in every round; each runs once or more before timing starts.

    ``rounds`` is their number, or returns it, given the seconds of a round.

    Times are wall time, or with `time.process_time` processor time, which suits work on one thread next to other
    processes.
    """
    turns = {name: _turn(run) for name, run in contenders.items()}
    if not isinstance(rounds, int):
        rounds = rounds(sum(seconds for _, seconds in turns.values()))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        # The first in a round may have a colder cache: alternate.
        for name in names if number % 2 == 0 else reversed(names):
            times[name].append(_seconds(contenders[name], turns[name][0], clock))
    return Times({name: tuple(values) for name, values in times.items()})


def _turn(run: Callable[[], object]) -> tuple[int, float]:
    """Return the calls that fill a turn, and its seconds."""
    first = _seconds(run, 1)
    if first > LONG_CALL:
        return 1, first
    seconds = _seconds(run, 1)
    if seconds < TURN:  # at the speed of the fastest of four: one may take three times as long
        seconds = min(seconds, *(_seconds(run, 1) for _ in range(3)))
    calls = math.ceil(TURN / seconds)
    return calls, calls * seconds


def _seconds(run: Callable[[], object], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) / calls

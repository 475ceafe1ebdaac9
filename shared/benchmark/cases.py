"""What the benchmarks measure: contenders that do the same work, and bars on the ratio of their times.

A bar is a ratio to a floor of the same run (one read of the data, the bare network) or to another implementation, so
that it holds on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from pose_core.timing import Spread, Times, compare

FASTEST = "the fastest"
"""Stands for the contender with the smallest median time, apart from the one that is compared with it."""
LEAST_ROUNDS, MOST_ROUNDS = 5, 15
LONG = 5.0
"""Seconds of a round from which three rounds are enough."""


@dataclass(frozen=True)
class Bar:
    """A limit on the time of ``over`` in units of the time of ``under``: at most, or for a peer's time at least."""

    over: str
    under: str
    limit: float
    at_most: bool = True

    def __str__(self) -> str:
        return f"{self.over} {'≤' if self.at_most else '≥'} {self.limit:g} × {self.under}"


@dataclass(frozen=True)
class Case:
    """Some work. ``name`` stays the same in all versions: results of two runs are compared by it."""

    name: str
    work: str
    contenders: Mapping[str, Callable[[], object]]
    bars: tuple[Bar, ...]
    clock: Callable[[], float] = time.process_time
    """Processor time, which suits one thread next to other processes; wall time where stages overlap."""
    notes: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The ratio of one bar of a case, with its 95 % interval over the rounds."""

    name: str
    work: str
    bar: str
    limit: float
    at_most: bool
    ratio: Spread
    over_ms: float
    under: str
    under_ms: float
    rounds: tuple[float, ...]
    """The ratio of each round."""
    notes: Mapping[str, float | str]

    @property
    def reached(self) -> bool:
        """Return whether the median is within the bar."""
        return self.ratio.median <= self.limit if self.at_most else self.ratio.median >= self.limit

    def as_json(self) -> dict[str, object]:
        """Return plain data."""
        return {**asdict(self), "reached": self.reached}


def measure(case: Case, budget: float) -> list[Result]:
    """Time a case's contenders in about ``budget`` seconds, in 5 to 15 interleaved rounds, or 3 long ones."""

    def rounds(seconds: float) -> int:
        return min(max(int(budget / seconds), LEAST_ROUNDS if seconds < LONG else 3), MOST_ROUNDS)

    return results(case, compare(case.contenders, rounds, case.clock))


def results(case: Case, times: Times) -> list[Result]:
    """Return the ratio of each bar."""
    found = []
    for bar in case.bars:
        under = bar.under
        if under == FASTEST:
            under = min((name for name in times.rounds if name != bar.over), key=times.seconds)
        pairs = zip(times.rounds[bar.over], times.rounds[under], strict=True)
        ratios = tuple(over / other for over, other in pairs)
        found.append(
            Result(
                case.name,
                case.work,
                str(bar),
                bar.limit,
                bar.at_most,
                Spread.of(ratios),
                1e3 * times.seconds(bar.over),
                under,
                1e3 * times.seconds(under),
                ratios,
                case.notes,
            )
        )
    return found

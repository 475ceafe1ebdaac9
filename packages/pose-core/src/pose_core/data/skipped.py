"""A limit on the samples that are skipped since their image cannot be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from pose_core.errors import DataError
from pose_core.plurals import counted

LATEST = 2000
"""Samples over which the skipped share is measured."""


class SkippedSamples:
    """The latest samples of a loader; too many that were skipped are a DataError.

    At most a share ``limit`` of the latest `LATEST` samples may have been skipped, or of ``length`` if the data set
    has fewer; one image may be in any case. A sample that comes again within them counts once, so that a small data set
    is measured as a whole.
    """

    def __init__(self, limit: float, length: int) -> None:
        self.limit, self.window = limit, min(length, LATEST)
        self._batches: deque[tuple[int, Sequence[int]]] = deque()
        self._seen = 0

    def count(self, seen: int, skipped: Sequence[int], source: Callable[[int], str]) -> None:
        """Count a batch: how many samples it has, and the indices of those skipped; ``source`` names their images."""
        self._batches.append((seen, skipped))
        self._seen += seen
        while self._seen - self._batches[0][0] >= self.window:
            self._seen -= self._batches.popleft()[0]
        if not skipped:
            return
        lost = {index for _, indices in self._batches for index in indices}
        if len(lost) > self.limit * self.window and len({source(index) for index in lost}) > 1:
            raise DataError(
                f"{len(lost)} of {counted(self.window, 'sample')} had to be skipped, since their images cannot be "
                f"read, for example {source(skipped[-1])}; data.max_skipped={self.limit:g} allows fewer. "
                "`pose data check --decode all` finds such images: fetch them again, or raise data.max_skipped, and "
                "run the same command again, a training with --resume"
            )


def check_missing(missing: Sequence[object], total: int, limit: float, what: str = "image") -> None:
    """Raise a DataError if more than a share ``limit`` of ``total`` files are missing, and more than one."""
    if len(missing) > max(limit * total, 1):
        raise DataError(
            f"{len(missing)} of {counted(total, what)} are missing ({len(missing) / total:.0%}), for example "
            f"{missing[0]}; data.max_skipped={limit:g} allows fewer. Fetch them, or raise data.max_skipped"
        )

"""The speed of a training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """A clock for the speed of a run: samples per second, time spent waiting for data, time left."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self._reset()

    def _reset(self) -> None:
        self.start, self.waited, self.samples, self.steps = time.perf_counter(), 0.0, 0, 0

    def timed(self, batches: Iterator[T]) -> Iterator[T]:
        """Yield the batches, and measure the time spent waiting for them."""
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def count(self, samples: int) -> None:
        """Count the samples of one step."""
        self.samples += samples
        self.steps += 1

    def figures(self) -> dict[str, float]:
        """Return samples per second and the share of time spent waiting for data."""
        seconds = max(time.perf_counter() - self.start, 1e-9)
        return {"samples_per_second": round(self.samples / seconds, 2), "data_share": round(self.waited / seconds, 4)}

    def text(self, step: int) -> str:
        """Return speed, data time per step and time left as text; start the next interval."""
        seconds = max(time.perf_counter() - self.start, 1e-9)
        left = (self.total_steps - step) * seconds / max(self.steps, 1)
        text = (
            f"Speed {self.samples / seconds:.1f} samples/s  Data {self.waited / max(self.steps, 1):.3f}s"
            f"  ETA {int(left) // 3600:d}:{int(left) // 60 % 60:02d}:{int(left) % 60:02d}"
        )
        self._reset()
        return text

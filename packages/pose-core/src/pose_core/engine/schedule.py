"""The learning rate as a pure function of the step, so that a resumed run needs no state to continue it."""

from __future__ import annotations

from math import cos, pi
from typing import NamedTuple

from pose_core.config import TrainConfig

WARMUP_START = 1e-3
ONECYCLE_RISE = 0.3
ONECYCLE_START = 1 / 25
ONECYCLE_END = 1e-4


class Progress(NamedTuple):
    """The length of a run, which may be changed while it trains: the schedule then continues from where it is."""

    total_steps: int
    since: int = 0
    """The step at which the length was last changed; 0 for never."""
    done: float = 0.0
    """The share of the schedule that was done by then."""

    def share(self, step: int) -> float:
        """Return the share of the schedule that is done at a step, from 0 to 1 at the last step."""
        return self.done + (1 - self.done) * min((step - self.since) / max(self.total_steps - 1 - self.since, 1), 1.0)

    def changed(self, step: int, total_steps: int) -> Progress:
        """Return the progress of a run that has another length from ``step`` on."""
        return Progress(total_steps, step, self.share(step))


def lr_factor(config: TrainConfig, step: int, steps_per_epoch: int, progress: Progress | int) -> float:
    """Return the factor of the learning rate at optimizer step ``step``, counted from 0.

    ``progress`` is the run's length, as a number of steps if it never changes.
    """
    warm = min(WARMUP_START + (1 - WARMUP_START) * step / config.warmup, 1.0) if config.warmup else 1.0
    share = (Progress(progress) if isinstance(progress, int) else progress).share(step)
    if config.schedule == "multistep":
        epoch = step // steps_per_epoch
        return warm * config.factor ** sum(milestone <= epoch for milestone in config.milestones)
    if config.schedule == "cosine":
        return warm * (1 + cos(pi * share)) / 2
    if config.schedule == "onecycle":
        if share < ONECYCLE_RISE:
            return warm * _between(ONECYCLE_START, 1.0, share / ONECYCLE_RISE)
        return warm * _between(1.0, ONECYCLE_END, (share - ONECYCLE_RISE) / (1 - ONECYCLE_RISE))
    return warm


def _between(start: float, end: float, share: float) -> float:
    """Interpolate from start to end along half a cosine."""
    return end + (start - end) * (1 + cos(pi * share)) / 2

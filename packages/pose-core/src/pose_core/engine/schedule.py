"""The learning rate as a pure function of the step, so that a resumed run needs no state to continue it."""

from __future__ import annotations

from math import cos, pi

from pose_core.config import TrainConfig

WARMUP_START = 1e-3
ONECYCLE_RISE = 0.3
ONECYCLE_START = 1 / 25
ONECYCLE_END = 1e-4


def lr_factor(config: TrainConfig, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Return the factor of the learning rate at optimizer step ``step``, counted from 0."""
    warm = min(WARMUP_START + (1 - WARMUP_START) * step / config.warmup, 1.0) if config.warmup else 1.0
    share = min(step / max(total_steps - 1, 1), 1.0)
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

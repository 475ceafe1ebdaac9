"""The optimizer of a published configuration."""

from __future__ import annotations

from pose_core.plugins.convert.source import Source


def optimizer_settings(source: Source, notes: list[str]) -> dict[str, str | float | bool]:
    """Return the keys of ``train`` that set the optimizer; add a remark to ``notes`` on an unused decay."""
    optimizer = source.text("TRAIN.OPTIMIZER", "train.optimizer", "adam").lower()
    decay = source.number("TRAIN.WD", "train.weight_decay", 1e-4)
    if optimizer == "adam" and decay:
        notes.append(f"WD {decay:g} was never applied with Adam by the published code: weight_decay is 0")
    return {
        "optimizer": optimizer,
        "lr": source.number("TRAIN.LR", "train.lr", 1e-3),
        "weight_decay": 0.0 if optimizer == "adam" else decay,
        "momentum": source.number("TRAIN.MOMENTUM", "train.momentum", 0.9),
        "nesterov": source.flag("TRAIN.NESTEROV", "train.nesterov", False),
    }

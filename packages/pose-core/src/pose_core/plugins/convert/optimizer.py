"""The optimizer of a published configuration."""

from __future__ import annotations

from pose_core.plugins.convert.source import Source


def optimizer_settings(source: Source, notes: list[str]) -> dict[str, str | float | bool]:
    """Return the keys of ``train`` that set the optimizer; add a remark to ``notes`` on an unused decay."""
    optimizer = source.text("TRAIN.OPTIMIZER", "train.optimizer", "adam").lower()
    stated = source.values.get("TRAIN.WD", 1e-4)
    if optimizer == "adam" and stated:
        notes.append(f"WD {stated} was never applied with Adam by the published code: weight_decay is 0")
    if optimizer not in {"adam", "sgd"}:
        notes.append(f"OPTIMIZER {optimizer}: the published code has only adam and sgd, and stops with any other")
    decay = source.number("TRAIN.WD", "train.weight_decay", 1e-4)
    return {
        "optimizer": optimizer,
        "lr": source.number("TRAIN.LR", "train.lr", 1e-3),
        "weight_decay": 0.0 if optimizer == "adam" else decay,
        "momentum": source.number("TRAIN.MOMENTUM", "train.momentum", 0.9),
        "nesterov": source.flag("TRAIN.NESTEROV", "train.nesterov", False),
    }

"""The task of an experiment, and the evaluation of a checkpoint by it."""

from __future__ import annotations

from pathlib import Path

from pose_core.config import Experiment
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.evaluation_record import record_evaluation
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.plugins.checkpoints import bind_config
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import bare_network, build_network, load_weights


def build_task(config: Experiment) -> Task:
    """Build an experiment's task with its method."""
    return get_method(config.method).task(config, build_network)


def evaluate_checkpoint(
    config: Experiment, weights: str | Path | None, process: ProcessContext, folder: Path, *, strict: bool = True
) -> Evaluation:
    """Evaluate a checkpoint by its experiment's protocol; without ``weights``, an untrained network.

    Predictions and ``evaluation.json`` are written to ``folder/results``. Pretrained weights and networks that only
    training has are not needed.
    """
    if weights is not None:
        config = bind_config(config, weights)
    task = build_task(config)
    network = bare_network(config)
    if weights is not None:
        report = load_weights(network, weights, strict=strict)
        if process.is_main:
            print(report)
    evaluation = task.evaluate({"pose": network.to(process.device)}, process.device, folder)
    if process.is_main:
        record_evaluation(evaluation, config, process.device, None if weights is None else str(weights))
    return evaluation

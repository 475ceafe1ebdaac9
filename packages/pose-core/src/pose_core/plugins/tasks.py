"""What a kind of method gives the engine; each method package names its own or one of these."""

from pathlib import Path

from pose_core.config import Experiment
from pose_core.engine.distributed import Place
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.models.weights import load_weights
from pose_core.plugins.method import get_method, resolve


def build_task(config: Experiment) -> Task:
    """The task of a config's method."""
    task: Task = resolve(get_method(config.method).task)(config)
    return task


def evaluate_checkpoint(
    config: Experiment, weights: str | Path | None, place: Place, folder: Path, *, strict: bool = True
) -> Evaluation:
    """Score a checkpoint by its experiment's protocol; without ``weights``, an untrained network.

    Writes predictions below ``folder/results``. What training would start from is not looked for.
    """
    plain = config.model.model_copy(update={"pretrained": None, "init": "framework"})
    task = build_task(config.model_copy(update={"model": plain}))
    networks = task.networks()
    if weights is not None:
        report = load_weights(networks["pose"], weights, strict=strict)
        if place.is_main:
            print(report)
    for network in networks.values():
        network.to(place.device)
    return task.evaluate(networks, place.device, folder)


__all__ = ["build_task", "evaluate_checkpoint"]

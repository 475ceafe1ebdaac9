"""What computes the network of a prediction in shards on CPUs: chosen once, so that all processes give the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pose_core.bottomup.predictor import BottomUpPredictor
from pose_core.errors import DataError
from pose_core.files import write_json
from pose_core.inference.recipe import Recipe
from pose_core.reading.json_text import read_json
from pose_core.runtimes.networks import way_of
from pose_core.runtimes.ways import Way
from pose_core.topdown.predictor import TopDownPredictor

NAME = "runtime.json"


def with_runtime(recipe: Recipe, folder: Path, device: str, images: int) -> Recipe:
    """Return a recipe with the runtime that was chosen for the shards below ``folder``, on this machine or another.

    Where none was, the fastest for so many ``images`` in a process is chosen, and remembered there: the first process
    calls this before the others. GPUs have no choice.
    """
    test = recipe.config.test
    if test.runtime != "auto" or torch.device(device).type != "cpu":
        return recipe
    file = folder / NAME
    if not file.exists():
        worker = recipe.predictor(device).worker
        worker.expect(images)
        way = Way("torch", test.precision)
        if isinstance(worker, TopDownPredictor | BottomUpPredictor):
            way = way_of(worker.network)
        write_json(file, {"test.runtime": way.runtime, "test.precision": way.precision})
    content = read_json(file, "choice of a runtime")
    try:
        settings = {"runtime": content["test.runtime"], "precision": content["test.precision"]}
        chosen = type(test).model_validate(test.model_dump() | settings)
    except (TypeError, KeyError, ValueError):
        raise DataError(f"{file} does not name a runtime: delete it") from None
    return replace(recipe, config=recipe.config.model_copy(update={"test": chosen}))

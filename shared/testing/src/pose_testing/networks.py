"""Check that networks reproduce golden outputs, in the same way for every package."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from pose_testing.golden import fill_state_dict, load_golden, relative_error, uniform


def published_state(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the published state dict of a golden file, filled by the rule."""
    entries = [(key, tuple(shape)) for key, shape in content["state_dict"]]
    return {key: torch.from_numpy(np.asarray(value)) for key, value in fill_state_dict(entries).items()}


def zoo_state(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the state dict of a golden file of the open-mmlab zoo; DEKR's grids have their constant values."""
    state = published_state(content)
    axis = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    grid = torch.stack([axis.repeat_interleave(3), axis.repeat(3), torch.ones(9, dtype=torch.float64)])
    return {key: grid if key.endswith(".regular_matrix") else value for key, value in state.items()}


def check_written_back(network: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Check that a network that has loaded a published state dict writes the same: names, order and values."""
    from pose_core.models.network import PoseNetwork

    assert isinstance(network, PoseNetwork)
    back = network.to_published()
    assert list(back) == list(state)
    assert all(torch.equal(back[key], value) for key, value in state.items())


def save_as_the_zoo(state: dict[str, torch.Tensor], file: Path) -> None:
    """Write a checkpoint as the open-mmlab zoo does: in PyTorch's old format, with arrays that describe the data."""
    joints = {"dataset_name": "coco", "sigmas": np.full(17, 0.1, np.float32), "colors": np.zeros((17, 3), np.uint8)}
    meta = {"epoch": 210, "iter": np.int64(5), "dataset_meta": joints, "names": np.array(["nose", "eye"])}
    torch.save({"meta": meta, "state_dict": state}, file, _use_new_zipfile_serialization=False)


def check_zoo(
    golden: str,
    network: torch.nn.Module,
    file: Path,
    to_zoo: Callable[[list[torch.Tensor]], list[torch.Tensor]] = list,
) -> float:
    """Load a golden file of ``zoo/`` into a network through a checkpoint; return the largest relative error.

    The same weights must come by name, from the converted file. ``to_zoo`` converts our outputs to the zoo's
    convention, where it differs.
    """
    from pose_core.models.weights import load_weights

    content = load_golden(f"zoo/{golden}")
    save_as_the_zoo(zoo_state(content), file)
    network = network.double().eval()
    report = load_weights(network, file)
    assert report.complete, report
    x = torch.from_numpy(uniform("input", int(np.prod(content["input_shape"]))).reshape(content["input_shape"]))
    with torch.no_grad():
        output = network(x)
    outputs = to_zoo([output] if isinstance(output, torch.Tensor) else list(output))
    expected = [entry for entry in content["outputs"] if entry["name"] != "features"]
    if len(expected) > len(outputs):  # heatmaps and tags of one map
        outputs = list(outputs[0].split([entry["shape"][1] for entry in expected], 1))
    errors = [relative_error(o.contiguous().numpy(), e) for o, e in zip(outputs, expected, strict=True)]
    before = _sums(network)
    for value in network.state_dict().values():
        value.zero_()
    assert load_weights(network, _located_by_name(file)).complete
    assert _sums(network) == before
    return max(errors)


def _sums(network: torch.nn.Module) -> dict[str, float]:
    return {key: float(value.double().sum()) for key, value in network.state_dict().items()}


def _located_by_name(file: Path) -> Path:
    """Return the converted file of a checkpoint that has a name in a table beside it."""
    from pose_core.plugins.checkpoints import locate_weights

    table = file.with_name("checkpoints.csv")
    table.write_text(f"name,method,experiment,url\nnetwork.golden,none,none/none,{file.name}\n", encoding="utf-8")
    with patch.dict(os.environ, POSE_HOME=str(file.parent / "home"), POSE_CHECKPOINTS=str(table)):
        return locate_weights("network.golden")


def check_parity(golden: str, model: str, folder: Path | None = None, **options: Any) -> float:
    """Load a golden file's weights into network ``model``; return the largest relative error of its outputs."""
    from pose_core.plugins.networks import create_model

    state = published_state(load_golden(golden))
    joints = len(state[next(key for key in state if key.endswith("final_layer.weight"))])
    return check_network(golden, create_model(model, num_joints=joints, **options), folder)


def check_network(golden: str, network: torch.nn.Module, folder: Path | None = None) -> float:
    """Do the same as `check_parity` for a given network; with ``folder``, load them from a published checkpoint.

    The network must write back what it has loaded.
    """
    from pose_core.models.weights import load_weights

    content = load_golden(golden)
    state = published_state(content)
    network = network.double().eval()
    if folder is None:
        report = load_weights(network, state)
    else:
        # As the published trainers save them: under state_dict, with the data-parallel prefix.
        file = folder / "checkpoint.pth.tar"
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
        report = load_weights(network, file)
    assert report.complete, report
    check_written_back(network, state)
    assert sum(parameter.numel() for parameter in network.parameters()) == content["params"]
    x = torch.from_numpy(uniform("input", int(np.prod(content["input_shape"]))).reshape(content["input_shape"]))
    with torch.no_grad():
        output = network(x)
    outputs = [output] if isinstance(output, torch.Tensor) else list(output)
    # A critic answers with its last stack alone.
    outputs = outputs[len(outputs) - len(content["outputs"]) :]
    errors = [relative_error(o.numpy(), e) for o, e in zip(outputs, content["outputs"], strict=True)]
    return max(errors)

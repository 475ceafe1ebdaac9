"""Check that networks reproduce golden outputs, in the same way for every package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_testing.golden import fill_state_dict, load_golden, relative_error, uniform


def published_state(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the published state dict of a golden file, filled by the rule."""
    entries = [(key, tuple(shape)) for key, shape in content["state_dict"]]
    return {key: torch.from_numpy(np.asarray(value)) for key, value in fill_state_dict(entries).items()}


def check_parity(golden: str, model: str, folder: Path | None = None, **options: Any) -> float:
    """Load a golden file's weights into network ``model``; return the largest relative error of its outputs."""
    from pose_core.plugins.networks import create_model

    state = published_state(load_golden(golden))
    joints = len(state[next(key for key in state if key.endswith("final_layer.weight"))])
    return check_network(golden, create_model(model, num_joints=joints, **options), folder)


def check_network(golden: str, network: torch.nn.Module, folder: Path | None = None) -> float:
    """Do the same as `check_parity` for a given network; with ``folder``, load them from a published checkpoint."""
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
    assert sum(parameter.numel() for parameter in network.parameters()) == content["params"]
    x = torch.from_numpy(uniform("input", int(np.prod(content["input_shape"]))).reshape(content["input_shape"]))
    with torch.no_grad():
        output = network(x)
    outputs = [output] if isinstance(output, torch.Tensor) else list(output)
    # A critic answers with its last stack alone.
    outputs = outputs[len(outputs) - len(content["outputs"]) :]
    errors = [relative_error(o.numpy(), e) for o, e in zip(outputs, content["outputs"], strict=True)]
    return max(errors)

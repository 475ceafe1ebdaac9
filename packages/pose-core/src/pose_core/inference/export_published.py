"""Trained networks back in the layout of the code that published them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pose_core.config import Experiment
from pose_core.errors import ConfigError, PoseError
from pose_core.models.network import PoseNetwork
from pose_core.models.published import save_published
from pose_core.models.weights import companion_states
from pose_core.plugins.checkpoints import locate_weights
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import bare_network, load_weights


@dataclass(frozen=True)
class WrittenCheckpoint:
    """A written file: the number of the pose network's entries, and the file's keys, () if it is a bare state dict."""

    file: Path
    entries: int
    keys: tuple[str, ...]


def export_published(
    network: nn.Module, config: Experiment, weights: str | Path, file: str | Path
) -> WrittenCheckpoint:
    """Write a trained network as the published test script of the experiment's method reads it.

    Networks that were trained with it come along if ``weights``, from which it was loaded, hold them. The file is read
    back and compared.
    """
    if not isinstance(network, PoseNetwork):
        raise ConfigError(f"network {config.model.name!r} has no published layout")
    state = network.to_published()
    content = get_method(config.method).published_content(config, state, companion_states(locate_weights(weights)))
    target = Path(file)
    save_published(content, target)
    again = bare_network(config)
    load_weights(again, target)
    own, read = network.state_dict(), again.state_dict()
    if not all(torch.equal(own[key].float(), read[key].float()) for key in own):
        target.unlink()
        raise PoseError(f"{target} does not hold the network's weights when it is read back; the file was deleted")
    keys = tuple(key for key, value in content.items() if isinstance(value, Mapping))
    return WrittenCheckpoint(target, len(state), keys)

"""The network of an experiment, ready to train."""

from __future__ import annotations

import logging

from torch import nn

from pose_core.config import Experiment
from pose_core.engine.distributed import current_place
from pose_core.models.initialize import initialise, load_trunk
from pose_core.plugins.networks import check_input_size, create_model
from pose_core.skeleton import Skeleton

_log = logging.getLogger(__name__)


def build_network(config: Experiment, skeleton: Skeleton) -> nn.Module:
    """A fresh network, initialised as the config says, its trunk from ``model.pretrained``."""
    model = config.model
    network = create_model(model.name, num_joints=skeleton.num_joints, **model.options)
    check_input_size(network, model.name, model.input_size)
    if model.init == "published":
        initialise(network, trunk_follows=model.pretrained is not None)
    if model.pretrained is not None:
        report = load_trunk(network, model.pretrained)
        if current_place()[0] == 0:
            _log.log(logging.WARNING if report.missing or report.doubt else logging.INFO, "%s", report)
    return network

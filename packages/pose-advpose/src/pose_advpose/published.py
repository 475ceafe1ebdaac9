"""The content of checkpoints that the published code loads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pose_advpose.task import CRITIC, make_task
from pose_core.config import Experiment
from pose_core.models.published import Content, data_parallel
from pose_core.plugins.networks import bare_network, load_weights
from pose_core.skeleton import get_skeleton


def published_content(
    config: Experiment, state: Mapping[str, Tensor], companions: Mapping[str, Mapping[str, Tensor]]
) -> Content:
    """Return the pose network under the keys of all tasks, and the critic if it is among ``companions``.

    The original embedding code saves a wrapper of its network, which shows in the names; HigherHRNet's loads a state
    dict alone.
    """
    if config.model.name.startswith("higherhrnet"):
        return state
    if config.model.name.startswith("hg_ae_posenet"):
        return {"state_dict": data_parallel(state, "model.module.")}
    pose = data_parallel(state)
    content = {"state_dict": pose, "netHg": pose}
    if CRITIC in companions:
        critic = make_task(config, bare_network).critic(get_skeleton(config.data.skeleton).num_joints)
        load_weights(critic, companions[CRITIC])
        content["netD"] = data_parallel(critic.to_published())
    return content

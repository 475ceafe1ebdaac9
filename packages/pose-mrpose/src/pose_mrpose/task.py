"""Training as published: a top-down task that does not start from noise unawares."""

from __future__ import annotations

from torch import nn

from pose_core.errors import ConfigError
from pose_core.tasks.topdown import TopDownTask


class MRPoseTask(TopDownTask):
    """The published initialisation is one of the head; the trunk's comes from ImageNet."""

    def networks(self) -> dict[str, nn.Module]:
        model = self.config.model
        if model.init == "published" and model.pretrained is None:
            raise ConfigError(
                "model.init=published starts from an ImageNet trunk, and model.pretrained names none; give its file, "
                "or set model.init=framework to start from PyTorch's random weights"
            )
        return super().networks()

"""Training as published: a top-down task that does not start from noise unawares."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pose_core.errors import ConfigError
from pose_core.topdown.task import TopDownTask


class MRPoseTask(TopDownTask):
    """The published initialisation is one of the head; the trunk's comes from ImageNet."""

    def networks(self) -> dict[str, nn.Module]:
        model = self.config.model
        if model.init == "published" and (model.pretrained is None or not Path(model.pretrained).is_file()):
            why = "names none" if model.pretrained is None else f"is {model.pretrained}, which does not exist"
            raise ConfigError(
                f"model.init=published starts from an ImageNet trunk, and model.pretrained {why}; give its file, or "
                "start from PyTorch's random weights with model.init=framework model.pretrained=null"
            )
        return super().networks()

"""Training as published: from an ImageNet backbone, or from random weights with ``model.init=framework``."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pose_core.errors import ConfigError
from pose_core.topdown.task import TopDownTask


class MRPoseTask(TopDownTask):
    """A top-down task whose published initialization needs ImageNet weights: it covers only the head."""

    def networks(self) -> dict[str, nn.Module]:
        model = self.config.model
        if model.init == "published" and (model.pretrained is None or not Path(model.pretrained).is_file()):
            why = "names none" if model.pretrained is None else f"is {model.pretrained}, which does not exist"
            raise ConfigError(
                f"model.init=published starts from an ImageNet backbone, and model.pretrained {why}; set it to the "
                "file, or start from PyTorch's random weights: model.init=framework model.pretrained=null"
            )
        return super().networks()

"""Adversarial training: the pose network minimizes its loss on pasted crops, the generator maximizes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pose_asda.config import GeneratorConfig
from pose_asda.dataset import PartBatch
from pose_asda.generator import placements_to_thetas, random_placements
from pose_core.engine.interfaces import Objective, Update
from pose_core.ops import normalize, paste
from pose_core.ops.normalizing import Pixels
from pose_core.topdown.codec import HeatmapCodec

Forward = Callable[[bool], tuple[Tensor, Tensor]]
"""A pass through placing, pasting and the pose network: its loss, and its accuracy for the log.

The argument says whether the generator is to be updated; otherwise placing needs no gradient.
"""


class PasteObjective(Objective[PartBatch]):
    """The pose network minimizes the loss on pasted crops, the generator maximizes the same.

    Each update has its own forward pass, with the weights that the update before it has left; every pass updates the
    batch statistics of both networks. With random placement there is only the pose network.
    """

    def __init__(
        self,
        codec: HeatmapCodec,
        settings: GeneratorConfig,
        channels_last: bool = False,
        pixels: Pixels = "imagenet",
    ) -> None:
        self.codec, self.settings, self.channels_last, self.pixels = codec, settings, channels_last, pixels

    def step(self, networks: Mapping[str, nn.Module], batch: PartBatch, update: Update) -> dict[str, Tensor]:
        images, texels, boxes = on_device(batch, self.channels_last, self.pixels)

        def forward(updates_generator: bool) -> tuple[Tensor, Tensor]:
            with torch.set_grad_enabled(updates_generator):
                pasted = self.place_and_paste(networks, images, texels, boxes, batch.part_types)
            return self.codec.loss_and_accuracy(networks["pose"](pasted), batch.joints)

        return self.update_in_order(forward, update)

    def place_and_paste(
        self, networks: Mapping[str, nn.Module], images: Tensor, texels: Tensor, boxes: Tensor, types: Tensor
    ) -> Tensor:
        """Return crops ``(N, 3, H, W)`` with their parts pasted where the generator puts them, or at random."""
        if self.settings.placement == "random":
            placements = random_placements(len(images), images.device)
        else:
            placements = networks["generator"](images)
        thetas = placements_to_thetas(placements.to(images.dtype), types)
        pasted: Tensor = paste(images, texels, boxes, thetas, align_corners=self.settings.align_corners)
        return pasted

    def update_in_order(self, forward: Forward, update: Update) -> dict[str, Tensor]:
        """Make all updates for one batch, in the order of the settings; return the last losses and accuracies."""
        settings, values = self.settings, {}
        order = ["pose"] * settings.pose_steps
        if settings.placement == "adversarial":
            generator = ["generator"] * settings.steps
            order = generator + order if settings.first else order + generator
        for network in order:
            loss, accuracy = forward(network == "generator")
            if network == "pose":
                update("pose", loss)
                values["loss"], values["accuracy"] = loss, accuracy
            else:
                update("generator", -loss)
                values["generator_loss"], values["generator_accuracy"] = -loss, accuracy
        if "loss" not in values:
            values["loss"], values["accuracy"] = -values["generator_loss"], values["generator_accuracy"]
        return values


def on_device(
    batch: PartBatch, channels_last: bool = False, pixels: Pixels = "imagenet"
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch's normalized images ``(N, 3, H, W)``, and its parts as texels ``(P, 4)`` and boxes ``(N, S, 4)``.

    A part is zero, the mean color, where its mask is zero.
    """
    masks = batch.part_masks[:, None]
    # As an image one pixel high, so that the channels of a pixel end up next to each other.
    colors = normalize(batch.part_pixels[None, None], pixels=pixels, channels_last=True)[0, :, 0].T
    texels = torch.cat([torch.where(masks > 0, colors, 0), masks], 1)
    return normalize(batch.images, pixels=pixels, channels_last=channels_last), texels, batch.part_boxes

"""Two players: the pose network learns to cope, the generator learns where parts hurt most."""

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

Play = Callable[[bool], tuple[Tensor, Tensor]]
"""A forward through placing, pasting and the pose network: its loss, and its accuracy for the log.

Told whether it is the generator's turn; otherwise placing needs no gradient.
"""


class PasteObjective(Objective[PartBatch]):
    """The pose network minimizes the loss on pasted crops, the generator maximizes the same.

    Each update follows a forward of its own, so the second player sees what the first has just learned; batch
    statistics of both move in every forward. With random placement there is one player.
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

        def play(places: bool) -> tuple[Tensor, Tensor]:
            with torch.set_grad_enabled(places):
                pasted = self.place_and_paste(networks, images, texels, boxes, batch.part_types)
            return self.codec.loss_and_accuracy(networks["pose"](pasted), batch.joints)

        return self.take_turns(play, update)

    def place_and_paste(
        self, networks: Mapping[str, nn.Module], images: Tensor, texels: Tensor, boxes: Tensor, types: Tensor
    ) -> Tensor:
        """Crops ``(N, 3, H, W)`` with their parts where the generator, or chance, puts them."""
        if self.settings.placement == "random":
            placements = random_placements(len(images), images.device)
        else:
            placements = networks["generator"](images)
        # Half precision is too coarse for places: a step of bfloat16 at 1 is a pixel of 256.
        thetas = placements_to_thetas(placements.to(images.dtype), types)
        pasted: Tensor = paste(images, texels, boxes, thetas, align_corners=self.settings.align_corners)
        return pasted

    def take_turns(self, play: Play, update: Update) -> dict[str, Tensor]:
        """All updates for one batch, in the order of the settings; returns each player's last figures."""
        settings, values = self.settings, {}
        turns = ["pose"] * settings.pose_steps
        if settings.placement == "adversarial":
            others = ["generator"] * settings.steps
            turns = others + turns if settings.first else turns + others
        for player in turns:
            loss, accuracy = play(player == "generator")
            if player == "pose":
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
    """Normalized images ``(N, 3, H, W)`` of a batch; texels ``(P, 4)`` and boxes ``(N, S, 4)`` of its parts.

    A part is zero, the mean color, where its mask is.
    """
    masks = batch.part_masks[:, None]
    # As an image one pixel high, whose channels end up side by side.
    colors = normalize(batch.part_pixels[None, None], pixels=pixels, channels_last=True)[0, :, 0].T
    texels = torch.cat([torch.where(masks > 0, colors, 0), masks], 1)
    return normalize(batch.images, pixels=pixels, channels_last=channels_last), texels, batch.part_boxes

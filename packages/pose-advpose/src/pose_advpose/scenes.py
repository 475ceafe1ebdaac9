"""What a batch is to the two players: images, targets and predictions of both kinds of networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from pose_advpose.adversary import Scene
from pose_advpose.config import EmbeddingConfig, HourglassConfig
from pose_advpose.losses import MEASURED_JOINTS, batch_accuracy, embedding_losses, stacked_error
from pose_advpose.targets import keypoint_references, label_maps, people_heatmaps
from pose_core.bottomup.dataset import WholeBatch
from pose_core.ops.normalizing import normalize
from pose_core.topdown.codec import HeatmapCodec
from pose_core.topdown.dataset import CropBatch


class HourglassContent:
    """One person's heatmaps: squared error, summed over stacks, as published: unlabeled joints are empty maps."""

    def __init__(self, config: HourglassConfig) -> None:
        self.codec = HeatmapCodec.from_config(config)
        self.is_reference = config.heatmap.compat
        self.stride, self.sigma = config.heatmap.stride, config.heatmap.sigma
        self.size = config.heatmap_size
        self.pixels, self.channels_last = config.data.pixels, config.train.channels_last

    def __call__(self, network: nn.Module, batch: CropBatch) -> Scene:
        images = normalize(batch.images, pixels=self.pixels, channels_last=self.channels_last)
        # The published loader shrinks by the mean of each cell's middle four pixels.
        small = functional.interpolate(images, (self.size[1], self.size[0]), mode="bilinear", align_corners=False)
        return hourglass_scene(network(images), small, self.labels(batch.joints))

    def labels(self, joints: Tensor) -> Tensor:
        """Targets ``(N, K, h, w)`` of joints ``(N, K, 3)`` in input pixels."""
        if self.is_reference:
            return label_maps(joints, self.size, self.sigma, stride=self.stride)
        return self.codec.encode(joints).heatmaps


class EmbeddingContent:
    """Everyone's heatmaps, and tags that say who is whose."""

    def __init__(self, config: EmbeddingConfig) -> None:
        self.side, self.sigma, self.most = config.output_side, config.sigma, config.heatmap.max_people
        self.subpixel = config.heatmap.target == "subpixel"
        self.weights = (config.heatmap.push, config.heatmap.pull)
        self.pixels, self.channels_last = config.data.pixels, config.train.channels_last

    def __call__(self, network: nn.Module, batch: WholeBatch) -> Scene:
        images = normalize(batch.images, pixels=self.pixels, channels_last=self.channels_last)
        joints = batch.joints[:, 0]
        return embedding_scene(
            network(images),
            images,
            people_heatmaps(joints, self.side, self.sigma, subpixel=self.subpixel),
            batch.keep.view(-1, self.side, self.side),
            keypoint_references(joints, self.side, self.most),
            self.weights,
        )


def hourglass_scene(stacks: Sequence[Tensor], small: Tensor, target: Tensor) -> Scene:
    """Of stacks ``(N, K, h, w)`` each and their target; the accuracy is the last stack's."""
    predicted = stacks[-1].to(target.dtype)
    joints = MEASURED_JOINTS if target.shape[1] > max(MEASURED_JOINTS) else range(target.shape[1])
    accuracy = batch_accuracy(predicted, target, joints)[0]
    return Scene(small, target, predicted, stacked_error(stacks, target), {"acc": accuracy})


def embedding_scene(
    stacks: Sequence[Tensor],
    images: Tensor,
    heatmaps: Tensor,
    keep: Tensor,
    references: Tensor,
    weights: tuple[float, float] = (1e-3, 1e-3),
) -> Scene:
    """Of stacks ``(N, C, h, w)`` each, images and targets; ``weights`` are push's and pull's."""
    losses = embedding_losses(stacks, heatmaps, keep, references)
    small = functional.avg_pool2d(images, images.shape[-1] // heatmaps.shape[-1])
    predicted = stacks[-1][:, : heatmaps.shape[1]].to(heatmaps.dtype)
    figures = {name: value.mean() for name, value in losses._asdict().items()}
    return Scene(small, heatmaps, predicted, losses.total(*weights), figures)

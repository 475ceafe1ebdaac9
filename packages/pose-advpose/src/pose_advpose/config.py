"""Configuration of the four tasks, in addition to the core's blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pose_core.bottomup.config import BottomUpConfig, WarpConfig, WholeTestConfig
from pose_core.config import Block, DataConfig, Experiment, Fraction, Renamed
from pose_core.errors import ConfigError
from pose_core.topdown.config import AugmentConfig, HeatmapConfig, TopDownConfig

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class AdversarialConfig(Block):
    """The critic, and the balance between it and the pose network."""

    use: bool = True
    """Train with the critic; without it the same network is trained on the same data in the same order."""
    weight: NotNegative = 1e-4
    """Weight of the critic's error in the pose network's loss (the published lambda_G)."""
    gamma: NotNegative = 0.5
    """Target ratio of the critic's error on predictions to that on real heatmaps."""
    start: Fraction = 0.0
    """The balance variable k at the first step (kt_init)."""
    rate: NotNegative = 1e-3
    """Step size of k (lambda_kt, kt_lr)."""
    lr: Positive = 8e-5
    """Constant learning rate of the critic's Adam (lrD)."""
    stacks: Annotated[int, Field(ge=1)] | None = None
    """The critic's number of stacks; by default the pose network's."""
    modules: Annotated[int, Field(ge=1)] | None = None
    """Consecutive residual modules; by default the pose network's, and 1 with an embedding network."""
    channels: Annotated[int, Field(ge=2)] | None = None
    """The critic's width; by default the pose network's, and 128 with an embedding network."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Levels of its hourglasses; by default the pose network's."""


class LabelConfig(HeatmapConfig):
    """Target heatmaps of one person."""

    sigma: Positive = 1.0
    compat: bool = True
    """The published label: it lacks its last row and column, and its peak is where a joint's truncated coordinates
    are. Without it the label is complete, on the nearest pixel."""

    renamed: ClassVar = HeatmapConfig.renamed | {"window": Renamed("compat", {"reference": True, "symmetric": False})}


class CropAugmentConfig(AugmentConfig):
    """Augmentation of crops."""

    scale: Fraction = 0.25
    """Strength of the random scale factor; see `scale_law`."""
    scale_law: Literal["linear", "power"] = "linear"
    """The scale factor: clip(1 + N(0,1)·scale, 1 ± scale) (linear), or 2 to the power of clip(N(0,1)·scale, ±2·scale)
    (power)."""
    rotation: Annotated[float, Field(ge=0)] = 30.0
    """Rotation is clip(N(0,1)·rotation, ±rotation_limit) degrees."""
    rotation_limit: NotNegative | None = None
    """Largest rotation; 2·rotation by default."""
    color: Fraction = 0.4
    """Each channel is multiplied by a number drawn from 1 ± color."""
    mirror: Literal["pixel", "edge"] = "edge"
    """Mirroring moves a joint at x in an image of width w to w − 1 − x (pixel), or to w − x as published (edge)."""

    def without_variation(self) -> Self:
        """Return settings under which samples never vary."""
        return super().without_variation().model_copy(update={"color": 0.0})


class HourglassConfig(TopDownConfig):
    """One experiment of a stacked hourglass on one person (task hgpose)."""

    task: Literal["hgpose", "advpose"] = "hgpose"
    """What is trained: a stacked hourglass (hgpose), or one with a critic (advpose)."""
    augment: CropAugmentConfig = CropAugmentConfig()
    heatmap: LabelConfig = LabelConfig()

    @model_validator(mode="after")
    def _window_fits(self) -> HourglassConfig:
        if self.heatmap.compat and self.heatmap.target != "quantized":
            raise ValueError("heatmap.target=subpixel needs heatmap.compat=false: published labels are on whole pixels")
        return self


class AdversarialHourglassConfig(HourglassConfig):
    """One experiment of a stacked hourglass with a critic (task advpose)."""

    task: Literal["advpose"] = "advpose"
    adversarial: AdversarialConfig = AdversarialConfig()

    @model_validator(mode="after")
    def _gradients_do_not_mix(self) -> AdversarialHourglassConfig:
        check_accumulate(self.adversarial, self.train.accumulate)
        return self


class TagConfig(Block):
    """Target heatmaps and tags of all people."""

    stride: Literal[4] = 4
    """Input pixels per heatmap pixel."""
    sigma: Positive | None = None
    """Standard deviation of a target in heatmap pixels; by default a 64th of the map's side."""
    target: Literal["quantized", "subpixel"] = "quantized"
    """Center of a joint's Gaussian: its truncated coordinates, as published, or its exact position."""
    push: NotNegative = 1e-3
    """Weight of the loss that pushes the tags of different people apart."""
    pull: NotNegative = 1e-3
    """Weight of the loss that pulls the tags of one person together."""
    max_people: Annotated[int, Field(ge=1)] = 30
    """Maximum number of people per image whose tags are learned; heatmaps include all people."""

    renamed: ClassVar = {"target": Renamed("target", {"quantised": "quantized"})}


class ColorConfig(WarpConfig):
    """Augmentation of whole images."""

    scale: tuple[float, float] = (0.75, 1.25)
    fit: Literal["short", "long"] = "long"
    mirror: Literal["pixel", "edge"] = "edge"
    ignore: Literal["all", "crowds", "none"] = "crowds"
    hue: Fraction = 0.2
    """Largest change of hue, as a share of the color circle."""
    saturation: Fraction = 0.5
    """Saturation is multiplied by a number drawn from 1 ± saturation."""
    brightness: Fraction = 0.3
    """A number drawn from ± brightness is added; white is 1."""
    contrast: Fraction = 0.5
    """Distance from a pixel's own gray is multiplied by a number drawn from 1 ± contrast."""

    def without_variation(self) -> Self:
        """Return settings under which samples never vary."""
        plain = {"hue": 0.0, "saturation": 0.0, "brightness": 0.0, "contrast": 0.0}
        return super().without_variation().model_copy(update=plain)


class SplitConfig(Block):
    """Images of one annotation file that are held out for evaluation."""

    valid_ids: str | None = None
    """A file with the ids of the images to evaluate on, one per line, or ``published`` for the original code's 500.
    If set, training skips these images of data.train, and evaluation uses only these images of data.val."""


class EmbeddingTestConfig(WholeTestConfig):
    """Settings of grouping joints into people."""

    detection_threshold: NotNegative = 0.1
    """Lowest heatmap value of a joint."""
    tag_threshold: Positive = 1.0
    """Joints whose tags differ by less than this may belong to one person."""
    refine: bool = True
    """Search a person's missing joints where the tags are close to the person's mean tag."""
    compat: bool = True
    """Skip a joint's candidates once there are max_people people, as the published code does; otherwise they are
    assigned to those people."""

    fit: Literal["long", "short"] = "long"
    """The image's side that fills model.input_size: the long one, in a square; or the short one, the other being a
    multiple of 64, as HigherHRNet does it."""
    resize_maps: bool = False
    """Resize heatmaps and tags to the input's size before the search for joints, as HigherHRNet does it."""
    peak_window: Literal[3, 5] = 3
    """Side of the square in which a joint's heatmap value must be the highest."""
    convention: Literal["published", "unbiased"] = "published"
    """Pixel convention of input and maps; unbiased is UDP, and needs fit=short and resize_maps."""

    renamed: ClassVar = {"ties": Renamed("compat", {"published": True, "capped": False})}

    @model_validator(mode="after")
    def _unbiased_maps_have_the_input_s_size(self) -> EmbeddingTestConfig:
        if self.convention == "unbiased" and not (self.fit == "short" and self.resize_maps):
            raise ValueError("test.convention=unbiased needs test.fit=short and test.resize_maps=true")
        return self


class EmbeddingConfig(BottomUpConfig):
    """One experiment of associative embedding (task hgpose-ae)."""

    task: Literal["hgpose-ae", "advpose-ae"] = "hgpose-ae"
    """What is trained: associative embedding (hgpose-ae), or the same with a critic (advpose-ae)."""
    augment: ColorConfig = ColorConfig()
    heatmap: TagConfig = TagConfig()
    split: SplitConfig = SplitConfig()
    test: EmbeddingTestConfig = EmbeddingTestConfig()

    def on_data(self, data: DataConfig) -> Self:
        """Return the same experiment evaluated on another data set, with no images held out."""
        return super().on_data(data).model_copy(update={"split": SplitConfig()})

    @property
    def output_side(self) -> int:
        """Side of the network's maps."""
        return self.model.input_size[0] // self.heatmap.stride

    @property
    def sigma(self) -> float:
        """Standard deviation of the targets, in heatmap pixels."""
        return self.output_side / 64 if self.heatmap.sigma is None else self.heatmap.sigma


class AdversarialEmbeddingConfig(EmbeddingConfig):
    """One experiment of associative embedding with a critic (task advpose-ae)."""

    task: Literal["advpose-ae"] = "advpose-ae"
    adversarial: AdversarialConfig = AdversarialConfig()

    @model_validator(mode="after")
    def _gradients_do_not_mix(self) -> AdversarialEmbeddingConfig:
        check_accumulate(self.adversarial, self.train.accumulate)
        return self


SCHEMAS: dict[str, type[Experiment]] = {
    "hgpose": HourglassConfig,
    "hgpose-ae": EmbeddingConfig,
    "advpose": AdversarialHourglassConfig,
    "advpose-ae": AdversarialEmbeddingConfig,
}
"""The four tasks."""


def schema(content: Mapping[str, Any], where: str) -> type[Experiment]:
    """Return the schema of the task that a config names."""
    task = content.get("task")
    if task not in SCHEMAS:
        raise ConfigError(f"{where}: 'task' is {task!r}; this method's tasks are {', '.join(SCHEMAS)}")
    return SCHEMAS[str(task)]


def check_accumulate(adversarial: AdversarialConfig, accumulate: int) -> None:
    """Refuse gradient accumulation together with a critic."""
    if adversarial.use and accumulate > 1:
        raise ValueError(
            f"train.accumulate={accumulate}: the two networks' gradients would mix in between; training against a "
            "critic needs train.accumulate=1"
        )


def stacks_of(config: Experiment) -> int:
    """Return the number of stacks of the pose network, from its options or its name."""
    given = config.model.options.get("stacks")
    named = re.search(r"stack_?(\d+)", config.model.name)
    if given is None and named is None:
        raise ConfigError(
            f"model.name={config.model.name!r} has no number of stacks; use hg_stack4 or hg_ae_stack4, or set "
            "adversarial.stacks"
        )
    return int(given if given is not None else named[1])  # type: ignore[index]  # one of the two is there

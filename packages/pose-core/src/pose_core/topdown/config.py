"""The settings of an experiment on crops of one person: augmentation, heatmaps, evaluation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pose_core.config import Block, DataConfig, EvaluationConfig, Experiment, Fraction, Renamed, VariationConfig
from pose_core.plurals import counted
from pose_core.skeleton import get_skeleton


class AugmentConfig(VariationConfig):
    """Augmentation of training samples."""

    flip: Fraction = 0.5
    """Probability of mirroring."""
    scale: Fraction = 0.35
    """Scale factor is clip(1 + N(0,1)·scale, 1 − scale, 1 + scale)."""
    rotation: Annotated[float, Field(ge=0)] = 45.0
    """Rotation is clip(N(0,1)·rotation, ±2·rotation) degrees."""
    rotation_probability: Fraction = 0.6
    """Probability of rotating."""
    half_body: Fraction = 0.0
    """Probability of cropping to the upper or lower body."""
    half_body_joints: int = 8
    """Half-body needs more labeled joints than this."""
    half_body_min: int = 2
    """Minimum joints in the half that is cropped to (2 in HRNet, 3 in ASDA)."""

    renamed: ClassVar = {"half_body_fewest": Renamed("half_body_min")}

    def without_variation(self) -> Self:
        """Return settings without augmentation."""
        return self.model_copy(
            update={"flip": 0.0, "scale": 0.0, "rotation": 0.0, "rotation_probability": 0.0, "half_body": 0.0}
        )


class HeatmapConfig(Block):
    """Conversion of joints to heatmaps and back."""

    stride: Annotated[int, Field(gt=0)] = 4
    """Input pixels per heatmap pixel."""
    sigma: Annotated[float, Field(gt=0)] = 2.0
    """Standard deviation of a target, in heatmap pixels."""
    target: Literal["quantized", "subpixel"] = "quantized"
    """Peak on the nearest pixel, as published, or exactly at the joint."""
    convention: Literal["published", "unbiased"] = "published"
    """Pixel convention of crop and heatmap; unbiased is UDP."""
    decode: Literal["argmax", "soft_argmax", "dark", "offset"] = "argmax"
    """How a joint is found in its heatmap: at the maximum, at the soft-argmax, or by DARK's fit around the maximum.
    offset is for networks with three maps per joint (model.options.maps=3): heatmap, and offsets in x and y; only to
    predict with trained weights."""
    quarter: bool = True
    """Move a quarter of a pixel towards the higher neighbor (also after soft-argmax, as published)."""
    beta: Annotated[float, Field(gt=0)] = 160.0
    """Sharpness of soft-argmax."""
    bias: float = 0.0
    """Subtracted from x and y of the final coordinates (1.0 in the original LPN's MPII configuration)."""
    objective: Literal["heatmap", "coordinate"] = "heatmap"
    """Loss on heatmaps, as published; or on heatmaps plus the soft-argmax coordinates, our addition."""

    renamed: ClassVar = {"target": Renamed("target", {"quantised": "quantized"})}


class CropTestConfig(EvaluationConfig):
    """Evaluation settings, crop by crop."""

    batch_size: Annotated[int, Field(ge=1)] = 128
    """Crops predicted at a time by each process."""
    boxes: Literal["gt", "detections"] = "gt"
    """Source of the people's boxes."""
    shift_heatmap: bool = True
    """Shift the mirrored heatmap one pixel right before averaging; for the published convention."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor that enlarges every crop."""
    joint_threshold: float = 0.2
    """A person's score is box score × mean of the joint scores above this."""
    oks_threshold: float = 0.9
    """OKS above which the lower-scored of two poses is suppressed."""
    oks_sigmas: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Sigmas of the joints in that OKS; by default the skeleton's, which the evaluators use in any case."""
    soft_nms: bool = False
    """Lower the scores of similar poses instead of suppressing them."""


class TopDownConfig(Experiment):
    """One experiment of a method that works on crops of one person."""

    augment: AugmentConfig = AugmentConfig()
    heatmap: HeatmapConfig = HeatmapConfig()
    test: CropTestConfig = CropTestConfig()

    @model_validator(mode="after")
    def _input_fits_stride(self) -> TopDownConfig:
        width, height = self.model.input_size
        stride = self.heatmap.stride
        if width % stride or height % stride:
            raise ValueError(f"model.input_size [{width}, {height}] must be divisible by heatmap.stride {stride}")
        return self

    @model_validator(mode="after")
    def _sigmas_fit_skeleton(self) -> TopDownConfig:
        if self.test.oks_sigmas is not None:
            joints = get_skeleton(self.data.skeleton).num_joints
            if len(self.test.oks_sigmas) != joints:
                raise ValueError(
                    f"test.oks_sigmas has {counted(len(self.test.oks_sigmas), 'number')}, but skeleton "
                    f"{self.data.skeleton} has {counted(joints, 'joint')}; give one for each"
                )
        return self

    @model_validator(mode="after")
    def _decodes_once(self) -> TopDownConfig:
        if self.train.device_decode and self.train.reduced_decode:
            raise ValueError("train.device_decode decodes every image whole; set train.reduced_decode=false")
        return self

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Return (width, height) of the network's output."""
        width, height = self.model.input_size
        return width // self.heatmap.stride, height // self.heatmap.stride

    def on_data(self, data: DataConfig) -> Self:
        """Return the same experiment evaluated on another data set, with its ground-truth boxes."""
        return self.model_copy(update={"data": data, "test": self.test.model_copy(update={"boxes": "gt"})})

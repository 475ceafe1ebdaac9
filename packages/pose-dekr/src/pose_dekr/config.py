"""Configuration of both systems, in addition to the core's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pose_core.bottomup.config import BottomUpConfig, WholeTestConfig
from pose_core.config import Block, Renamed

if TYPE_CHECKING:
    from pose_dekr.decode import BottomUpSettings, DekrSettings
    from pose_dekr.targets import TargetSpec

Positive = Annotated[float, Field(gt=0)]


class MapsConfig(Block):
    """Target heatmaps."""

    stride: Literal[4] = 4
    """Input pixels per heatmap pixel; the higher-resolution network has maps of stride 2 as well."""
    sigma: Positive = 2.0
    """Standard deviation of a joint's target, in heatmap pixels."""
    center_sigma: Positive | None = None
    """That of the center's target; by default the published one: 4 for COCO, sigma for CrowdPose."""
    background: Annotated[float, Field(ge=0)] = 0.1
    """Weight of pixels that are not near a joint."""
    fine_background: Annotated[float, Field(ge=0)] = 0.025
    """The same for the stride-2 maps of the higher-resolution network."""


class OffsetConfig(Block):
    """Target offsets."""

    radius: Annotated[int, Field(ge=1)] = 4
    """Distance from a center, in heatmap pixels, within which its person's offsets are learned."""
    factor: Annotated[float, Field(ge=0)] = 0.03
    """Weight of the offsets' loss: 0.03 in DEKR, 0.01 in Bottom-Up."""
    area: Literal["joints", "published"] = "joints"
    """Area by which DEKR weights a person's offsets: the squared diagonal of its joints, or the published code's, which
    includes the image's corner; there is also the center of people without labeled joints, who otherwise have none."""


class RescoreConfig(Block):
    """The scoring network, which predicts how well a pose matches the ground truth (OKS)."""

    use: bool = False
    """Multiply each score by its prediction; not used for validation during training. True if weights are given,
    unless it is set to false."""
    weights: str | None = None
    """Its weights: a file of rescore-train or a published one, or the name of weights that `pose weights list` lists
    and that hold one."""
    data: str = "rescore_data.npz"
    """Its training data, written by rescore-data and read by rescore-train."""
    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over its training data."""
    lr: Positive = 1e-3
    """Learning rate of its Adam."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    """Poses per optimizer step."""

    @model_validator(mode="before")
    @classmethod
    def _weights_are_used(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("weights") and "use" not in content:
            return {**content, "use": True}
        return content


class DekrTestConfig(WholeTestConfig):
    """Settings of decoding. A value of null stands for the system's published value."""

    nms: Positive | None = None
    """Distance below which two joints count as close: relative to the pose's size in DEKR (0.05; published for several
    scales: 0.15), in base pixels in Bottom-Up (10)."""
    nms_joints: Annotated[int, Field(ge=0)] | None = None
    """Poses with more close joints than this are duplicates (DEKR 8, on CrowdPose 7; Bottom-Up 10)."""
    decrease: Positive | None = None
    """Weight of people found at scales other than 1 (DEKR 0.9, on CrowdPose 0.8; Bottom-Up 0.001)."""
    center_threshold: Annotated[float, Field(ge=0)] = 0.01
    """Lowest heatmap value of a center."""
    match_heatmap: bool = False
    """DEKR: also move joints to heatmap peaks. Bottom-Up always has both results, regression and final."""
    result: Literal["final", "regression"] = "final"
    """Bottom-Up's main result, which predict gives: joints moved to heatmap peaks, or as they were regressed, as in the
    published demo. eval reports both, the main one last, and writes both."""
    max_absorb: Positive = 75.0
    """Largest distance, in base pixels, over which a joint moves to a heatmap peak."""
    adjust_threshold: float = 0.05
    """Joints above this score are refined by a Gaussian fit to the heatmap."""
    window: Annotated[int, Field(ge=1)] = 6
    """Pixels to each side of a joint that the fit uses."""
    compat: bool = False
    """Decode as the published code, pose by pose. Where joints move to heatmap peaks (Bottom-Up's final result,
    match_heatmap), every repeated pixel at the right and lower edge is one of the max_people peaks; if there are too
    few, so are lower ones, which then count as 0, and any other pixels; a fit near the border reads its window along
    the wrong axis, and one that has not converged after 300 evaluations is dropped; and in Bottom-Up, the lookup of a
    joint far from every peak exchanges x and y. In Bottom-Up, the centers of another scale without a positive value are
    inverted."""

    renamed: ClassVar = {"centre_threshold": Renamed("center_threshold"), "faithful": Renamed("compat")}

    @model_validator(mode="after")
    def _scales_fit_the_strides(self) -> DekrTestConfig:
        bad = [scale for scale in self.scales if scale not in {0.5, 1.0, 2.0, 4.0}]
        if bad:
            raise ValueError(
                f"test.scales={list(self.scales)}: {bad[0]:g} is none of 0.5, 1, 2, 4, whose maps divide evenly"
            )
        return self


class DekrConfig(BottomUpConfig):
    """One experiment of Bottom-Up HRNet or DEKR, depending on model.name."""

    heatmap: MapsConfig = MapsConfig()
    offset: OffsetConfig = OffsetConfig()
    rescore: RescoreConfig = RescoreConfig()
    test: DekrTestConfig = DekrTestConfig()

    @property
    def is_dekr(self) -> bool:
        """Whether the network is DEKR, not Bottom-Up."""
        return self.model.name.startswith("dekr")

    @property
    def is_higher(self) -> bool:
        """Whether the network also has maps of stride 2."""
        return "higher" in self.model.name or bool(self.model.options.get("higher"))

    @property
    def output_sizes(self) -> tuple[int, ...]:
        """Sides of the network's output maps."""
        side = self.model.input_size[0]
        return (side // 4, side // 2) if self.is_higher else (side // 4,)

    def target_spec(self, *, fine: bool = False) -> TargetSpec:
        """Return the settings of the targets at stride 4, or at stride 2 if ``fine``."""
        from pose_dekr.targets import TargetSpec  # imports torch, which reading a config does not need

        maps = self.heatmap
        return TargetSpec(
            shared_mask=not self.is_dekr,
            sigma=maps.sigma,
            center_sigma=maps.center_sigma,
            background=maps.fine_background if fine else maps.background,
            radius=self.offset.radius,
        )

    def decode_settings(self) -> DekrSettings | BottomUpSettings:
        """Return the settings of decoding."""
        from pose_dekr.decode import BottomUpSettings, DekrSettings

        test = self.test
        shared = {
            "max_people": test.max_people,
            "center_threshold": test.center_threshold,
            "max_absorb": test.max_absorb,
            "adjust_threshold": test.adjust_threshold,
            "window": test.window,
            "compat": test.compat,
        }
        if self.is_dekr:
            own = {"nms": test.nms, "nms_joints": test.nms_joints, "decrease": test.decrease}
            given = {key: value for key, value in own.items() if value is not None}
            return DekrSettings(use_heatmap=test.match_heatmap, sigma=self.heatmap.sigma, **shared, **given)  # type: ignore[arg-type]
        own = {"nms_distance": test.nms, "nms_overlap": test.nms_joints, "scale_decrease": test.decrease}
        given = {key: value for key, value in own.items() if value is not None}
        return BottomUpSettings(**shared, **given)  # type: ignore[arg-type]

"""Settings of this method: the parts, and how they are placed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pose_core.config import Block, Renamed
from pose_core.folders import find_data_root
from pose_core.topdown.config import TopDownConfig

Kernel = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]


class PartsConfig(Block):
    """Which parts are pasted, and their size and edges."""

    annotations: str = "lip/parts_bmp_filter_done/part_anns.json"
    """The pool; a relative path is searched for in the current directory, then below POSE_DATA."""
    root: str | None = None
    """Folder of the part images by type; by default that of the annotations."""
    counts: tuple[int, ...] = (1,)
    """Numbers of parts a sample may get; one of them is drawn uniformly."""
    scale_range: tuple[float, float] = (0.7, 1.3)
    """A part's size is its share of the body times a factor drawn from this range."""
    erode: Kernel = (3, 3)
    """[width, height] of the kernel that shrinks a mask."""
    blur: Kernel = (3, 3)
    """[width, height] of the Gaussian kernel that softens a mask; odd."""
    with_half_body: bool = True
    """Paste onto half-body crops, too."""
    min_joints: int = 0
    """Paste only onto people with at least this many labeled joints (8 in the published code for COCO)."""
    compat: bool = False
    """Repeat two bugs of the published code: parts are RGB also on BGR crops, and a part's center has its axes
    swapped, so that a long part starts off the center."""

    renamed: ClassVar = {"fewest_joints": Renamed("min_joints"), "faithful": Renamed("compat")}

    @model_validator(mode="after")
    def _kernels_are_odd(self) -> PartsConfig:
        if self.blur[0] % 2 == 0 or self.blur[1] % 2 == 0:
            raise ValueError(f"parts.blur={list(self.blur)}: both sides of a Gaussian kernel must be odd")
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"parts.scale_range={list(self.scale_range)} must be two positive numbers in order")
        return self

    def files(self) -> tuple[Path, Path]:
        """Return the annotation file and the folder of images."""
        annotations = Path(self.annotations)
        folder = find_data_root(str(annotations.parent))
        return folder / annotations.name, folder if self.root is None else find_data_root(self.root)


class GeneratorConfig(Block):
    """How parts are placed, and how generator and pose network are updated."""

    placement: Literal["adversarial", "random", "none"] = "adversarial"
    """By a generator trained to raise the pose network's loss; at random; or no parts at all."""
    depth: Literal[18, 50] = 18
    """Layers of the generator's ResNet backbone."""
    width: Annotated[int, Field(gt=0)] = 64
    """Channels of the backbone's first stage; fewer make it fast on a CPU, trained from random weights."""
    pretrained: str | None = None
    """ImageNet weights of the backbone."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Constant learning rate of the generator's Adam."""
    first: bool = False
    """Update the generator before the pose network."""
    steps: Annotated[int, Field(ge=0)] = 1
    """Updates of the generator per batch."""
    pose_steps: Annotated[int, Field(ge=0)] = 1
    """Updates of the pose network per batch."""
    align_corners: bool = True
    """Coordinates −1…1 of a canvas as in PyTorch at the time of the published code (True), or as later (False)."""


class AsdaConfig(TopDownConfig):
    """One experiment of adversarial semantic data augmentation."""

    parts: PartsConfig = PartsConfig()
    generator: GeneratorConfig = GeneratorConfig()

    @model_validator(mode="after")
    def _updates_are_possible(self) -> AsdaConfig:
        generator = self.generator
        if generator.placement == "adversarial" and self.train.accumulate > 1:
            raise ValueError(
                f"train.accumulate={self.train.accumulate}: the gradients of the two networks would mix; "
                "adversarial placement needs train.accumulate=1"
            )
        if (generator.steps if generator.placement == "adversarial" else 0) + generator.pose_steps < 1:
            raise ValueError(
                "generator.steps and generator.pose_steps leave nothing to update; set generator.pose_steps=1"
            )
        if generator.placement != "none" and self.train.device_decode:
            raise ValueError("train.device_decode cannot paste parts; set it to false, or set generator.placement=none")
        return self

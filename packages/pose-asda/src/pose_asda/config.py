"""What an experiment of this method says beside the core's blocks: the parts, and who places them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pose_core.config import Block, Renamed
from pose_core.folders import find_data_root
from pose_core.topdown.config import TopDownConfig

Kernel = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]


class PartsConfig(Block):
    """Which parts are pasted, and how they look."""

    annotations: str = "lip/parts_bmp_filter_done/part_anns.json"
    """The pool; a relative path is looked for here, then under POSE_DATA."""
    root: str | None = None
    """Folder of the part images by type; the annotations' own by default."""
    counts: tuple[int, ...] = (1,)
    """Numbers of parts that a sample may get; one is drawn uniformly."""
    scale_range: tuple[float, float] = (0.7, 1.3)
    """A part's size is its share of the body times a number drawn from here."""
    erode: Kernel = (3, 3)
    """[width, height] of the kernel that shrinks a mask."""
    blur: Kernel = (3, 3)
    """[width, height] of the Gaussian kernel that softens a mask; odd."""
    with_half_body: bool = True
    """Paste also onto crops of half a body."""
    min_joints: int = 0
    """Paste only onto people with at least this many labeled joints (8 in the published code for COCO)."""
    compat: bool = False
    """Repeat two bugs of the published code: parts are RGB also on BGR crops, and a part's center has its axes
    swapped, so that a long part starts off the center."""

    renamed: ClassVar = {"fewest_joints": Renamed("min_joints"), "faithful": Renamed("compat")}

    @model_validator(mode="after")
    def _kernels_are_odd(self) -> PartsConfig:
        if self.blur[0] % 2 == 0 or self.blur[1] % 2 == 0:
            raise ValueError(f"parts.blur={list(self.blur)}: sides of a Gaussian kernel must be odd")
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"parts.scale_range={list(self.scale_range)} must be two positive numbers in order")
        return self

    def files(self) -> tuple[Path, Path]:
        """The annotation file and the folder of images."""
        annotations = Path(self.annotations)
        folder = find_data_root(str(annotations.parent))
        return folder / annotations.name, folder if self.root is None else find_data_root(self.root)


class GeneratorConfig(Block):
    """Who places the parts, and how the two players take turns."""

    placement: Literal["adversarial", "random", "none"] = "adversarial"
    """By a generator that learns to make the pose network fail; by chance; or no parts at all."""
    depth: Literal[18, 50] = 18
    """Layers of its ResNet trunk."""
    width: Annotated[int, Field(gt=0)] = 64
    """Planes of its first stage; fewer make one from nothing that is quick on a CPU."""
    pretrained: str | None = None
    """ImageNet file for its trunk."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Of its Adam; constant."""
    first: bool = False
    """The generator's updates come before the pose network's."""
    steps: Annotated[int, Field(ge=0)] = 1
    """Its updates for every batch."""
    pose_steps: Annotated[int, Field(ge=0)] = 1
    """The pose network's updates for every batch."""
    align_corners: bool = True
    """How −1…1 spans a canvas: as the published code's PyTorch had it (True), or as later ones (False)."""


class AsdaConfig(TopDownConfig):
    """One experiment of adversarial semantic data augmentation."""

    parts: PartsConfig = PartsConfig()
    generator: GeneratorConfig = GeneratorConfig()

    @model_validator(mode="after")
    def _players_can_play(self) -> AsdaConfig:
        play = self.generator
        if play.placement == "adversarial" and self.train.accumulate > 1:
            raise ValueError(
                f"train.accumulate={self.train.accumulate}: the two networks' gradients would mix in between; "
                "adversarial placement needs train.accumulate=1"
            )
        if (play.steps if play.placement == "adversarial" else 0) + play.pose_steps < 1:
            raise ValueError("generator.steps and generator.pose_steps leave nothing to update")
        if play.placement != "none" and self.train.device_decode:
            raise ValueError("train.device_decode sends crops without parts; set it false, or generator.placement=none")
        return self

"""Settings that every method which looks at whole images shares."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pose_core.config import Block, Fraction


class WarpConfig(Block):
    """How the whole images of training vary."""

    flip: Fraction = 0.5
    """Probability of mirroring."""
    rotation: Annotated[float, Field(ge=0)] = 30.0
    """Degrees, uniform in ±rotation."""
    scale: tuple[float, float] = (0.75, 1.5)
    """Uniform factor on what the input shows: above 1 people become smaller."""
    shift: Annotated[float, Field(ge=0)] = 40.0
    """The middle moves by whole pixels, uniform in ±shift · (side shown / 200), along x and y."""
    fit: Literal["short", "long"] = "short"
    """The image's side that fills the input at factor 1; the short one cuts the image, the long one leaves margins."""
    mirror: Literal["pixel", "edge"] = "pixel"
    """Where mirroring takes a joint at x in a map of width w: to w − 1 − x, or to w − x (associative embedding)."""
    ignore: Literal["all", "crowds", "none"] = "all"
    """Regions that are not learned from: crowds and people without joints, crowds alone, or none."""

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> WarpConfig:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augment.scale={list(self.scale)} must be two positive numbers in order")
        return self

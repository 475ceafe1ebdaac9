"""Settings shared by all methods that take whole images."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pose_core.config import EvaluationConfig, Experiment, Fraction, VariationConfig


class WarpConfig(VariationConfig):
    """Augmentation of whole training images."""

    flip: Fraction = 0.5
    """Probability of mirroring."""
    rotation: Annotated[float, Field(ge=0)] = 30.0
    """Degrees, uniform in ±rotation."""
    scale: tuple[float, float] = (0.75, 1.5)
    """Range of the uniform factor on the region that the input shows: above 1 people become smaller."""
    shift: Annotated[float, Field(ge=0)] = 40.0
    """The center moves by whole pixels, uniform in ±shift · (side shown / 200), along x and y."""
    fit: Literal["short", "long"] = "short"
    """The image's side that fills the input at factor 1: the short one crops the image, the long one leaves margins."""
    mirror: Literal["pixel", "edge"] = "pixel"
    """Position after mirroring of a joint at x in a map of width w: w − 1 − x, or w − x (associative embedding)."""
    ignore: Literal["all", "crowds", "none"] = "all"
    """Regions without a loss: crowds and people without joints, only crowds, or none."""

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> WarpConfig:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augment.scale={list(self.scale)} must be two positive numbers in order")
        return self

    def without_variation(self) -> Self:
        """Return settings without augmentation."""
        return self.model_copy(update={"flip": 0.0, "scale": (1.0, 1.0), "rotation": 0.0, "shift": 0.0})


class WholeTestConfig(EvaluationConfig):
    """Evaluation settings, image by image."""

    scales: tuple[float, ...] = (1.0,)
    """Sizes at which the network runs on every image, relative to model.input_size; must include 1."""
    max_people: Annotated[int, Field(ge=1)] = 30
    """Maximum number of people in an image, or in a tile of one longer than eight times its short side."""

    @model_validator(mode="after")
    def _scales_are_positive(self) -> WholeTestConfig:
        listed = list(self.scales)
        bad = [scale for scale in listed if not scale > 0]
        if bad:
            raise ValueError(
                f"test.scales={listed}: {bad[0]:g} is not a size; scales are positive, for example [0.5, 1, 2]"
            )
        if 1 not in listed:
            raise ValueError(f"test.scales={listed} lack 1, the reference of the other scales; add it")
        if len(set(listed)) < len(listed):
            raise ValueError(f"test.scales={listed} contain a scale twice; remove one")
        return self


class BottomUpConfig(Experiment):
    """One experiment of a method that takes whole images."""

    augment: WarpConfig = WarpConfig()
    test: WholeTestConfig = WholeTestConfig()

    @model_validator(mode="after")
    def _input_is_square(self) -> BottomUpConfig:
        width, height = self.model.input_size
        if width != height:
            raise ValueError(f"model.input_size [{width}, {height}]: whole images are trained as squares")
        if self.train.device_decode:
            raise ValueError("train.device_decode is for crops of one person; whole images need it false")
        return self

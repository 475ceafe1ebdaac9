"""The appearance of figures: cloth, skin, hair, shoes, and the cut of the clothes."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

Color = tuple[float, float, float]
Pattern = Literal["plain", "stripes", "bars", "checks", "dots"]
HairStyle = Literal["short", "long", "bun", "bald", "cap"]
Legwear = Literal["pants", "shorts", "skirt", "dress"]
Generator = np.random.Generator
T = TypeVar("T")

SKIN: tuple[Color, ...] = (
    (250, 214, 188), (240, 196, 164), (226, 176, 138), (204, 148, 108), (172, 116, 80), (136, 88, 60), (100, 64, 46),
)  # fmt: skip
HAIR: tuple[Color, ...] = (
    (34, 28, 28), (62, 42, 30), (98, 62, 38), (142, 92, 48), (196, 150, 84), (226, 196, 130), (168, 74, 36),
    (176, 172, 168), (90, 60, 120),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Material:
    """A color with a pattern of a second one; ``period`` is the pattern's length in standing heights."""

    color: Color
    pattern: Pattern = "plain"
    other: Color = (255, 255, 255)
    period: float = 0.05


@dataclass(frozen=True, slots=True)
class Outfit:
    """The appearance of a figure, apart from its pose."""

    skin: Color
    hair: Color
    hair_style: HairStyle
    cap: Color
    beard: bool
    glasses: bool
    top: Material
    sleeves: Literal["none", "short", "long"]
    bottom: Material
    legwear: Legwear
    shoes: Color
    emblem: Color
    """A shape printed on the chest."""
    emblem_shape: Literal["disc", "star", "square", "none"]
    jacket: bool
    """An open front that reveals a stripe of the shirt."""
    backpack: Color | None


def sample_color(rng: Generator, saturation: tuple[float, float] = (0.15, 0.9)) -> Color:
    """Sample a color of any hue that is neither black nor white."""
    hue, sat, value = rng.random(), rng.uniform(*saturation), rng.uniform(0.3, 0.97)
    red, green, blue = colorsys.hsv_to_rgb(hue, sat, value)
    return red * 255, green * 255, blue * 255


def sample_outfit(rng: Generator) -> Outfit:
    """Sample the clothes of one person."""
    tone = rng.uniform(0.9, 1.06)
    skin = SKIN[int(rng.integers(len(SKIN)))]
    legwear: Legwear = _pick(rng, {"pants": 5, "shorts": 2.2, "skirt": 1.2, "dress": 1.3})
    style: HairStyle = _pick(rng, {"short": 4, "long": 2.6, "bun": 1.3, "bald": 0.6, "cap": 1.5})
    if legwear == "dress" and style == "bald":
        style = "long"
    top = _material(rng)
    bottom = top if legwear == "dress" else _material(rng, plain=0.75)
    red, green, blue = skin
    return Outfit(
        skin=(min(red * tone, 255), min(green * tone, 255), min(blue * tone, 255)),
        hair=HAIR[int(rng.integers(len(HAIR)))],
        hair_style=style,
        cap=sample_color(rng),
        beard=legwear in {"pants", "shorts"} and style != "long" and rng.random() < 0.25,
        glasses=rng.random() < 0.18,
        top=top,
        sleeves=_pick(rng, {"none": 1.2, "short": 4, "long": 4}),
        bottom=bottom,
        legwear=legwear,
        shoes=sample_color(rng, (0.0, 0.9)),
        emblem=sample_color(rng),
        emblem_shape=_pick(rng, {"disc": 2, "star": 2, "square": 1, "none": 3}),
        jacket=legwear in {"pants", "shorts"} and rng.random() < 0.25,
        backpack=sample_color(rng) if rng.random() < 0.12 else None,
    )


def _material(rng: Generator, plain: float = 0.45) -> Material:
    color = sample_color(rng)
    if rng.random() < plain:
        return Material(color)
    pattern: Pattern = _pick(rng, {"stripes": 3, "bars": 1.5, "checks": 2, "dots": 1.5})
    # A lighter or darker shade of the cloth, or white: patterns that are common.
    factor = rng.choice((0.55, 0.7, 1.35))
    red, green, blue = (float(min(value * factor, 255)) for value in color)
    other = (244.0, 242.0, 236.0) if rng.random() < 0.4 else (red, green, blue)
    return Material(color, pattern, other, float(rng.uniform(0.028, 0.06)))


def _pick(rng: Generator, weights: Mapping[T, float]) -> T:
    edges = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]

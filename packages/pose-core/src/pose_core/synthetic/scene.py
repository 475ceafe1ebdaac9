"""Scenes: people, objects in front of them, and camera effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from pose_core.synthetic.annotate import MIN_PIXELS, DrawnPerson, Size, annotate
from pose_core.synthetic.background import cut_grain, draw_background
from pose_core.synthetic.figure import INDEX, Box, Figure, sample_figure
from pose_core.synthetic.paint import Canvas, paint_disc, paint_limb, paint_polygon
from pose_core.synthetic.render import draw_figure
from pose_core.synthetic.wardrobe import Material, sample_color, sample_outfit

Array = np.ndarray
Generator = np.random.Generator

OBJECT = 255
"""The owner number of objects in front of people."""


@dataclass(frozen=True)
class Scene:
    """An image and its annotations.

    ``image`` ``(H, W, 3)`` RGB uint8. ``owner`` ``(H, W)`` uint8: 0 background, n the n-th figure drawn, 255 an object
    in front. ``parts`` ``(H, W)`` uint8 holds body parts as indices into ``PARTS``. ``crowd`` is the mask of a group
    of tiny people annotated as one region, if there is one.
    """

    image: Array
    people: list[DrawnPerson] = field(default_factory=list)
    owner: Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    parts: Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    crowd: Array | None = None


def render_scene(
    seed: int,
    index: int,
    size: Size = (640, 425),
    people: tuple[int, int] = (1, 4),
    *,
    crowds: bool = False,
    whole: bool = False,
) -> Scene:
    """Draw scene ``index`` of a data set: equal arguments give the same image, in any order and any process.

    ``crowds`` draws groups of tiny people in the background of some scenes; ``whole`` keeps all people inside the
    image.
    """
    rng = np.random.default_rng([seed, index])
    background, horizon = draw_background(rng, size)
    canvas = Canvas.on(background.astype(np.float32))
    crowd = _draw_crowd(rng, canvas, horizon) if crowds and rng.random() < 0.12 else None
    figures = _place_people(rng, size, int(rng.integers(people[0], people[1] + 1)), horizon, whole)
    for number, figure in enumerate(figures, 1):
        _shadow(canvas, figure)
        if figure.pose == "sit":
            _draw_seat(rng, canvas, figure)
        draw_figure(canvas, figure, sample_outfit(rng), number)
        if rng.random() < 0.15:
            _draw_object(rng, canvas, figure)
    image = _take_picture(rng, canvas.pixels)
    seen = (annotate(canvas, figure, number) for number, figure in enumerate(figures, 1))
    drawn = [person for person in seen if person is not None]
    if crowd is not None:
        crowd = np.where(canvas.owner == _CROWD, crowd, False)
        crowd = crowd if crowd.sum() > MIN_PIXELS else None
        canvas.owner[canvas.owner == _CROWD] = 0
    return Scene(image, drawn, canvas.owner, canvas.part, crowd)


def _place_people(rng: Generator, size: Size, count: int, horizon: float, whole: bool) -> list[Figure]:
    """Return figures from back to front, some of them overlapping, but only partly."""
    height = size[1]
    low, high = (0.52, 0.97) if count == 1 else (0.46, 0.9) if count == 2 else (0.36, 0.78)
    placed: list[Figure] = []
    for _ in range(count):
        figure = _fitted(sample_figure(rng, height * rng.uniform(low, high)), size)
        boxes = [other.extent for other in placed]
        for _ in range(12):
            cut = not whole and rng.random() < 0.12
            _move(figure, _sample_place(rng, figure, size, horizon, cut))
            if all(_overlap(figure.extent, box) < 0.45 for box in boxes):
                break
        placed.append(figure)
    # A figure that is lower in the image is nearer.
    return sorted(placed, key=lambda figure: float(figure.points[:, 1].max()))


def _fitted(figure: Figure, size: Size) -> Figure:
    """Return a figure scaled down if raised arms or a wide stance would not fit the image."""
    _, _, w, h = figure.extent
    factor = min(size[0] / w, size[1] / h, 1.0)
    return replace(figure, points=figure.points * factor, unit=figure.unit * factor)


def _sample_place(rng: Generator, figure: Figure, size: Size, horizon: float, cut: bool) -> Array:
    """Sample the shift of a figure: feet on the ground and inside the image, or up to a third ``cut`` by its border."""
    x, y, w, h = figure.extent
    beyond = np.array([w, h]) * (rng.uniform(0, 0.36, 2) if cut else 0.0)
    first = np.array([0.0, max(horizon + 0.06 * size[1] - h, 0.0)]) - beyond
    last = np.maximum(np.array([size[0] - w, size[1] - h]) + beyond, first)
    return np.asarray(rng.uniform(first, last) - (x, y))


def _move(figure: Figure, shift: Array) -> None:
    figure.points[:, :2] += shift


def _overlap(first: Box, second: Box) -> float:
    """Return the intersection over the smaller box's area."""
    x, y = max(first[0], second[0]), max(first[1], second[1])
    right = min(first[0] + first[2], second[0] + second[2])
    bottom = min(first[1] + first[3], second[1] + second[3])
    return max(right - x, 0) * max(bottom - y, 0) / min(first[2] * first[3], second[2] * second[3])


_CROWD = 254


def _draw_crowd(rng: Generator, canvas: Canvas, horizon: float) -> Array:
    """Draw a group of tiny people far away; return their region ``(H, W)`` bool."""
    height, width = canvas.owner.shape
    tall = height * rng.uniform(0.1, 0.16)
    x = rng.uniform(0.05, 0.6) * width
    for _ in range(int(rng.integers(4, 8))):
        figure = sample_figure(rng, tall * rng.uniform(0.85, 1.1))
        left, top, w, h = figure.extent
        _move(figure, np.array([x - left, horizon + 0.04 * height - top - h]))
        draw_figure(canvas, figure, sample_outfit(rng), _CROWD)
        x += w * rng.uniform(0.5, 0.9)
    canvas.part[canvas.owner == _CROWD] = 0
    return np.asarray(canvas.owner == _CROWD)


def _shadow(canvas: Canvas, figure: Figure) -> None:
    """Darken the ground below the feet."""
    feet = figure.points[[INDEX[f"{side}_{end}"] for side in ("left", "right") for end in ("heel", "toe")], :2]
    center = np.array([feet[:, 0].mean(), feet[:, 1].max() + 0.012 * figure.unit])
    half = np.array([np.ptp(feet[:, 0]) / 2 + 0.07 * figure.unit, 0.035 * figure.unit])
    window = canvas.window(center - half, center + half)
    if window is None:
        return
    y, x = np.ogrid[window]
    distance = ((x - center[0]) / half[0]) ** 2 + ((y - center[1]) / half[1]) ** 2
    canvas.pixels[window] *= (1 - 0.4 * np.clip(1 - distance, 0, 1))[..., None].astype(np.float32)


def _draw_seat(rng: Generator, canvas: Canvas, figure: Figure) -> None:
    """Draw a box or a stool below a sitting figure; it belongs to the background."""
    unit, pelvis = figure.unit, figure["pelvis"][:2]
    floor = max(figure.points[:, 1].max() - 0.03 * unit, pelvis[1] + 0.15 * unit)
    top, half = pelvis[1] + 0.035 * unit, 0.12 * unit
    color = sample_color(rng, (0.15, 0.7))
    if rng.random() < 0.5:
        corners = [[-half, top], [half, top], [half, floor], [-half, floor]]
        paint_polygon(canvas, np.add(corners, (pelvis[0], 0)), Material(color), 0, 0)
        return
    for side in (-0.8, 0.8):
        leg = np.array([pelvis[0] + side * half, top]), np.array([pelvis[0] + side * 1.15 * half, floor])
        paint_limb(canvas, *leg, (0.014 * unit, 0.012 * unit), Material(color), 0, 0)
    ends = np.array([pelvis[0] - half, top]), np.array([pelvis[0] + half, top])
    paint_limb(canvas, *ends, (0.024 * unit, 0.024 * unit), Material(color), 0, 0)


def _draw_object(rng: Generator, canvas: Canvas, figure: Figure) -> None:
    """Draw a crate, a bush, a post or a ball in front of part of a person."""
    x, y, w, h = figure.extent
    reach = figure.unit * rng.uniform(0.1, 0.2)
    at = np.array([x + rng.uniform(0, 1) * w, y + h * rng.uniform(0.45, 1.0)])
    _OBJECTS[int(rng.integers(len(_OBJECTS)))](rng, canvas, at, float(reach))


def _crate(rng: Generator, canvas: Canvas, at: Array, reach: float) -> None:
    wide, high = reach * rng.uniform(0.8, 1.4), reach * rng.uniform(0.7, 1.1)
    corners = np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]])
    wood = Material(sample_color(rng, (0.2, 0.6)), "stripes", sample_color(rng, (0.2, 0.6)), 0.5)
    paint_polygon(canvas, at + corners, wood, OBJECT, 0, unit=reach)


def _bush(rng: Generator, canvas: Canvas, at: Array, reach: float) -> None:
    for _ in range(7):
        green = (rng.uniform(50, 100), rng.uniform(105, 160), rng.uniform(45, 80))
        paint_disc(canvas, at + rng.normal(0, 0.45, 2) * reach, reach * rng.uniform(0.35, 0.6), green, OBJECT, 0)


def _post(rng: Generator, canvas: Canvas, at: Array, reach: float) -> None:
    thick = reach * rng.uniform(0.12, 0.25)
    lean = np.array([rng.uniform(-0.2, 0.2) * reach, 2.4 * reach])
    post = Material(sample_color(rng, (0.0, 0.5)))
    paint_limb(canvas, at - lean, at + lean, (thick, thick), post, OBJECT, 0, unit=reach)


def _ball(rng: Generator, canvas: Canvas, at: Array, reach: float) -> None:
    ball = Material(sample_color(rng), "bars", (245.0, 245.0, 240.0), 0.7)
    paint_limb(canvas, at, at, (reach * 0.6, reach * 0.6), ball, OBJECT, 0, unit=reach)


_OBJECTS: tuple[Callable[[Generator, Canvas, Array, float], None], ...] = (_crate, _bush, _post, _ball)


def _take_picture(rng: Generator, pixels: Array) -> Array:
    """Apply exposure, color cast, blur and grain; return RGB uint8."""
    cast = rng.uniform(0.8, 1.12) * rng.uniform(0.95, 1.05, 3)
    image = cv2.convertScaleAbs(pixels * cast.astype(np.float32), alpha=1.0, beta=float(rng.uniform(0, 10)))
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (3, 3), float(rng.uniform(0.3, 0.8)))
    noise = cut_grain(rng, (image.shape[1], image.shape[0]))
    noise = (noise * np.float32(rng.uniform(1.0, 5.0) / 16)).astype(np.int16)
    return np.asarray(cv2.add(image, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U))
